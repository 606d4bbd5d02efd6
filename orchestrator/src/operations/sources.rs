//! The folders that a policy names: checks before a byte is sent, and findings once they were walked.

use std::path::{Path, PathBuf};

use intellistor_actors::globs;
use intellistor_actors::source::{ExcludedFolder, Excludes, Overlap, RootCounts, find_overlap, make_roots};
use intellistor_storage::catalog::layout;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::manifest::RootRecord;
use intellistor_storage::objects::{ObjectStore, STORE_MARK};
use intellistor_storage::state::Findings;

use crate::error::{Error, Result};
use crate::policy::PolicyError;
use crate::policy::{CloudFiles, Policy};
use crate::system_files::system_files;

/// What the walk of a policy's folders leaves out, after a check that these can be backed up at all.
///
/// # Errors
/// [`PolicyError`] when none of the folders exists, when two overlap, or when the backup itself or the agent's state is
/// written into one.
pub(crate) fn excludes(
    policy: &Policy,
    store: &dyn ObjectStore,
    copies: &[PathBuf],
    home: Option<&Path>,
) -> Result<Excludes> {
    policy.check_paths()?;
    policy.check_overlap()?;
    copies.iter().try_for_each(|copy| check_copy(store, copy))?;
    let stores = store.folders().into_iter().map(|folder| folder.path).chain(copies.iter().cloned());
    let mut excluded = own_folders(policy, stores, home)?;
    if policy.paths.len() > 1 {
        // A second mount of a folder is seen only when the walk comes to it.
        let roots = policy.paths.iter().filter(|path| path.is_dir());
        excluded.extend(
            roots.map(|path| {
                ExcludedFolder::new(path, "it is also named in `paths`, and is stored only once")
            }),
        );
    }
    let own_backups = BackupName::policy_prefix(&policy.policy_id);
    let excludes = Excludes::new(&policy.exclude)?
        .and_folders(excluded)
        .and_system_files(system_files(policy))
        .and_stores_with(own_backups.trim_end_matches('/'));
    Ok(excludes
        .one_file_system(policy.one_file_system)
        .and_caches(policy.exclude_caches)
        .and_streams(policy.streams)
        .fetch_from_cloud(policy.cloud_files == CloudFiles::Read))
}

/// The folders that this program writes to, which a walk leaves out: the stores with copies, and the agent's home.
///
/// # Errors
/// [`PolicyError::OwnFolder`] when a path is among what is written there.
pub(crate) fn own_folders(
    policy: &Policy,
    stores: impl IntoIterator<Item = PathBuf>,
    home: Option<&Path>,
) -> Result<Vec<ExcludedFolder>, PolicyError> {
    const STORE: [&str; 3] = [layout::BACKUPS, layout::LOGS, STORE_MARK];
    const HOME: [&str; 2] = ["queue", "logs"];
    let stores = stores.into_iter().map(|folder| (folder, &STORE[..], "this backup is written there"));
    let home = home.map(|home| (home.to_owned(), &HOME[..], "the agent keeps its queues and logs there"));
    let mut excluded = Vec::new();
    for (folder, inner, reason) in stores.chain(home) {
        for inner in inner.iter().map(|name| ExcludedFolder::new(folder.join(name), reason)) {
            if let Some(path) = policy.paths.iter().find(|path| inner.contains(path)) {
                let (path, folder) = (path.clone(), inner.path().to_owned());
                return Err(PolicyError::OwnFolder { path, folder, reason });
            }
            excluded.push(inner);
        }
        excluded.push(ExcludedFolder::new(folder, reason));
    }
    Ok(excluded)
}

/// Findings of a walk that has ended. `before` are the folders of earlier backups, the newest first.
pub(crate) fn findings(policy: &Policy, excludes: &Excludes, before: &[Vec<RootRecord>]) -> Findings {
    let roots = root_records(policy, excludes);
    let alarms = alarms(&roots, before);
    let mut notes: Vec<_> = excludes
        .met_folders()
        .into_iter()
        .map(|(folder, reason)| format!("{} was left out: {reason}", folder.display()))
        .collect();
    let counts = excludes.counts();
    if let count @ 1.. = counts.in_cloud {
        let are = if count == 1 { "file or folder is" } else { "files and folders are" };
        notes.push(format!(
            "{count} {are} in the cloud, not here, and nothing was downloaded: what an earlier backup has of them unchanged \
             stays in this one, and the manifest's notes name the others. `cloud_files: read` downloads and keeps them"
        ));
    }
    for pattern in excludes.unmatched() {
        let hint = prefix_of(&pattern, &roots).map_or_else(
            || globs::suspicion(&pattern),
            |(prefix, rest)| {
                format!(
                    ": patterns are matched below each of `paths`, without the name {prefix:?}. Perhaps you mean {rest:?}"
                )
            },
        );
        notes.push(format!("the pattern {pattern:?} in `exclude` matched nothing{hint}"));
    }
    notes.iter().for_each(|line| tracing::warn!("{line}"));
    // The same every night: no reason to warn.
    notes.extend(of_disk(counts).inspect(|line| tracing::info!("{line}")));
    let of_system = excludes.met_system_files();
    let of_system = of_system.into_iter().map(|(rule, count)| match count {
        1 => format!("one file or folder of the system was left out: {rule}"),
        _ => format!("{count} files and folders of the system were left out: {rule}"),
    });
    notes.extend(of_system.inspect(|line| tracing::info!("{line}")));
    notes.extend(streams_note(counts).inspect(|line| tracing::info!("{line}")));
    Findings { roots, notes, alarms, streams_left_out: counts.streams, ..Findings::default() }
}

