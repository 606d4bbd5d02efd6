//! Backups while the store fails: what passes is repeated, what stays leaves nothing that looks like a backup.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use intellistor::{
    BackupOptions, BackupReport, CancellationToken, Category, Error, Policy, Progress, RestoreOptions,
    RunOptions, UserKey, this_machine,
};
use intellistor_storage::StoreErrorKind;
use intellistor_storage::catalog::layout::machine_key;
use intellistor_storage::catalog::ownership;
use intellistor_storage::objects::{
    Fault, Faulty, LocalStore, MemoryStore, Operation, Retry, RetryPolicy, STORE_MARK, SharedStore,
};
use intellistor_tests::events::until;
use intellistor_tests::folders::paths_below;
use intellistor_tests::s3_server::{Failure, S3Server};
use intellistor_tests::tree;
use intellistor_tests::vault::Vault;
use tempfile::TempDir;

const POLICY: &str = "faults";

/// A source of three parts, and a place to restore into.
struct Sandbox {
    dir: TempDir,
    key: UserKey,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        std::fs::create_dir(&source).unwrap();
        for i in 0..20 {
            tree::write_noise(&source.join(format!("{i}.bin")), i, 1 << 20);
        }
        Self { dir, key: UserKey::generate() }
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn vault(&self, store: SharedStore) -> Vault {
        Vault::new(store, self.key.clone())
    }

    async fn back_up(&self, store: SharedStore) -> Result<BackupReport, Error> {
        self.back_up_with(store, BackupOptions::default()).await
    }

    async fn back_up_with(&self, store: SharedStore, options: BackupOptions) -> Result<BackupReport, Error> {
        self.vault(store).backup(&Policy::new(POLICY, [self.source()]).unwrap(), options).await
    }

    async fn assert_restores(&self, store: SharedStore, report: &BackupReport) {
        let out = self.dir.path().join("restored");
        let restored = self.vault(store).restore(&report.name, RestoreOptions::to(&out)).await.unwrap();
        assert_eq!((restored.warning_count, restored.damaged_count), (0, 0), "{restored:?}");
        tree::assert_same(&tree::snapshot(&self.source()), &tree::snapshot(&out), &[]);
    }
}

/// A store in memory that fails at chosen calls, with retries in front.
fn failing(plan: &[(Operation, u32, Fault)]) -> (MemoryStore, Arc<Faulty>, SharedStore) {
    let memory = MemoryStore::default();
    // The calls that are to fail are those of the backup itself.
    let machine = this_machine();
    let claim = ownership::claim(&memory, POLICY, &machine, "test", false);
    futures::executor::block_on(claim).unwrap();
    let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
    for (operation, nth, fault) in plan {
        faulty.fail(*operation, *nth, *fault);
    }
    let policy = RetryPolicy { first_delay: Duration::from_millis(1), ..RetryPolicy::default() };
    let store = Arc::new(Retry::new(faulty.clone(), policy));
    (memory, faulty, store)
}

/// What a store has of backups; it also says whose the policy is.
fn objects(memory: &MemoryStore) -> Vec<String> {
    memory.keys().into_iter().filter(|key| *key != machine_key(POLICY)).collect()
}

/// What is below a store's folder, but for the records of its id and of the policy's machine.
fn left_below(store: &Path) -> Vec<PathBuf> {
    let mut all = paths_below(store);
    all.retain(|path| !store.join(machine_key(POLICY)).starts_with(path) && !path.ends_with(STORE_MARK));
    all
}

#[tokio::test]
async fn a_part_that_fails_for_a_while_is_sent_again_and_stored_once() {
    use StoreErrorKind::{ServerFault, Throttled, Timeout, Unreachable};
    let sandbox = Sandbox::new();
    let plan = [(1, Throttled), (3, Unreachable), (4, Timeout), (6, ServerFault)];
    let plan = plan.map(|(nth, kind)| (Operation::PutPart, nth, Fault::Fails(kind)));
    let (memory, faulty, store) = failing(&plan);
    let report = sandbox.back_up(store.clone()).await.unwrap();
    assert!(report.parts >= 3, "{report:?}");
    assert_eq!(faulty.calls(Operation::PutPart), report.parts + plan.len() as u32, "every fault was met");
    let once: Vec<_> = (1..=report.parts).map(|number| (number, 1)).collect();
    assert_eq!(memory.parts_sent().into_iter().collect::<Vec<_>>(), once);
    assert_eq!(memory.open_uploads(), 0);
    sandbox.assert_restores(store, &report).await;
}

