//! What to say of the time zone that times are shown in, or kept.

use crate::screen::Screen;

/// The zone of this shell, where it has one of its own. `chrono` takes it from here and from nowhere else.
#[cfg(not(windows))]
pub(crate) fn of_the_shell() -> Option<String> {
    std::env::var_os("TZ").map(|tz| tz.to_string_lossy().into_owned())
}

/// Warns where times will not be in the zone that was meant.
pub(crate) fn warn(screen: &Screen) {
    #[cfg(not(windows))]
    if let Some(problem) = intellistor::schedule::zone::problem_with(of_the_shell().as_deref()) {
        screen.warn(problem);
    }
    #[cfg(windows)]
    let _ = screen;
}