/// Windows marks whatever comes from the internet: that is no reason for a note every night.
fn streams_note(counts: RootCounts) -> Option<String> {
    let RootCounts { streams, zone_identifiers, .. } = counts;
    if streams == zone_identifiers {
        return None;
    }
    let were = if streams == 1 { "stream was" } else { "streams were" };
    let of_zones = match zone_identifiers {
        0 => String::new(),
        zones => format!(", {zones} of them only the mark of files from the internet"),
    };
    Some(format!("{streams} alternate data {were} left out{of_zones}: `streams: true` keeps them"))
}

/// What is kept otherwise than the disk has it.
fn of_disk(counts: RootCounts) -> impl Iterator<Item = String> {
    let kinds = [(counts.encrypted, "encrypted (EFS)"), (counts.compressed, "compressed")];
    kinds.into_iter().filter(|(count, _)| *count > 0).map(|(count, how)| {
        let files = if count == 1 { "file is" } else { "files are" };
        format!("{count} {files} {how} by Windows, and in the backup as programs read them: a restore does not do that again")
    })
}

/// The root that a pattern begins with the name of, and what follows it.
fn prefix_of<'p>(pattern: &'p str, roots: &'p [RootRecord]) -> Option<(&'p str, &'p str)> {
    roots.iter().find_map(|root| {
        let rest = pattern.strip_prefix(root.prefix.as_str()).filter(|_| !root.prefix.is_empty())?;
        Some((root.prefix.as_str(), rest.strip_prefix('/').filter(|rest| !rest.is_empty())?))
    })
}

/// The policy's folders, as the manifest names them.
fn root_records(policy: &Policy, excludes: &Excludes) -> Vec<RootRecord> {
    let record = |root: intellistor_actors::source::Root| RootRecord {
        files: excludes.files_below(&root.path),
        path: root.path.to_string_lossy().into_owned(),
        prefix: root.prefix,
    };
    make_roots(&policy.paths).into_iter().map(record).collect()
}

/// A disk that is not mounted looks like a folder from which everything was removed.
pub(crate) fn alarms(roots: &[RootRecord], before: &[Vec<RootRecord>]) -> Vec<String> {
    let files_of = |roots: &[RootRecord], path: &str| {
        roots.iter().find(|root| root.path == path).and_then(|root| root.files)
    };
    let mut alarms = Vec::new();
    for root in roots.iter().filter(|root| root.files == Some(0)) {
        // A folder that was empty last time as well is still reported.
        let last = before.iter().filter_map(|roots| files_of(roots, &root.path)).find(|&files| files > 0);
        if let Some(files) = last {
            alarms.push(format!(
                "{:?} contains no files, but an earlier backup found {files} there. Is its disk mounted? If it should \
                 be empty, remove it from `paths`",
                root.path
            ));
        }
    }
    let in_both = roots.iter().filter_map(|root| {
        Some((root.files?, before.first().and_then(|roots| files_of(roots, &root.path))?))
    });
    let (now, last) = in_both.fold((0, 0), |(now, last), (n, l)| (now + n, last + l));
    if alarms.is_empty() && now * 2 < last {
        alarms.push(format!(
            "of {last} files in the previous backup, fewer than half are left: {now}. Check that nothing was lost; \
             earlier backups still have them"
        ));
    }
    alarms
}

impl Policy {
    /// Checks that no two paths lead to the same files, which would be stored twice.
    ///
    /// # Errors
    /// [`PolicyError::SamePath`] and [`PolicyError::PathWithin`] name both.
    pub fn check_overlap(&self) -> Result<(), PolicyError> {
        match find_overlap(&self.paths, self.one_file_system) {
            None => Ok(()),
            Some(Overlap::Same(path, other)) => Err(PolicyError::SamePath { path, other }),
            Some(Overlap::Within(path, outer)) => Err(PolicyError::PathWithin { path, outer }),
        }
    }
}

/// Refuses a copy that would be written over the store, or among its objects.
///
/// # Errors
/// [`Error::CopyInStore`](crate::Error::CopyInStore).
pub(crate) fn check_copy(store: &dyn ObjectStore, copy: &Path) -> Result<()> {
    let among_objects = |folder: &Path, other: &Path| {
        let inner = [layout::BACKUPS, layout::LOGS].map(|name| ExcludedFolder::new(folder.join(name), ""));
        inner.iter().any(|inner| inner.contains(existing(other)))
    };
    for folder in store.folders() {
        let store = &folder.path;
        let (in_store, in_copy) = (ExcludedFolder::new(store, ""), ExcludedFolder::new(copy, ""));
        let is_same = located(store) == located(copy) || (in_store.contains(copy) && in_copy.contains(store));
        if is_same || among_objects(store, copy) || among_objects(copy, store) {
            return Err(Error::CopyInStore { copy: copy.to_owned(), store: store.clone() });
        }
    }
    Ok(())
}

