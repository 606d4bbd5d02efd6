//! `decrypt`: a backup as a plain `tar.gz`, for those who stop using Intellistor.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use intellistor::{BackupName, Catalog, Identity, leftovers};
use serde_json::json;
use tempfile::NamedTempFile;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::selection::{PolicySelection, Which};
use crate::session::Session;

const TEMPORARY: &str = ".decrypt-";

/// Turn a backup into a plain tar.gz, which `tar xzf` restores
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client decrypt --policy policy.yaml --latest --out backup.tar.gz
  backup-client decrypt --policy policy.yaml --latest --out - | tar tzv

The result is complete, also for an incremental backup. With `--out -`, standard output is the tar.gz itself, without any JSON. The result is not encrypted: keep it safe.")]
pub(crate) struct Decrypt {
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    which: Which,
    /// The file to write, which only you can read; or `-` for standard output. An existing file is never replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) async fn run(command: &Decrypt, session: &Session) -> Result<Done, Failure> {
    let to_stdout = command.out == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::configuration("standard output is a terminal, which cannot show a tar.gz")
            .hint("write to a file with --out FILE, or into a pipe with `--out - | tar tzv`"));
    }
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let name = session.choose(&catalog, &identity, &policy, &command.which).await?;
    if to_stdout {
        to_standard_output(&catalog, &identity, &name, session).await
    } else {
        to_file(&catalog, &identity, &name, &command.out, session).await
    }
}

async fn to_standard_output(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    session: &Session,
) -> Result<Done, Failure> {
    let reader_gone = Arc::new(AtomicBool::new(false));
    let out = Pipe { reader_gone: reader_gone.clone() };
    match intellistor::decrypt(catalog, identity, name, Box::new(out), session.run_options()).await {
        Ok(_) => Ok(Done::Written(Exit::Success)),
        Err(_) if reader_gone.load(Ordering::Relaxed) => Err(Failure::output_closed(Exit::Failed)),
        Err(error) => Err(failed(name)(error)
            .hint("do not use what was written so far: it is incomplete")
            .without_document()),
    }
}

async fn to_file(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    out: &Path,
    session: &Session,
) -> Result<Done, Failure> {
    let refused = |e: io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Failed, format!("{} exists already", out.display()))
            .hint("name another file with --out, or remove this one first"),
        _ => Failure::new(Exit::Failed, format!("cannot write {}: {e}", out.display()))
            .hint("check that its folder exists, that you may write to it, and that the disk is not full"),
    };
    // Hours of work should not end with this.
    if out.symlink_metadata().is_ok() {
        return Err(refused(ErrorKind::AlreadyExists.into()));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Plain text that a decrypt which was killed has left.
    leftovers::remove_abandoned_in(folder, |name| leftovers::is_temporary(name, TEMPORARY));
    let part = NamedTempFile::with_prefix_in(TEMPORARY, folder).map_err(refused)?;
    leftovers::hold(part.as_file());
    let writer: File = part.as_file().try_clone().map_err(refused)?;
    let report = intellistor::decrypt(catalog, identity, name, Box::new(writer), session.run_options())
        .await
        .map_err(failed(name))?;
    part.as_file().sync_all().map_err(refused)?;
    part.persist_noclobber(out).map_err(|e| refused(e.error))?;
    let document =
        json!({ "created": out.to_string_lossy(), "bytes": report.bytes_written, "frames": report.frames });
    Done::document(&document, Exit::Success)
}

fn failed(name: &BackupName) -> impl FnOnce(intellistor::Error) -> Failure {
    Failure::engine(format!("cannot decrypt backup {}", name.backup_id))
}

/// Standard output that remembers when its reader has gone away.
struct Pipe {
    reader_gone: Arc<AtomicBool>,
}

impl Pipe {
    fn noting<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if outcome.as_ref().is_err_and(|e| e.kind() == ErrorKind::BrokenPipe) {
            self.reader_gone.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.noting(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.noting(io::stdout().flush())
    }
}
