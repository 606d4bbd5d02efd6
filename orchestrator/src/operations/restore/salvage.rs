//! Restores from the archive alone, when the manifest is lost.
//!
//! Every byte is checked against the archive's own seals. What the manifest would add is missing: the SHA-256 of each
//! file, and which files changed while they were read. Where a path occurs twice in the archive, the later one stays.
//!
//! A hard link that is selected without its file has no content of its own, and follows that file in the archive: such
//! links are deferred, and the archive is read a second time.
//!
//! | file | holds |
//! | --- | --- |
//! | `tar_stream` | the archive as a tar, read to its end |
//! | `entry` | one entry from header and pax records |

mod entry;
mod tar_stream;

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use intellistor_actors::globs::PathGlobs;
use intellistor_actors::progress::Progress;
use intellistor_actors::restore::extractor::extracted::Extracted;
use intellistor_actors::target::{FileDestination, Target, TargetError};
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{Entry, EntryKind};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::changed_entries::ChangedEntries;
use crate::operations::report::RestoreReport;
use crate::operations::restore::options::{RestoreOptions, open_target};
use crate::operations::stream::{self, ArchiveBytes};
use entry::DataRange;
use tar_stream::{CopyError, copy_ranges, for_each, into_error};

/// Memory for deferred links.
const MOST_DEFERRED_BYTES: u64 = 16 << 20;

pub(crate) async fn restore(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    options: RestoreOptions,
) -> Result<RestoreReport> {
    let started = Instant::now();
    // The archive does not say which system it is from.
    let only = options.globs(cfg!(windows))?;
    let wanted = only.clone();
    let (out, progress) = (options.out.clone(), options.run.progress.clone());
    let read = async |pass: Box<dyn FnOnce(Archive) -> Result<Salvage> + Send>| {
        let (key, backup) = (identity.clone(), name.clone());
        stream::read_archive(catalog.store.clone(), name.archive_key(), options.run.clone(), move |source| {
            pass(ArchiveReader::open(source, &backup, &key)?)
        })
        .await
    };
    // Nothing is written before the archive was found to be this backup's.
    let first = move |archive| Salvage::new(out, wanted, progress)?.restore_selected(archive);
    let mut salvage = read(Box::new(first)).await?;
    if !salvage.deferred.is_empty() {
        salvage = read(Box::new(move |archive| salvage.restore_deferred(archive))).await?;
    }
    let finished = tokio::task::spawn_blocking(move || salvage.finish()).await;
    let extracted =
        finished.unwrap_or_else(|e| Err(Error::Defect(format!("the writing thread panicked: {e}"))))?;
    options.report(name, only.as_ref(), extracted, ChangedEntries::default(), started)
}

type Archive = ArchiveReader<ArchiveBytes>;

struct Salvage {
    target: Target,
    out: PathBuf,
    only: Option<PathGlobs>,
    extracted: Extracted,
    progress: Arc<Progress>,
    /// Hard links that were selected without their file, by the file's path.
    deferred: HashMap<Vec<u8>, DeferredLinks>,
    deferred_bytes: u64,
    /// Where in the archive it reads, for reports of damage.
    position: String,
}

#[derive(Default)]
struct DeferredLinks {
    links: Vec<Entry>,
    /// An archive may have a file twice; its links are counted once.
    restored: bool,
}

impl Salvage {
    fn new(out: PathBuf, only: Option<PathGlobs>, progress: Arc<Progress>) -> Result<Self> {
        let target = open_target(&out)?;
        let (extracted, deferred) = (Extracted::default(), HashMap::new());
        Ok(Self {
            target,
            out,
            only,
            extracted,
            progress,
            deferred,
            deferred_bytes: 0,
            position: String::new(),
        })
    }

    fn restore_selected(mut self, archive: Archive) -> Result<Self> {
        let read = for_each(archive, |entry, ranges, content| {
            self.position = format!("{} and what follows it in the archive", entry.relative_path);
            if self.only.as_ref().is_some_and(|only| !only.is_match(&entry.relative_path)) {
                return Ok(());
            }
            self.extracted.found += 1;
            self.progress.entries.add(1);
            let made = match entry.kind {
                EntryKind::Directory => self.target.directory(&entry),
                EntryKind::Symlink => self.target.symlink(&entry),
                EntryKind::Hardlink if self.is_selected_alone(&entry) => return self.defer(entry),
                EntryKind::Hardlink => self.target.hardlink(&entry),
                EntryKind::File => self.file(&entry, &ranges, content)?,
            };
            self.position = format!("what follows {} in the archive", entry.relative_path);
            self.record(&entry, made)
        });
        self.accept_damage(read)?;
        Ok(self)
    }

