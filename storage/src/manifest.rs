//! `manifest.json`: what a backup contains, where the bytes of each entry are, and a proof of both.
//!
//! One JSON object, written and read as a stream, with its members in this order:
//!
//! | member | holds |
//! | --- | --- |
//! | `format`, `version`, `header` | enough to find the key: the archive's header, in base64 |
//! | those of [`BackupName`](crate::catalog::layout::BackupName) and [`Origin`] | on the fourth line, which a listing reads |
//! | the others of [`Head`] | base, roots, totals, and the archives with their segments and frames |
//! | `security` | each [security descriptor](security) that entries name, one a line; absent where none does |
//! | `entries` | one [`Entry`] a line, in the order of the archive |
//! | `problems` | one [`Problem`] a line |
//! | `notes` | one [`Note`] a line |
//! | `hmac_sha256` | HMAC-SHA256 of all bytes before the comma that precedes it |
//!
//! Where the lists are sealed, `manifest.json` has none of these lists, but says where they are ([`SealedListsRecord`]).
//!
//! Nothing but `version` and `header` is used before the HMAC has been checked over the whole document.

mod archive_keys;
mod archive_records;
mod base;
mod base_entries;
mod changed_while_read;
pub(crate) mod chunk_list;
pub(crate) mod content_digest;
mod dependencies;
mod documents;
mod draft;
pub(crate) mod entry;
mod fetch_head;
#[cfg(test)]
mod fixtures;
mod format;
pub(crate) mod head;
mod lines;
pub(crate) mod listed;
mod mac_check;
mod new_manifest;
pub(crate) mod part_entries;
mod preamble;
pub(crate) mod problem;
mod put;
mod reader;
mod references;
mod refused;
mod sealed_lists;
pub mod security;
pub(crate) mod sketch;
pub mod streams;
mod tally;
mod unchanged;
mod writer;

pub use base::{Base, UNUSABLE_ARCHIVE};
pub use base_entries::BaseEntries;
pub use changed_while_read::ChangedWhileRead;
pub use chunk_list::{Chunk, ChunkId, ChunkList, HOLE, MOST_CHUNKS};
pub use documents::ManifestDocuments;
pub use draft::{BackupFacts, ManifestDraft};
pub use entry::{Entry, EntryKind, Extent, UnixAttributes, WindowsAttributes, Xattr};
pub use fetch_head::fetch_head;
pub use format::MANIFEST_VERSION;
pub use head::{
    ArchiveRecord, BaseRecord, BrakeRecord, Changes, Head, MOST_ARCHIVES, Origin, RootRecord,
    SealedListsRecord, SnapshotRecord, Totals, WriterRecord,
};
pub use listed::{Change, Listed, StoredChunk};
pub use new_manifest::NewManifest;
pub use part_entries::PartEntries;
pub use preamble::{Preamble, fetch_roots, fetch_totals};
pub use problem::{Note, Problem, ProblemKind};
pub use put::{has_manifest, put_manifest};
pub use reader::VerifiedManifest;
pub use references::fetch_references;
pub use sketch::{SKETCHED_BYTES, Sketch, SketchBuilder};
