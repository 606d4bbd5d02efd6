//! `docs/decrypt.py`: an incremental backup can be opened with no code of Intellistor.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};

use intellistor::{BackupOptions, BackupReport, ManifestForm, Policy, StoreUrl, UserKey};
use intellistor_tests::decrypt_py;
use intellistor_tests::program::{Output, finish};
use intellistor_tests::tree::{self, Tree};
use intellistor_tests::vault::Vault;
use tempfile::TempDir;

const PASSPHRASE: &str = "maçã verde, 3 $ & 'aspas'";

/// A store with a backup of each of several days.
struct Days {
    dir: TempDir,
    secret: (&'static str, String),
    vault: Vault,
    policy: Policy,
    backups: Vec<(BackupReport, Tree)>,
}

impl Days {
    /// A full backup, and `increments` ones that are based on each other.
    async fn make(key: UserKey, manifest: ManifestForm, increments: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir(&source).unwrap();
        let secret = match key.to_base64() {
            Some(text) => ("INTELLISTOR_KEY", text.to_string()),
            None => ("INTELLISTOR_PASSPHRASE", PASSPHRASE.to_owned()),
        };
        let vault = Vault::open(&StoreUrl::local(&dir.path().join("store")), key).await.unwrap();
        let mut policy = Policy::new("python", [source]).unwrap();
        policy.manifest = manifest;
        let mut days = Self { dir, secret, vault, policy, backups: Vec::new() };
        for day in 0..=increments {
            days.change_files(day);
            let report = days.vault.backup(&days.policy, BackupOptions::default()).await.unwrap();
            days.backups.push((report, tree::snapshot(&days.at("source"))));
        }
        days
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn change_files(&self, day: u64) {
        let source = self.at("source");
        let at = |path: &str| source.join(path);
        match day {
            0 => {
                for name in ["fotos/um.jpg", "fotos/dois.jpg", "fica.txt", "Relat\u{f3}rio.txt"] {
                    fs::create_dir_all(at(name).parent().unwrap()).unwrap();
                    fs::write(at(name), format!("conteúdo de {name}")).unwrap();
                }
                fs::write(source.join(OsStr::from_bytes(b"n\xe3o.txt")), "latin1").unwrap();
                symlink("fica.txt", at("ligação")).unwrap();
                tree::write_noise(&at("grande.bin"), 1, 3 << 20);
            }
            1 => fs::rename(at("fotos"), at("imagens")).unwrap(),
            2 => drop(fs::copy(at("grande.bin"), at("grande (cópia).bin")).unwrap()),
            3 => fs::hard_link(at("fica.txt"), at("outro nome.txt")).unwrap(),
            4 => {
                let sparse = fs::File::create(at("esparso.img")).unwrap();
                sparse.set_len(64 << 20).unwrap();
                sparse.write_all_at(&tree::noise(2, 5000), 40 << 20).unwrap();
                fs::remove_file(at("imagens/um.jpg")).unwrap();
            }
            _ => fs::write(at("vazio.txt"), "").unwrap(),
        }
        // Each day's own bytes, inserted far from those of other days.
        let mut large = fs::read(at("grande.bin")).unwrap();
        let place = (day as usize + 2) << 18;
        large.splice(place..place, tree::noise(100 + day, 5000));
        fs::write(at("grande.bin"), large).unwrap();
        let mut log = OpenOptions::new().create(true).append(true).open(at("registo.log")).unwrap();
        writeln!(log, "dia {day}").unwrap();
    }

    fn object(&self, key: &str) -> PathBuf {
        self.at("store").join(key)
    }

    /// The last backup's manifest, or what is beside it.
    fn last(&self, name: &str) -> PathBuf {
        self.object(&self.backups.last().unwrap().0.key_manifest).with_file_name(name)
    }

    fn secret(&self) -> (&str, &str) {
        (self.secret.0, &self.secret.1)
    }

    /// The last backup, to standard output.
    fn decrypt(&self) -> Output {
        finish(decrypt_py::command(&[&self.last("manifest.json"), &self.at("store")], self.secret()))
    }

    /// While an object is another one, opening the last backup must be refused.
    #[track_caller]
    fn assert_refused_with(&self, object: &Path, bytes: Option<Vec<u8>>, says: &str) {
        let before = fs::read(object).unwrap();
        match bytes {
            Some(bytes) => fs::write(object, bytes).unwrap(),
            None => fs::remove_file(object).unwrap(),
        }
        let output = self.decrypt();
        fs::write(object, before).unwrap();
        assert!(output.code > 0, "it was accepted");
        assert!(output.stderr.contains(says), "{says:?}: {}", output.stderr);
        assert!(!output.stderr.contains("Traceback"), "{}", output.stderr);
        // Nothing that claims to be a whole tar.
        assert!(!output.stdout.ends_with(&[0; 1024]));
    }
}

fn flipped(path: &Path, at: impl Fn(usize) -> usize) -> Option<Vec<u8>> {
    let mut bytes = fs::read(path).unwrap();
    let at = at(bytes.len());
    bytes[at] ^= 1;
    Some(bytes)
}

#[tokio::test]
async fn the_fifth_increment_comes_back_with_python_and_tar_alone() {
    for (has_passphrase, manifest) in [
        (false, ManifestForm::Plain),
        (false, ManifestForm::Sealed),
        (true, ManifestForm::Plain),
        (true, ManifestForm::Sealed),
    ] {
        let key = match has_passphrase {
            false => UserKey::generate(),
            true => UserKey::from_passphrase("test", PASSPHRASE.to_owned()).unwrap(),
        };
        let days = Days::make(key, manifest, 5).await;
        let last = days.vault.show(&days.backups[5].0.name).await.unwrap();
        assert_eq!(last.head().archives.len(), 6, "each day added bytes that are still needed");
        let entries_enc = days.last("entries.enc");
        assert_eq!(entries_enc.exists(), manifest == ManifestForm::Sealed);
        for (n, (report, source)) in days.backups.iter().enumerate().step_by(5) {
            let out = days.at(&format!("out {n}"));
            decrypt_py::restore(&days.object(&report.key_manifest), &days.at("store"), &out, days.secret());
            tree::assert_same(source, &tree::snapshot(&out), &[]);
        }
        // The full one's archive is complete by itself.
        let (full, source) = &days.backups[0];
        decrypt_py::unpack(&days.object(&full.key_backup), &days.at("alone"), days.secret());
        tree::assert_same(source, &tree::snapshot(&days.at("alone")), &[]);
        // The last one's has the new bytes of the large file under names of ours, and not under its own.
        let alone = days.at("increment alone");
        fs::create_dir(&alone).unwrap();
        let archive = days.object(&days.backups[5].0.key_backup);
        let members = alone.join("tar.gz");
        let plain = finish(decrypt_py::command(&[&archive], days.secret())).expect(0).stdout;
        fs::write(&members, plain).unwrap();
        let mut tar = std::process::Command::new("tar");
        tar.arg("tzf").arg(&members);
        let listed = String::from_utf8(finish(tar).expect(0).stdout).unwrap();
        assert!(listed.contains(".intellistor/pieces/"), "{listed}");
        assert!(!listed.lines().any(|name| name == "grande.bin"), "{listed}");
    }
}

#[tokio::test]
async fn what_was_altered_in_a_dependency_or_in_the_manifest_is_refused() {
    let days = Days::make(UserKey::generate(), ManifestForm::Plain, 2).await;
    let [full, middle] = [0, 1].map(|n| days.object(&days.backups[n].0.key_backup));
    days.assert_refused_with(&full, flipped(&full, |bytes| bytes / 2), "or that frame was altered");
    days.assert_refused_with(&full, None, "No such file");
    days.assert_refused_with(&full, flipped(&full, |_| 40), "is not the archive that the manifest names");
    let shorter = fs::read(&full).unwrap().split_last().map(|(_, rest)| rest.to_vec());
    days.assert_refused_with(&full, shorter, "is not the archive that the manifest names");
    // Another archive of the chain, sealed under a key that the manifest has too.
    days.assert_refused_with(
        &middle,
        Some(fs::read(&full).unwrap()),
        "is not the archive that the manifest names",
    );

    let manifest = days.last("manifest.json");
    let document = String::from_utf8(fs::read(&manifest).unwrap()).unwrap();
    for (from, to) in
        [("\"began_ms\":1", "\"began_ms\":2"), ("\"archive\":1", "\"archive\":2"), ("fica.txt", "fico.txt")]
    {
        assert!(document.contains(from), "{from}");
        days.assert_refused_with(
            &manifest,
            Some(document.replacen(from, to, 1).into()),
            "the manifest was altered",
        );
    }
    days.assert_refused_with(&manifest, Some(document[..document.len() - 1].into()), "cut short");
    days.decrypt().expect(0);
}

#[tokio::test]
async fn sealed_lists_that_are_not_those_of_the_manifest_are_refused() {
    let days = Days::make(UserKey::generate(), ManifestForm::Sealed, 1).await;
    let lists = days.last("entries.enc");
    let earlier = days.object(&days.backups[0].0.key_manifest).with_file_name("entries.enc");
    let says = "entries.enc is not the one that the manifest names";
    days.assert_refused_with(&lists, flipped(&lists, |bytes| bytes - 1), says);
    days.assert_refused_with(&lists, Some(fs::read(earlier).unwrap()), says);
    days.assert_refused_with(&lists, None, "No such file");
    days.decrypt().expect(0);
}
