//! Files that decide what runs and where backups go must be writable by no other account; [`intellistor::trust`] has the rule.
//!
//! It is required of files that were found, not named (`.env`, the agent's home, the policies of `serve`), and of runs without
//! a person. A file that a person names gets a warning that says who else can write it.

use std::fs::File;
use std::path::Path;

use intellistor::trust::{self, Untrusted};

use crate::failure::Failure;
use crate::screen::Screen;

/// Refuses a file that others can write.
pub(crate) fn require(what: &str, path: &Path) -> Result<(), Failure> {
    trust::check(path).map_err(|others| {
        Failure::configuration(format!("{what} {} is not used, because other accounts can change it", path.display()))
            .because(others)
            .hint("make it and the folders above it writable only by the account that runs this (`chown`, `chmod go-w`)")
    })
}

/// Warns of a file that others can write.
pub(crate) fn warn(what: &str, path: &Path, screen: &Screen) {
    if let Err(others) = trust::check(path) {
        screen.warn(format_args!(
            "other accounts can change {what} {}: {others}. `chown` and `chmod go-w` prevent that",
            path.display()
        ));
    }
}

/// That an open file is writable by no other account.
///
/// # Errors
/// [`Untrusted`].
pub(crate) fn check_open(path: &Path, file: &File) -> Result<(), Untrusted> {
    trust::check_open(path, file)
}
