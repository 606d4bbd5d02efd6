//! The files that a large one has chunks in common with, and their chunks: its former self, and those that are similar.
//!
//! A list that cannot be fetched, or is not what it should be, makes no difference but that more is stored. A person is warned once.
//! That an archive is in a class that is not read at once is worth a note: the policy may want it so. It is not asked again.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use intellistor_storage::manifest::{Base, ChunkList, Entry, Extent, Sketch, UNUSABLE_ARCHIVE};
use intellistor_storage::objects::SharedStore;
use intellistor_storage::{Error, Result, StoreErrorKind};
use tokio::runtime::Handle;

use crate::backup::archiver::known_chunks::KnownChunks;
use crate::backup::archiver::known_content::KnownContent;
use crate::backup::archiver::list_reader::ListReader;
use crate::backup::archiver::run_lists::{Relative, RunLists};

/// In so many of eight numbers two files agree of which one is the other, changed a little: then no further one is looked for.
const MOSTLY_SAME: u32 = 4;

/// What the archiver needs of a base.
#[derive(Debug, Clone)]
pub struct BaseConfig {
    pub base: Arc<Base>,
    /// Where the base's archives are.
    pub store: SharedStore,
    /// Drives the store's requests while the archiver's thread waits for them. The pipeline's.
    pub runtime: Handle,
    pub remarks: Arc<Mutex<BaseRemarks>>,
}

/// What a person should know of a base's archives, once for each kind of it.
#[derive(Debug, Default)]
pub struct BaseRemarks {
    /// What needs attention.
    pub warnings: Vec<String>,
    /// What is no reason to worry.
    pub notes: Vec<String>,
}

/// Finds files that have chunks in common with others.
#[derive(Debug)]
pub(crate) struct Candidates {
    config: BaseConfig,
    /// Made when it is needed first: it has all frames of all archives.
    reader: Option<ListReader>,
    run: RunLists,
    /// Whether a list was bad.
    warned: bool,
    /// Archives that are not read at once.
    cold: BTreeSet<u32>,
}

impl Candidates {
    pub(crate) fn new(config: BaseConfig) -> Self {
        Self { config, reader: None, run: RunLists::default(), warned: false, cold: BTreeSet::new() }
    }

    /// Remembers a file that was archived now.
    pub(crate) fn insert(&mut self, entry: &Entry, list: &ChunkList) -> Result<()> {
        self.run.insert(entry, list)
    }

    /// The list of what the base has under a file's path.
    pub(crate) fn list_before(&mut self, before: &Entry) -> Option<ChunkList> {
        let is_readable =
            |chunks: &&Extent| chunks.archive != UNUSABLE_ARCHIVE && !self.cold.contains(&chunks.archive);
        let chunks = before.chunks.as_ref().filter(is_readable)?;
        match self.read(chunks, before) {
            Ok(list) => Some(list),
            Err(Error::Store(error)) if error.kind == StoreErrorKind::ColdStorage => {
                self.note_cold(chunks.archive, &error.to_string());
                None
            }
            Err(error) => {
                self.warn(before, &error.to_string());
                None
            }
        }
    }

    /// The chunks that a file with this sketch may have. `before`: what the base has under its path, with its list. `None`
    /// where nothing is similar.
    pub(crate) fn chunks(
        &mut self,
        sketch: Option<&Sketch>,
        before: Option<(&Entry, &ChunkList)>,
        known: &mut KnownContent,
    ) -> Result<Option<KnownChunks>> {
        let mut chunks = KnownChunks::default();
        let mut found = false;
        let mut similarity = 0;
        if let Some((entry, list)) = before {
            chunks.add(self.config.base.usable_extents(entry), list);
            found = true;
            similarity = match (sketch, &entry.sketch) {
                (Some(sketch), Some(before)) => sketch.similarity(before),
                _ => 0,
            };
        }
        if let Some(sketch) = sketch.filter(|_| similarity < MOSTLY_SAME) {
            for Relative { extents, list, .. } in
                self.similar(sketch, before.map(|(entry, _)| entry), known)?
            {
                chunks.add(extents, &list);
                found = true;
            }
        }
        chunks.finish();
        Ok(found.then_some(chunks))
    }

    /// Similar files of this run and of the base, the most similar one first.
    fn similar(
        &mut self,
        sketch: &Sketch,
        before: Option<&Entry>,
        known: &mut KnownContent,
    ) -> Result<Vec<Relative>> {
        let mut found = self.run.similar(sketch)?;
        for (similarity, entry) in known.similar(sketch)? {
            if before.is_some_and(|before| before.raw_path() == entry.raw_path()) {
                continue;
            }
            if let Some(list) = self.list_before(&entry) {
                found.push(Relative { similarity, extents: self.config.base.usable_extents(&entry), list });
            }
        }
        // A stable sort: of equally similar ones those of this run come first.
        found.sort_by_key(|file| std::cmp::Reverse(file.similarity));
        Ok(found)
    }

    fn read(&mut self, chunks: &Extent, entry: &Entry) -> Result<ChunkList> {
        let BaseConfig { base, store, runtime, .. } = &self.config;
        let reader = match &mut self.reader {
            Some(reader) => reader,
            None => {
                let archives = Arc::new(base.archives()?);
                self.reader.insert(ListReader::new(archives, store.clone(), runtime.clone()))
            }
        };
        let bytes = reader.read(chunks, ChunkList::most_bytes())?;
        ChunkList::decode(&format!("the chunk list of {}", entry.relative_path), bytes, entry.size)
    }

    fn warn(&mut self, entry: &Entry, error: &str) {
        if std::mem::replace(&mut self.warned, true) {
            return;
        }
        tracing::warn!(path = %entry.relative_path, error, "a chunk list of an earlier backup cannot be used");
        let warning = format!(
            "the chunk list of {:?} in an earlier backup cannot be used: {error}. Large files that need it are stored \
             whole. Run `backup-client verify` on the backups before this one",
            entry.relative_path
        );
        self.remark(|remarks| remarks.warnings.push(warning));
    }

    fn note_cold(&mut self, archive: u32, error: &str) {
        let is_first = self.cold.is_empty();
        self.cold.insert(archive);
        tracing::info!(error, "the chunk lists of an earlier backup are not read");
        if is_first {
            let note = format!(
                "large files that changed are stored whole: which chunks earlier backups have is not read from their \
                 archives ({error}). A `storage_class` that is read at once, such as STANDARD_IA or GLACIER_IR, avoids that"
            );
            self.remark(|remarks| remarks.notes.push(note));
        }
    }

    fn remark(&self, remark: impl FnOnce(&mut BaseRemarks)) {
        remark(&mut self.config.remarks.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
