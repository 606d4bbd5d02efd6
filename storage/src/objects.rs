//! Object stores: one trait, its promises, and one conformance suite that every store passes.
//!
//! Faults and retries are decorators over the trait, so that a store itself stays a thin
//! translation: [`Retry`] repeats what is temporary, [`Tee`] keeps a copy of the parts as they
//! go, [`Faulty`] fails on purpose in tests.

use std::fmt::Debug;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use hashed::Hashed;

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod error;
#[cfg(any(test, feature = "testing"))]
mod faulty;
pub(crate) mod hashed;
mod listing;
mod local;
#[cfg(any(test, feature = "testing"))]
mod memory;
mod retry;
mod s3;
mod stream;
mod tee;
mod url;

#[cfg(any(test, feature = "testing"))]
pub use faulty::{Fault, Faulty, Operation};
pub use listing::Listing;
pub use local::{LocalStore, STORE_MARK};
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryStore;
pub use retry::{Retry, RetryPolicy};
pub use s3::{Addressing, S3Options, S3Store};
pub use stream::put_stream;
pub use tee::Tee;
pub use url::{OpenOptions, StoreUrl};

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The key under which the object will appear.
    pub key: String,
    /// The store's name for the upload.
    pub id: String,
}

/// An upload that a listing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// What `abort_upload` takes.
    pub upload: Upload,
    /// When it was begun, in Unix milliseconds, where the store tells.
    pub began_ms: Option<i64>,
}

/// How an object is put.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Fail with [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists) where the key has an object, instead of
    /// replacing it. Of two such calls at the same time one fails. S3-compatible stores may ignore the condition
    /// (NetApp StorageGRID does): who must know reads the object back.
    pub if_absent: bool,
}

/// A folder of this machine that a store keeps objects in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFolder {
    /// Where it is.
    pub path: PathBuf,
    /// Which store it is; `None` when it has never been written to.
    pub id: Option<String>,
}

/// One part on its way into a store.
#[derive(Debug, Clone)]
pub struct Part {
    /// 1-based and gap-free.
    pub number: u32,
    /// Where the part begins in the finished object, in bytes.
    pub offset: u64,
    /// The bytes. A store at the other end of a wire refuses them when they arrive with another SHA-256.
    pub body: Hashed,
}

/// A part that a store holds durably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReceipt {
    /// The part's number.
    pub number: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, where the store keeps it.
    #[serde(default, with = "crate::text::hex_option", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<[u8; 32]>,
    /// The store's own mark, needed to complete the upload.
    pub etag: String,
}

