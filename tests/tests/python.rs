//! `docs/decrypt.py`: a backup can be opened with no code of Intellistor.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::{Path, PathBuf};

use intellistor::{BackupOptions, BackupReport, Policy, StoreUrl, UserKey};
use intellistor_tests::decrypt_py;
use intellistor_tests::program::{Output, finish};
use intellistor_tests::sample_tree;
use intellistor_tests::tree::{self, Ignore};
use intellistor_tests::vault::Vault;
use tempfile::TempDir;

const PASSPHRASE: &str = "maçã verde, 3 $ & 'aspas'";

/// A backup in a folder, and the variable that opens it.
struct Backup {
    dir: TempDir,
    key: (&'static str, String),
    archive: PathBuf,
    manifest: PathBuf,
    report: BackupReport,
}

impl Backup {
    /// Of what `fill` puts into the source.
    async fn make(key: UserKey, fill: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (source, store) = (dir.path().join("source"), dir.path().join("store"));
        fs::create_dir(&source).unwrap();
        fill(&source);
        let variable = match key.to_base64() {
            Some(text) => ("INTELLISTOR_KEY", text.to_string()),
            None => ("INTELLISTOR_PASSPHRASE", PASSPHRASE.to_owned()),
        };
        let vault = Vault::open(&StoreUrl::local(&store), key).await.unwrap();
        let policy = Policy::new("python", [source]).unwrap();
        let report = vault.backup(&policy, BackupOptions::default()).await.unwrap();
        let (archive, manifest) = (store.join(&report.key_backup), store.join(&report.key_manifest));
        Self { dir, key: variable, archive, manifest, report }
    }

    /// A small one: one segment.
    async fn small() -> Self {
        let fill = |source: &Path| {
            fs::write(source.join("Relat\u{f3}rio.txt"), "ol\u{e1}").unwrap();
            tree::write_noise(&source.join("ruído.bin"), 5, 3 << 20);
        };
        Self::make(UserKey::generate(), fill).await
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&Path]) -> Output {
        finish(decrypt_py::command(args, (self.key.0, &self.key.1)))
    }

    /// With the archive alone, and with the manifest.
    fn unpack(&self) -> [PathBuf; 2] {
        let [alone, whole] = ["alone", "whole"].map(|name| self.at(name));
        decrypt_py::unpack(&self.archive, &alone, (self.key.0, &self.key.1));
        decrypt_py::restore(&self.manifest, &self.at("store"), &whole, (self.key.0, &self.key.1));
        [alone, whole]
    }

