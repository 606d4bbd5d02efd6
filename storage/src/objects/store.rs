//! The trait of every store, and its promises.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::objects::capabilities::Capabilities;
use crate::objects::object::{Composite, Page, StoreFolder};
use crate::objects::options::{Attributes, PutOptions, Retention};
use crate::objects::upload::{Part, PartReceipt, UnfinishedUpload, Upload};

/// A store that several stages share.
pub type SharedStore = Arc<dyn ObjectStore>;

/// A place that holds objects under keys.
///
/// Every method may be repeated after an error without harm, unless its doc says otherwise.
/// When a method that writes has answered `Ok`, the bytes survive a crash of this machine
/// (and, for a local store, of the disk's write cache).
///
/// No method has a default: a decorator that forgets one does not compile. It states what it changes, and
/// [`forward!`](crate::forward) the rest. [`ObjectStoreExt`] has the short forms.
#[async_trait]
pub trait ObjectStore: Debug + Send + Sync {
    /// The store as a URL, for people and for JSON output; holds no secret.
    fn url(&self) -> String;

    /// The folders of this machine that it keeps objects in.
    fn folders(&self) -> Vec<StoreFolder>;

    /// What can be asked of it.
    fn capabilities(&self) -> Capabilities;

    /// The store's clock, in Unix milliseconds, by the latest of its answers that had a date. Ours may be years off.
    fn now_ms(&self) -> Option<i64>;

    /// Makes the store ready to be written to, where that takes anything. It need not be called.
    async fn prepare(&self) -> Result<()>;

    /// Stores a whole object; it appears complete or not at all. An object of that key is replaced, unless the
    /// options say otherwise. With `if_absent`, a repeated call whose first answer was lost fails, although the
    /// object that it finds is the caller's own. Attributes that the store cannot keep are
    /// [`Unsupported`](crate::StoreErrorKind::Unsupported), and nothing is stored.
    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()>;

    /// Reads the bytes of `range` that exist; shorter than asked when the object ends before.
    /// Fails with [`NotFound`](crate::StoreErrorKind::NotFound) when there is no such object.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes>;

    /// The object's size in bytes, or `None` when there is no such object.
    async fn head(&self, key: &str) -> Result<Option<u64>>;

    /// Objects whose key begins with `prefix` and sorts after `after`. A page that more follows has at least one.
    /// Uploads that are not completed do not show. [`Listing`](super::Listing) asks for page after page.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page>;

    /// Removes an object; one that does not exist is no error. After `Ok` it stays removed after a crash, too. Where the
    /// store keeps [versions](Capabilities::versions) it is hidden, and its bytes stay. One under retention or a legal
    /// hold is refused as [`Locked`](crate::StoreErrorKind::Locked), unless there are versions.
    async fn delete(&self, key: &str) -> Result<()>;

    /// Removes an object, and where the store keeps [versions](Capabilities::versions) all of its versions; one that does
    /// not exist is no error. It may be repeated: what an interrupted call has left is removed by the next. Fails with
    /// [`Locked`](crate::StoreErrorKind::Locked) when a version is under retention or a legal hold; the others may be
    /// gone then.
    async fn erase(&self, key: &str) -> Result<()>;

    /// What is kept beside an object's bytes: retention, legal hold, storage class and metadata; `None` when there is no
    /// such object.
    async fn attributes(&self, key: &str) -> Result<Option<Attributes>>;

    /// Keeps an object from being deleted until a time. A retention that is there already is never shortened, nor made
    /// less strict: the call does what [`Retention::over`] says. Fails with [`NotFound`](crate::StoreErrorKind::NotFound)
    /// when there is no such object, with [`Unsupported`](crate::StoreErrorKind::Unsupported) where the store has no lock.
    async fn retain(&self, key: &str, retention: Retention) -> Result<()>;

    /// Puts an object under a legal hold, or ends the hold. [`Unsupported`](crate::StoreErrorKind::Unsupported) where the
    /// store has no lock.
    async fn set_legal_hold(&self, key: &str, held: bool) -> Result<()>;

    /// Makes sure that what is put with a retention will be locked: [`Unsupported`](crate::StoreErrorKind::Unsupported)
    /// where it would be refused, or ignored. Nothing is written.
    async fn check_object_lock(&self) -> Result<()>;

    /// Begins a multipart upload of an object that gets these attributes; those that the store cannot keep are
    /// refused as in [`put_with`](Self::put_with). A repeated call begins another upload; unfinished uploads are
    /// invisible to `list` and `head`, but they take space until aborted.
    async fn begin_with(&self, key: &str, attributes: &Attributes) -> Result<Upload>;

    /// Stores one part; parts may arrive at the same time and in any order. A repeated number replaces.
    /// Number and size are within [`Capabilities::parts`].
    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt>;

    /// The parts that the store holds durably, ascending.
    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>>;

    /// When the last part of an upload arrived, in Unix milliseconds by the store's clock; `None` where it has none, or
    /// the store does not say. Fails with [`UploadGone`](crate::StoreErrorKind::UploadGone) when there is no such upload.
    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>>;

    /// Makes the object appear, made of `parts`; with `if_absent` only where there is none, as in
    /// [`put_with`](Self::put_with). Succeeds once: a repeated call, of which the first answer was lost, answers
    /// [`UploadGone`](crate::StoreErrorKind::UploadGone). Whether the object is the caller's own then, its size does
    /// not say.
    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], if_absent: bool) -> Result<()>;

    /// What the store knows of the digests of an object that was made of parts; `None` where it keeps none.
    async fn composite(&self, key: &str) -> Result<Option<Composite>>;

    /// Uploads under keys that begin with `prefix` that were begun and neither completed nor aborted, in
    /// the order of keys, then ids. Their parts take space, and in S3 cost money, until they are aborted.
    /// The permission for it is one of its own (`s3:ListBucketMultipartUploads`), which a user may lack:
    /// [`AccessDenied`](crate::StoreErrorKind::AccessDenied).
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>>;

    /// Forgets an upload and frees its space. An unknown upload is no error.
    async fn abort_upload(&self, upload: &Upload) -> Result<()>;
}

/// The calls of [`ObjectStore`] without options.
#[async_trait]
pub trait ObjectStoreExt: ObjectStore {
    /// Stores an object without attributes in the place of any other.
    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.put_with(key, body, &PutOptions::default()).await
    }

    /// Begins an upload of an object without attributes.
    async fn begin_upload(&self, key: &str) -> Result<Upload> {
        self.begin_with(key, &Attributes::default()).await
    }

    /// Makes the object appear in the place of any other.
    async fn complete_upload(&self, upload: &Upload, parts: &[PartReceipt]) -> Result<()> {
        self.complete_with(upload, parts, false).await
    }
}

impl<S: ObjectStore + ?Sized> ObjectStoreExt for S {}
