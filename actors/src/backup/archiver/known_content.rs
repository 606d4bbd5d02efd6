//! Content that need not be stored again: what the base's archives and this one have.

use intellistor_storage::Result;
use intellistor_storage::manifest::{ChunkList, Entry, Sketch};

use crate::backup::archiver::base_content::BaseContent;
use crate::backup::archiver::run_content::{First, Head, RunContent};

/// Looks up whole files by digest and size.
#[derive(Debug)]
pub(crate) struct KnownContent {
    run: RunContent,
    base: Option<BaseContent>,
}

/// Where a content is.
#[derive(Debug)]
pub(crate) enum Found {
    /// In the base: the entry, with this backup's numbers of archives.
    Base(Box<Entry>),
    /// In this archive.
    Run(First),
}

impl KnownContent {
    pub(crate) fn new(run: RunContent, base: Option<BaseContent>) -> Self {
        Self { run, base }
    }

    /// Where the content with that digest and size is. The base comes first, since then nothing is stored at all.
    ///
    /// # Errors
    /// Those of temporary files and of the base's list.
    pub(crate) fn find(&mut self, sha256: &[u8; 32], size: u64) -> Result<Option<Found>> {
        if let Some(base) = &mut self.base
            && let Some(entry) = base.find(sha256, size)?
        {
            return Ok(Some(Found::Base(Box::new(entry))));
        }
        Ok(self.run.find(sha256, size)?.map(Found::Run))
    }

    /// Whether a large file of that size may be known: whether it is worth being hashed before it is archived.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub(crate) fn has_size(&mut self, size: u64) -> Result<Likely> {
        if let Some(base) = &mut self.base
            && base.has_size(size)?
        {
            return Ok(Likely::Yes);
        }
        Ok(if self.run.has_size(size)? { Likely::IfHead } else { Likely::No })
    }

    /// Whether this archive has a large file of that size that begins so, or may.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub(crate) fn has_head(&self, size: u64, head: &Head) -> Result<bool> {
        self.run.has_head(size, head)
    }

    /// Files of the base that have much in common with one.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub(crate) fn similar(&mut self, sketch: &Sketch) -> Result<Vec<(u32, Entry)>> {
        self.base.as_mut().map_or_else(|| Ok(Vec::new()), |base| base.similar(sketch))
    }

    /// Remembers what this archive has.
    ///
    /// # Errors
    /// As for [`find`](Self::find).
    pub(crate) fn insert(&mut self, entry: &Entry, list: Option<&ChunkList>) -> Result<()> {
        self.run.insert(entry, list)
    }
}

/// Whether there may be a file with the same content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Likely {
    No,
    Yes,
    /// If its first chunks are those of one in this archive.
    IfHead,
}
