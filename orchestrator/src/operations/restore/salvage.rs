//! Restores from the archive alone, when the manifest is lost.
//!
//! Every byte is checked against the archive's own seals. What the manifest would add is missing: the SHA-256 of each
//! file, and which files changed while they were read. Where a path occurs twice in the archive, the later one stays.
//!
//! What this archive holds is all there is: files whose content is in archives of earlier backups are not among it.
//!
//! A hard link that is selected without its file has no content of its own, and follows that file in the archive, as does a
//! file that is there as a copy of another one: such entries are deferred, and the archive is read again for them.
//!
//! | file | holds |
//! | --- | --- |
//! | `deferred` | entries that wait for the content of another one |
//! | `tar_stream` | the archive as a tar, read to its end |
//! | `entry` | one entry from header and pax records |

mod deferred;
mod entry;
mod tar_stream;

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use intellistor_actors::globs::PathGlobs;
use intellistor_actors::progress::Progress;
use intellistor_actors::restore::extractor::extracted::Extracted;
use intellistor_actors::target::{
    ContentDestination, FileDestination, Overwrite, StreamPlace, Target, TargetError,
};
use intellistor_storage::Error as StorageError;
use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{Entry, EntryKind, streams};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::changed_entries::ChangedEntries;
use crate::operations::report::RestoreReport;
use crate::operations::restore::options::{Destination, RestoreOptions, open_target};
use crate::operations::stream::{self, ArchiveBytes};
use deferred::{Deferred, Wanted};
use entry::DataRange;
use tar_stream::{CopyError, Member, copy_ranges, for_each, into_error};

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
    let Destination::Folder(out) = options.destination.clone() else {
        let reason = "without its manifest it does not say where it came from".to_owned();
        return Err(Error::NotInPlace { backup_id: name.backup_id.clone(), reason });
    };
    let (overwrite, progress) = (options.overwrite, options.run.progress.clone());
    let with_access_lists = !options.without_access_lists;
    let read = async |pass: Box<dyn FnOnce(Archive) -> Result<Salvage> + Send>| {
        let (key, backup) = (identity.clone(), name.clone());
        stream::read_archive(catalog.store.clone(), name.archive_key(), options.run.clone(), move |source| {
            pass(ArchiveReader::open(source, &backup, &key)?)
        })
        .await
    };
    // Nothing is written before the archive was found to be this backup's.
    let first = move |archive| {
        let salvage = Salvage::new(out, overwrite, wanted, progress)?;
        Salvage { with_access_lists, ..salvage }.restore_selected(archive)
    };
    let mut salvage = read(Box::new(first)).await?;
    while salvage.deferred.is_waiting() {
        salvage = read(Box::new(move |archive| salvage.restore_deferred(archive))).await?;
    }
    let finished = tokio::task::spawn_blocking(move || salvage.finish()).await;
    let extracted =
        finished.unwrap_or_else(|e| Err(Error::Defect(format!("the writing thread panicked: {e}"))))?;
    options.report(name, only.as_ref(), extracted, ChangedEntries::default(), Vec::new(), started)
}

type Archive = ArchiveReader<ArchiveBytes>;

struct Salvage {
    target: Target,
    out: PathBuf,
    only: Option<PathGlobs>,
    with_access_lists: bool,
    extracted: Extracted,
    progress: Arc<Progress>,
    /// Entries that were selected without the file that has their content.
    deferred: Deferred,
    /// Where in the archive it reads, for reports of damage.
    position: String,
}

impl Salvage {
    fn new(
        out: PathBuf,
        overwrite: Overwrite,
        only: Option<PathGlobs>,
        progress: Arc<Progress>,
    ) -> Result<Self> {
        let target = open_target(&out, overwrite)?;
        let (extracted, deferred) = (Extracted::default(), Deferred::default());
        let (with_access_lists, position) = (true, String::new());
        Ok(Self { target, out, only, with_access_lists, extracted, progress, deferred, position })
    }

