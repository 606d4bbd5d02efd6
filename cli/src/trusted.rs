//! What decides what runs and where it goes is in nobody else's hands: see [`intellistor::trust`] for the rule.
//!
//! What nobody named (`.env`, the agent's home, the policies that `serve` finds) and what runs unattended must keep it. A file
//! that a person names is theirs to judge: a warning names who else can write it.

use std::fs::File;
use std::path::Path;

use intellistor::trust::{self, Untrusted};

use crate::failure::Failure;
use crate::screen::Screen;

/// Refuses a file that others can write.
pub(crate) fn require(what: &str, path: &Path) -> Result<(), Failure> {
    trust::check(path).map_err(|others| {
        Failure::configuration(format!("{what} {} is not used, since others decide what it says", path.display()))
            .because(others)
            .hint("give it and the folders above it to the account that runs this, and nobody else (`chown`, `chmod go-w`)")
    })
}

/// Warns of a file that others can write.
pub(crate) fn warn(what: &str, path: &Path, screen: &Screen) {
    if let Err(others) = trust::check(path) {
        screen.warn(format_args!("others can change {what} {}: {others}", path.display()));
    }
}

/// Whether a file, which is open, can be written by nobody else.
///
/// # Errors
/// [`Untrusted`].
pub(crate) fn check_open(path: &Path, file: &File) -> Result<(), Untrusted> {
    trust::check_open(path, file)
}
