//! Writes manifests: collects while the backup runs, then makes the document in one pass.

use std::io::{self, BufRead, Read, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde::Serialize;
use sha2::Sha256;

use super::format::{FORMAT, MANIFEST_VERSION, TRAILER_BYTES, TRAILER_END, TRAILER_START};
use super::head::{ArchiveRecord, Head, Origin, RootRecord, Totals};
use super::listed::Listed;
use super::part_entries::PartEntries;
use super::problem::{Note, Problem, ProblemKind};
use crate::archive::header::Header;
use crate::archive::segment::{SegmentRecord, archive_digest};
use crate::catalog::layout::BackupName;
use crate::disk::spool::Spool;
use crate::error::{Error, Result};
use crate::keys::data_key::DataKey;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::options::PutOptions;
use crate::objects::store::ObjectStore;
use crate::objects::stream::put_stream;

/// What a backup has committed so far. In memory it holds the segments (some bytes for each MiB); entries and
/// problems are spooled.
#[derive(Debug, Default)]
pub struct ManifestDraft {
    entries: Spool,
    problems: Spool,
    notes: Spool,
    segments: Vec<SegmentRecord>,
    totals: Totals,
}

impl ManifestDraft {
    /// Adds a segment that the store holds durably, and what ended in it. Segments come in order.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary folder is full; [`Error::Integrity`] for a list that is damaged.
    pub fn commit(&mut self, segment: SegmentRecord, listed: PartEntries) -> Result<()> {
        for entries in listed.entries.unpack() {
            for listed in entries? {
                if let Listed::Entry { entry, .. } = listed {
                    self.totals.count(&entry);
                    add_line(&mut self.entries, &entry)?;
                }
            }
        }
        for problems in listed.problems.unpack() {
            for problem in problems? {
                match problem.kind {
                    ProblemKind::Skipped => self.totals.skipped += 1,
                    ProblemKind::Changed => self.totals.changed += 1,
                    ProblemKind::Note => {
                        self.totals.notes += 1;
                        let Problem { relative_path, reason, .. } = problem;
                        add_line(&mut self.notes, &Note { relative_path, reason })?;
                        continue;
                    }
                }
                add_line(&mut self.problems, &problem)?;
            }
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Sums so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The first problems, up to `most`.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be read.
    pub fn first_problems(&mut self, most: usize) -> Result<Vec<Problem>> {
        self.problems.flush().map_err(temporary)?;
        let lines = io::BufReader::new(self.problems.reader()).lines();
        let problems = lines.filter(|line| !matches!(line.as_deref(), Ok(","))).take(most).map(|line| {
            line.and_then(|line| Ok(serde_json::from_str(line.trim_end_matches(','))?)).map_err(temporary)
        });
        problems.collect()
    }

    /// The segments so far.
    pub fn segments(&self) -> &[SegmentRecord] {
        &self.segments
    }

    /// Makes the document.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary folder is full.
    pub fn finish(
        mut self,
        header: &Header,
        data_key: &DataKey,
        origin: Origin,
        roots: Vec<RootRecord>,
    ) -> Result<(Spool, Head)> {
        let name = header.name();
        let archive = ArchiveRecord {
            key: name.archive_key(),
            bytes: self.segments.iter().map(|s| s.bytes).sum(),
            sha256: archive_digest(&self.segments),
            segments: self.segments,
        };
        let head =
            Head { name, origin, roots, archives: vec![archive], totals: self.totals, ..Head::default() };

        let mut out =
            Authenticated { spool: Spool::default(), mac: data_key.manifest_mac(header.backup_id()) };
        let mut write = |out: &mut Authenticated| -> io::Result<()> {
            let preamble = STANDARD.encode(header.encoded());
            write!(
                out,
                "{{\"format\":\"{FORMAT}\",\n\"version\":{MANIFEST_VERSION},\n\"header\":\"{preamble}\",\n"
            )?;
            // Each is a JSON object of its own; here its members stand in ours.
            let Head { name, origin, roots, totals, archives, .. } = &head;
            let ours = NameAndOrigin { name, origin };
            write_members(out, &ours, ",\n")?;
            write_members(out, &Contents { roots, totals, archives }, "")?;
            let lists = [
                ("entries", &mut self.entries),
                ("problems", &mut self.problems),
                ("notes", &mut self.notes),
            ];
            for (member, lines) in lists {
                lines.flush()?;
                write!(out, ",\n\"{member}\":[")?;
                let mut reader = lines.reader();
                // Each line begins with a comma; the first must not.
                io::copy(&mut (&mut reader).take(1), &mut io::sink())?;
                io::copy(&mut io::BufReader::with_capacity(64 << 10, reader), out)?;
                write!(out, "\n]")?;
            }
            Ok(())
        };
        write(&mut out).map_err(temporary)?;
        out.close().map(|spool| (spool, head)).map_err(temporary)
    }
}

/// The members of [`Head`], in its order, in the two lines that they take.
#[derive(Serialize)]
struct NameAndOrigin<'h> {
    #[serde(flatten)]
    name: &'h BackupName,
    #[serde(flatten)]
    origin: &'h Origin,
}

#[derive(Serialize)]
struct Contents<'h> {
    roots: &'h [RootRecord],
    totals: &'h Totals,
    archives: &'h [ArchiveRecord],
}

fn write_members(out: &mut impl Write, object: &impl Serialize, end: &str) -> io::Result<()> {
    let json = serde_json::to_vec(object)?;
    out.write_all(&json[1..json.len() - 1])?;
    out.write_all(end.as_bytes())
}

fn add_line(spool: &mut Spool, line: &impl Serialize) -> Result<()> {
    let mut json = b",\n".to_vec();
    serde_json::to_writer(&mut json, line).map_err(|e| temporary(e.into()))?;
    spool.write_all(&json).map_err(temporary)
}

fn temporary(e: io::Error) -> Error {
    Error::io("write the manifest's temporary file in", std::env::temp_dir())(e)
}

struct Authenticated {
    spool: Spool,
    mac: Hmac<Sha256>,
}

impl Authenticated {
    fn close(mut self) -> io::Result<Spool> {
        let tag = hex::encode(self.mac.finalize().into_bytes());
        write!(self.spool, "{TRAILER_START}{tag}{TRAILER_END}")?;
        self.spool.flush()?;
        Ok(self.spool)
    }
}

impl Write for Authenticated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.mac.update(bytes);
        self.spool.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts a manifest: the last step of a backup, which makes it exist. It appears whole or not at all, and never in the
/// place of another one.
///
/// # Errors
/// [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists), and those of the store.
pub async fn put_manifest(store: &dyn ObjectStore, key: &str, manifest: &Spool) -> Result<()> {
    put_stream(store, key, manifest.reader(), &PutOptions::if_absent(), temporary).await?;
    // Not every store knows the condition: of two that put at once, the one that finds its own seal there has won.
    let start = manifest.bytes().saturating_sub(TRAILER_BYTES as u64);
    let mut seal = vec![0; (manifest.bytes() - start) as usize];
    manifest.read_exact_at(&mut seal, start).map_err(temporary)?;
    match store.get_range(key, start..manifest.bytes() + 1).await {
        Ok(found) if found == seal => Ok(()),
        Ok(_) => {
            let reason = "another manifest was written at the same time";
            Err(StoreError::new(StoreErrorKind::AlreadyExists, store.url(), "write", key, reason).into())
        }
        // Who may only write relies on the condition.
        Err(Error::Store(error)) if error.kind == StoreErrorKind::AccessDenied => Ok(()),
        Err(error) => Err(error),
    }
}
