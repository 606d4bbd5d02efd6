//! The two files of a run's log.

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{SecondsFormat, Utc};
use tracing::Level;

use super::line_file::LineFile;
use super::retention;
use crate::fields::Text;

/// The file that always has the newest run's log.
pub const LAST: &str = "last.log";

/// The log of one run; clones write to the same.
#[derive(Clone)]
pub struct RunLog {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    timestamp: String,
    path: PathBuf,
    last_path: PathBuf,
    state: Mutex<State>,
}

struct State {
    run: LineFile,
    last: LineFile,
    /// The end of each line: ` trace=<id>`, or nothing.
    trace: String,
}

impl RunLog {
    /// Opens the log of the run that `timestamp` (`YYYYMMDDThhmmssZ`) names, appends to it if it exists, and makes
    /// `last.log` a copy of it. A missing folder is made, for this user alone.
    ///
    /// # Errors
    /// `InvalidInput` when the timestamp is malformed; the system's own when the folder cannot be made or the run's own file
    /// not opened. A copy that cannot be made is a [`write_failure`](Self::write_failure), and tried again with each line.
    pub fn open(folder: &Path, timestamp: &str) -> io::Result<Self> {
        if retention::parse(timestamp).is_none() {
            let message =
                format!("{timestamp:?} is not a run's timestamp, which looks like 20261124T020000Z");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        make_folder(folder).map_err(|e| cannot("create the folder of logs", folder, &e))?;
        let path = folder.join(retention::file_name(timestamp));
        let last_path = folder.join(LAST);
        let mut options = OpenOptions::new();
        let file = for_this_user(options.read(true).append(true).create(true)).open(&path);
        let run = file
            .and_then(|file| LineFile::resumed(&path, file))
            .map_err(|e| cannot("open the log", &path, &e))?;
        let mut state = State { run, last: LineFile::missing(&last_path), trace: String::new() };
        state.copy_to_last();
        let shared = Shared {
            folder: folder.to_owned(),
            timestamp: timestamp.to_owned(),
            path,
            last_path,
            state: state.into(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The path of `last.log`.
    pub fn last_path(&self) -> &Path {
        &self.shared.last_path
    }

    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    pub fn timestamp(&self) -> &str {
        &self.shared.timestamp
    }

    /// From now on each line ends with this trace id.
    pub fn set_trace_id(&self, trace_id: &str) {
        self.state().trace = format!(" trace={}", Text(trace_id));
    }

    /// Waits until every line is on the disk, and the files' names too.
    ///
    /// # Errors
    /// The system's own; the lines may then be lost in a power failure.
    pub fn sync(&self) -> io::Result<()> {
        let state = self.state();
        for file in [&state.run, &state.last] {
            file.sync().map_err(|e| cannot("flush the log", file.path(), &e))?;
        }
        // Elsewhere a folder cannot be opened as a file, and its entries are journalled.
        #[cfg(unix)]
        File::open(self.folder())
            .and_then(|folder| folder.sync_all())
            .map_err(|e| cannot("flush the folder", self.folder(), &e))?;
        Ok(())
    }

    /// How many lines the files lack, the first error, and what to do. `None` when they are whole.
    pub fn write_failure(&self) -> Option<String> {
        let state = self.state();
        let failures: Vec<_> = [&state.run, &state.last].into_iter().filter_map(LineFile::failure).collect();
        (!failures.is_empty()).then(|| {
            format!(
                "{}. The backup itself is not affected; free some space on that disk, or let this account write there",
                failures.join("; ")
            )
        })
    }

    /// Writes one line. `text` must be escaped.
    pub(super) fn write(&self, level: Level, text: &str) {
        let mut state = self.state();
        // Taken under the lock, so that lines are in the order of their times.
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let line = format!("{now} {level:<5} {text}{}\n", state.trace);
        if !state.last.is_open() {
            state.copy_to_last();
        }
        state.run.put(&now, &line);
        state.last.put(&now, &line);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each line leaves the state consistent, also where a panic follows.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RunLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunLog").field(&self.shared.path).finish()
    }
}

impl State {
    /// Makes `last.log` a copy of the run's file: written beside it, then renamed, so that a reader sees one log or the
    /// other.
    fn copy_to_last(&mut self) {
        match copy_to(self.run.path(), self.last.path()) {
            Ok(file) => self.last = self.run.copied_to(self.last.path(), file),
            Err(e) => self.last.set_error(&e),
        }
    }
}

fn copy_to(run: &Path, last: &Path) -> io::Result<File> {
    let beside = last.with_extension("log.new");
    match fs::remove_file(&beside) {
        // Left by a crash, or by a full disk.
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut copy = for_this_user(options.append(true).create_new(true)).open(&beside)?;
    let copied = File::open(run).and_then(|mut run| io::copy(&mut run, &mut copy));
    match copied.and_then(|_| fs::rename(&beside, last)) {
        Ok(()) => Ok(copy),
        Err(e) => {
            let _ = fs::remove_file(&beside);
            Err(e)
        }
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// A log names every file that was skipped: other users must not read it.
fn for_this_user(options: &mut OpenOptions) -> &OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn cannot(what: &str, path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    let hint = "Free some space there, or let this account write there; then run again";
    io::Error::new(error.kind(), format!("cannot {what} {path}: {error}. {hint}"))
}
