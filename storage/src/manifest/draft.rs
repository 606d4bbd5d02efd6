//! Collects what a backup has committed, and makes its manifest in the end.

use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;

use serde::Serialize;

use super::base::{Base, UNUSABLE_ARCHIVE};
use super::base_entries::BaseEntries;
use super::entry::Entry;
use super::head::{ArchiveRecord, BrakeRecord, Changes, Head, Origin, RootRecord, SnapshotRecord, Totals};
use super::listed::{Change, Listed};
use super::new_manifest::NewManifest;
use super::part_entries::PartEntries;
use super::problem::{Note, Problem, ProblemKind};
use super::refused::refused;
use super::security::Security;
use super::tally::{Counted, Tally};
use super::unchanged::{take_over, with_descriptor};
use super::writer::Lists;
use crate::archive::header::Header;
use crate::archive::segment::{SegmentRecord, archive_digest};
use crate::disk::spool::Spool;
use crate::error::{Error, Result};
use crate::keys::{ContentKey, DataKey};

/// What a backup has committed so far. In memory it holds the segments (some bytes for each MiB); entries and
/// problems are spooled.
#[derive(Debug)]
pub struct ManifestDraft {
    base: Option<Arc<Base>>,
    /// Where in the base's entries the last ones were taken over.
    base_entries: Option<BaseEntries>,
    lists: Lists,
    segments: Vec<SegmentRecord>,
    tally: Tally,
    line: Vec<u8>,
}

impl Default for ManifestDraft {
    /// One without a base.
    fn default() -> Self {
        Self::new(None)
    }
}

/// What the manifest says of a backup that its draft does not know.
#[derive(Debug, Clone, Default)]
pub struct BackupFacts {
    pub origin: Origin,
    pub roots: Vec<RootRecord>,
    pub snapshots: Vec<SnapshotRecord>,
    /// When its walk began, in milliseconds since 1970 UTC.
    pub began_ms: i64,
    /// Files and links of the base that are no longer there.
    pub deleted: u64,
    pub brake: Option<BrakeRecord>,
    /// The key under which its sketches were made.
    pub content_key: Option<ContentKey>,
    /// Whether the lists are sealed.
    pub sealed: bool,
}

impl ManifestDraft {
    /// A draft that can take entries over from a base.
    pub fn new(base: Option<Arc<Base>>) -> Self {
        let archives = 1 + base.as_ref().map_or(0, |base| base.usable().count());
        Self {
            base,
            base_entries: None,
            lists: Lists::default(),
            segments: Vec::new(),
            tally: Tally::new(archives),
            line: Vec::new(),
        }
    }

    /// Adds a segment that the store holds durably, and what ended in it. Segments come in order.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary folder is full; [`Error::Integrity`] for a list that is damaged, or that takes over
    /// what the base does not have.
    pub fn commit(&mut self, segment: SegmentRecord, listed: PartEntries) -> Result<()> {
        for entries in listed.entries.unpack() {
            for listed in entries? {
                match listed {
                    Listed::Entry { entry, change } => self.add(&entry, change)?,
                    Listed::Unchanged { first, count } => self.take_over(first, count)?,
                    Listed::Pieces(_) => {}
                }
            }
        }
        for problems in listed.problems.unpack() {
            for problem in problems? {
                let totals = &mut self.tally.totals;
                match problem.kind {
                    ProblemKind::Skipped => totals.skipped += 1,
                    ProblemKind::Changed => totals.changed += 1,
                    ProblemKind::Note => {
                        totals.notes += 1;
                        let Problem { relative_path, reason, .. } = problem;
                        add_line(&mut self.lists.notes, &Note { relative_path, reason })?;
                        continue;
                    }
                }
                add_line(&mut self.lists.problems, &problem)?;
            }
        }
        self.segments.push(segment);
        Ok(())
    }

    fn add(&mut self, entry: &Entry, change: Change) -> Result<()> {
        let mut extents = entry.extents.iter().chain(&entry.chunks);
        if extents.any(|extent| extent.archive == UNUSABLE_ARCHIVE) {
            let path = &entry.relative_path;
            return Err(refused(format!("{path:?} would be in an archive that may not be used")));
        }
        self.tally.count(Counted::from(entry), change);
        if entry.security.is_none() {
            return add_line(&mut self.lists.entries, entry);
        }
        let mut entry = entry.clone();
        self.lists.security.name(&mut entry);
        add_line(&mut self.lists.entries, &entry)
    }

