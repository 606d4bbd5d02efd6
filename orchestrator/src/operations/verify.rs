//! Verifies a backup: every byte of every archive that it names against its seals, and what they hold against the manifest.
//!
//! Each archive is read once, as a stream, and most content is checked on the way (`reading_order`); the rest is then read
//! through the stages of a restore, which write nothing here.

mod reading_order;

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use intellistor_actors::progress::Progress;
use intellistor_actors::restore::content_stage::ContentSink;
use intellistor_storage::archive::{ArchiveReader, ArchiveSet, archive_digest};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{Entry, Head, VerifiedManifest};
use intellistor_storage::memory::packed::{Packed, Packer};
use intellistor_storage::{ContentDigest, Error as StorageError};
use intellistor_telemetry::names::span;
use intellistor_telemetry::trace;

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::lifecycle::locking;
use crate::operations::changed_entries::ChangedEntries;
use crate::operations::cold_archives;
use crate::operations::report::{Integrity, VerifiedArchive, VerifyReport};
use crate::operations::root_span::{root, stopped_by, traced};
use crate::operations::run_options::RunOptions;
use crate::operations::show::show;
use crate::operations::stream;
use crate::operations::verify::reading_order::ReadingOrder;
use crate::pipeline::content::ContentPipeline;
use crate::pipeline::system::on_system;

/// Checks every byte of a backup in the store against its seals and its manifest, without writing files: the archives of
/// earlier backups that it depends on, too.
///
/// # Errors
/// Those of the store and the key; `Integrity` names the first place that is not as it was sealed, or the archive that is
/// missing.
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
    // Before hours are spent on what is there.
    for number in archives.numbers() {
        let key = archives.key(number)?;
        if catalog.store.head(key).await?.is_none() {
            return Err(missing(number, key).into());
        }
    }
    let (listing, in_set) = (manifest.clone(), archives.clone());
    let sorted = tokio::task::spawn_blocking(move || EntriesByArchive::sort(&listing, in_set)).await;
    let EntriesByArchive { of_archive, rest } = sorted.map_err(panicked)??;
    let mut verified = Vec::new();
    for (number, entries) in archives.numbers().zip(of_archive) {
        let key = archives.key(number)?.to_owned();
        let (manifest, archives, progress) = (manifest.clone(), archives.clone(), run.progress.clone());
        let set = archives.clone();
        let checked = stream::read_archive(catalog.store.clone(), key.clone(), run.clone(), move |source| {
            check_archive(&manifest, &set, number, &entries, source, progress)
        });
        let checked = checked.await.map_err(|error| in_archive(number, &key, error));
        verified.push(cold_archives::name_all(&*catalog.store, &archives, checked).await?);
    }
    let (mut entries, mut bytes) = (0, 0_u64);
    for archive in &verified {
        entries += archive.entries;
        bytes = bytes.saturating_add(archive.content_bytes);
    }
    if rest > 0 {
        let pipeline = ContentPipeline {
            manifest: manifest.clone(),
            filter: Some(Box::new(ReadingOrder::new(archives.clone()))),
            archives,
            store: catalog.store.clone(),
            sink: ContentChecker::default(),
            progress: run.progress.clone(),
        };
        let cancel = run.cancel.clone();
        let checked = on_system("verify", move || async move { pipeline.run(&cancel).await }).await?;
        entries += checked.entries;
        bytes = bytes.saturating_add(checked.bytes);
    }
    let changed = ChangedEntries::among(&manifest, None)?;
    let locked_until = locked_until(catalog, head).await;
    Ok(VerifyReport {
        name: name.clone(),
        integrity: Integrity::Verified,
        changed: changed.count,
        warnings: changed.warnings(),
        skipped: head.totals.skipped,
        entries,
        bytes,
        archive_bytes: verified.iter().map(|archive| archive.bytes).sum(),
        segments: verified.iter().map(|archive| archive.segments).sum(),
        frames: verified.iter().map(|archive| archive.frames).sum(),
        archives: verified,
        archive_sha256: hex::encode(head.archives[0].sha256),
        seconds: started.elapsed().as_secs_f64(),
        locked_until,
        trace_id,
    })
}

/// Until when all objects of a backup are locked. That a store does not say so is no failure of the bytes in it.
async fn locked_until(catalog: &Catalog, head: &Head) -> Option<String> {
    if !catalog.store.capabilities().object_lock {
        return None;
    }
    let until = locking::locked_until(&*catalog.store, locking::objects_of(head)).await;
    let until = until.unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot tell until when the backup is locked");
        None
    });
    until.map(locking::shown)
}

