//! The entry that is being written: what a run that resumes within it needs to know.

use intellistor_storage::ContentDigest;
use intellistor_storage::manifest::Entry;
use intellistor_storage::state::PartialEntry;

use crate::source::FileId;

/// The entry whose header has been written.
#[derive(Debug, Default)]
pub(crate) struct OpenEntry {
    pub(crate) tar_offset: u64,
    pub(crate) header: Vec<u8>,
    pub(crate) stored_bytes: u64,
    pub(crate) identity: Option<FileId>,
    pub(crate) digest: ContentDigest,
    pub(crate) read_bytes: u64,
    /// Whether it is a member of ours.
    pub(crate) internal: bool,
    /// The file whose chunk list it is.
    pub(crate) finished: Option<Box<Entry>>,
}

impl OpenEntry {
    /// A member of ours.
    pub(crate) fn internal(
        tar_offset: u64,
        header: Vec<u8>,
        stored_bytes: u64,
        finished: Option<&Entry>,
    ) -> Self {
        let finished = finished.map(|entry| Box::new(entry.clone()));
        Self { tar_offset, header, stored_bytes, internal: true, finished, ..Self::default() }
    }

    /// An entry that no run can resume: should this one end within the zeros, the next one writes the rest of them,
    /// whatever it finds on the disk.
    pub(crate) fn abandoned(partial: PartialEntry, finished: Option<Box<Entry>>) -> Self {
        let PartialEntry { tar_offset, header, stored_bytes, internal, .. } = partial;
        Self { tar_offset, header, stored_bytes, read_bytes: u64::MAX, internal, finished, ..Self::default() }
    }

    pub(crate) fn read_sha256(&self) -> [u8; 32] {
        self.digest.finish()
    }

    pub(crate) fn partial_entry(&self) -> PartialEntry {
        PartialEntry {
            tar_offset: self.tar_offset,
            header: self.header.clone(),
            stored_bytes: self.stored_bytes,
            identity: self.identity.map(|id| (id.device, id.inode)),
            read_sha256: self.read_sha256(),
            read_bytes: self.read_bytes,
            internal: self.internal,
            finished: self.finished.clone(),
        }
    }
}