    /// Copies entries of the base. One pass, as long as they come in their order.
    fn take_over(&mut self, first: u64, count: u64) -> Result<()> {
        let base = self.base.as_ref().ok_or_else(|| refused("it takes entries over from no base"))?;
        let mut entries = match self.base_entries.take() {
            Some(mut entries) if entries.index() <= first => {
                entries.skip_to(first);
                entries
            }
            _ => base.entries(first),
        };
        for _ in 0..count {
            let Some(line) = entries.next_line()? else {
                return Err(refused(format!("its base has no {count} entries from {first} on")));
            };
            self.line.clear();
            self.line.extend_from_slice(b",\n");
            let before = self.line.len();
            let taken = take_over(base, line, &mut self.line)?;
            self.tally.count(taken.counted(), Change::Unchanged);
            if let Some(Security::Row(id)) = taken.security
                && let Some(descriptor) = self.lists.security.take_over(base.manifest().security(), id)?
            {
                self.line.truncate(before);
                with_descriptor(base, line, descriptor.into(), &mut self.line)?;
            }
            self.lists.entries.write_all(&self.line).map_err(temporary)?;
        }
        self.base_entries = Some(entries);
        Ok(())
    }

    /// Sums so far.
    pub fn totals(&self) -> &Totals {
        &self.tally.totals
    }

    /// How it differs from the base, so far; without what was deleted.
    pub fn changes(&self) -> Changes {
        Changes { bytes_stored: self.archive_bytes(), ..self.tally.changes }
    }

    /// Files and links with another content than the base has, so far: `changed` in [`changes`](Self::changes) also counts those
    /// with other metadata alone.
    pub fn rewritten(&self) -> u64 {
        self.tally.rewritten
    }

    fn archive_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The first problems, up to `most`.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be read.
    pub fn first_problems(&mut self, most: usize) -> Result<Vec<Problem>> {
        self.lists.problems.flush().map_err(temporary)?;
        let lines = io::BufReader::new(self.lists.problems.reader()).lines();
        let problems = lines.filter(|line| !matches!(line.as_deref(), Ok(","))).take(most).map(|line| {
            line.and_then(|line| Ok(serde_json::from_str(line.trim_end_matches(','))?)).map_err(temporary)
        });
        problems.collect()
    }

    /// The segments so far.
    pub fn segments(&self) -> &[SegmentRecord] {
        &self.segments
    }

    /// Makes the manifest of the backup with a header and a data key.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary folder is full; [`Error::Integrity`] when a key of the base's archives was altered.
    pub fn finish(self, header: &Header, data_key: &DataKey, facts: BackupFacts) -> Result<NewManifest> {
        let BackupFacts { origin, roots, snapshots, began_ms, deleted, brake, content_key, sealed } = facts;
        let (name, changes) = (header.name(), Changes { deleted, ..self.changes() });
        let own = ArchiveRecord {
            backup_id: name.backup_id.clone(),
            key: name.archive_key(),
            bytes: self.archive_bytes(),
            sha256: archive_digest(&self.segments),
            live_bytes: self.tally.live_bytes(0),
            content_bytes: self.tally.live_bytes(0),
            header: None,
            data_key: None,
            segments: self.segments,
        };
        let mut archives = vec![own];
        if let Some(base) = &self.base {
            for number in base.usable() {
                let record = base.manifest().depend_on(number, &name.backup_id, data_key)?;
                archives.push(ArchiveRecord { live_bytes: self.tally.live_bytes(archives.len()), ..record });
            }
        }
        let head = Head {
            origin,
            began_ms,
            base: self.base.as_ref().map(|base| base.record()),
            brake,
            roots,
            snapshots,
            totals: self.tally.totals,
            changes,
            content_key: content_key.map(|key| data_key.seal_content_key(&name.backup_id, &key)),
            archives,
            entries_enc: None,
            name,
        };
        NewManifest::of(head, self.lists, sealed, header, data_key)
    }
}

fn add_line(spool: &mut Spool, line: &impl Serialize) -> Result<()> {
    let mut json = b",\n".to_vec();
    serde_json::to_writer(&mut json, line).map_err(|e| temporary(e.into()))?;
    spool.write_all(&json).map_err(temporary)
}

fn temporary(e: io::Error) -> Error {
    Error::io("write the manifest's temporary file in", std::env::temp_dir())(e)
}

#[cfg(test)]
mod tests;