#[tokio::test]
async fn whatever_fails_once_is_repeated() {
    for operation in [Operation::BeginUpload, Operation::CompleteUpload, Operation::Head, Operation::Put] {
        let sandbox = Sandbox::new();
        let (_, undisturbed, store) = failing(&[]);
        sandbox.back_up(store).await.unwrap();
        let (memory, faulty, store) = failing(&[(operation, 1, Fault::Fails(StoreErrorKind::Timeout))]);
        let report = sandbox.back_up(store).await.unwrap_or_else(|e| panic!("{operation:?}: {e}"));
        assert_eq!(faulty.calls(operation), undisturbed.calls(operation) + 1, "{operation:?}");
        assert_eq!((memory.open_uploads(), objects(&memory).len()), (0, 2), "{operation:?}");
        assert_eq!(objects(&memory)[0], report.key_backup);
    }
}

#[tokio::test]
async fn what_stays_refused_leaves_no_backup() {
    for (operation, nth) in [
        (Operation::BeginUpload, 1),
        (Operation::PutPart, 1),
        (Operation::PutPart, 3),
        (Operation::CompleteUpload, 1),
        // The look that proves the permission before the first byte.
        (Operation::Head, 1),
        // The manifest.
        (Operation::Put, 1),
    ] {
        let sandbox = Sandbox::new();
        let (memory, faulty, store) =
            failing(&[(operation, nth, Fault::Fails(StoreErrorKind::AccessDenied))]);
        let backed_up = sandbox.back_up(store.clone()).await;
        let Err(error) = backed_up else { panic!("{operation:?} {nth}: {backed_up:?}") };
        assert_eq!(error.category(), Category::Failed, "{operation:?}");
        let message = error.to_string();
        assert!(message.contains("was made to fail"), "{operation:?}: {message}");
        assert!(faulty.calls(operation) >= nth, "{operation:?} was never met");
        assert_eq!(memory.open_uploads(), 0, "{operation:?} {nth}");
        assert!(objects(&memory).iter().all(|key| !key.ends_with("manifest.json")), "{:?}", objects(&memory));
        let vault = sandbox.vault(store);
        assert_eq!(vault.catalog.list(POLICY).await.unwrap(), [], "{operation:?}");
        assert!(
            matches!(vault.catalog.latest(POLICY, &vault.identity).await, Err(Error::NoBackup { .. })),
            "{operation:?}"
        );
    }
}

#[tokio::test]
async fn a_store_that_stays_away_is_told_after_the_last_attempt() {
    let sandbox = Sandbox::new();
    let plan: Vec<_> =
        (1..=200).map(|nth| (Operation::PutPart, nth, Fault::Fails(StoreErrorKind::Unreachable))).collect();
    let (memory, faulty, store) = failing(&plan);
    let message = sandbox.back_up(store).await.unwrap_err().to_string();
    let attempts = RetryPolicy::default().attempts;
    assert!(message.contains(&format!("after {attempts} attempts")), "{message}");
    assert!(faulty.calls(Operation::PutPart) >= attempts);
    assert_eq!((memory.open_uploads(), objects(&memory)), (0, vec![]));
}

#[tokio::test]
async fn an_answer_that_is_lost_loses_no_backup() {
    for operation in [Operation::PutPart, Operation::CompleteUpload, Operation::Put] {
        let sandbox = Sandbox::new();
        let (memory, faulty, store) = failing(&[(operation, 1, Fault::AnswerLost(StoreErrorKind::Timeout))]);
        let report = sandbox.back_up(store.clone()).await.unwrap_or_else(|e| panic!("{operation:?}: {e}"));
        let asked = faulty.calls(operation);
        assert_eq!(
            asked,
            if operation == Operation::PutPart { report.parts + 1 } else { 2 },
            "{operation:?}"
        );
        assert_eq!(memory.open_uploads(), 0, "{operation:?}");
        sandbox.assert_restores(store, &report).await;
    }
}

#[tokio::test]
async fn s3_that_cuts_throttles_and_garbles_gets_each_part_once() {
    let sandbox = Sandbox::new();
    let server = S3Server::start(&sandbox.dir.path().join("s3"));
    for (n, failure) in [(2, Failure::Cut), (2, Failure::SlowDown), (1, Failure::Altered)] {
        server.traffic().fail_next(n, Operation::PutPart, failure);
    }
    let report = sandbox.back_up(server.store()).await.unwrap();
    assert!(report.parts >= 3, "{report:?}");
    let once: Vec<_> = (1..=report.parts).map(|number| (number, 1)).collect();
    assert_eq!(server.traffic().parts().into_iter().collect::<Vec<_>>(), once);
    sandbox.vault(server.store()).verify(&report.name, RunOptions::default()).await.unwrap();
    sandbox.assert_restores(server.store(), &report).await;
}

