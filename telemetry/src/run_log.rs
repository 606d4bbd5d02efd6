//! The log of one run, as evidence.
//!
//! ```text
//! <home>/logs/<policy_id>/run_<timestamp>.log    one for each run
//! <home>/logs/<policy_id>/last.log               the twin of the newest
//!
//! 2026-11-24T02:00:00.123Z INFO  part stored part=12 bytes=8391203 trace=4bf92f3577b34da6a3ce929d0e0e4736
//! ```
//! A line is the time in UTC, the level, the message, the event's fields, and the run's trace id once it is known: of
//! two `trace=` the last is the run's.
//!
//! - **In**: the events of a run. [`layer()`] finds the run by the span that [`RunLog::span`] gives, so that several runs
//!   in one process do not mix.
//! - **Out**: two files. Each line is one write to each, handed to the system at once; nothing waits in memory.
//! - **Blocks**: the thread that logs, for these writes. Lines of one run queue for one lock.
//! - **A write that fails** (a full disk) stops nothing and is never silent: the next line is tried again, the file then
//!   says how many lines it lacks, and [`RunLog::trouble`] tells it to the run.
//! - **Survives a crash of the process**: every line written. A crash of the machine: what came before
//!   [`RunLog::sync`]. A job that resumes goes on in its own log, under its first timestamp; a line torn by the crash
//!   is ended first.

mod follow;
mod layer;
mod line_file;
mod retention;

#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{SecondsFormat, Utc};
use tracing::Level;

use crate::fields::Text;
use line_file::LineFile;

pub use follow::Follow;
pub use layer::{TARGET, layer};
pub use retention::{LogFile, list, retain};

/// The file that always holds the newest run's log.
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
    /// What ends each line before its newline.
    trace: String,
}

impl RunLog {
    /// Opens the log of the run that `timestamp` (`YYYYMMDDThhmmssZ`) names, goes on where it ended if it is there
    /// already, and makes `last.log` its twin. The folder is made where it is missing, for this user alone.
    ///
    /// # Errors
    /// `InvalidInput` when the timestamp is none, and whatever keeps the folder or the run's own file from being opened. A
    /// twin that cannot be made is [`trouble`](Self::trouble), and tried again with each line.
    pub fn open(folder: &Path, timestamp: &str) -> io::Result<Self> {
        if retention::parse(timestamp).is_none() {
            let told =
                format!("{timestamp:?} names no run; a run's timestamp reads as 20261124T020000Z does");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, told));
        }
        make_folder(folder).map_err(|e| told("make the folder for logs", folder, &e))?;
        let path = folder.join(retention::file_name(timestamp));
        let last_path = folder.join(LAST);
        let mut options = OpenOptions::new();
        let file = for_this_user(options.read(true).append(true).create(true)).open(&path);
        let run = file
            .and_then(|file| LineFile::resumed(&path, file))
            .map_err(|e| told("open the log", &path, &e))?;
        let mut state = State { run, last: LineFile::missing(&last_path), trace: String::new() };
        state.make_twin();
        let shared = Shared {
            folder: folder.to_owned(),
            timestamp: timestamp.to_owned(),
            path,
            last_path,
            state: state.into(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The run's own file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Its twin.
    pub fn last_path(&self) -> &Path {
        &self.shared.last_path
    }

    /// The folder of the policy's logs.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    /// What names the run.
    pub fn timestamp(&self) -> &str {
        &self.shared.timestamp
    }

    /// From here on each line ends with this trace id.
    pub fn set_trace_id(&self, trace_id: &str) {
        self.state().trace = format!(" trace={}", Text(trace_id));
    }

    /// Waits until every line is on the disk, and the files' names too.
    ///
    /// # Errors
    /// Whatever the system says; the lines may then be lost with the machine's power.
    pub fn sync(&self) -> io::Result<()> {
        let state = self.state();
        for file in [&state.run, &state.last] {
            file.sync().map_err(|e| told("write out the log", file.path(), &e))?;
        }
        // Elsewhere a folder cannot be opened as a file, and its entries are journalled.
        #[cfg(unix)]
        File::open(self.folder())
            .and_then(|folder| folder.sync_all())
            .map_err(|e| told("write out the folder", self.folder(), &e))?;
        Ok(())
    }

    /// What the log lacks: how many lines, the first error, and what to do. `None` when it is whole.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        let told: Vec<_> = [&state.run, &state.last].into_iter().filter_map(LineFile::trouble).collect();
        if told.is_empty() {
            return None;
        }
        Some(format!(
            "{}. The backup itself is not affected; make room on that disk, or let this user write there",
            told.join("; ")
        ))
    }

    /// Writes one line. `text` is escaped already.
    fn write(&self, level: Level, text: &str) {
        let mut state = self.state();
        // Taken under the lock, so that lines stand in the order of their times.
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let line = format!("{now} {level:<5} {text}{}\n", state.trace);
        if !state.last.is_open() {
            state.make_twin();
        }
        state.run.put(&now, &line);
        state.last.put(&now, &line);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each line leaves the state whole, even where a panic followed.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RunLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RunLog").field(&self.shared.path).finish()
    }
}

impl State {
    /// Makes `last.log` a copy of what the run's file holds: written beside, then renamed, so that a reader sees one
    /// log or the other.
    fn make_twin(&mut self) {
        match copy_to(self.run.path(), self.last.path()) {
            Ok(file) => self.last = self.run.twin(self.last.path(), file),
            Err(e) => self.last.not_made(&e),
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

/// A log names every file that was left out, so that it is nobody else's to read.
fn for_this_user(options: &mut OpenOptions) -> &OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

fn told(what: &str, path: &Path, error: &io::Error) -> io::Error {
    let path = path.display();
    let told = format!(
        "cannot {what} {path}: {error}. Make room there and let this user write there, then run again"
    );
    io::Error::new(error.kind(), told)
}
