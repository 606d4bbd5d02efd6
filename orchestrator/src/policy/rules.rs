//! What the fields of a policy may hold. Pure: touches neither disk nor environment.

use std::path::{Component, Path, PathBuf};

use intellistor_actors::globs::{self, PathGlobs};
use intellistor_storage::catalog::layout::is_policy_id;

use super::error::PolicyError;

pub(super) fn check_id(policy_id: &str) -> Result<(), PolicyError> {
    if is_policy_id(policy_id) { Ok(()) } else { Err(PolicyError::BadId { policy_id: policy_id.to_owned() }) }
}

pub(super) fn check_path(path: &Path) -> Result<(), PolicyError> {
    match path.to_str() {
        None => Err(PolicyError::NotUnicode { path: path.to_owned() }),
        Some("") => Err(PolicyError::EmptyPath),
        Some(text) if has_drive(text) && text.contains(char::is_control) => {
            Err(PolicyError::EscapesInPath { path: path.to_owned() })
        }
        Some(text) if text.contains('\0') => Err(PolicyError::NulInPath { path: path.to_owned() }),
        Some(_) => Ok(()),
    }
}

fn has_drive(path: &str) -> bool {
    path.starts_with(|c: char| c.is_ascii_alphabetic()) && path[1..].starts_with(':')
}

/// Compares text only. Links, short names and nested folders are compared on disk before a backup.
pub(super) fn check_repeated(path: &Path, others: &[PathBuf]) -> Result<(), PolicyError> {
    let plain = |path: &Path| -> PathBuf {
        let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        if cfg!(windows) { plain.to_string_lossy().to_lowercase().into() } else { plain }
    };
    match others.iter().find(|other| plain(other) == plain(path)) {
        Some(other) => Err(PolicyError::SamePath { path: other.clone(), other: path.to_owned() }),
        None => Ok(()),
    }
}

pub(super) fn check_glob(glob: &str) -> Result<(), PolicyError> {
    if let Some(reason) = globs::mistake(glob) {
        return Err(PolicyError::IdleGlob { glob: glob.to_owned(), reason });
    }
    match PathGlobs::new([glob]) {
        Ok(_) => Ok(()),
        Err(e) => Err(PolicyError::BadGlob { glob: e.pattern, reason: e.reason }),
    }
}
