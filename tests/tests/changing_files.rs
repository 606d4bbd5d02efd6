//! Files that change, or vanish, while they are read: the backup is valid, and reports them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use intellistor::{
    BackupOptions, BackupReport, Policy, ProblemKind, Progress, RestoreOptions, RestoreReport, RunOptions,
};
use intellistor_storage::objects::Faulty;
use intellistor_tests::events::{until, until_at_rest};
use intellistor_tests::memory_sandbox::{MemorySandbox, POLICY, assert_clean, names, write};
use intellistor_tests::tree::{self, Ignore, Tree};
use intellistor_tests::vault::Vault;

const MIB: u64 = 1 << 20;

/// Backs up while the store holds every part back, and changes the source once the archiver cannot go on.
async fn back_up_while(sandbox: &MemorySandbox, change: impl FnOnce()) -> (BackupReport, u64) {
    let faulty = Arc::new(Faulty::new(Arc::new(sandbox.memory.clone())));
    faulty.stall_parts();
    let progress = Arc::new(Progress::default());
    let run = RunOptions { progress: progress.clone(), ..RunOptions::default() };
    let options = BackupOptions { run, ..BackupOptions::default() };
    let vault = Vault::new(faulty.clone(), sandbox.key.clone());
    let policy = sandbox.policy();
    let meanwhile = async {
        until("all slots are taken", || faulty.most_parts_in_flight() >= 3).await;
        let read = until_at_rest("the archiver is blocked", || progress.bytes.get()).await;
        change();
        faulty.release_parts();
        read
    };
    let (backup, read) = tokio::join!(vault.backup(&policy, options), meanwhile);
    (backup.unwrap(), read)
}

/// What GNU tar makes of a backup.
async fn untarred(sandbox: &MemorySandbox, backup: &BackupReport) -> PathBuf {
    let (plain, out) = (sandbox.at("plain.tar.gz"), sandbox.at("untarred"));
    let file = Box::new(fs::File::create(&plain).unwrap());
    sandbox.vault.decrypt(&backup.name, file, RunOptions::default()).await.unwrap();
    fs::create_dir(&out).unwrap();
    // GNU tar says of each pax record that it does not know it. Chunk lists are no files of the source.
    let done = Command::new("tar")
        .args(["--warning=no-unknown-keyword", "--exclude=.intellistor", "-xzf"])
        .arg(&plain)
        .arg("-C")
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{}", String::from_utf8_lossy(&done.stderr));
    out
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn a_file_that_changes_is_read_again_and_one_that_vanishes_is_reported() {
    let sandbox = MemorySandbox::create();
    let at = |name: &str| sandbox.source().join(name);
    tree::write_noise(&at("a antes"), 1, 24 * MIB);
    tree::write_noise(&at("b cresce"), 2, 60 * MIB);
    // A smaller one would be open already, and in the backup.
    tree::write_noise(&at("c some"), 3, 2 * MIB);
    write(&at("d fica"), "y");
    let (backup, read) = back_up_while(&sandbox, || {
        append(&at("b cresce"), b"mais");
        fs::remove_file(at("c some")).unwrap();
    })
    .await;
    assert!((25 * MIB..84 * MIB).contains(&read), "the file was being read when it grew: {read}");
    let problems: Vec<_> = backup.problems.iter().map(|p| (p.relative_path.as_str(), p.kind)).collect();
    assert_eq!(problems, [("c some", ProblemKind::Skipped)]);
    assert!(backup.problems[0].reason.contains("vanished"), "{}", backup.problems[0].reason);
    assert_eq!((backup.totals.skipped, backup.totals.changed, backup.totals.entries), (1, 0, 4));

    let now = tree::snapshot(&sandbox.source());
    // The folder's own time was read before the file was removed from it.
    let ignoring = [Ignore::Root];
    tree::assert_same(&now, &sandbox.restore(&backup, |options| options).await, &ignoring);
    let (alone, _) = salvage(&sandbox, &backup).await;
    tree::assert_same(&now, &alone, &ignoring);
    tree::assert_same(&now, &tree::snapshot(&untarred(&sandbox, &backup).await), &ignoring);
    sandbox.vault.verify(&backup.name, RunOptions::default()).await.unwrap();
}

async fn salvage(sandbox: &MemorySandbox, backup: &BackupReport) -> (Tree, RestoreReport) {
    let out = tempfile::tempdir_in(sandbox.dir.path()).unwrap();
    let options = RestoreOptions::to(out.path()).without_manifest();
    let report = sandbox.vault.restore(&backup.name, options).await.unwrap();
    assert_clean(&report);
    (tree::snapshot(out.path()), report)
}

#[tokio::test]
async fn a_large_file_that_changes_is_kept_as_it_was_read_and_reported() {
    for grows in [true, false] {
        let sandbox = MemorySandbox::create();
        let large = sandbox.source().join("grande");
        tree::write_noise(&large, 3, 96 * MIB);
        write(&sandbox.source().join("depois"), "z");
        write(&sandbox.source().join("zzz"), "z");
        let original = fs::read(&large).unwrap();
        let (backup, read) = back_up_while(&sandbox, || {
            if grows {
                append(&large, b"mais");
            } else {
                OpenOptions::new().write(true).open(&large).unwrap().set_len(MIB).unwrap();
            }
        })
        .await;
        assert!((MIB..96 * MIB).contains(&read), "it was being read: {read}");
        assert_eq!(backup.problems.len(), 1, "{:?}", backup.problems);
        assert_eq!(
            (backup.problems[0].relative_path.as_str(), backup.problems[0].kind),
            ("grande", ProblemKind::Changed)
        );
        let verb = if grows { "grew" } else { "shrank" };
        assert!(backup.problems[0].reason.contains(verb), "{}", backup.problems[0].reason);
        assert_eq!((backup.totals.changed, backup.totals.skipped), (1, 0));

        let found = sandbox.restore(&backup, |options| options).await;
        assert_eq!(names(&found), [".", "depois", "grande", "zzz"]);
        let out = untarred(&sandbox, &backup).await;
        let held = fs::read(out.join("grande")).unwrap();
        let kept = found[&b"grande"[..]].size as usize;
        assert_eq!(held.len(), original.len(), "tar has what its header announced");
        assert!(held[..kept] == original[..kept] && held[kept..].iter().all(|byte| *byte == 0));
        assert!(if grows { kept == original.len() } else { kept < original.len() && kept as u64 >= MIB });
        assert_eq!(fs::read_to_string(out.join("zzz")).unwrap(), "z");
        assert_eq!(names(&salvage(&sandbox, &backup).await.0), names(&found));
        sandbox.vault.verify(&backup.name, RunOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_whose_size_is_wrong_does_not_break_the_archive() {
    let sandbox = MemorySandbox::create();
    write(&sandbox.source().join("a"), "a");
    // Files of /proc have content, and a size of 0.
    let policy = Policy::new(POLICY, ["/proc/self/status".into(), sandbox.source()]).unwrap();
    let backup = sandbox.vault.backup(&policy, BackupOptions::default()).await.unwrap();
    assert_eq!((backup.totals.skipped, backup.totals.changed), (0, 1));
    assert!(backup.problems[0].reason.contains("0 bytes"), "{:?}", backup.problems);
    let found = sandbox.restore(&backup, |options| options).await;
    assert_eq!(names(&found), [".", "source", "source/a", "status", "status/status"]);
    assert!(found[&b"status/status"[..]].size > 100, "its content came along");
    sandbox.vault.verify(&backup.name, RunOptions::default()).await.unwrap();
    untarred(&sandbox, &backup).await;
}