/// A folder, or the parent that it will be created in.
fn existing(folder: &Path) -> &Path {
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    if folder.exists() { folder } else { above.unwrap_or(Path::new(".")) }
}

/// A folder's path without links, also before it is created; `None` where its parent does not exist.
fn located(folder: &Path) -> Option<PathBuf> {
    let there = existing(folder);
    let resolved = there.canonicalize().ok()?;
    Some(if there == folder { resolved } else { resolved.join(folder.file_name()?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Category;

    fn roots(files: &[(&str, u64)]) -> Vec<RootRecord> {
        let record = |&(path, files): &(&str, u64)| RootRecord {
            path: path.to_owned(),
            prefix: String::new(),
            files: Some(files),
        };
        files.iter().map(record).collect()
    }

    #[test]
    fn a_folder_that_is_empty_and_was_not_raises_an_alarm_until_it_is_filled() {
        let before = [roots(&[("/a", 0), ("/b", 5)]), roots(&[("/a", 9), ("/b", 5)])];
        let found = alarms(&roots(&[("/a", 0), ("/b", 5)]), &before);
        assert!(found.len() == 1 && found[0].contains("\"/a\"") && found[0].contains('9'), "{found:?}");
        assert!(alarms(&roots(&[("/a", 1), ("/b", 5)]), &before).is_empty());
        assert!(alarms(&roots(&[("/new", 0), ("/b", 5)]), &before).is_empty());
        assert!(alarms(&roots(&[("/a", 0)]), &[]).is_empty());
    }

    #[tokio::test]
    async fn a_copy_in_the_store_is_refused_before_either_exists() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("real/backups")).unwrap();
        for (store, copy) in [
            ("new", "new"),
            ("new", "new/"),
            ("new", "real/../new"),
            ("real", "real"),
            ("real", "real/backups/p"),
            ("real/backups/x", "real"),
        ] {
            let store = intellistor_storage::objects::LocalStore::open(&at(store)).await.unwrap();
            let refused = check_copy(&store, &at(copy)).unwrap_err();
            assert_eq!(refused.category(), Category::Configuration);
            assert!(refused.to_string().contains("would overwrite"), "{copy}: {refused}");
        }
        for (store, copy) in [("new", "copy"), ("real", "real/copy"), ("real", "real/backups-2")] {
            let store = intellistor_storage::objects::LocalStore::open(&at(store)).await.unwrap();
            check_copy(&store, &at(copy)).unwrap();
        }
    }

    #[test]
    fn a_path_among_what_is_written_is_refused_and_one_beside_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["s/backups/p", "s/docs", "home/queue", "other"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        let own = |name: &str| {
            let policy = Policy::new("p", [at(name)]).unwrap();
            own_folders(&policy, [at("s")], Some(&at("home")))
        };
        for path in ["s/backups", "s/backups/p", "other/../s/backups", "home/queue"] {
            assert!(matches!(own(path), Err(PolicyError::OwnFolder { .. })), "{path}");
        }
        for path in ["", "s", "s/docs", "home", "other"] {
            assert_eq!(own(path).unwrap().len(), 7, "{path}");
        }
    }

    #[test]
    fn streams_that_are_left_out_are_a_note_unless_all_are_marks_of_the_web() {
        let note = |streams, zone_identifiers| {
            streams_note(RootCounts { streams, zone_identifiers, ..RootCounts::default() })
        };
        assert_eq!((note(0, 0), note(7, 7)), (None, None));
        assert_eq!(note(1, 0).unwrap(), "1 alternate data stream was left out: `streams: true` keeps them");
        let both = note(9, 7).unwrap();
        assert!(both.contains("9 alternate data streams were left out, 7 of them"), "{both}");
    }

    #[test]
    fn less_than_half_of_the_files_raises_an_alarm() {
        let before = [roots(&[("/a", 10), ("/b", 10), ("/gone", 90)])];
        assert!(alarms(&roots(&[("/a", 5), ("/b", 5)]), &before).is_empty());
        let found = alarms(&roots(&[("/a", 8), ("/b", 1), ("/new", 50)]), &before);
        assert!(found.len() == 1 && found[0].contains("20 files") && found[0].contains('9'), "{found:?}");
    }

    #[test]
    fn what_windows_encrypts_or_compresses_is_noted_with_its_count() {
        let noted = |encrypted, compressed| {
            of_disk(RootCounts { encrypted, compressed, files: 9, ..RootCounts::default() })
                .collect::<Vec<_>>()
        };
        assert!(noted(0, 0).is_empty());
        assert_eq!(
            noted(1, 2),
            [
                "1 file is encrypted (EFS) by Windows, and in the backup as programs read them: a restore does not do that again",
                "2 files are compressed by Windows, and in the backup as programs read them: a restore does not do that again",
            ]
        );
    }
}
