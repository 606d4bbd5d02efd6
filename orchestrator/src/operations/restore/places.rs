//! Where the files of a backup came from: the paths of its policy, on the machine that made it.
//!
//! **In:** an authenticated manifest. **Out:** a [`Place`] for each of the policy's paths that has selected entries; an error where
//! the backup is another machine's, or a path is none of this system. Nothing is looked at on the disk.
//!
//! **Law (must).** What is restored in place is written below these paths, or is the one file that a path names, and nowhere else.
//! Who could write a manifest could name any path: a person sees them before anything is written.

use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf, Prefix};

use intellistor_actors::globs::PathGlobs;
use intellistor_actors::restore::planner::BackupRoot;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::ownership::Machine;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{RootRecord, VerifiedManifest, streams};

use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::restore::options::RestoreOptions;
use crate::operations::show::show;

/// A path that the policy named, and that a restore in place writes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the backup names it; a folder, or a file.
    pub path: PathBuf,
    /// The folder that is written to: the path itself, or the one that the file is in.
    pub(super) folder: PathBuf,
    pub(super) root: BackupRoot,
}

/// The places that a restore in place would write to.
///
/// # Errors
/// Those of the store and the key; [`Error::NotInPlace`]; [`Error::Pattern`].
pub async fn restore_places(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    options: &RestoreOptions,
) -> Result<Vec<Place>> {
    let manifest = show(catalog, identity, name).await?;
    let only = options.globs(manifest.head().origin.os == "windows")?;
    places(&manifest, only.as_ref(), &catalog.machine)
}

/// As [`restore_places`], of a manifest that was read.
pub(super) fn places(
    manifest: &VerifiedManifest,
    only: Option<&PathGlobs>,
    machine: &Machine,
) -> Result<Vec<Place>> {
    let head = manifest.head();
    let refuse = |reason: String| Error::NotInPlace { backup_id: head.name.backup_id.clone(), reason };
    check_origin(&head.origin.host, &head.origin.os, machine).map_err(refuse)?;
    let mut found: Vec<Found<'_>> = head.roots.iter().map(Found::new).collect();
    let see = |path: &str| {
        let is_selected = only.is_none_or(|only| only.is_match(streams::owner(path)));
        for found in &mut found {
            found.see(path, is_selected);
        }
        false
    };
    manifest.for_each_entry_at(see, |_| ControlFlow::Continue(()))?;
    if found.is_empty() {
        return Err(refuse("it does not name the paths that it came from".to_owned()));
    }
    let selected = found.into_iter().filter(|found| found.is_selected);
    selected.map(|found| found.into_place().map_err(refuse)).collect()
}

/// Names of machines are compared as they are shown: a machine that replaces another one may have its name, and then its paths.
fn check_origin(host: &str, os: &str, machine: &Machine) -> Result<(), String> {
    if os != std::env::consts::OS {
        return Err(format!("it was made on {os}, and this is {}", std::env::consts::OS));
    }
    if !host.eq_ignore_ascii_case(machine.host()) {
        return Err(format!("it was made on the machine {host:?}, and this is {:?}", machine.host()));
    }
    Ok(())
}

/// A path of the policy, and what the backup has of it.
struct Found<'m> {
    record: &'m RootRecord,
    root: BackupRoot,
    /// Only a folder is an entry itself.
    is_folder: bool,
    /// Has entries besides, and the file that it would be.
    file: Option<String>,
    has_file: bool,
    is_selected: bool,
}

impl<'m> Found<'m> {
    fn new(record: &'m RootRecord) -> Self {
        let root = BackupRoot { prefix: record.prefix.clone(), file: None };
        let file = Path::new(&record.path).file_name().map(|name| name.to_string_lossy().into_owned());
        Self { record, root, is_folder: false, file, has_file: false, is_selected: false }
    }

