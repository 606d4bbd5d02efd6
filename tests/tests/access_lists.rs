//! Owners and access lists of Windows from the file to the manifest, the next backup and the archive alone. This system has
//! none: an extended attribute takes their place.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use intellistor::policy::ManifestForm;
use intellistor::{
    AccessLists, BackupOptions, BackupReport, Entry, EntryKind, Policy, RestoreOptions, SecurityDescriptor,
    StoreUrl, UserKey,
};
use intellistor_storage::failpoint::Failpoint;
use intellistor_storage::manifest::security::{SIMULATED_ATTRIBUTE, Security, SecurityId};
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::decrypt_py;
use intellistor_tests::folders::{files_below, paths_below};
use intellistor_tests::hostile_backup::{HostileBackup, entry, file_header, members};
use intellistor_tests::memory_sandbox::{MemorySandbox, assert_clean, write};
use intellistor_tests::tree::{self, Ignore};
use intellistor_tests::vault::Vault;

const FILES: usize = 1_000;

/// Owned by user number `rid` of a machine; the list is inherited.
fn descriptor(rid: u32) -> SecurityDescriptor {
    let dacl = &SecurityDescriptor::private().into_bytes()[20..];
    let mut bytes = vec![1, 0, 0x04, 0x84, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0];
    bytes.extend([1, 5, 0, 0, 0, 0, 0, 5]);
    bytes.extend([21, 1, 2, 3, rid].iter().flat_map(|number| number.to_le_bytes()));
    bytes.extend(dacl);
    SecurityDescriptor::parse(bytes).unwrap()
}

fn give(path: &Path, rid: u32) {
    xattr::set(path, SIMULATED_ATTRIBUTE, descriptor(rid).as_bytes()).unwrap();
}

/// A thousand files with three descriptors, and folders with the first of them.
fn sandbox() -> MemorySandbox {
    let sandbox = MemorySandbox::create();
    for i in 0..FILES {
        let path = sandbox.source().join(format!("folder {}/file {i:03}", i % 5));
        write(&path, format!("content {i}"));
        give(&path, i as u32 % 3);
    }
    for path in paths_below(&sandbox.source()).iter().filter(|path| path.is_dir()) {
        give(path, 0);
    }
    tree::let_age(&sandbox.source());
    sandbox
}

async fn back_up(sandbox: &MemorySandbox, policy: &Policy) -> BackupReport {
    sandbox.vault.backup(policy, BackupOptions::default()).await.unwrap()
}

