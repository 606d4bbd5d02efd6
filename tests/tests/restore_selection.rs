//! `--only`: what is asked for comes back as it was, and nothing else is fetched.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;

use intellistor::{Error, RestoreOptions};
use intellistor_tests::memory_sandbox::{MemorySandbox, assert_clean, leaves};
use intellistor_tests::sample_tree;
use intellistor_tests::tree::{self, Ignore};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn only_what_is_asked_for_comes_back() {
    let sandbox = MemorySandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let backup = sandbox.back_up().await;
    let (nfc_as_nfd, nfd_as_nfc) =
        ("Relato\u{301}rio de func\u{327}a\u{303}o.txt", "C\u{f3}pia de relat\u{f3}rio.txt");
    for (globs, expected) in [
        (&["vazio.txt"][..], &["vazio.txt"][..]),
        (&["tamanhos/1 MiB", "vazio.txt"], &["tamanhos/1 MiB", "vazio.txt"]),
        (&["no*txt"], &["nomes/a/primeiro.txt", "nomes/b/segundo.txt"]),
        (&["*/primeiro.???"], &["nomes/a/primeiro.txt"]),
        (&["tempos/{com ns,em 19*}"], &["tempos/com ns", "tempos/em 1970"]),
        (
            &["modos/*dentro.txt"],
            &["modos/grupo/dentro.txt", "modos/pegajosa/dentro.txt", "modos/r-x/dentro.txt"],
        ),
        (&["controlo/*\\*\\?\\[x\\]\\{y\\} "], &["controlo/ espacos \"aspas\" \\barra\\ *?[x]{y} "]),
        (&["pendurada", "absoluta"], &["absoluta", "pendurada"]),
        (&["latin1-*"], &["latin1-a\u{fffd}\u{fffd}o.txt"]),
        (&[sample_tree::NFC], &[sample_tree::NFC]),
        (&[nfc_as_nfd], &[sample_tree::NFC]),
        (&[sample_tree::NFD], &[sample_tree::NFD]),
        (&[nfd_as_nfc], &[sample_tree::NFD]),
        (&["esparso/*"], &["esparso/ilhas.img", "esparso/so buraco.img"]),
    ] {
        let (found, report) =
            sandbox.restore_with_report(&backup, |options| options.only(globs.iter().copied())).await;
        assert_eq!(leaves(&found), expected, "{globs:?}");
        for (path, entry) in found.iter().filter(|(_, entry)| entry.kind != tree::Kind::Folder) {
            let (expected, actual) =
                ([(path.clone(), before[path].clone())], [(path.clone(), entry.clone())]);
            tree::assert_same(&expected.into(), &actual.into(), &[Ignore::HardLinks]);
        }
        assert!(report.found >= expected.len() as u64, "{globs:?}");
    }
}

#[tokio::test]
async fn a_folder_that_is_asked_for_keeps_its_own_metadata() {
    let sandbox = MemorySandbox::with_odd_files();
    let before = tree::snapshot(&sandbox.source());
    let backup = sandbox.back_up().await;
    let found = sandbox.restore(&backup, |options| options.only(["modos"])).await;
    let mut expected = before;
    expected.retain(|path, _| path == b"." || path.starts_with(b"modos"));
    tree::assert_same(&expected, &found, &[Ignore::Root]);
}

#[tokio::test]
async fn what_matches_nothing_is_an_error_that_writes_nothing() {
    let sandbox = MemorySandbox::with_odd_files();
    let backup = sandbox.back_up().await;
    let out = sandbox.at("out");
    let asked = RestoreOptions::to(&out).only(["*.png", "nada"]);
    for options in [asked.clone(), asked.without_manifest()] {
        let error = sandbox.vault.restore(&backup.name, options).await.unwrap_err();
        assert!(matches!(error, Error::NothingMatches { .. }), "{error}");
        assert!(error.to_string().contains("\"*.png\" or \"nada\""), "{error}");
        let written = fs::read_dir(&out).map_or(0, Iterator::count);
        assert_eq!(written, 0);
    }
    let error = sandbox.vault.restore(&backup.name, RestoreOptions::to(&out).only(["a["])).await.unwrap_err();
    assert!(matches!(error, Error::Pattern(_)), "{error}");
}

