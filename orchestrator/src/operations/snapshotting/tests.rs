use std::fs;

use intellistor_actors::source::SourcePath;

use super::*;
use crate::error::Category;
use crate::snapshots::VssCall;
use crate::snapshots::fake::{Fault, FolderSnapshots};

/// A volume `live`, its snapshot `shadow`, and a folder `other` of which there is none.
struct Scene {
    dir: tempfile::TempDir,
    system: SnapshotSystem,
}

impl Scene {
    fn new(fault: Option<Fault>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["live/docs", "live/store/backups", "shadow/docs", "shadow/store/backups", "other"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let text = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let fake = FolderSnapshots { folders: vec![(text("live"), text("shadow"))], fault, log: None };
        let fake = Arc::new(fake);
        let system = SnapshotSystem { provider: fake.clone(), volumes: fake, is_elevated: true };
        Self { dir, system }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn policy(&self, vss: Option<VssMode>, paths: &[&str]) -> Policy {
        Policy { vss, ..Policy::new("p", paths.iter().map(|path| self.at(path))).unwrap() }
    }

    async fn take(&self, vss: Option<VssMode>, paths: &[&str]) -> Result<RunSnapshots> {
        let policy = self.policy(vss, paths);
        RunSnapshots::take(&policy, &self.system, &CancellationToken::new()).await
    }
}

#[test]
fn a_policy_without_vss_tries_it_where_the_account_may() {
    use VssMode::{Off, Required, Try};
    for (vss, is_elevated, expected) in [
        (None, true, Try),
        (None, false, Off),
        (Some(Off), true, Off),
        (Some(Try), false, Try),
        (Some(Required), false, Required),
    ] {
        assert_eq!(VssMode::of(vss, is_elevated), expected, "{vss:?} {is_elevated}");
    }
}

#[tokio::test]
async fn roots_are_read_in_the_snapshot_and_named_as_they_are() {
    let scene = Scene::new(None);
    let snapshots = scene.take(None, &["live/docs", "other"]).await.unwrap();
    let roots = snapshots.roots();
    let read: Vec<_> = roots.iter().map(|root| (root.path.clone(), root.snapshot.clone())).collect();
    let docs = (scene.at("live/docs"), Some(scene.at("shadow/docs")));
    assert_eq!(read, [docs, (scene.at("other"), None)]);
    let mut findings = Findings::default();
    snapshots.add_to(&mut findings);
    assert_eq!(findings.snapshots.iter().map(|record| record.used).collect::<Vec<_>>(), [true, false]);
    assert_eq!(findings.snapshots[0].created.as_deref(), Some("2026-01-01T00:00:00Z"));
    // It exists, and its volume is not known: a person has to look.
    assert!(findings.notes.is_empty() && findings.warnings.len() == 1, "{findings:?}");
    assert!(findings.warnings[0].contains("without a snapshot"), "{findings:?}");
    snapshots.add_to(&mut findings);
    assert_eq!((findings.snapshots.len(), findings.warnings.len()), (2, 1), "said once");
    assert!(snapshots.are_held() && snapshots.end(true).await.is_empty());
    assert!(!snapshots.are_held() && snapshots.end(false).await.is_empty());
}

#[tokio::test]
async fn what_is_left_out_is_left_out_of_the_snapshot_too() {
    let scene = Scene::new(None);
    let snapshots = scene.take(Some(VssMode::Required), &["live"]).await.unwrap();
    let store = ExcludedFolder::new(scene.at("live/store"), "it is a store");
    let absent = ExcludedFolder::new(scene.at("live/later"), "it is made later");
    let excludes = snapshots.excludes(Excludes::new(&[]).unwrap().and_folders([store, absent]));
    let folders: Vec<_> = excludes.folders().iter().map(|folder| folder.path().to_owned()).collect();
    assert_eq!(folders, [scene.at("live/store"), scene.at("live/later"), scene.at("shadow/store")]);
    let walk = intellistor_actors::source::Walk::new(snapshots.roots(), excludes.clone());
    assert_eq!(walk.count(), 2, "the root, and docs");
    let met = [(scene.at("live/store"), "it is a store".to_owned())];
    assert_eq!(excludes.met_folders(), met, "named as it really is");
}

#[tokio::test]
async fn required_takes_all_or_nothing() {
    let insufficient = Fault::Fails(VssCall::DoSnapshotSet, Hresult::INSUFFICIENT_STORAGE);
    let failed = Scene::new(Some(insufficient)).take(Some(VssMode::Required), &["live"]).await.unwrap_err();
    assert!(matches!(failed, Error::NoSnapshot(_)) && failed.category() == Category::Failed, "{failed}");
    assert!(failed.to_string().contains("`vss: required`, and cannot make a snapshot"), "{failed}");
    let elsewhere =
        Scene::new(None).take(Some(VssMode::Required), &["live/docs", "other"]).await.unwrap_err();
    assert!(matches!(elsewhere, Error::NotInSnapshot { .. }), "{elsewhere}");
    assert_eq!(elsewhere.category(), Category::Configuration);
    let none = Scene::new(None).take(Some(VssMode::Required), &["other"]).await.unwrap_err();
    assert_eq!(none.category(), Category::Configuration, "{none}");
}

#[tokio::test]
async fn a_failure_needs_attention_and_a_want_of_rights_is_told() {
    for (code, is_elevated, notes, warnings) in [
        (Hresult::INSUFFICIENT_STORAGE, true, 0, 1),
        (Hresult::INSUFFICIENT_STORAGE, false, 0, 1),
        (Hresult::ACCESS_DENIED, true, 0, 1),
        (Hresult::ACCESS_DENIED, false, 1, 0),
        (Hresult::NOT_IMPLEMENTED, true, 1, 0),
    ] {
        let mut scene = Scene::new(Some(Fault::Fails(VssCall::CreateVssBackupComponents, code)));
        scene.system.is_elevated = is_elevated;
        let snapshots = scene.take(Some(VssMode::Try), &["live"]).await.unwrap();
        let counted = (snapshots.notes.len(), snapshots.warnings.len());
        assert_eq!(counted, (notes, warnings), "{code} {is_elevated} {:?}", snapshots.warnings);
        assert!(!snapshots.are_used() && snapshots.are_held() && snapshots.views().is_empty());
        assert_eq!(snapshots.records.len(), 1);
    }
}

#[tokio::test]
async fn a_recorded_walk_is_found_where_its_files_are_now() {
    let scene = Scene::new(None);
    for folder in ["live", "shadow"] {
        fs::write(scene.at(folder).join("f"), "").unwrap();
    }
    let paths = ["live/docs", "live/f"];
    let new = scene.take(Some(VssMode::Try), &paths).await.unwrap();
    let live = scene.take(Some(VssMode::Off), &paths).await.unwrap();
    assert!(new.moved(&new.views()).is_empty(), "in the same run");
    assert!(live.moved(&[]).is_empty() && live.resumed_note(&[]).is_none(), "without any snapshot");

    let gone = ["docs", "f"].map(|name| view(&scene.at("live").join(name), Path::new("/gone").join(name)));
    let moves = |snapshots: &RunSnapshots, recorded: &[RootView]| {
        let moved = snapshots.moved(recorded).into_iter();
        moved
            .map(|root| [root.from, root.to].map(|path| path.to_str().unwrap().replace('\\', "/")))
            .collect::<Vec<_>>()
    };
    let resolved = |name: &str| scene.at(name).canonicalize().unwrap().to_str().unwrap().to_owned();
    let expected = |from: &str, to: &str| {
        [("docs", "docs"), ("f", "f"), ("", "")].map(|(a, b)| {
            let join = |folder: &str, name: &str| format!("{folder}/{name}").trim_end_matches('/').to_owned();
            [join(from, a), join(to, b)].map(|path| path.replace('\\', "/"))
        })
    };
    let shadow = scene.at("shadow").to_str().unwrap().to_owned();
    assert_eq!(moves(&new, &gone), expected("/gone", &shadow));
    assert_eq!(moves(&live, &gone), expected("/gone", &resolved("live")));
    assert_eq!(moves(&new, &[]), expected(&resolved("live"), &shadow), "from files as they were");
    for (snapshots, recorded, words) in
        [(&new, &gone[..], "two moments"), (&live, &gone, "as it is"), (&new, &[], "sent before was not")]
    {
        assert!(snapshots.resumed_note(recorded).unwrap().contains(words), "{words}");
    }
}

/// The number of a snapshot that is gone may be that of another volume's.
#[tokio::test]
async fn nothing_of_a_recorded_walk_stays_in_a_snapshot_that_is_gone() {
    let scene = Scene::new(None);
    let at = |root: &str| SourcePath::of_root(root.into());
    let view = |name: &str| view(&scene.at("live").join(name), Path::new("/gone").join(name));
    let recorded = ["docs", "missing", "was-file"].map(view);
    fs::create_dir(scene.at("live/was-file")).unwrap();
    for mode in [VssMode::Try, VssMode::Off] {
        let paths = ["live/docs", "live/missing", "live/was-file"];
        let mut snapshots = scene.take(Some(mode), &paths).await.unwrap();
        // As where a volume is missing: its path cannot be located.
        snapshots.paths[1].1 = None;
        let moved = snapshots.moved(&recorded);
        let sources =
            [at("/gone/docs").join("x"), at("/gone/missing").join("x"), at("/gone").join("was-file")];
        for source in sources {
            let found = moved.iter().find_map(|root| source.rebased(&root.from, &root.to)).unwrap();
            let (from, found) = (source.as_path(), found.as_path());
            assert!(found.ends_with(from.strip_prefix("/gone").unwrap()), "{from:?} {found:?}");
            assert!(!found.starts_with("/gone"), "{from:?} {found:?}");
        }
    }
}

#[tokio::test]
async fn errors_name_files_as_people_know_them() {
    let scene = Scene::new(None);
    let snapshots = scene.take(Some(VssMode::Try), &["live"]).await.unwrap();
    let full = || std::io::Error::from(std::io::ErrorKind::OutOfMemory);
    let named = |path: PathBuf| snapshots.named(StorageError::io("read", path)(full()).into()).to_string();
    let text = named(scene.at("shadow/docs/a"));
    assert!(text.contains(scene.at("live").join("docs/a").to_str().unwrap()), "{text}");
    assert!(named("/x/y".into()).contains("/x/y"));
}
