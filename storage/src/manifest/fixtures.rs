//! Backups of a chain, for the tests of this folder.

use std::io::Read as _;
use std::sync::Arc;

use super::base::Base;
use super::draft::{BackupFacts, ManifestDraft};
use super::entry::{Entry, Extent};
use super::listed::Listed;
use super::new_manifest::NewManifest;
use super::part_entries::PartEntries;
use super::reader::VerifiedManifest;
use crate::archive::{FrameRecord, Header, SegmentRecord};
use crate::catalog::layout::BackupName;
use crate::disk::spool::Spool;
use crate::error::Result;
use crate::keys::{DataKey, Identity, Recipients, UserKey};
use crate::memory::packed::Packed;

/// A backup of policy `p` that is being made.
pub(super) struct Making {
    pub(super) name: BackupName,
    pub(super) header: Header,
    pub(super) data_key: DataKey,
    pub(super) identity: Identity,
}

impl Making {
    /// The `number`-th of the chain. Each has a key of its own.
    pub(super) fn new(number: u32) -> Self {
        let name = BackupName {
            policy_id: "p".into(),
            timestamp: format!("202601{:02}T000000Z", number + 1),
            backup_id: format!("b-{number}"),
        };
        let (user_key, data_key) = (UserKey::generate(), DataKey::generate());
        let wraps = Recipients::from(user_key.clone()).wrap(&data_key, &name.backup_id);
        Self { header: Header::new(&name, wraps), name, data_key, identity: user_key.into() }
    }

    /// The only segment of its archive, with one frame.
    pub(super) fn segment(&self) -> SegmentRecord {
        let frames = vec![FrameRecord { sealed_bytes: 40, tar_bytes: 9000 }];
        let bytes = self.header.encoded().len() as u64 + 36 + 4 + 40;
        SegmentRecord { number: 1, offset: 0, bytes, salt: [1; 32], sha256: [2; 32], frames }
    }

    /// Its manifest, with what is listed in its only part.
    pub(super) fn manifest(
        &self,
        base: Option<Arc<Base>>,
        listed: &[Listed],
        facts: BackupFacts,
    ) -> Result<NewManifest> {
        let mut draft = ManifestDraft::new(base);
        let entries = Packed::of(listed).unwrap();
        draft.commit(self.segment(), PartEntries { entries, ..PartEntries::default() })?;
        draft.finish(&self.header, &self.data_key, facts)
    }

    pub(super) fn verify(&self, document: Spool, sealed_lists: Option<Spool>) -> Result<VerifiedManifest> {
        VerifiedManifest::verify_with(document, sealed_lists, &self.name, |header| {
            self.identity.unwrap(header.keys(), header.backup_id())
        })
    }

    /// It as a base, all of whose archives may be used.
    pub(super) fn base(&self, base: Option<Arc<Base>>, listed: &[Listed]) -> Arc<Base> {
        let manifest = self.manifest(base, listed, BackupFacts::default()).unwrap();
        let (document, lists) = manifest.into_documents().into_parts();
        let verified = self.verify(document, lists).unwrap();
        let numbers = Base::numbers_of(verified.head().archives.iter().map(|_| true));
        Arc::new(Base::new(verified, numbers).unwrap())
    }
}

pub(super) fn extent(archive: u32, offset: u64, length: u64) -> Extent {
    Extent { archive, offset, length, at: None }
}

/// A file with a path that would mislead who looks for numbers of archives in a line.
pub(super) fn file(i: u64, extents: Vec<Extent>) -> Entry {
    Entry {
        relative_path: format!("pasta/\"archive\":0,\\{i}"),
        size: extents.iter().map(|extent| extent.length).sum(),
        sha256: Some([i as u8; 32]),
        extents,
        ..Entry::default()
    }
}

pub(super) fn entries(manifest: &VerifiedManifest) -> Vec<Entry> {
    let mut entries = Vec::new();
    let each = |entry| {
        entries.push(entry);
        std::ops::ControlFlow::Continue(())
    };
    manifest.for_each_entry(each).unwrap();
    entries
}

pub(super) fn bytes(spool: &Spool) -> Vec<u8> {
    let mut bytes = Vec::new();
    spool.reader().read_to_end(&mut bytes).unwrap();
    bytes
}
