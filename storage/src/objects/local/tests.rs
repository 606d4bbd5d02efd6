//! The folder of a store: what is created, and what is refused.

use std::sync::Arc;

use bytes::Bytes;

use super::store::LocalStore;
use crate::error::Error;
use crate::objects::conformance;
use crate::objects::error::StoreErrorKind;
use crate::objects::hashed::Hashed;
use crate::objects::store::{ObjectStore as _, ObjectStoreExt as _};
use crate::objects::upload::Part;
use crate::objects::url::StoreUrl;

#[tokio::test]
async fn a_folder_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance::check(Arc::new(LocalStore::open(&dir.path().join("new")).await.unwrap())).await;
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
    for error in [put, begun, prepared] {
        assert!(matches!(&error, Error::Store(e) if e.kind == StoreErrorKind::OtherStore), "{error}");
    }
    assert!(names_in(&mounted).is_empty());
    std::fs::remove_dir(&mounted).unwrap();
    again.put("backups/other", Bytes::new()).await.unwrap_err();
    assert!(!mounted.exists());
}

#[tokio::test]
async fn a_folder_under_a_missing_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = LocalStore::open(&dir.path().join("not-mounted/backups")).await.unwrap_err();
    assert!(matches!(&error, Error::Store(e) if e.kind == StoreErrorKind::NoSuchStore), "{error}");
    assert!(!dir.path().join("not-mounted").exists());
}

#[tokio::test]
async fn a_missing_folder_is_refused_where_it_must_exist() {
    use crate::objects::open::OpenOptions;
    let dir = tempfile::tempdir().unwrap();
    let url = StoreUrl::local(&dir.path().join("stroe"));
    let must_exist = || OpenOptions { must_exist: true, ..OpenOptions::default() };
    let error = url.open_with(must_exist()).await.unwrap_err();
    assert!(matches!(&error, Error::Store(e) if e.kind == StoreErrorKind::NoSuchStore), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    url.open().await.unwrap().put("backups/x", Bytes::new()).await.unwrap();
    url.open_with(must_exist()).await.unwrap();
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

#[tokio::test]
async fn a_deleted_object_takes_its_empty_folders_along_and_no_mark_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let store = LocalStore::open(&root).await.unwrap();
    store.delete("backups/p/k").await.unwrap();
    assert!(names_in(dir.path()).is_empty(), "nothing was there, and nothing is made");
    for key in ["backups/p/k", "backups/q"] {
        store.put(key, Bytes::new()).await.unwrap();
    }
    store.delete("backups/p/k").await.unwrap();
    assert_eq!(names_in(&root.join("backups")), ["q"]);
    store.delete("backups").await.unwrap_err();
    std::fs::remove_file(root.join(".intellistor-store")).unwrap();
    let error = store.delete("backups/q").await.unwrap_err();
    assert!(matches!(&error, Error::Store(e) if e.kind == StoreErrorKind::OtherStore), "{error}");
    assert!(root.join("backups/q").exists());
}

/// A small file system, unmounted in the end.
#[cfg(target_os = "linux")]
struct SmallDisk<'p>(&'p std::path::Path);

#[cfg(target_os = "linux")]
impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).status();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn on_a_full_disk_only_what_may_be_damaged_is_overwritten_and_only_where_it_fits() {
    use crate::objects::options::PutOptions;

    let dir = tempfile::tempdir().unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
    let mounted = std::process::Command::new("mount").args(mount).arg(dir.path()).output().unwrap();
    if !mounted.status.success() {
        let why = String::from_utf8_lossy(&mounted.stderr);
        assert!(std::env::var_os("INTELLISTOR_TEST_ALL").is_none(), "this test cannot run here: {why}");
        return;
    }
    let disk = SmallDisk(dir.path());
    let store = LocalStore::open(disk.0).await.unwrap();
    for key in ["p/small", "p/shared", "p/long"] {
        let length = if key == "p/long" { 9000 } else { 1000 };
        store.put(key, vec![1; length].into()).await.unwrap();
    }
    std::fs::hard_link(disk.0.join("p/shared"), disk.0.join("p/copy")).unwrap();
    let filler = disk.0.join("filler");
    let mut file = std::fs::File::create(&filler).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 512]).is_ok() {}

    let in_place = PutOptions { in_place_if_full: true, ..PutOptions::default() };
    let only_new = PutOptions { if_absent: true, ..in_place.clone() };
    let put = async |key: &str, length: usize, options: &PutOptions| match store
        .put_with(key, vec![2; length].into(), options)
        .await
    {
        Err(Error::Store(error)) => Some(error.kind),
        done => {
            done.unwrap();
            None
        }
    };
    let full = Some(StoreErrorKind::Full);
    for (what, key, length, options) in [
        ("not allowed", "p/small", 1000, &PutOptions::default()),
        ("only where there is none", "p/small", 1000, &only_new),
        ("none is there", "p/none", 1000, &in_place),
        ("larger than its room", "p/small", 4097, &in_place),
        ("a file with two names", "p/shared", 1000, &in_place),
    ] {
        assert_eq!(put(key, length, options).await, full, "{what}");
    }
    for key in ["p/small", "p/shared"] {
        assert_eq!(store.get_range(key, 0..u64::MAX).await.unwrap(), [1; 1000][..], "{key}");
    }
    for (key, length) in [("p/small", 1024), ("p/small", 4096), ("p/small", 10), ("p/long", 700)] {
        assert_eq!(put(key, length, &in_place).await, None, "{key} {length}");
        assert_eq!(store.get_range(key, 0..u64::MAX).await.unwrap(), vec![2; length], "{key} {length}");
    }
    std::fs::remove_file(filler).unwrap();
    assert_eq!(put("p/none", 5000, &in_place).await, None);
    let listed = store.list("p/", None).await.unwrap().objects;
    let sizes: Vec<_> = listed.iter().map(|object| (&*object.key, object.bytes)).collect();
    assert_eq!(
        sizes,
        [("p/copy", 1000), ("p/long", 700), ("p/none", 5000), ("p/shared", 1000), ("p/small", 10)]
    );
    assert_eq!(names_in(&disk.0.join("p")).len(), 5, "nothing hidden is left");
}
