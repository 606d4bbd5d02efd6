//! `show`: what a backup contains.

mod rows;
mod tree;

use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use clap::Args;
use intellistor::globs::{BadGlob, PathGlobs, suspicion};
use intellistor::{
    BackupName, BaseRecord, Changes, Entry, Head, SecurityDescriptor, SnapshotRecord, Totals,
    VerifiedManifest, selected_path,
};
use serde::Serialize;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::Surface;
use crate::output::{self, Done};
use crate::selection::{OnlyArgument, PolicySelection, Which};
use crate::session::Session;
use crate::units::counted;
use indicatif::BinaryBytes;

/// Show what a backup contains: its files, and what was skipped
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client show --policy policy.yaml --latest --tree
  backup-client show --policy policy.yaml --at 2026-11-01 --format table
  backup-client show --policy policy.yaml --latest --only '*.png' | jq -r '.entries[].relative_path'

The result is one JSON document with a line for each entry. `archives` lists what the backup needs in the store: its own \
archive and, for an incremental backup, those of earlier ones. The manifest is verified before anything is shown.")]
pub(crate) struct Show {
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    only: OnlyArgument,
    /// A tree with sizes, for people, instead of JSON
    #[arg(long)]
    tree: bool,
    #[command(flatten)]
    format: FormatArgument,
}

/// The manifest's head, without the segments and frames that only a program needs.
#[derive(Serialize)]
struct Top<'a> {
    #[serde(flatten)]
    name: &'a BackupName,
    key: String,
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    machine: Option<&'a str>,
    os: &'a str,
    tool: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    roots: Vec<Root<'a>>,
    /// Where files were read in snapshots of their volumes, and where not, and why.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    snapshots: &'a [SnapshotRecord],
    totals: &'a Totals,
    /// The backup that it took entries over from; absent for a full one.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<&'a BaseRecord>,
    changes: &'a Changes,
    /// Its own archive, then those of earlier backups that it depends on.
    archives: Vec<Archive<'a>>,
}

#[derive(Serialize)]
struct Root<'a> {
    path: &'a str,
    prefix: &'a str,
}

#[derive(Serialize)]
struct Archive<'a> {
    key: &'a str,
    bytes: u64,
    /// What this backup's entries have in it, before compression.
    live_bytes: u64,
    sha256: String,
    segments: usize,
}

impl<'a> From<&'a Head> for Top<'a> {
    fn from(head: &'a Head) -> Self {
        let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            name: &head.name,
            key: head.name.archive_key(),
            host: &head.origin.host,
            machine: head.origin.machine.as_deref(),
            os: &head.origin.os,
            tool: &head.origin.tool,
            trace_id: head.origin.trace_id.as_deref(),
            roots: head.roots.iter().map(|root| Root { path: &root.path, prefix: &root.prefix }).collect(),
            snapshots: &head.snapshots,
            totals: &head.totals,
            base: head.base.as_ref(),
            changes: &head.changes,
            archives: head
                .archives
                .iter()
                .map(|a| Archive {
                    key: &a.key,
                    bytes: a.bytes,
                    live_bytes: a.live_bytes,
                    sha256: hex(&a.sha256),
                    segments: a.segments.len(),
                })
                .collect(),
        }
    }
}

