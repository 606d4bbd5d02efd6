//! The keys under which a store holds backups, and the logs of the runs that made them.
//!
//! ```text
//! backups/<policy_id>/machine.json
//! backups/<policy_id>/<timestamp>/<backup_id>/backup.tar.gz.enc
//! backups/<policy_id>/<timestamp>/<backup_id>/manifest.json
//! backups/<policy_id>/<timestamp>/<backup_id>/entries.enc        where the manifest's lists are sealed
//! backups/<policy_id>/<timestamp>/<backup_id>/forgotten.json     once the backup was forgotten
//! backups/<policy_id>/<timestamp>/<backup_id>/hold.json          once it was held, or unforgotten
//! backups/<policy_id>/<timestamp>/<backup_id>/confirmed.json     once a person said that what it lacks is not lost
//! backups/<policy_id>/doctor-<random>                            while a `doctor` examines the store
//! logs/<policy_id>/run_<timestamp>.log
//! logs/<policy_id>/last.log
//! ```
//! A backup exists if and only if its manifest does and nothing that [counts](super::standing) says that it is forgotten.

use std::fmt;

use chrono::NaiveDateTime;
use serde::{Deserialize, Serialize};

/// What the keys of all backups begin with.
pub const BACKUPS: &str = "backups";
/// What the keys of all logs begin with.
pub const LOGS: &str = "logs";
/// How the time of a run is written in keys, file names and reports: UTC, to the second. (The run logs of telemetry, which
/// does not depend on this crate, have the same.)
pub const TIMESTAMP: &str = "%Y%m%dT%H%M%SZ";
const ARCHIVE: &str = "backup.tar.gz.enc";
const MANIFEST: &str = "manifest.json";
const ENTRIES: &str = "entries.enc";
const FORGOTTEN: &str = "forgotten.json";
const HOLD: &str = "hold.json";
const CONFIRMED: &str = "confirmed.json";

/// The objects of one backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    Archive,
    Manifest,
    /// The manifest's sealed lists.
    Entries,
    /// [`Forgotten`](super::statements::Forgotten).
    Forgotten,
    /// [`Hold`](super::statements::Hold).
    Hold,
    /// [`Confirmed`](super::statements::Confirmed).
    Confirmed,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Archive, Self::Manifest, Self::Entries, Self::Forgotten, Self::Hold, Self::Confirmed];

    fn file(self) -> &'static str {
        match self {
            Self::Archive => ARCHIVE,
            Self::Manifest => MANIFEST,
            Self::Entries => ENTRIES,
            Self::Forgotten => FORGOTTEN,
            Self::Hold => HOLD,
            Self::Confirmed => CONFIRMED,
        }
    }
}

/// What names one backup: the policy, the run's UTC timestamp, and a random id.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BackupName {
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
    pub policy_id: String,
    /// `YYYYMMDDThhmmssZ`.
    pub timestamp: String,
    /// A UUID of version 7, so that keys sort by time.
    pub backup_id: String,
}

impl BackupName {
    /// The prefix of every backup of a policy.
    pub fn policy_prefix(policy_id: &str) -> String {
        format!("{BACKUPS}/{policy_id}/")
    }

    /// The key of the archive.
    pub fn archive_key(&self) -> String {
        self.key(ObjectKind::Archive)
    }

    /// The key of the manifest.
    pub fn manifest_key(&self) -> String {
        self.key(ObjectKind::Manifest)
    }

    /// The key of the manifest's sealed lists.
    pub fn entries_key(&self) -> String {
        self.key(ObjectKind::Entries)
    }

    /// The key of one of its objects.
    pub fn key(&self, object: ObjectKind) -> String {
        let object = object.file();
        format!("{BACKUPS}/{}/{}/{}/{object}", self.policy_id, self.timestamp, self.backup_id)
    }

    /// Reads the name, and which object of that backup it is, from a key; `None` for what is no object of a backup.
    pub fn of_object(key: &str) -> Option<(Self, ObjectKind)> {
        ObjectKind::ALL.into_iter().find_map(|kind| Some((Self::parse(key, kind.file())?, kind)))
    }

    /// Reads the name from an archive's key; `None` when it is no such key.
    pub fn from_archive_key(key: &str) -> Option<Self> {
        Self::parse(key, ARCHIVE)
    }

    /// Reads the name from a manifest's key; `None` when it is no such key.
    pub fn from_manifest_key(key: &str) -> Option<Self> {
        Self::parse(key, MANIFEST)
    }

    fn parse(key: &str, object: &str) -> Option<Self> {
        let mut parts = key.split('/');
        let (Some(BACKUPS), Some(policy_id), Some(timestamp), Some(backup_id), Some(last), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        (last == object && is_policy_id(policy_id) && is_timestamp(timestamp) && is_backup_id(backup_id))
            .then(|| Self {
                policy_id: policy_id.to_owned(),
                timestamp: timestamp.to_owned(),
                backup_id: backup_id.to_owned(),
            })
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy_id, timestamp, backup_id } = self;
        write!(f, "backup {backup_id} of policy {policy_id}, {timestamp}")
    }
}