#[tokio::test]
async fn a_hard_link_that_is_asked_for_alone_is_a_file() {
    let sandbox = MemorySandbox::with_odd_files();
    let backup = sandbox.back_up().await;
    for name in sample_tree::LINKED {
        let out = tempfile::tempdir().unwrap();
        let report =
            sandbox.vault.restore(&backup.name, RestoreOptions::to(out.path()).only([name])).await.unwrap();
        assert_clean(&report);
        assert_eq!(fs::read_to_string(out.path().join(name)).unwrap(), sample_tree::LINKED_TEXT, "{name}");
        assert_eq!(leaves(&tree::snapshot(out.path())), [name]);
    }
    let both = sandbox.restore(&backup, |options| options.only(["nomes/*"])).await;
    assert_eq!(
        both[sample_tree::LINKED[1].as_bytes()].same_file_as.as_deref(),
        Some(sample_tree::LINKED[0].as_bytes())
    );
}

#[tokio::test]
async fn a_restore_fetches_what_it_needs_and_nothing_twice() {
    let sandbox = MemorySandbox::create();
    for i in 0..208 {
        tree::write_noise(&sandbox.source().join(format!("{i:03}.bin")), i, MIB);
    }
    let backup = sandbox.back_up().await;
    assert!(backup.archive_bytes > 200 * MIB);

    for name in ["000.bin", "100.bin", "207.bin"] {
        let before = sandbox.memory.bytes_read();
        let (found, report) = sandbox.restore_with_report(&backup, |options| options.only([name])).await;
        let read = sandbox.memory.bytes_read() - before - backup.manifest_bytes;
        assert_eq!(
            found[name.as_bytes()].sha256.as_deref(),
            Some(&*tree::sha256(&sandbox.source().join(name)))
        );
        assert!(read <= 3 * MIB, "{name}: {read} bytes of archive were read for 1 MiB");
        assert_eq!(report.fetched_bytes, read, "the report tells what was read");
    }

    let before = sandbox.memory.bytes_read();
    let (found, report) = sandbox.restore_with_report(&backup, |options| options).await;
    let read = sandbox.memory.bytes_read() - before - backup.manifest_bytes;
    assert!(read <= backup.archive_bytes + backup.archive_bytes / 50, "{read} of {}", backup.archive_bytes);
    assert_eq!(report.fetched_bytes, read);
    tree::assert_same(&tree::snapshot(&sandbox.source()), &found, &[]);

    // Every other file: what is between them may be fetched too, but only once.
    let before = sandbox.memory.bytes_read();
    sandbox.restore(&backup, |options| options.only(["*[02468].bin"])).await;
    let read = sandbox.memory.bytes_read() - before - backup.manifest_bytes;
    assert!(read <= backup.archive_bytes + backup.archive_bytes / 50, "{read} of {}", backup.archive_bytes);
}

#[tokio::test]
async fn a_restore_of_two_far_files_does_not_read_what_is_between() {
    let sandbox = MemorySandbox::create();
    for i in 0..64 {
        tree::write_noise(&sandbox.source().join(format!("{i:03}.bin")), i, MIB);
    }
    let backup = sandbox.back_up().await;
    let before = sandbox.memory.bytes_read();
    let found = sandbox.restore(&backup, |options| options.only(["000.bin", "063.bin"])).await;
    let read = sandbox.memory.bytes_read() - before - backup.manifest_bytes;
    assert_eq!(leaves(&found), ["000.bin", "063.bin"]);
    assert!(read <= 6 * MIB, "{read} bytes were read for 2 MiB");
}
