//! The time zone in which times are shown or kept.

use chrono::Timelike as _;

use crate::screen::Screen;

/// `TZ`, which `chrono` reads too. `None` on Windows, where programs do not.
pub(crate) fn of_the_shell() -> Option<String> {
    std::env::var_os("TZ").filter(|_| cfg!(unix)).map(|tz| tz.to_string_lossy().into_owned())
}

/// Warns where times will not be in the zone that was meant.
pub(crate) fn warn(screen: &Screen) {
    if let Some(problem) = intellistor::zone::problem_with(of_the_shell().as_deref()) {
        screen.warn(problem);
    }
}

/// By this machine's clock and time zone.
pub(crate) fn minute_of_day() -> u16 {
    let now = chrono::Local::now();
    // Below 1,440.
    (now.hour() * 60 + now.minute()) as u16
}