/// Whether it is a time of the form `YYYYMMDDThhmmssZ`. What somebody else put beside our backups has another form, and
/// must not be taken for the newest of them.
fn is_timestamp(text: &str) -> bool {
    let has_form = text.bytes().enumerate().all(|(at, byte)| match at {
        8 => byte == b'T',
        15 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    });
    text.len() == 16 && has_form && NaiveDateTime::parse_from_str(text, TIMESTAMP).is_ok()
}

fn is_backup_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The key of what says which machine a policy belongs to.
pub fn machine_key(policy_id: &str) -> String {
    format!("backups/{policy_id}/machine.json")
}

/// The key of an object by which the permissions on a policy's objects are tried. It names no backup, so that no listing
/// shows it and no sweep takes it; an upload that is left under it is aborted as any other that was abandoned.
pub fn probe_key(policy_id: &str, random: &str) -> String {
    format!("{}{random}", probe_prefix(policy_id))
}

/// What the keys of [`probe_key`] begin with.
pub fn probe_prefix(policy_id: &str) -> String {
    format!("{BACKUPS}/{policy_id}/doctor-")
}

/// Whether it is a key of [`probe_key`], with a random part of 32 hexadecimal digits.
pub fn is_probe_key(policy_id: &str, key: &str) -> bool {
    let random = key.strip_prefix(&probe_prefix(policy_id));
    random.is_some_and(|random| random.len() == 32 && random.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The key of a run's log.
pub fn log_key(policy_id: &str, timestamp: &str) -> String {
    format!("{LOGS}/{policy_id}/run_{timestamp}.log")
}

/// Whether it is the key of a run's log.
pub fn is_run_log(key: &str) -> bool {
    let mut parts = key.split('/');
    let (Some(LOGS), Some(policy_id), Some(file), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let timestamp = file.strip_prefix("run_").and_then(|rest| rest.strip_suffix(".log"));
    is_policy_id(policy_id) && timestamp.is_some_and(is_timestamp)
}

/// The key of the newest run's log.
pub fn last_log_key(policy_id: &str) -> String {
    format!("{LOGS}/{policy_id}/last.log")
}

/// Whether `id` may name a policy. It becomes a path, an object key, a task name and a file name.
pub fn is_policy_id(id: &str) -> bool {
    id.len() <= 64
        && id.starts_with(|c: char| c.is_ascii_alphanumeric())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_its_name() {
        let name = BackupName {
            policy_id: "mvp-default".into(),
            timestamp: "20261123T020000Z".into(),
            backup_id: "7d1f".into(),
        };
        assert_eq!(BackupName::from_archive_key(&name.archive_key()), Some(name.clone()));
        assert_eq!(BackupName::from_manifest_key(&name.manifest_key()), Some(name.clone()));
        assert_eq!(BackupName::from_archive_key(&name.manifest_key()), None);
        assert_eq!(BackupName::from_archive_key("backups/../x/y/backup.tar.gz.enc"), None);
    }

    #[test]
    fn what_somebody_else_put_there_names_no_backup() {
        for junk in [
            "backups/p/x/y/backup.tar.gz.enc",
            "backups/p/20261123T020000Z//backup.tar.gz.enc",
            "backups/p/20261123T020000Z/7d1f/old/backup.tar.gz.enc",
            "backups/p/20261323T020000Z/7d1f/backup.tar.gz.enc",
            "backups/p/+2026123T020000Z/7d1f/backup.tar.gz.enc",
            "backups/p/20261123T020000Z/7d 1f/backup.tar.gz.enc",
            "backups/p/20261123T020000Z/a\u{301}/backup.tar.gz.enc",
            "backups/p/20261123T020000Z/7d1f/BACKUP.tar.gz.enc",
            "backups/p/",
            "backups/p/readme.txt",
            &probe_key("p", "20261123T020000Z"),
        ] {
            assert_eq!(BackupName::from_archive_key(junk), None, "{junk}");
        }
    }

    #[test]
    fn a_runs_log_is_told_from_the_newest_and_from_others() {
        assert!(is_run_log(&log_key("p", "20261123T020000Z")));
        for other in [
            &last_log_key("p"),
            "logs/p/run_x.log",
            "logs/p/q/run_20261123T020000Z.log",
            "run_20261123T020000Z.log",
        ] {
            assert!(!is_run_log(other), "{other}");
        }
    }

    #[test]
    fn policy_ids_are_safe_in_paths_and_keys() {
        assert!(is_policy_id("a") && is_policy_id("mvp-default") && is_policy_id("A.b_c-9"));
        for bad in ["", ".a", "-a", "a/b", "a b", "ção", &"x".repeat(65)] {
            assert!(!is_policy_id(bad), "{bad}");
        }
    }
}