    /// Damage ends the reading. What was restored before it is whole: the report counts it, and names the position.
    fn accept_damage(&mut self, read: Result<()>) -> Result<()> {
        match read {
            Err(Error::Storage(StorageError::Integrity { what, reason })) if self.extracted.restored > 0 => {
                // The second reading ends where the first one did.
                if self.extracted.damaged_count == 0 {
                    self.extracted.damage(&self.position, &format!("{what}: {reason}"));
                }
                Ok(())
            }
            read => read,
        }
    }

    fn is_selected_alone(&self, link: &Entry) -> bool {
        let file = link.link_target.as_deref().unwrap_or_default();
        self.only.as_ref().is_some_and(|only| !only.is_match(file))
    }

    fn defer(&mut self, link: Entry) -> Result<()> {
        let file = link.raw_link_target().unwrap_or_default().to_vec();
        let bytes = link.memory_bytes() + file.len() as u64;
        if self.deferred_bytes + bytes > MOST_DEFERRED_BYTES {
            let file = link.link_target.as_deref().unwrap_or_default();
            self.extracted.warn(format!(
                "{}: it is another name of {file}, and there are too many such links to restore them alone: select that, too",
                link.relative_path
            ));
            return Ok(());
        }
        self.deferred_bytes += bytes;
        self.deferred.entry(file).or_default().links.push(link);
        Ok(())
    }

    fn restore_deferred(mut self, archive: Archive) -> Result<Self> {
        let mut deferred = std::mem::take(&mut self.deferred);
        let read = for_each(archive, |file, ranges, content| {
            if file.kind != EntryKind::File {
                return Ok(());
            }
            let Some(DeferredLinks { links, restored }) = deferred.get_mut(file.raw_path()) else {
                return Ok(());
            };
            let (Some((first, others)), counts) = (links.split_first(), !*restored) else { return Ok(()) };
            let first = Entry {
                relative_path: first.relative_path.clone(),
                path_bytes: first.path_bytes.clone(),
                ..file
            };
            let made = self.file(&first, &ranges, content)?;
            *restored = made.is_ok();
            self.record_counted(&first, made, counts)?;
            for other in others {
                let other = Entry {
                    link_target: Some(first.relative_path.clone()),
                    link_target_bytes: first.path_bytes.clone(),
                    ..other.clone()
                };
                let made = self.target.hardlink(&other);
                self.record_counted(&other, made, counts)?;
            }
            Ok(())
        });
        self.accept_damage(read)?;
        for link in
            deferred.into_values().filter(|deferred| !deferred.restored).flat_map(|deferred| deferred.links)
        {
            let file = link.link_target.as_deref().unwrap_or_default();
            self.extracted.warn(format!(
                "{}: it is another name of {file}, whose content is not in the archive",
                link.relative_path
            ));
        }
        Ok(self)
    }

    fn finish(mut self) -> Result<Extracted> {
        let warnings =
            self.target.finish().map_err(|e| Error::Target { out: self.out, reason: e.to_string() })?;
        self.extracted.warn_all(warnings);
        Ok(self.extracted)
    }

    /// The outer error is the archive's, the inner one the target's.
    fn file(
        &mut self,
        entry: &Entry,
        ranges: &[DataRange],
        content: &mut dyn Read,
    ) -> Result<Result<Vec<String>, TargetError>> {
        let mut writer = match self.target.file(entry).and_then(FileDestination::create) {
            Ok(writer) => writer,
            Err(e) => return Ok(Err(e)),
        };
        let written = copy_ranges(content, ranges, |at, bytes| {
            self.progress.bytes.add(bytes.len() as u64);
            writer.write_at(at, bytes)
        });
        match written {
            Ok(()) => Ok(writer.finish(entry, entry.size)),
            Err(CopyError::Read(e)) => Err(into_error(e)),
            Err(CopyError::Write(e)) => Ok(Err(TargetError::from_io("write it", e))),
        }
    }

    fn record(&mut self, entry: &Entry, made: Result<Vec<String>, TargetError>) -> Result<()> {
        self.record_counted(entry, made, true)
    }

    fn record_counted(
        &mut self,
        entry: &Entry,
        made: Result<Vec<String>, TargetError>,
        counts: bool,
    ) -> Result<()> {
        match made {
            Ok(warnings) => {
                if counts {
                    self.extracted.restored += 1;
                    self.extracted.bytes = self.extracted.bytes.saturating_add(entry.size);
                }
                self.extracted.warn_all(warnings);
            }
            Err(TargetError::Fatal(e)) => {
                return Err(Error::Target { out: self.out.clone(), reason: e.to_string() });
            }
            Err(e) => self.extracted.warn(format!("{}: {e}", entry.relative_path)),
        }
        Ok(())
    }
}
