//! The machine's time zone, by which its scheduler runs, whatever `TZ` says in the caller's shell.

#[cfg(not(windows))]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
pub use unix::{Zone, problem_with};
#[cfg(windows)]
pub use windows::{Zone, problem_with};