    fn altered(&self, of: &Path, change: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
        let mut bytes = fs::read(of).unwrap();
        change(&mut bytes);
        let path = self.at("altered");
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[track_caller]
fn assert_refused(output: &Output, says: &str) {
    assert!(output.code != 0 && output.code != -1, "it was accepted");
    assert!(output.stderr.contains(says), "it says {:?}", output.stderr);
}

#[tokio::test]
async fn a_tree_comes_back_with_python_and_tar_alone() {
    let backup = Backup::make(UserKey::generate(), sample_tree::make).await;
    let same_as = tree::snapshot(&backup.at("source"));
    for out in backup.unpack() {
        tree::assert_same(&same_as, &tree::snapshot(&out), &[Ignore::Special]);
    }
}

#[tokio::test]
async fn a_passphrase_opens_it_too() {
    let key = UserKey::from_passphrase("test", PASSPHRASE.to_owned()).unwrap();
    let mut backup = Backup::make(key, |source| fs::write(source.join("a"), "1").unwrap()).await;
    for out in backup.unpack() {
        tree::assert_same(&tree::snapshot(&backup.at("source")), &tree::snapshot(&out), &[]);
    }
    backup.key.1 = PASSPHRASE.to_uppercase();
    let refused = backup.run(&[&backup.archive]);
    assert_refused(&refused, "no configured key opens this backup");
    assert!(refused.stdout.is_empty());
}

#[tokio::test]
async fn several_segments_are_followed() {
    let fill = |source: &Path| tree::write_noise(&source.join("ruído.bin"), 5, 20 << 20);
    let backup = Backup::make(UserKey::generate(), fill).await;
    assert!(backup.report.parts >= 3);
    for out in backup.unpack() {
        tree::assert_same(&tree::snapshot(&backup.at("source")), &tree::snapshot(&out), &[]);
    }

    // The same segments in another order, one twice, one left out: each is sealed under its own name.
    let cuts = [9 << 20, 18 << 20];
    for cut in cuts {
        let short = backup.altered(&backup.archive, |bytes| drop(bytes.drain(cut - 4096..cut)));
        assert_ne!(backup.run(&[&short]).code, 0);
    }
}

#[tokio::test]
async fn an_archive_with_a_flipped_bit_is_refused() {
    let backup = Backup::small().await;
    let length = fs::metadata(&backup.archive).unwrap().len() as usize;
    let whole = backup.run(&[&backup.archive]).expect(0).stdout;
    let header =
        9 + u32::from_be_bytes(fs::read(&backup.archive).unwrap()[5..9].try_into().unwrap()) as usize;
    // Magic, version, header, segment's number, its salt, first frame's length, its bytes, the middle, the end.
    for at in
        [0, 4, 20, header + 3, header + 20, header + 39, header + 60, length / 2, length - 40, length - 1]
    {
        let altered = backup.altered(&backup.archive, |bytes| bytes[at] ^= 1);
        let refused = backup.run(&[&altered]);
        assert_ne!(refused.code, 0, "byte {at} of {length}");
        assert!(!refused.stderr.is_empty(), "byte {at}");
        assert!(whole.starts_with(&refused.stdout), "byte {at}: something unauthenticated was written");
    }
    let in_a_frame = backup.altered(&backup.archive, |bytes| bytes[length / 2] ^= 0x80);
    assert_refused(&backup.run(&[&in_a_frame]), "or that frame was altered");
}

#[tokio::test]
async fn an_archive_that_is_cut_or_longer_is_refused() {
    let backup = Backup::small().await;
    let length = fs::metadata(&backup.archive).unwrap().len() as usize;
    let bytes = fs::read(&backup.archive).unwrap();
    let last_frame = last_frame_at(&bytes);
    for kept in [0, 5, 100, length / 2, last_frame, length - 1] {
        let cut = backup.altered(&backup.archive, |bytes| bytes.truncate(kept));
        assert_ne!(backup.run(&[&cut]).code, 0, "cut at {kept} of {length}");
    }
    for more in [&b"\0"[..], &[0; 64]] {
        let longer = backup.altered(&backup.archive, |bytes| bytes.extend_from_slice(more));
        assert_ne!(backup.run(&[&longer]).code, 0, "{} bytes more", more.len());
    }
}

/// Where the last frame of an archive with one segment begins.
fn last_frame_at(bytes: &[u8]) -> usize {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let mut at = 9 + number(5) as usize + 36;
    while number(at) >> 31 == 0 {
        at += 4 + number(at) as usize;
    }
    at
}

#[tokio::test]
async fn a_manifest_is_verified() {
    let backup = Backup::small().await;
    let flag = Path::new("--manifest");
    let listed = backup.run(&[flag, &backup.manifest]).expect(0);
    let text = String::from_utf8(listed.stdout).unwrap();
    let sha256 = tree::sha256(&backup.at("source/Relat\u{f3}rio.txt"));
    assert!(text.contains(&format!("{sha256} 4 Relat\u{f3}rio.txt\n")), "{text}");
    assert_eq!(text.lines().count() as u64, backup.report.totals.entries);

    let document = fs::read(&backup.manifest).unwrap();
    let find =
        |what: &str| document.windows(what.len()).position(|window| window == what.as_bytes()).unwrap();
    for at in [find("\"size\":") + 7, find("Relat"), find("\"mtime_ns\":") + 11, document.len() - 10] {
        let altered = backup.altered(&backup.manifest, |bytes| bytes[at] ^= 1);
        assert_ne!(backup.run(&[flag, &altered]).code, 0, "byte {at}: {:?}", document[at] as char);
    }
    let renamed = backup.altered(&backup.manifest, |bytes| bytes[find("Relat")] = b'r');
    assert_refused(&backup.run(&[flag, &renamed]), "the manifest was altered");
    let cut = backup.altered(&backup.manifest, |bytes| bytes.truncate(document.len() - 1));
    assert_refused(&backup.run(&[flag, &cut]), "the manifest is cut short");
}

#[tokio::test]
async fn a_key_file_opens_it_and_another_key_does_not() {
    let mut backup = Backup::small().await;
    let file = backup.at("a.key");
    fs::write(&file, format!("{}\n", backup.key.1)).unwrap();
    let before = backup.run(&[&backup.archive]).expect(0).stdout;
    backup.key = ("INTELLISTOR_KEY_FILE", file.to_str().unwrap().to_owned());
    assert!(backup.run(&[&backup.archive]).expect(0).stdout == before);
    let other = UserKey::generate().to_base64().unwrap().to_string();
    backup.key = ("INTELLISTOR_KEY", other);
    assert_refused(&backup.run(&[&backup.archive]), "no configured key opens this backup");
}

#[tokio::test]
async fn what_python_reads_is_what_the_library_reads() {
    let backup = Backup::small().await;
    let key = UserKey::from_base64("test", &backup.key.1).unwrap();
    let vault = Vault::open(&StoreUrl::local(&backup.at("store")), key).await.unwrap();
    let plain = backup.at("plain.tar.gz");
    let out = Box::new(fs::File::create(&plain).unwrap());
    vault.decrypt(&backup.report.name, out, intellistor::RunOptions::default()).await.unwrap();
    assert!(fs::read(&plain).unwrap() == backup.run(&[&backup.archive]).expect(0).stdout);
}