#[tokio::test]
async fn a_cancelled_backup_leaves_nothing() {
    let sandbox = Sandbox::new();
    let memory = MemoryStore::default();
    let folder = sandbox.dir.path().join("folder");
    let local: SharedStore = Arc::new(LocalStore::open(&folder).await.unwrap());
    for store in [Arc::new(memory.clone()) as SharedStore, local] {
        let faulty = Arc::new(Faulty::new(store));
        faulty.stall_parts();
        let cancel = CancellationToken::new();
        let run = RunOptions { cancel: cancel.clone(), ..RunOptions::default() };
        let backup = sandbox.back_up_with(faulty.clone(), BackupOptions { run, ..BackupOptions::default() });
        let stop = async {
            until("a part is in flight", || faulty.most_parts_in_flight() > 0).await;
            cancel.cancel();
        };
        let (ended, ()) = tokio::join!(backup, stop);
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        assert_eq!(faulty.calls(Operation::AbortUpload), 1);
        assert!(objects(&memory).is_empty());
    }
    assert_eq!((memory.open_uploads(), objects(&memory)), (0, vec![]));
    assert_eq!(left_below(&folder), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_cancellation_amid_writing_leaves_nothing() {
    let sandbox = Sandbox::new();
    // So much that the end is far when the first part has arrived.
    tree::write_noise(&sandbox.source().join("grande.bin"), 99, 100 << 20);
    let folder = sandbox.dir.path().join("folder");
    let copy = sandbox.dir.path().join("copy");
    let store: SharedStore = Arc::new(LocalStore::open(&folder).await.unwrap());
    let (cancel, progress) = (CancellationToken::new(), Arc::new(Progress::default()));
    let run = RunOptions { cancel: cancel.clone(), progress: progress.clone(), ..RunOptions::default() };
    let options = BackupOptions { run, copy_to: Some(copy.clone()), ..BackupOptions::default() };
    let backup = sandbox.back_up_with(store.clone(), options);
    let stop = async {
        until("a part arrived", || progress.stored_bytes.get() > 0).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(backup, stop);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert_eq!((left_below(&folder), left_below(&copy)), (vec![], vec![]));
}

#[tokio::test]
async fn a_cancelled_restore_leaves_no_half_file() {
    let sandbox = Sandbox::new();
    let memory = MemoryStore::default();
    let report = sandbox.back_up(Arc::new(memory.clone())).await.unwrap();
    let (cancel, progress) = (CancellationToken::new(), Arc::new(Progress::default()));
    let out = sandbox.dir.path().join("out");
    let mut options = RestoreOptions::to(&out);
    options.run = RunOptions { cancel: cancel.clone(), progress: progress.clone(), ..RunOptions::default() };
    let vault = sandbox.vault(Arc::new(memory));
    let stop = async {
        until("something was restored", || progress.entries.get() > 2).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(vault.restore(&report.name, options), stop);
    // A fast restore may win; what is there must be whole either way.
    assert!(matches!(ended, Ok(_) | Err(Error::Interrupted)), "{ended:?}");
    let (source, restored) = (tree::snapshot(&sandbox.source()), tree::snapshot(&out));
    assert!(!restored.is_empty(), "nothing was restored, of which something could be half");
    for (path, entry) in restored {
        let name = String::from_utf8_lossy(&path).into_owned();
        assert!(source.contains_key(&path), "{name} was left behind");
        assert_eq!(entry.sha256, source[&path].sha256, "{name}");
    }
}

#[tokio::test]
async fn backups_at_the_same_time_do_not_mix() {
    let sandbox = Sandbox::new();
    let memory = MemoryStore::default();
    let store: SharedStore = Arc::new(memory.clone());
    let (a, b) = tokio::join!(sandbox.back_up(store.clone()), sandbox.back_up(store.clone()));
    let (a, b) = (a.unwrap(), b.unwrap());
    let listed: BTreeSet<_> = sandbox
        .vault(store.clone())
        .catalog
        .list(POLICY)
        .await
        .unwrap()
        .into_iter()
        .map(|l| l.name)
        .collect();
    assert_eq!(listed, BTreeSet::from([a.name.clone(), b.name.clone()]));
    for report in [a, b] {
        sandbox.vault(store.clone()).verify(&report.name, RunOptions::default()).await.unwrap();
    }
}