/// The manifest as the store has it.
fn manifest(sandbox: &MemorySandbox, report: &BackupReport) -> String {
    let objects = sandbox.memory.objects();
    let (_, bytes, _) = objects.iter().find(|(key, ..)| *key == report.key_manifest).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// How many descriptors a manifest has, and how many entries name one.
fn rows_and_names(manifest: &str) -> (usize, usize) {
    (manifest.matches("{\"id\":\"").count(), manifest.matches(",\"security\":\"").count())
}

async fn entries(vault: &Vault, report: &BackupReport) -> BTreeMap<String, Entry> {
    let mut entries = BTreeMap::new();
    let shown = vault.show(&report.name).await.unwrap();
    let each = |entry: Entry| {
        entries.insert(entry.relative_path.clone(), entry);
        ControlFlow::Continue(())
    };
    shown.for_each_entry(each).unwrap();
    entries
}

fn sddl(entry: &Entry) -> String {
    entry.security.as_ref().unwrap().descriptor().unwrap().sddl()
}

fn assert_as_given(entries: &BTreeMap<String, Entry>) {
    for i in 0..FILES {
        let path = format!("folder {}/file {i:03}", i % 5);
        assert_eq!(sddl(&entries[&path]), descriptor(i as u32 % 3).sddl(), "{path}");
        assert!(entries[&path].xattrs.is_empty(), "{path}");
    }
    assert_eq!(sddl(&entries["folder 0"]), descriptor(0).sddl());
}

#[tokio::test]
async fn a_thousand_files_with_three_descriptors_make_three_rows_plain_and_sealed() {
    let sandbox = sandbox();
    let plain = back_up(&sandbox, &sandbox.policy()).await;
    let text = manifest(&sandbox, &plain);
    assert_eq!(rows_and_names(&text), (3, FILES + 5), "files, and folders below the root");
    assert!(text.find("\"security\":[\n").unwrap() < text.find("\"entries\":[").unwrap());
    assert!(text.contains(&format!("\"sddl\":\"{}\"", descriptor(2).sddl())));
    assert_as_given(&entries(&sandbox.vault, &plain).await);

    let policy = Policy { manifest: ManifestForm::Sealed, ..sandbox.policy() };
    let options = BackupOptions { full: true, ..BackupOptions::default() };
    let sealed = sandbox.vault.backup(&policy, options).await.unwrap();
    let text = manifest(&sandbox, &sealed);
    assert!(!text.contains("security") && !text.contains("S-1-5-21"), "sealed lists hide them");
    assert_as_given(&entries(&sandbox.vault, &sealed).await);
}

#[tokio::test]
async fn an_incremental_backup_takes_over_the_rows_that_its_entries_still_need() {
    let sandbox = sandbox();
    back_up(&sandbox, &sandbox.policy()).await;
    // No file has the third one any more, and one has a new one.
    for i in (0..FILES).filter(|i| i % 3 == 2) {
        give(&sandbox.source().join(format!("folder {}/file {i:03}", i % 5)), if i == 2 { 7 } else { 1 });
    }
    let second = back_up(&sandbox, &sandbox.policy()).await;
    assert_eq!(second.changes.changed, FILES as u64 / 3, "a changed list is a change of its file");
    assert_eq!(rows_and_names(&manifest(&sandbox, &second)), (3, FILES + 5));
    let found = entries(&sandbox.vault, &second).await;
    let expected = |i: usize| if i == 2 { 7 } else { [0, 1, 1][i % 3] };
    for i in 0..FILES {
        let path = format!("folder {}/file {i:03}", i % 5);
        assert_eq!(sddl(&found[&path]), descriptor(expected(i)).sddl(), "{path}");
    }
}

#[tokio::test]
async fn a_restore_where_there_are_no_lists_says_so_once_and_no_acl_leaves_them_out() {
    let sandbox = sandbox();
    let backup = back_up(&sandbox, &sandbox.policy()).await;
    let out = sandbox.at("out");
    let restored = sandbox.vault.restore(&backup.name, RestoreOptions::to(&out)).await.unwrap();
    assert_clean(&restored);
    assert_eq!(restored.access_lists, Some(AccessLists::Unsupported));
    let file = out.join("folder 1/file 001");
    assert_eq!(fs::read_to_string(&file).unwrap(), "content 1");
    assert_eq!(xattr::list(&file).unwrap().count(), 0);
    let without = RestoreOptions::to(&out).without_access_lists();
    let again = sandbox.vault.restore(&backup.name, without.clone()).await.unwrap();
    assert_clean(&again);
    let leaves = (again.access_lists, again.unchanged, again.fetched_bytes);
    assert_eq!(leaves, (Some(AccessLists::LeftOut), FILES as u64, 0));
    for options in [RestoreOptions::to(sandbox.at("alone")), without] {
        let alone = sandbox.vault.restore(&backup.name, options.without_manifest()).await.unwrap();
        assert_clean(&alone);
        assert_eq!(alone.restored, restored.restored);
    }
    tree::assert_same(&tree::snapshot(&out), &tree::snapshot(&sandbox.at("alone")), &[Ignore::Root]);
}

#[tokio::test]
async fn a_backup_without_lists_says_nothing_about_them() {
    let sandbox = MemorySandbox::with_odd_files();
    let backup = sandbox.back_up().await;
    assert!(!manifest(&sandbox, &backup).contains("security"));
    let (_, report) = sandbox.restore_with_report(&backup, |options| options).await;
    assert_eq!(report.access_lists, None);
    assert!(!serde_json::to_string(&report).unwrap().contains("access_lists"));
}

#[test]
fn a_run_that_was_killed_and_resumed_keeps_every_list() {
    for point in [Failpoint::ScanEnded, Failpoint::PartRecorded, Failpoint::ArchiveCommitted] {
        let sandbox = AgentSandbox::filled("lists", 20);
        let files = files_below(&sandbox.source());
        for (i, file) in files.iter().enumerate() {
            give(file, i as u32 % 4);
        }
        assert!(sandbox.run_until(point.name(), 1), "{} was never reached", point.name());
        let run = sandbox.run().expect(0).json;
        assert_eq!(run["resumed"], true, "{run:#}");
        let shown = sandbox.client.run(["-q", "show", "--policy", "policy.yaml", "--latest"]).expect(0).json;
        let listed: BTreeMap<_, _> = shown["entries"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|entry| Some((entry["relative_path"].as_str()?, entry["sddl"].as_str()?)))
            .collect();
        assert_eq!(listed.len(), files.len(), "{}", point.name());
        for file in &files {
            let below = file.strip_prefix(sandbox.source()).unwrap().to_str().unwrap();
            let given = xattr::get(file, SIMULATED_ATTRIBUTE).unwrap().unwrap();
            assert_eq!(listed[below], SecurityDescriptor::parse(given).unwrap().sddl(), "{below}");
        }
        assert!(shown["entries"][1].get("security").is_none());
    }
}

#[tokio::test]
async fn tar_and_the_script_open_an_archive_with_lists() {
    let dir = tempfile::tempdir().unwrap();
    let (source, store, out) = (dir.path().join("source"), dir.path().join("store"), dir.path().join("out"));
    write(&source.join("folder/file"), "content");
    tree::write_noise(&source.join("large"), 5, 3 << 20);
    for (i, path) in paths_below(&source).iter().enumerate() {
        // Zeros, a line end and an equals sign in a record's value are no end of it.
        give(path, [0x0A3D_0A00, 0x3D00_0A3D][i % 2]);
    }
    let key = UserKey::generate();
    let secret = ("INTELLISTOR_KEY", key.to_base64().unwrap().to_string());
    let vault = Vault::open(&StoreUrl::local(&store), key).await.unwrap();
    let policy = Policy::new("lists", [source.clone()]).unwrap();
    let report = vault.backup(&policy, BackupOptions::default()).await.unwrap();
    let secret = (secret.0, secret.1.as_str());
    decrypt_py::unpack(&store.join(&report.key_backup), &out, secret);
    assert_eq!(fs::read(out.join("folder/file")).unwrap(), b"content");
    let whole = dir.path().join("whole");
    decrypt_py::restore(&store.join(&report.key_manifest), &store, &whole, secret);
    assert_eq!(fs::read(whole.join("large")).unwrap(), fs::read(source.join("large")).unwrap());
    assert_eq!(xattr::list(whole.join("folder/file")).unwrap().count(), 0, "its list is no attribute");
}

#[tokio::test]
async fn a_list_that_is_none_is_refused_and_so_is_a_name_of_one_that_is_not_there() {
    let hostile = HostileBackup::new();
    let named =
        Entry { security: Some(Security::Row(SecurityId([7; 16]))), ..entry("d", EntryKind::Directory) };
    hostile.put(&[], &[named]).await;
    let vault = Vault::new(std::sync::Arc::new(hostile.store.clone()), hostile.key.clone());
    let out = tempfile::tempdir().unwrap();
    let refused = vault.restore(&hostile.name, RestoreOptions::to(out.path())).await.unwrap_err();
    let text = format!("{refused:?}");
    assert!(text.contains("security descriptor") && text.contains("0707"), "{text}");
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);

    let mut tar = tar::Builder::new(Vec::new());
    for (name, value) in [("good", descriptor(1).into_bytes()), ("bad", b"\0\x01 no list".to_vec())] {
        tar.append_pax_extensions([("INTELLISTOR.security", &value[..])]).unwrap();
        tar.append(&file_header(name, 0), &b""[..]).unwrap();
    }
    let hostile = HostileBackup::new();
    hostile.put_archive(&members(&tar.into_inner().unwrap())).await;
    let vault = Vault::new(std::sync::Arc::new(hostile.store.clone()), hostile.key.clone());
    let out = tempfile::tempdir().unwrap();
    let options = RestoreOptions::to(out.path()).without_manifest();
    let said = match vault.restore(&hostile.name, options).await {
        Ok(report) => format!("{report:?}"),
        Err(error) => format!("{error:?}"),
    };
    assert!(said.contains("a security descriptor"), "{said}");
    assert!(!out.path().join("bad").exists());
}