/// The digest of an object that was made of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Composite {
    /// SHA-256 over the parts' SHA-256 digests.
    pub sha256: [u8; 32],
    /// How many parts there were.
    pub parts: u32,
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

    /// The folders of this machine that it keeps objects in.
    fn folders(&self) -> Vec<StoreFolder> {
        Vec::new()
    }

    /// Makes the store ready to be written to, where that takes anything. It need not be called.
    async fn prepare(&self) -> Result<()> {
        Ok(())
    }

    /// Stores a whole object; it appears complete or not at all. An object of that key is replaced, unless the
    /// options say otherwise. With `if_absent`, a repeated call whose first answer was lost fails, although the
    /// object that it finds is the caller's own.
    async fn put_with(&self, key: &str, body: Bytes, options: PutOptions) -> Result<()>;

    /// [`put_with`](Self::put_with) the default options: what was there is replaced.
    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        self.put_with(key, body, PutOptions::default()).await
    }

    /// Reads the bytes of `range` that exist; shorter than asked when the object ends before.
    /// Fails with [`NotFound`](crate::StoreErrorKind::NotFound) when there is no such object.
    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes>;

    /// The object's size in bytes, or `None` when there is no such object.
    async fn head(&self, key: &str) -> Result<Option<u64>>;

    /// Objects whose key begins with `prefix` and sorts after `after`. A page that more follows has at least one.
    /// Uploads that are not completed do not show. [`Listing`] asks for page after page.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page>;

    /// Begins a multipart upload. A repeated call begins another one; unfinished uploads are
    /// invisible to `list` and `head`, but they take space until aborted.
    async fn begin_upload(&self, key: &str) -> Result<Upload>;

    /// Stores one part; parts may arrive at the same time and in any order. A repeated number replaces.
    /// Every part but the last must have at least 5 MiB.
    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt>;

    /// The parts that the store holds durably, ascending.
    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>>;

    /// Makes the object appear, made of `parts`; options as in [`put_with`](Self::put_with). Succeeds once: a
    /// repeated call, of which the first answer was lost, answers [`UploadGone`](crate::StoreErrorKind::UploadGone).
    /// Whether the object is the caller's own then, its size does not say.
    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], options: PutOptions) -> Result<()>;

    /// [`complete_with`](Self::complete_with) the default options: what was there is replaced.
    async fn complete_upload(&self, upload: &Upload, parts: &[PartReceipt]) -> Result<()> {
        self.complete_with(upload, parts, PutOptions::default()).await
    }

    /// What the store knows of the digests of an object that was made of parts; `None` where it keeps none.
    async fn composite(&self, _key: &str) -> Result<Option<Composite>> {
        Ok(None)
    }

    /// Uploads under keys that begin with `prefix` that were begun and neither completed nor aborted, in
    /// the order of keys, then ids. Their parts take space, and in S3 cost money, until they are aborted.
    /// The permission for it is one of its own (`s3:ListBucketMultipartUploads`), which a user may lack:
    /// [`AccessDenied`](crate::StoreErrorKind::AccessDenied).
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>>;

    /// Forgets an upload and frees its space. An unknown upload is no error.
    async fn abort_upload(&self, upload: &Upload) -> Result<()>;

    /// When the last part of an upload arrived, in Unix milliseconds by the store's clock; `None` where it has none, or
    /// the store does not say. Fails with [`UploadGone`](crate::StoreErrorKind::UploadGone) when there is no such upload.
    async fn last_part_ms(&self, _upload: &Upload) -> Result<Option<i64>> {
        Ok(None)
    }

    /// The store's clock, in Unix milliseconds, where one of its answers has told it. Ours may be years off.
    fn now_ms(&self) -> Option<i64> {
        None
    }

    /// Whether all parts of an upload but the last must be equally large.
    fn wants_equal_parts(&self) -> bool {
        false
    }

    /// The same store, where what is written from now on carries the id of the trace that wrote it beside its bytes.
    /// `None` where a store keeps nothing beside the bytes.
    fn labelled(&self, _trace_id: &str) -> Option<SharedStore> {
        None
    }
}

/// The order that `list_uploads` promises.
fn in_order(mut uploads: Vec<UnfinishedUpload>) -> Vec<UnfinishedUpload> {
    uploads.sort_by(|a, b| (&a.upload.key, &a.upload.id).cmp(&(&b.upload.key, &b.upload.id)));
    uploads
}