pub(crate) async fn run(command: Show, session: &Session) -> Result<Done, Failure> {
    let globs = command.only.only;
    // A malformed pattern is reported before anything is fetched.
    let refused = |e: BadGlob| Failure::configuration(e.to_string());
    PathGlobs::new(&globs).map_err(refused)?;
    let format = command.format.of(&session.environment)?;
    let policy = session.selected_policy(&command.policy)?;
    let (catalog, identity) = session.open(&policy).await?;
    let name = session.choose(&catalog, &identity, &policy, &command.which).await?;
    let manifest = session.unless_cancelled(intellistor::show(&catalog, &identity, &name)).await;
    let what = format!("cannot show backup {}", name.backup_id);
    let manifest = manifest.map_err(session.backup_failure(what, &command.policy, &[], None))?;
    let only = match manifest.head().origin.os == "windows" {
        _ if globs.is_empty() => None,
        true => Some(PathGlobs::ignoring_case(&globs).map_err(refused)?),
        false => Some(PathGlobs::new(&globs).map_err(refused)?),
    };
    let wanted = only.clone();
    let written = tokio::task::spawn_blocking(move || {
        let out = BufWriter::with_capacity(64 << 10, io::stdout());
        if command.tree {
            draw(out, &manifest, wanted.as_ref(), &mut tree::Tree::default())
        } else if format == OutputFormat::Table {
            let mut rows = rows::Rows::new(Surface::standard_output().width().map(usize::from));
            draw(out, &manifest, wanted.as_ref(), &mut rows)
        } else {
            write(out, &manifest, wanted.as_ref())
        }
    });
    tokio::select! {
        written = written => match written {
            Ok(Ok(())) => {
                for pattern in only.iter().flat_map(PathGlobs::unmatched) {
                    let hint = suspicion(pattern);
                    session.screen.warn(format_args!("nothing in the backup matches {pattern:?}{hint}"));
                }
                Ok(Done::Written(Exit::Success))
            }
            Ok(Err(Broken::Output(e))) => Err(output::unwritable(&e)),
            Ok(Err(Broken::Manifest(e))) => Err(Failure::engine("cannot show the whole backup")(*e).without_document()),
            Err(panic) => Err(Failure::new(Exit::Failed, format!("a bug in this program: {panic}. Please report it")).without_document()),
        },
        () = session.cancel.cancelled() => Err(Failure::new(Exit::Interrupted, "interrupted").without_document()),
    }
}

enum Broken {
    Output(io::Error),
    Manifest(Box<intellistor::Error>),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Writes entry by entry: a million of them are never in memory at once.
fn write(mut out: impl Write, manifest: &VerifiedManifest, only: Option<&PathGlobs>) -> Result<(), Broken> {
    let wanted = |path: &str| only.is_none_or(|globs| globs.is_match(selected_path(path)));
    let top = serde_json::to_string(&Top::from(manifest.head())).map_err(io::Error::other)?;
    // The lists go into the object that `top` is.
    write!(out, "{},\n\"entries\":[", top.strip_suffix('}').unwrap_or(&top))?;
    let mut list = List { out: &mut out, first: true, outcome: Ok(()) };
    manifest
        .for_each_entry(|entry| {
            if wanted(&entry.relative_path) { list.put(&shown(entry)) } else { ControlFlow::Continue(()) }
        })
        .map_err(|e| Broken::Manifest(Box::new(e.into())))?;
    list.outcome?;
    write!(out, "\n],\n\"problems\":[")?;
    let mut list = List { out: &mut out, first: true, outcome: Ok(()) };
    manifest
        .for_each_problem(|problem| {
            if wanted(&problem.relative_path) { list.put(&problem) } else { ControlFlow::Continue(()) }
        })
        .map_err(|e| Broken::Manifest(Box::new(e.into())))?;
    list.outcome?;
    write!(out, "\n],\n\"notes\":[")?;
    let mut list = List { out: &mut out, first: true, outcome: Ok(()) };
    manifest
        .for_each_note(
            |note| {
                if wanted(&note.relative_path) { list.put(&note) } else { ControlFlow::Continue(()) }
            },
        )
        .map_err(|e| Broken::Manifest(Box::new(e.into())))?;
    list.outcome?;
    out.write_all(b"\n]}\n")?;
    Ok(out.flush()?)
}

/// An entry as people and programs get to see it.
#[derive(Serialize)]
struct ShownEntry {
    #[serde(flatten)]
    entry: Entry,
    /// Owner, group and access list of Windows, as text; the bytes are in the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    sddl: Option<String>,
}

/// An entry without what only the next backup needs.
fn shown(mut entry: Entry) -> ShownEntry {
    let security = entry.security.take();
    let sddl = security.and_then(|security| security.descriptor().map(SecurityDescriptor::sddl));
    let entry = Entry { ctime_ns: None, inode: None, chunks: None, sketch: None, ..entry };
    ShownEntry { entry, sddl }
}

/// A form for people.
trait Lines {
    fn before(&self) -> String {
        String::new()
    }
    fn entry(&mut self, entry: &Entry) -> String;
    /// About what is not in the backup, or not as it was.
    fn remark(&self, kind: &str, relative_path: &str, reason: &str) -> String;
    fn sum(&self, bytes: u64, files: u64) -> String;
}

impl Lines for tree::Tree {
    fn entry(&mut self, entry: &Entry) -> String {
        self.lines(entry)
    }