/// What to do about an archive of an earlier backup, without which this one is not whole.
const ADVICE: &str = "back up again: the next backup stores what is missing here";

fn missing(number: u32, key: &str) -> StorageError {
    let reason = match number {
        0 => "it is missing in the store, and with it what this backup added; back up again".to_owned(),
        _ => format!("it is missing in the store, and this backup depends on it; {ADVICE}"),
    };
    StorageError::integrity(format!("archive {key}"), reason)
}

/// Names the archive of an earlier backup in which something is wrong, and says what to do.
fn in_archive(number: u32, key: &str, error: Error) -> Error {
    match error {
        Error::Storage(StorageError::Integrity { what, reason }) if number > 0 => {
            let reason = format!("{reason}; this backup depends on that archive. Back up again with --full");
            StorageError::integrity(format!("{what} of {key}"), reason).into()
        }
        error => error,
    }
}

fn panicked(e: tokio::task::JoinError) -> Error {
    Error::Defect(format!("the reading thread panicked: {e}"))
}

/// The manifest's entries, by the archive with whose pass each is checked; in temporary files where there are many.
struct EntriesByArchive {
    of_archive: Vec<Packed<Entry>>,
    /// How many are read by themselves.
    rest: u64,
}

impl EntriesByArchive {
    fn sort(manifest: &VerifiedManifest, archives: Arc<ArchiveSet>) -> Result<Self, StorageError> {
        let mut of_archive: Vec<_> = archives.numbers().map(|_| Packer::default()).collect();
        let (mut order, mut rest, mut outcome) = (ReadingOrder::new(archives), 0, Ok(()));
        let mut sort = |entry: &Entry| -> Result<(), StorageError> {
            match order.archive_of(entry)? {
                Some(number) => of_archive[number as usize].push(entry)?,
                None => rest += 1,
            }
            Ok(())
        };
        manifest.for_each_entry(|entry| {
            outcome = sort(&entry);
            if outcome.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        outcome?;
        let of_archive = of_archive.into_iter().map(Packer::finish).collect::<Result<_, _>>()?;
        Ok(Self { of_archive, rest })
    }
}

/// Reads an archive to its end, and compares what it holds with the entries that are checked with it.
fn check_archive(
    manifest: &VerifiedManifest,
    archives: &ArchiveSet,
    number: u32,
    entries: &Packed<Entry>,
    source: impl Read,
    progress: Arc<Progress>,
) -> Result<VerifiedArchive> {
    let archive = archives.reader(number, source)?;
    let mut tar = TarVerifier { archive, frame: Vec::new(), position: 0, progress };
    let mut content_bytes = 0_u64;
    for some in entries.unpack() {
        for entry in some? {
            content_bytes = content_bytes.saturating_add(tar.check(&entry)?);
        }
    }
    while tar.next_frame()? {}
    let segments = tar.archive.segments();
    let record = &manifest.head().archives[number as usize];
    if segments != record.segments || archive_digest(segments) != record.sha256 {
        return Err(contradiction("its segments are not those of the manifest").into());
    }
    Ok(VerifiedArchive {
        key: record.key.clone(),
        entries: entries.len() as u64,
        content_bytes,
        bytes: segments.iter().map(|s| s.bytes).sum(),
        segments: segments.len() as u32,
        frames: segments.iter().map(|s| s.frames.len() as u64).sum(),
    })
}

/// Counts what is whole; the first that is not is an error.
#[derive(Debug, Default)]
struct ContentChecker {
    entries: u64,
    bytes: u64,
}

impl ContentSink for ContentChecker {
    fn begin(&mut self, _: &Entry) -> Result<(), StorageError> {
        self.entries += 1;
        Ok(())
    }

    fn data(&mut self, _: u64, _: &[u8]) -> Result<(), StorageError> {
        Ok(())
    }

    fn end(&mut self, entry: &Entry, damage: Option<String>) -> Result<(), StorageError> {
        self.bytes = self.bytes.saturating_add(entry.size);
        match damage {
            Some(reason) => Err(StorageError::integrity(format!("{:?}", entry.shown_path()), reason)),
            None => Ok(()),
        }
    }
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
        if !entry.kind.has_content() {
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
                format!("{:?}", entry.shown_path()),
                "the SHA-256 of its content is not the one in the manifest",
            ));
        }
        Ok(entry.size)
    }

    fn hash(&mut self, digest: &mut ContentDigest, offset: u64, length: u64) -> Result<(), StorageError> {
        let (mut offset, mut left) = (offset, length);
        if offset < self.position && length > 0 {
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