fn unix_ms(time: SystemTime) -> Option<i64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::objects::error::StoreErrorKind;

    #[tokio::test]
    async fn memory_conforms() {
        conformance::check(Arc::new(MemoryStore::default())).await;
    }

    #[tokio::test]
    async fn a_folder_conforms() {
        let dir = tempfile::tempdir().unwrap();
        conformance::check(Arc::new(LocalStore::open(&dir.path().join("new")).await.unwrap())).await;
    }

    #[tokio::test]
    async fn the_decorators_conform() {
        let faulty = Arc::new(Faulty::new(Arc::new(MemoryStore::default())));
        conformance::check(Arc::new(Retry::new(faulty, RetryPolicy::default()))).await;
    }

    #[tokio::test]
    async fn a_folder_lists_what_a_crash_left_of_an_upload() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).await.unwrap();
        for lost in ["", ".parts"] {
            let upload = store.begin_upload("a.upload-b/k").await.unwrap();
            let file = dir.path().join(format!("a.upload-b/.k.upload-{}{lost}", upload.id));
            std::fs::remove_file(file).unwrap();
            let found = store.list_uploads("a").await.unwrap();
            assert_eq!(found.iter().map(|u| &u.upload).collect::<Vec<_>>(), [&upload], "without {lost:?}");
            store.abort_upload(&upload).await.unwrap();
            assert_eq!(names_in(dir.path()), [".intellistor-store"]);
        }
    }

    fn names_in(folder: &std::path::Path) -> Vec<std::ffi::OsString> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[tokio::test]
    async fn a_folder_is_made_when_it_is_written_to_and_not_when_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&dir.path().join("store")).await.unwrap();
        assert_eq!(store.list("backups/", None).await.unwrap().objects, []);
        assert_eq!(store.list_uploads("backups/").await.unwrap(), []);
        assert_eq!(store.head("backups/k").await.unwrap(), None);
        assert!(names_in(dir.path()).is_empty());
        store.put("backups/k", Bytes::new()).await.unwrap();
        assert_eq!(names_in(dir.path()), ["store"]);
    }

    #[tokio::test]
    async fn a_folder_that_is_another_one_than_before_is_not_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let (mounted, away) = (dir.path().join("disk"), dir.path().join("away"));
        let store = LocalStore::open(&mounted).await.unwrap();
        store.put("backups/k", Bytes::new()).await.unwrap();
        let again = LocalStore::open(&mounted).await.unwrap();
        assert_eq!(again.folders(), store.folders());
        assert!(again.folders()[0].id.is_some());
        std::fs::rename(&mounted, &away).unwrap();
        std::fs::create_dir(&mounted).unwrap();
        let put = again.put("backups/other", Bytes::new()).await.unwrap_err();
        let begun = again.begin_upload("backups/other").await.unwrap_err();
        let prepared = again.prepare().await.unwrap_err();
        for told in [put, begun, prepared] {
            assert!(matches!(&told, Error::Store(e) if e.kind == StoreErrorKind::OtherStore), "{told}");
        }
        assert!(names_in(&mounted).is_empty());
        std::fs::remove_dir(&mounted).unwrap();
        again.put("backups/other", Bytes::new()).await.unwrap_err();
        assert!(!mounted.exists());
    }

    #[tokio::test]
    async fn a_folder_under_a_missing_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let told = LocalStore::open(&dir.path().join("not-mounted/backups")).await.unwrap_err();
        assert!(matches!(&told, Error::Store(e) if e.kind == StoreErrorKind::NoSuchStore), "{told}");
        assert!(!dir.path().join("not-mounted").exists());
    }

    #[tokio::test]
    async fn a_key_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(&dir.path().join("store")).await.unwrap();
        store.prepare().await.unwrap();
        for key in ["../x", "a/../../x", "/x", "", "a//b", "a/", "a\\..\\x", "./x"] {
            assert!(store.put(key, Bytes::new()).await.is_err(), "{key}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_torn_journal_line_is_a_part_that_was_not_received() {
        use std::io::Write;
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::open(dir.path()).await.unwrap();
        let upload = store.begin_upload("k").await.unwrap();
        let body = Hashed::new(Bytes::from_static(b"x"));
        let part = Part { number: 1, offset: 0, body };
        store.put_part(&upload, &part).await.unwrap();
        let journal = dir.path().join(format!(".k.upload-{}.parts", upload.id));
        let mut journal = std::fs::OpenOptions::new().append(true).open(journal).unwrap();
        journal.write_all(b"\n{\"number\":2,\"off").unwrap();
        assert_eq!(store.list_parts(&upload).await.unwrap().len(), 1);
        store.put_part(&upload, &Part { number: 2, offset: 1, ..part }).await.unwrap();
        assert_eq!(store.list_parts(&upload).await.unwrap().len(), 2);
    }

    fn failing(fault: Fault, calls: std::ops::RangeInclusive<u32>) -> (Arc<Faulty>, MemoryStore, Retry) {
        let memory = MemoryStore::default();
        let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
        for operation in [Operation::Put, Operation::CompleteUpload] {
            calls.clone().for_each(|nth| faulty.fail(operation, nth, fault));
        }
        let policy =
            RetryPolicy { first_delay: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
        let retry = Retry::new(faulty.clone(), policy);
        (faulty, memory, retry)
    }

    #[tokio::test]
    async fn what_is_temporary_is_repeated_and_what_is_not_is_told_at_once() {
        let (faulty, _, retry) = failing(Fault::Fails(StoreErrorKind::Throttled), 1..=4);
        retry.put("k", Bytes::new()).await.unwrap();
        assert_eq!(faulty.calls(Operation::Put), 5);

        let (faulty, _, retry) = failing(Fault::Fails(StoreErrorKind::Unreachable), 1..=9);
        let told = retry.put("k", Bytes::new()).await.unwrap_err().to_string();
        assert!(told.contains("after 5 attempts"), "{told}");
        assert_eq!(faulty.calls(Operation::Put), 5);

        let (faulty, _, retry) = failing(Fault::Fails(StoreErrorKind::Credentials), 1..=9);
        retry.put("k", Bytes::new()).await.unwrap_err();
        assert_eq!(faulty.calls(Operation::Put), 1);
    }
}