    fn see(&mut self, path: &str, is_selected: bool) {
        if !self.root.has(path) {
            return;
        }
        match &*self.root.below(streams::owner(path)) {
            "." => self.is_folder = true,
            below => self.has_file |= self.file.as_deref() == Some(below),
        }
        self.is_selected |= is_selected;
    }

    fn into_place(self) -> Result<Place, String> {
        let Self { record, root, is_folder, file, has_file, .. } = self;
        let path = PathBuf::from(&record.path);
        check_path(&path)?;
        if is_folder {
            return Ok(Place { folder: path.clone(), path, root });
        }
        match path.parent().filter(|_| has_file) {
            Some(folder) => Ok(Place { folder: folder.to_owned(), path, root: BackupRoot { file, ..root } }),
            None => Err(format!("it does not say whether {} was a folder or a file", path.display())),
        }
    }
}

/// Whether a path is written out and leads where it says.
fn check_path(path: &Path) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("its policy names {:?}, {why}", path.to_string_lossy()));
    if !path.is_absolute() {
        return refuse("which is relative to a folder that is not known");
    }
    if path.to_string_lossy().contains('\u{fffd}') {
        return refuse("of which some characters are lost, since they are not Unicode");
    }
    for component in path.components() {
        match component {
            Component::ParentDir => return refuse("which contains .."),
            Component::Prefix(prefix) if matches!(prefix.kind(), Prefix::DeviceNS(_)) => {
                return refuse("which is a device");
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn record(path: &str, prefix: &str) -> RootRecord {
        RootRecord { path: path.to_owned(), prefix: prefix.to_owned(), files: None }
    }

    #[cfg(unix)]
    fn place(record: &RootRecord, paths: &[&str]) -> Result<Place, String> {
        let mut found = Found::new(record);
        paths.iter().for_each(|path| found.see(path, true));
        found.into_place()
    }

    #[cfg(unix)]
    #[test]
    fn folders_are_told_from_files() {
        let (docs, alone) = (record("/home/ana/docs", "docs"), record("/home/ana/docs", ""));
        let folder = place(&docs, &["docs", "docs/a", "docs-2/b"]).unwrap();
        assert_eq!(folder.folder, Path::new("/home/ana/docs"));
        assert!(folder.root.has("docs/a") && folder.root.has("docs") && !folder.root.has("docs-2/b"));
        assert_eq!(place(&alone, &[".", "docs"]).unwrap().folder, Path::new("/home/ana/docs"));

        for (record, path) in [(&docs, "docs/docs"), (&alone, "docs")] {
            let file = place(record, &[path]).unwrap();
            assert_eq!(
                (file.folder.as_path(), file.path.as_path()),
                (Path::new("/home/ana"), Path::new("/home/ana/docs"))
            );
            let other = path.replace("docs", "shadow");
            assert!(file.root.has(path) && !file.root.has(&other) && !file.root.has("docs/other"), "{other}");
        }
        assert!(place(&docs, &["docs/other"]).unwrap_err().contains("folder or a file"));
    }

    #[cfg(unix)]
    #[test]
    fn no_path_leads_where_it_does_not_say() {
        for (path, why) in [
            ("../../etc", "relative"),
            ("docs", "relative"),
            (".", "relative"),
            ("/home/../etc", ".."),
            ("/home/a\u{fffd}o", "Unicode"),
        ] {
            let refused = place(&record(path, ""), &["."]).unwrap_err();
            assert!(refused.contains(why), "{path}: {refused}");
        }
        assert!(place(&record("/", "root"), &["root"]).is_ok());
    }

    #[test]
    fn another_machines_backup_is_refused() {
        let here = Machine::named("db01");
        let os = std::env::consts::OS;
        assert_eq!(check_origin("DB01", os, &here), Ok(()));
        assert!(check_origin("db02", os, &here).unwrap_err().contains("db02"));
        assert!(check_origin("db01", "beos", &here).unwrap_err().contains("beos"));
    }
}