    fn remark(&self, kind: &str, relative_path: &str, reason: &str) -> String {
        tree::remark(kind, relative_path, reason)
    }

    fn sum(&self, bytes: u64, files: u64) -> String {
        format!("{:>11}  {} in all\n", BinaryBytes(bytes).to_string(), counted(files, "file"))
    }
}

impl Lines for rows::Rows {
    fn before(&self) -> String {
        self.header()
    }

    fn entry(&mut self, entry: &Entry) -> String {
        rows::Rows::entry(*self, entry)
    }

    fn remark(&self, kind: &str, relative_path: &str, reason: &str) -> String {
        rows::Rows::remark(*self, kind, &format!("{relative_path}: {reason}"))
    }

    fn sum(&self, bytes: u64, files: u64) -> String {
        let (bytes, files) = (BinaryBytes(bytes).to_string(), counted(files, "file"));
        rows::Rows::remark(*self, &bytes, &format!("{files} in all"))
    }
}

/// As [`write`], for people.
fn draw(
    mut out: impl Write,
    manifest: &VerifiedManifest,
    only: Option<&PathGlobs>,
    lines: &mut impl Lines,
) -> Result<(), Broken> {
    let wanted = |path: &str| only.is_none_or(|globs| globs.is_match(selected_path(path)));
    out.write_all(lines.before().as_bytes())?;
    let mut outcome = Ok(());
    let mut put = |lines: &str| {
        outcome = out.write_all(lines.as_bytes());
        if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    manifest
        .for_each_entry(|entry| {
            if wanted(&entry.relative_path) { put(&lines.entry(&entry)) } else { ControlFlow::Continue(()) }
        })
        .map_err(|e| Broken::Manifest(Box::new(e.into())))?;
    manifest
        .for_each_problem(|problem| {
            if wanted(&problem.relative_path) {
                let kind = tree::kind(problem.kind);
                put(&lines.remark(kind, &problem.shown_path(), &problem.reason))
            } else {
                ControlFlow::Continue(())
            }
        })
        .map_err(|e| Broken::Manifest(Box::new(e.into())))?;
    manifest
        .for_each_note(|note| {
            if wanted(&note.relative_path) {
                put(&lines.remark("note", &note.relative_path, &note.reason))
            } else {
                ControlFlow::Continue(())
            }
        })
        .map_err(|e| Broken::Manifest(Box::new(e.into())))?;
    outcome?;
    let Totals { files, bytes, .. } = manifest.head().totals;
    out.write_all(lines.sum(bytes, files).as_bytes())?;
    Ok(out.flush()?)
}

/// A JSON list with an item on each line.
struct List<W> {
    out: W,
    first: bool,
    outcome: io::Result<()>,
}

impl<W: Write> List<W> {
    fn put(&mut self, item: &impl Serialize) -> ControlFlow<()> {
        let comma = if std::mem::take(&mut self.first) { "\n" } else { ",\n" };
        self.outcome = self
            .out
            .write_all(comma.as_bytes())
            .and_then(|()| serde_json::to_writer(&mut self.out, item).map_err(io::Error::from));
        if self.outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_json_whatever_its_length() {
        for length in 0..3 {
            let mut bytes = b"[".to_vec();
            let mut list = List { out: &mut bytes, first: true, outcome: Ok(()) };
            (0..length).for_each(|i| assert!(list.put(&i).is_continue()));
            bytes.extend(b"\n]");
            let numbers: Vec<i32> = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(numbers, (0..length).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_list_stops_when_the_reader_is_gone() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut list = List { out: Closed, first: true, outcome: Ok(()) };
        assert!(list.put(&1).is_break());
        assert_eq!(list.outcome.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn the_head_is_shown_without_its_segments() {
        let json = serde_json::to_value(Top::from(&Head::default())).unwrap();
        assert!(
            json["policy_id"].is_string()
                && json["totals"]["files"] == 0
                && json["archives"] == serde_json::json!([])
        );
    }
}
