//! What `restore --without-manifest` makes of members that a backup keeps for itself, and of files that are in the archive once
//! for several entries.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;

use intellistor::{RestoreOptions, RestoreReport};
use intellistor_tests::hostile_backup::{HostileBackup, members};
use intellistor_tests::vault::Vault;
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

struct Tar(Builder<Vec<u8>>);

impl Tar {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    fn put(&mut self, path: &str, mtime: u64, content: &[u8], pax: &[(&str, &[u8])]) {
        self.member(path, mtime, content, None, pax);
    }

    fn link(&mut self, path: &str, mtime: u64, to: &str, pax: &[(&str, &[u8])]) {
        self.member(path, mtime, b"", Some(to), pax);
    }

    fn member(&mut self, path: &str, mtime: u64, content: &[u8], link: Option<&str>, pax: &[(&str, &[u8])]) {
        if !pax.is_empty() {
            self.0.append_pax_extensions(pax.iter().copied()).unwrap();
        }
        let mut header = Header::new_ustar();
        header.set_path(path).unwrap();
        header.set_entry_type(if link.is_some() { EntryType::Link } else { EntryType::Regular });
        if let Some(link) = link {
            header.set_link_name(link).unwrap();
        }
        header.set_mode(0o640);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(mtime);
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.0.append(&header, content).unwrap();
    }

    async fn restore(self, only: &[&str]) -> (RestoreReport, TempDir) {
        let hostile = HostileBackup::new();
        hostile.put_archive(&members(&self.0.into_inner().unwrap())).await;
        let vault = Vault::new(Arc::new(hostile.store.clone()), hostile.key.clone());
        let out = tempfile::tempdir().unwrap();
        let options = RestoreOptions::to(out.path()).only(only.iter().copied()).without_manifest();
        (vault.restore(&hostile.name, options).await.unwrap(), out)
    }
}

const COPY: &[(&str, &[u8])] = &[("INTELLISTOR.copy", b"1")];

fn read(out: &TempDir, path: &str) -> Option<Vec<u8>> {
    fs::read(out.path().join(path)).ok()
}

fn inode(out: &TempDir, path: &str) -> u64 {
    fs::metadata(out.path().join(path)).unwrap().ino()
}

fn mtime(out: &TempDir, path: &str) -> i64 {
    fs::metadata(out.path().join(path)).unwrap().mtime()
}

#[tokio::test]
async fn what_a_backup_keeps_for_itself_is_no_file() {
    let mut tar = Tar::new();
    tar.put(".intellistor/pieces/0", 1, b"piece", &[("INTELLISTOR.piece", b"1")]);
    tar.put(".intellistor/chunks/512", 1, b"list", &[("INTELLISTOR.chunks", b"1")]);
    tar.put(".intellistor/pieces/mine", 1, b"mine", &[]);
    tar.put("a", 1, b"content", &[]);
    let (report, out) = tar.restore(&[]).await;
    assert_eq!((report.found, report.restored, report.bytes), (2, 2, 11));
    assert_eq!(read(&out, ".intellistor/pieces/mine").unwrap(), b"mine");
    assert!(
        read(&out, ".intellistor/pieces/0").is_none() && !out.path().join(".intellistor/chunks").exists()
    );
}

fn with_copies() -> Tar {
    let mut tar = Tar::new();
    tar.put("first", 100, b"content", &[]);
    tar.link("copy", 200, "first", COPY);
    tar.link("linked copy", 200, "copy", &[]);
    tar.link("link", 100, "first", &[]);
    tar
}

#[tokio::test]
async fn a_copy_becomes_a_file_of_its_own() {
    let (report, out) = with_copies().restore(&[]).await;
    assert_eq!((report.found, report.restored, &report.warnings), (4, 4, &vec![]));
    assert_eq!(report.bytes, 14, "that of each file once");
    for path in ["first", "copy", "linked copy", "link"] {
        assert_eq!(read(&out, path).unwrap(), b"content", "{path}");
    }
    assert_eq!(inode(&out, "first"), inode(&out, "link"));
    assert_eq!(inode(&out, "copy"), inode(&out, "linked copy"));
    assert_ne!(inode(&out, "first"), inode(&out, "copy"));
    assert_eq!((mtime(&out, "first"), mtime(&out, "copy")), (100, 200));
}

#[tokio::test]
async fn a_copy_is_restored_without_the_file_that_has_its_content() {
    let (report, out) = with_copies().restore(&["*copy"]).await;
    assert_eq!((report.found, report.restored, &report.warnings), (2, 2, &vec![]));
    assert!(read(&out, "first").is_none());
    assert_eq!(read(&out, "copy").unwrap(), b"content");
    assert_eq!(mtime(&out, "copy"), 200);
    assert_eq!(inode(&out, "copy"), inode(&out, "linked copy"));

    // A name of a copy whose other names are not selected either.
    let (report, out) = with_copies().restore(&["linked*"]).await;
    assert_eq!((report.found, report.restored, &report.warnings), (1, 1, &vec![]));
    assert_eq!((read(&out, "linked copy").unwrap(), mtime(&out, "linked copy")), (b"content".to_vec(), 200));
}

#[tokio::test]
async fn more_copies_than_are_written_at_once_are_all_restored() {
    let mut tar = Tar::new();
    tar.put("first", 1, b"content", &[]);
    (0..100).for_each(|i| tar.link(&format!("copy {i}"), i, "first", COPY));
    tar.link("of what is in another archive", 1, "elsewhere", COPY);
    let (report, out) = tar.restore(&["copy*", "of*"]).await;
    assert_eq!((report.found, report.restored, report.warning_count), (101, 100, 1));
    assert!((0..100).all(|i| read(&out, &format!("copy {i}")).unwrap() == b"content"));
    assert!(report.warnings[0].contains("elsewhere"), "{:?}", report.warnings);
}
