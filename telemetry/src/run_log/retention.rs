//! The logs in a folder, and the removal of old ones.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};

const TIMESTAMP: &str = "%Y%m%dT%H%M%SZ";

/// The log of one run, as found in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    pub timestamp: String,
    pub path: PathBuf,
    pub bytes: u64,
}

/// The logs in a folder, oldest first; other files, `last.log` too, are ignored. Empty where the folder does not exist.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(cannot("read the folder of logs", folder, &e)),
    };
    let mut logs = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| cannot("read the folder of logs", folder, &e))?;
        let name = entry.file_name();
        let Some(timestamp) = name.to_str().and_then(timestamp_of) else {
            continue;
        };
        // Of the entry itself: a symlink is not one of ours.
        match entry.metadata() {
            Ok(found) if found.is_file() => {
                logs.push(LogFile { timestamp: timestamp.to_owned(), path: entry.path(), bytes: found.len() })
            }
            Ok(_) => {}
            // Removed meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(cannot("read the metadata of the log", &entry.path(), &e)),
        }
    }
    logs.sort_by(|a, b| a.timestamp.cmp(&b.timestamp));
    Ok(logs)
}

/// Removes the logs of runs that began more than `keep_days` before `now`, by the timestamp in the name. Gives their number.
/// Never removes `last.log`, a file named as a path in `except` (a log not shipped yet, the run's own), or any other file.
///
/// # Errors
/// The folder cannot be read; or a log cannot be removed, after all others were.
pub fn retain(folder: &Path, keep_days: u32, now: DateTime<Utc>, except: &[PathBuf]) -> io::Result<usize> {
    let keep = TimeDelta::days(keep_days.into());
    let mut removed = 0;
    let mut failure = None;
    for log in list(folder)? {
        let old = parse(&log.timestamp).is_some_and(|began| now - began > keep);
        let excepted = except.iter().any(|path| path.file_name() == log.path.file_name());
        if !old || excepted {
            continue;
        }
        match fs::remove_file(&log.path) {
            Ok(()) => removed += 1,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                failure.get_or_insert_with(|| cannot("remove the old log", &log.path, &e));
            }
        }
    }
    failure.map_or(Ok(removed), Err)
}

pub(super) fn file_name(timestamp: &str) -> String {
    format!("run_{timestamp}.log")
}

fn timestamp_of(name: &str) -> Option<&str> {
    let timestamp = name.strip_prefix("run_")?.strip_suffix(".log")?;
    parse(timestamp).map(|_| timestamp)
}

/// Reads a run's timestamp, in its one spelling.
pub(super) fn parse(timestamp: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(timestamp, TIMESTAMP).ok()?;
    // chrono also takes signs, spaces and missing zeros.
    (time.format(TIMESTAMP).to_string() == timestamp).then(|| time.and_utc())
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    io::Error::new(
        error.kind(),
        format!("cannot {what} {path}: {error}. Check that this account may read and write there"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            fs::write(folder.path().join(name), name).unwrap();
        }
        folder
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    const OTHERS: [&str; 6] = [
        "last.log",
        "notes.txt",
        "run_20200101T000000Z.log.bak",
        "run_20200101T000000.log",
        "run_20201301T000000Z.log",
        "run_2020101T0000000Z.log",
    ];

    #[test]
    fn only_old_logs_of_ours_go() {
        let room = folder(&OTHERS);
        let logs = [
            "run_20261024T020000Z.log",
            "run_20261025T015959Z.log",
            "run_20261025T020000Z.log",
            "run_20991231T000000Z.log",
        ];
        for name in logs {
            fs::write(room.path().join(name), "").unwrap();
        }
        let now = parse("20261124T020000Z").unwrap();
        let except = [PathBuf::from("elsewhere/run_20261024T020000Z.log")];
        assert_eq!(retain(room.path(), 30, now, &except).unwrap(), 1);
        let mut left: Vec<_> = OTHERS.into_iter().chain(logs).filter(|name| *name != logs[1]).collect();
        left.sort();
        assert_eq!(names(room.path()), left);
        assert_eq!(retain(room.path(), 30, now, &[]).unwrap(), 1);
        assert_eq!(retain(&room.path().join("none"), 30, now, &[]).unwrap(), 0);
        assert_eq!(retain(room.path(), u32::MAX, now, &[]).unwrap(), 0);
    }

    #[test]
    fn the_list_is_of_runs_oldest_first() {
        let room = folder(&OTHERS);
        for name in ["run_20261124T020000Z.log", "run_20251124T020000Z.log"] {
            fs::write(room.path().join(name), "12345").unwrap();
        }
        fs::create_dir(room.path().join("run_20241124T020000Z.log")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("last.log", room.path().join("run_20231124T020000Z.log")).unwrap();
        let logs = list(room.path()).unwrap();
        let found: Vec<_> = logs.iter().map(|log| (log.timestamp.as_str(), log.bytes)).collect();
        assert_eq!(found, [("20251124T020000Z", 5), ("20261124T020000Z", 5)]);
        assert_eq!(logs[0].path, room.path().join("run_20251124T020000Z.log"));
        assert_eq!(list(&room.path().join("none")).unwrap(), []);
    }

    #[test]
    fn a_timestamp_has_one_spelling() {
        assert!(parse("20261124T020000Z").is_some());
        for wrong in
            ["", "20261124T020000", "20261324T020000Z", " 20261124T020000Z", "+20261124T02000Z", "../../x"]
        {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
