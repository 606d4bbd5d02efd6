//! Paths that a unit file and a crontab can hold.

use std::path::Path;

use super::error::{Result, ScheduleError};

/// The path as text: absolute, Unicode, without control characters.
pub(super) fn plain_path<'a>(what: &'static str, path: &'a Path) -> Result<&'a str> {
    let refused = |reason| Err(ScheduleError::unusable(what, path.to_string_lossy(), reason));
    match path.to_str() {
        None => refused("its name is not Unicode. Rename it"),
        Some(_) if !path.is_absolute() => {
            refused("a scheduled run has no current folder. Give its absolute path")
        }
        Some(text) if text.chars().any(char::is_control) => {
            refused("it contains a control character. Rename it")
        }
        Some(text) => Ok(text),
    }
}
