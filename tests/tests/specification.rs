//! `docs/FORMAT.md` says all that it takes to write a backup: what a script wrote that has no code of Intellistor is restored.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;

use intellistor::{BackupName, RestoreOptions, RunOptions, StoreUrl, UserKey};
use intellistor_tests::decrypt_py;
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;

/// Of `by_hand.py`: 32 bytes of 7.
const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

#[tokio::test]
async fn what_was_written_by_the_specification_alone_is_restored() {
    for kind in ["plain", "sealed"] {
        let dir = tempfile::tempdir().unwrap();
        decrypt_py::write_by_hand(dir.path(), kind);
        let store = dir.path().join("store");
        let source = tree::snapshot(&dir.path().join("source"));
        let keys: Vec<String> =
            serde_json::from_slice(&fs::read(dir.path().join("keys.json")).unwrap()).unwrap();
        let key = UserKey::from_base64("test", KEY).unwrap();
        let vault = Vault::open(&StoreUrl::local(&store), key).await.unwrap();
        for key in &keys {
            let name = BackupName::from_archive_key(key).unwrap();
            vault.verify(&name, RunOptions::default()).await.unwrap();
        }
        let last = BackupName::from_archive_key(&keys[1]).unwrap();
        let out = dir.path().join("restored");
        vault.restore(&last, RestoreOptions::to(&out)).await.unwrap();
        tree::assert_same(&source, &tree::snapshot(&out), &[]);
        let by_python = dir.path().join("by python");
        decrypt_py::restore(&store.join(last.manifest_key()), &store, &by_python, ("INTELLISTOR_KEY", KEY));
        tree::assert_same(&source, &tree::snapshot(&by_python), &[]);
    }
}