    fn restore_selected(mut self, archive: Archive) -> Result<Self> {
        let read = for_each(archive, |Member { mut entry, ranges, is_copy }, content| {
            entry.security = entry.security.filter(|_| self.with_access_lists);
            self.position = format!("{} and what follows it in the archive", entry.shown_path());
            if self.only.as_ref().is_some_and(|only| !only.is_match(streams::owner(&entry.relative_path))) {
                return Ok(());
            }
            self.extracted.found += 1;
            self.progress.entries.add(1);
            let made = match entry.kind {
                EntryKind::Directory => self.target.directory(&entry),
                EntryKind::Symlink => self.target.symlink(&entry),
                EntryKind::Hardlink if self.is_selected_alone(&entry) => return self.defer(entry, is_copy),
                EntryKind::Hardlink if is_copy => match self.target.duplicate(&entry) {
                    // Its file may be one that cannot be made here, or be read.
                    Err(TargetError::Refused(_) | TargetError::Failed(_)) => return self.defer(entry, true),
                    made => made.map(|(warnings, bytes)| {
                        entry.size = bytes;
                        warnings
                    }),
                },
                EntryKind::Hardlink => match self.target.hardlink(&entry) {
                    Err(TargetError::Failed(_)) if self.deferred.add_name(&entry) => return Ok(()),
                    made => made,
                },
                EntryKind::File => {
                    let destination = self.target.file(&entry).map(ContentDestination::File);
                    self.content(&entry, destination, &ranges, content)?
                }
                EntryKind::Stream => match self.target.stream(&entry) {
                    Ok(StreamPlace::Write(stream)) => {
                        let destination = Ok(ContentDestination::Stream(stream));
                        self.content(&entry, destination, &ranges, content)?
                    }
                    Ok(StreamPlace::Stays | StreamPlace::Unsupported) => Ok(Vec::new()),
                    Err(e) => Err(e),
                },
            };
            self.position = format!("what follows {} in the archive", entry.shown_path());
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

    fn defer(&mut self, link: Entry, is_copy: bool) -> Result<()> {
        if let Err(link) = self.deferred.add(link, is_copy) {
            let file = link.link_target.as_deref().unwrap_or_default();
            self.extracted.warn(format!(
                "{}: its content is that of {file}, and there are too many such entries to restore them alone: select that, too",
                link.relative_path
            ));
        }
        Ok(())
    }

    /// Reads the archive for deferred entries. Afterwards some may still be waiting: those of a file that very many wait for,
    /// and those that wait for a copy, which waits for its file.
    fn restore_deferred(mut self, archive: Archive) -> Result<Self> {
        let mut pass = self.deferred.begin_pass();
        let read = for_each(archive, |Member { mut entry, ranges, is_copy }, content| {
            entry.security = entry.security.filter(|_| self.with_access_lists);
            if is_copy {
                self.deferred.wait_for_content_of(pass.take(entry.raw_path()), &entry);
            } else if entry.kind == EntryKind::File
                && let Some(wanted) = pass.waiting_for(entry.raw_path())
            {
                self.deferred_files(&entry, &ranges, content, wanted)?;
            }
            Ok(())
        });
        self.accept_damage(read)?;
        for link in pass.into_lost() {
            let file = link.link_target.as_deref().unwrap_or_default();
            self.extracted.warn(format!(
                "{}: its content is that of {file}, which is not in the archive",
                link.relative_path
            ));
        }
        Ok(self)
    }

    /// Writes one file's content for all that wait for it.
    fn deferred_files(
        &mut self,
        file: &Entry,
        ranges: &[DataRange],
        content: &mut dyn Read,
        wanted: &mut [Wanted],
    ) -> Result<()> {
        let mut writers = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            // An archive may have a file twice; what waits for it is counted once.
            let counts = !std::mem::replace(&mut wanted.restored, true);
            let first = wanted.first(file);
            match self.target.file(&first).and_then(FileDestination::create) {
                Ok(writer) => writers.push((first, &wanted.entries[1..], writer, counts)),
                Err(e) => self.record_counted(&first, Err(e), counts)?,
            }
        }
        let written = copy_ranges(content, ranges, |at, bytes| {
            self.progress.bytes.add(bytes.len() as u64 * writers.len() as u64);
            writers.iter_mut().try_for_each(|(_, _, writer, _)| writer.write_at(at, bytes))
        });
        let failed = match written {
            Ok(()) => None,
            Err(CopyError::Read(e)) => return Err(into_error(e)),
            Err(CopyError::Write(e)) => Some(e),
        };
        for (first, others, writer, counts) in writers {
            let made = match &failed {
                None => writer.finish(&first, file.size),
                Some(e) => {
                    Err(TargetError::from_io("write it", std::io::Error::new(e.kind(), e.to_string())))
                }
            };
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
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Extracted> {
        self.extracted.note_occupied(self.target.take_occupied());
        let warnings =
            self.target.finish().map_err(|e| Error::Target { out: self.out, reason: e.to_string() })?;
        self.extracted.warn_all(warnings);
        Ok(self.extracted)
    }

    /// The outer error is the archive's, the inner one the target's.
    fn content(
        &mut self,
        entry: &Entry,
        destination: Result<ContentDestination, TargetError>,
        ranges: &[DataRange],
        content: &mut dyn Read,
    ) -> Result<Result<Vec<String>, TargetError>> {
        let mut writer = match destination.and_then(|destination| destination.create(entry)) {
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
            Err(e) => self.extracted.warn(format!("{}: {e}", entry.shown_path())),
        }
        Ok(())
    }
}
