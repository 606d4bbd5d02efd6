//! Verifies a backup: every byte of the archive against its seals, and what it holds against the manifest.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use intellistor_actors::progress::Progress;
use intellistor_storage::archive::{ArchiveReader, ArchiveSet, archive_digest};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest};
use intellistor_storage::{ContentDigest, Error as StorageError};
use intellistor_telemetry::names::span;
use intellistor_telemetry::trace;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::operations::changed_entries::ChangedEntries;
use crate::operations::report::{Integrity, VerifyReport};
use crate::operations::root_span::{root, stopped_by, traced};
use crate::operations::run_options::RunOptions;
use crate::operations::show::show;
use crate::operations::stream;

/// Checks every byte of a backup in the store against its seals and its manifest, without writing files.
///
/// # Errors
/// Those of the store and the key; `Integrity` names the first place that is not as it was sealed.
pub async fn verify(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    run: RunOptions,
) -> Result<VerifyReport> {
    let BackupName { policy_id, backup_id, .. } = name;
    let root = root!(span::VERIFY, policy_id, backup_id);
    let cancel = run.cancel.clone();
    let verified = stopped_by(&cancel, check(catalog, identity, name, run));
    traced(span::VERIFY, policy_id, root, verified).await
}

async fn check(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    run: RunOptions,
) -> Result<VerifyReport> {
    let (started, trace_id) = (Instant::now(), trace::current_id());
    let manifest = Arc::new(show(catalog, identity, name).await?);
    let archives = Arc::new(manifest.archives()?);
    let head = manifest.head();
    run.progress.total_entries.add(head.totals.entries);
    run.progress.total_bytes.add(head.totals.bytes);
    let mut sums = Checked::default();
    for number in archives.numbers() {
        let key = archives.key(number)?.to_owned();
        let (manifest, archives, progress) = (manifest.clone(), archives.clone(), run.progress.clone());
        let checked = stream::read_archive(catalog.store.clone(), key, run.clone(), move |source| {
            check_archive(&manifest, &archives, number, source, progress)
        });
        sums.add(checked.await?);
    }
    let changed = ChangedEntries::among(&manifest, None)?;
    Ok(VerifyReport {
        name: name.clone(),
        integrity: Integrity::Verified,
        changed: changed.count,
        warnings: changed.warnings(),
        skipped: head.totals.skipped,
        entries: sums.entries,
        bytes: sums.bytes,
        archive_bytes: sums.archive_bytes,
        segments: sums.segments,
        frames: sums.frames,
        archive_sha256: hex::encode(head.archives[0].sha256),
        seconds: started.elapsed().as_secs_f64(),
        trace_id,
    })
}

/// What was checked of one archive, or of all.
#[derive(Debug, Default)]
struct Checked {
    entries: u64,
    bytes: u64,
    archive_bytes: u64,
    segments: u32,
    frames: u64,
}

impl Checked {
    fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.archive_bytes += other.archive_bytes;
        self.segments += other.segments;
        self.frames += other.frames;
    }
}

/// Reads an archive to its end, and compares what it holds with the entries whose content is in it.
fn check_archive(
    manifest: &VerifiedManifest,
    archives: &ArchiveSet,
    number: u32,
    source: impl Read,
    progress: Arc<Progress>,
) -> Result<Checked> {
    let archive = archives.reader(number, source)?;
    let mut tar = TarVerifier { archive, frame: Vec::new(), position: 0, progress };
    let (mut checked, mut outcome) = (Checked::default(), Ok(()));
    let mut check = |entry: &Entry| -> Result<(), StorageError> {
        if archive_of(entry, archives)? == number {
            checked.entries += 1;
            checked.bytes = checked.bytes.saturating_add(tar.check(entry)?);
        }
        Ok(())
    };
    manifest.for_each_entry(|entry| {
        outcome = check(&entry);
        if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    outcome?;
    while tar.next_frame()? {}
    let segments = tar.archive.segments();
    let record = &manifest.head().archives[number as usize];
    if segments != record.segments || archive_digest(segments) != record.sha256 {
        return Err(contradiction("its segments are not those of the manifest").into());
    }
    checked.archive_bytes = segments.iter().map(|s| s.bytes).sum();
    checked.segments = segments.len() as u32;
    checked.frames = segments.iter().map(|s| s.frames.len() as u64).sum();
    Ok(checked)
}

/// The archive that holds an entry's content; the backup's own where it has none. An archive is read forward only, so that
/// content in more than one cannot be checked this way.
fn archive_of(entry: &Entry, archives: &ArchiveSet) -> Result<u32, StorageError> {
    let mut numbers = entry.extents.iter().map(|extent| extent.archive);
    let first = numbers.next().unwrap_or(0);
    if numbers.any(|number| number != first) {
        return Err(contradiction("an entry's content is in more than one archive"));
    }
    archives.key(first).map(|_| first)
}

/// The tar stream, read forward only: the manifest has its entries in the order of their bytes.
struct TarVerifier<R> {
    archive: ArchiveReader<R>,
    frame: Vec<u8>,
    /// Offset of `frame` in the tar stream.
    position: u64,
    progress: Arc<Progress>,
}

impl<R: Read> TarVerifier<R> {
    fn next_frame(&mut self) -> Result<bool, StorageError> {
        self.position += self.frame.len() as u64;
        self.frame = match self.archive.next_frame()? {
            Some(frame) => frame.tar,
            None => return Ok(false),
        };
        Ok(true)
    }

    /// Hashes an entry's content and compares it. Returns its size.
    fn check(&mut self, entry: &Entry) -> Result<u64, StorageError> {
        self.progress.entries.add(1);
        // A hard link's content is its first name's, which was checked.
        if entry.kind != EntryKind::File {
            return Ok(0);
        }
        let mut digest = entry.content_digest();
        let mut at = 0;
        for extent in &entry.extents {
            let end = extent.at.unwrap_or(at).checked_add(extent.length);
            if end.is_none_or(|end| end > entry.size) {
                return Err(contradiction("an entry's extents exceed its size"));
            }
            let hole = extent.at.unwrap_or(at).saturating_sub(at);
            digest.hole(hole);
            self.progress.bytes.add(hole);
            at = extent.at.unwrap_or(at);
            self.hash(&mut digest, extent.offset, extent.length)?;
            at += extent.length;
        }
        let hole = entry.size.saturating_sub(at);
        digest.hole(hole);
        self.progress.bytes.add(hole);
        if entry.sha256 != Some(digest.finish()) {
            return Err(StorageError::integrity(
                format!("{:?}", entry.relative_path),
                "the SHA-256 of its content is not the one in the manifest",
            ));
        }
        Ok(entry.size)
    }

    fn hash(&mut self, digest: &mut ContentDigest, offset: u64, length: u64) -> Result<(), StorageError> {
        let (mut offset, mut left) = (offset, length);
        if offset < self.position {
            return Err(contradiction("its entries are not in the order of the archive"));
        }
        while left > 0 {
            let skip = usize::try_from(offset - self.position).unwrap_or(usize::MAX);
            let Some(rest) = self.frame.get(skip..).filter(|rest| !rest.is_empty()) else {
                if !self.next_frame()? {
                    return Err(contradiction("an entry is beyond the archive's end"));
                }
                continue;
            };
            let n = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            digest.data(&rest[..n]);
            self.progress.bytes.add(n as u64);
            offset += n as u64;
            left -= n as u64;
        }
        Ok(())
    }
}

fn contradiction(reason: &str) -> StorageError {
    StorageError::integrity("the backup", reason)
}
