//! Object stores: one trait, its promises, and one conformance suite that every store passes.
//!
//! Faults and retries are decorators over the trait, so that a store itself stays a thin
//! translation: [`Retry`] repeats what is temporary, [`Tee`] keeps a local copy as bytes are
//! written, [`Faulty`] fails on purpose in tests.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::Result;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
#[cfg(any(test, feature = "testing"))]
mod faulty;
mod local;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod retry;
mod s3;
mod tee;
mod url;

#[cfg(any(test, feature = "testing"))]
pub use faulty::{Fault, Faulty, Operation};
pub use local::LocalStore;
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryStore;
pub use retry::{Retry, RetryPolicy};
pub use s3::S3Store;
pub use tee::Tee;
pub use url::StoreUrl;

/// A store that several stages share.
pub type SharedStore = Arc<dyn ObjectStore>;

/// An object that a listing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The full key, relative to the store.
    pub key: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// One page of a listing, in ascending order of the keys' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The objects of this page.
    pub objects: Vec<ObjectInfo>,
    /// Whether a further page follows; ask for it with the last key of this one.
    pub more: bool,
}

/// A multipart upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The key under which the object will appear.
    pub key: String,
    /// The store's name for the upload.
    pub id: String,
}

/// One part on its way into a store.
#[derive(Debug, Clone)]
pub struct Part {
    /// 1-based and gap-free.
    pub number: u32,
    /// Where the part begins in the finished object, in bytes.
    pub offset: u64,
    /// The bytes.
    pub body: Bytes,
    /// SHA-256 of `body`; the store refuses a body that does not match.
    pub sha256: [u8; 32],
}

/// A part that a store holds durably.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartReceipt {
    /// The part's number.
    pub number: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, where the store keeps it.
    pub sha256: Option<[u8; 32]>,
    /// The store's own mark, needed to complete the upload.
    pub etag: String,
}

/// A place that holds objects under keys.
///
/// Every method may be repeated after an error without harm, unless its doc says otherwise.
/// When a method that writes has answered `Ok`, the bytes survive a crash of this machine
/// (and, for a local store, of the disk's write cache).
#[async_trait]
pub trait ObjectStore: Debug + Send + Sync {
    /// The store as a URL, for people and for JSON output; holds no secret.
    fn url(&self) -> String;

    /// Stores a whole object; it appears complete or not at all. An object of that key is replaced.
    async fn put(&self, key: &str, body: Bytes) -> Result<()>;

    /// Reads the bytes of `range` that exist; shorter than asked when the object ends before.
    /// Fails with [`NotFound`](crate::StoreErrorKind::NotFound) when there is no such object.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes>;

    /// The object's size in bytes, or `None` when there is no such object.
    async fn head(&self, key: &str) -> Result<Option<u64>>;

    /// Objects whose key begins with `prefix` and sorts after `after`.
    /// Uploads that are not completed do not show.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page>;

    /// Begins a multipart upload. A repeated call begins another one; unfinished uploads are
    /// invisible to `list` and `head`, but they take space until aborted.
    async fn begin_upload(&self, key: &str) -> Result<Upload>;

    /// Stores one part; parts may arrive at the same time and in any order. A repeated number replaces.
    /// Every part but the last must have at least 5 MiB.
    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt>;

    /// The parts that the store holds durably, ascending.
    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>>;

    /// Makes the object appear, made of `parts`. Succeeds once: a repeated call may answer
    /// [`UploadGone`](crate::StoreErrorKind::UploadGone), which [`Retry`] resolves with `head`.
    async fn complete_upload(&self, upload: &Upload, parts: &[PartReceipt]) -> Result<()>;

    /// Forgets an upload and frees its space. An unknown upload is no error.
    async fn abort_upload(&self, upload: &Upload) -> Result<()>;
}
