//! What the fields of a policy may hold. Pure: touches neither disk nor environment.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use intellistor_actors::globs::{self, PathGlobs};
use intellistor_storage::catalog::layout::is_policy_id;

use super::error::PolicyError;
use crate::calendar::Calendar;

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
        Some(text) if cfg!(windows) && is_drive_relative(text) => {
            Err(PolicyError::DriveRelative { path: path.to_owned(), correct: with_backslash(text) })
        }
        Some(text) if text.contains('\0') => Err(PolicyError::NulInPath { path: path.to_owned() }),
        Some(_) => Ok(()),
    }
}

fn has_drive(path: &str) -> bool {
    path.starts_with(|c: char| c.is_ascii_alphabetic()) && path[1..].starts_with(':')
}

/// `C:` and `C:name`: to Windows the current folder of that drive, which is seldom what a person means.
fn is_drive_relative(path: &str) -> bool {
    has_drive(path) && !path[2..].starts_with(['\\', '/'])
}

fn with_backslash(path: &str) -> String {
    let (drive, rest) = path.split_at(2);
    format!("{drive}\\{rest}")
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

/// The calendar of a zone.
pub(super) fn calendar(timezone: Option<&str>) -> Result<Calendar, PolicyError> {
    Calendar::of(timezone).ok_or_else(|| {
        let timezone = timezone.unwrap_or_default().to_owned();
        PolicyError::UnknownTimezone { nearest: Calendar::nearest(&timezone), timezone }
    })
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A hundred years: what S3 takes for a lock. Beyond, a calendar ends.
const MOST_DAYS: u32 = 36_500;

pub(super) fn check_keep_within(span: Duration) -> Result<(), PolicyError> {
    if (HOUR..=DAY * MOST_DAYS).contains(&span) { Ok(()) } else { Err(PolicyError::KeepWithinRange { span }) }
}

/// A backup that is being made may depend on one that was forgotten up to a day ago.
pub(super) fn check_prune_after(span: Duration) -> Result<(), PolicyError> {
    if (DAY * 2..=DAY * MOST_DAYS).contains(&span) {
        Ok(())
    } else {
        Err(PolicyError::PruneAfterRange { span })
    }
}

pub(super) fn check_lock_days(days: u32) -> Result<(), PolicyError> {
    if (1..=MOST_DAYS).contains(&days) { Ok(()) } else { Err(PolicyError::LockDaysRange { days }) }
}

/// Which classes there are is the store's to say.
pub(super) fn check_storage_class(class: &str) -> Result<(), PolicyError> {
    let upper = class.trim().to_ascii_uppercase();
    let is_plausible = (1..=64).contains(&upper.len())
        && upper.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    let instead = match is_plausible {
        true if upper == class => return Ok(()),
        true => upper,
        false => "STANDARD_IA, for example".to_owned(),
    };
    Err(PolicyError::BadStorageClass { class: class.to_owned(), instead })
}

/// Reads a duration as people write it: `14d`, `6h`, `1h 30m`.
///
/// # Errors
/// [`PolicyError::BadDuration`].
pub fn parse_duration(text: &str) -> Result<Duration, PolicyError> {
    use humantime::DurationError as Bad;
    humantime::parse_duration(text).map_err(|error| {
        let reason = match error {
            // Of the library's words these say where in the text it stopped, and not what it lacks.
            Bad::InvalidCharacter(_) => {
                "a number is followed by something that is no unit of time".to_owned()
            }
            Bad::NumberExpected(_) if text.trim_start().starts_with('-') => "it is negative".to_owned(),
            Bad::NumberExpected(_) => "each part begins with a number".to_owned(),
            Bad::NumberOverflow => "it is too long".to_owned(),
            error => error.to_string(),
        };
        PolicyError::BadDuration { text: text.to_owned(), reason }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drive_without_a_backslash_is_known_and_corrected() {
        for (path, correct) in [("C:", r"C:\"), ("d:Dados", r"d:\Dados"), ("C:a/b", r"C:\a/b")] {
            assert!(is_drive_relative(path), "{path}");
            assert_eq!(with_backslash(path), correct);
        }
        for path in
            [r"C:\", r"c:\Dados", "C:/x", r"\\server\share", r"\\?\C:\x", r"\Dados", "Dados", "/c:", "é:"]
        {
            assert!(!is_drive_relative(path), "{path}");
        }
    }
}
