//! What two backups of a policy differ in.
//!
//! **In:** two backups. **Out:** a [`DiffReport`]: exact counts and bytes of each kind of difference, the first of each by name,
//! and the folders that differ most. **Guarantee:** both manifests are verified before any entry is used. Entries of both come in
//! the order of a walk and are merged ([`merge`]), so what is the same costs no memory; 24 bytes are kept for each file that only
//! one of them has, and 16 more for each that was moved: 48 MB where a million files were replaced by a million others. Nothing is
//! written, but for manifests over 4 MiB into temporary files without a name.
//!
//! A file of which one backup has another content, size or kind is `changed`; with the same content and another mode, owner, time
//! or attribute it is `metadata`. That a folder's own time changed says only that something in it did, and is no difference. A
//! file that only the newer one has is `moved` where the older one has its content under a path that is gone.

pub(crate) mod merge;
mod moves;
pub(crate) mod report;

use std::sync::Arc;

use intellistor_actors::globs::{PathGlobs, suspicion};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_storage::manifest::{Entry, EntryKind, VerifiedManifest, streams};

use self::merge::{Pair, Sections, merge};
use self::moves::Moves;
use self::report::{DiffOptions, DiffReport, Folders, Lists, content};
use crate::catalog::Catalog;
use crate::error::{Error, Result};
use crate::operations::show::show;

/// Compares two backups; `from` is the older one, as a rule.
///
/// # Errors
/// [`Error::Pattern`]; [`Error::ManifestLost`] and those of the store and the key; [`Error::NothingMatches`].
pub async fn diff(
    catalog: &Catalog,
    identity: &Identity,
    from: &BackupName,
    to: &BackupName,
    options: DiffOptions,
) -> Result<DiffReport> {
    PathGlobs::new(&options.only)?;
    let (older, newer) = tokio::try_join!(show(catalog, identity, from), show(catalog, identity, to))?;
    let is_windows = |manifest: &VerifiedManifest| manifest.head().origin.os == "windows";
    let only = match is_windows(&older) || is_windows(&newer) {
        _ if options.only.is_empty() => None,
        true => Some(PathGlobs::ignoring_case(&options.only)?),
        false => Some(PathGlobs::new(&options.only)?),
    };
    let mut report = DiffReport::of(from, &older, to, &newer, catalog.url(), &options);
    let globs = only.clone();
    let compared = tokio::task::spawn_blocking(move || {
        compare(older, newer, globs.as_ref(), &mut report).map(|()| report)
    });
    let report = compared.await.map_err(|panic| Error::Defect(panic.to_string()))??;
    let unmatched = only.iter().flat_map(PathGlobs::unmatched);
    let warnings = unmatched
        .map(|pattern| format!("nothing in either backup matches {pattern:?}{}", suspicion(pattern)));
    let warnings: Vec<_> = warnings.collect();
    Ok(DiffReport { warnings, ..report })
}

fn compare(
    older: VerifiedManifest,
    newer: VerifiedManifest,
    only: Option<&PathGlobs>,
    report: &mut DiffReport,
) -> Result<()> {
    let sections = Sections::new(Arc::new(older), Arc::new(newer))?;
    let wanted = |path: &str| only.is_none_or(|globs| globs.is_match(streams::owner(path)));
    let mut moves = Moves::default();
    merge(&sections, |pair| {
        match pair {
            Pair::Removed(index, entry) if wanted(&entry.relative_path) => moves.gone(index, &entry),
            Pair::Added(index, entry) if wanted(&entry.relative_path) => moves.come(index, &entry),
            _ => {}
        }
        Ok(())
    })?;
    let moves = moves.pair(report.limit);
    let mut lists = Lists::new(report.limit);
    let mut folders = Folders::default();
    merge(&sections, |pair| {
        match pair {
            Pair::Removed(index, entry) if wanted(&entry.relative_path) => {
                if moves.is_source(index) {
                    lists.moved_from(moves.listed_source(index), &entry);
                } else {
                    folders.add(&entry.relative_path, |folder| {
                        folder.removed += 1;
                        folder.bytes_removed += content(&entry);
                    });
                    lists.removed(&entry);
                }
            }
            Pair::Added(index, entry) if wanted(&entry.relative_path) => {
                if moves.is_target(index) {
                    folders.add(&entry.relative_path, |folder| folder.moved += 1);
                    lists.moved_to(moves.listed_target(index), &entry);
                } else {
                    folders.add(&entry.relative_path, |folder| {
                        folder.added += 1;
                        folder.bytes_added += content(&entry);
                    });
                    lists.added(&entry);
                }
            }
            Pair::Both(before, after) if wanted(&after.relative_path) => match difference(&before, &after) {
                Difference::None => lists.unchanged(&after),
                Difference::Metadata(what) => {
                    folders.add(&after.relative_path, |folder| folder.metadata += 1);
                    lists.metadata(&after, what);
                }
                Difference::Content => {
                    folders.add(&after.relative_path, |folder| {
                        folder.changed += 1;
                        folder.bytes_changed += content(&after);
                    });
                    lists.changed(&before, &after);
                }
            },
            _ => {}
        }
        Ok(())
    })?;
    lists.finish(report);
    report.folders = folders.largest();
    Ok(())
}

/// How an entry differs from the one that had its path before.
#[derive(Debug, PartialEq, Eq)]
enum Difference {
    None,
    /// The names of what differs.
    Metadata(Vec<&'static str>),
    Content,
}

fn difference(before: &Entry, after: &Entry) -> Difference {
    let is_file = |entry: &Entry| matches!(entry.kind, EntryKind::File | EntryKind::Hardlink);
    let same_bytes = before.size == after.size && before.sha256 == after.sha256;
    let same_content = match (before.kind, after.kind) {
        _ if is_file(before) && is_file(after) => same_bytes,
        (EntryKind::Stream, EntryKind::Stream) => same_bytes,
        (EntryKind::Symlink, EntryKind::Symlink) => before.raw_link_target() == after.raw_link_target(),
        (one, other) => one == other,
    };
    if !same_content {
        return Difference::Content;
    }
    // That of a folder is not its own, nor is that of a stream.
    let has_time = after.kind.is_file_or_link();
    let mut what = Vec::new();
    let mode = |entry: &Entry| entry.unix.as_ref().map(|unix| unix.mode);
    let owner = |entry: &Entry| entry.unix.as_ref().map(|unix| (unix.uid, unix.gid));
    what.extend((mode(before) != mode(after)).then_some("mode"));
    what.extend((owner(before) != owner(after)).then_some("owner"));
    what.extend((before.windows != after.windows).then_some("attributes"));
    what.extend((before.xattrs != after.xattrs).then_some("xattrs"));
    what.extend((before.security != after.security).then_some("access list"));
    what.extend((has_time && before.mtime_ns != after.mtime_ns).then_some("mtime"));
    if what.is_empty() { Difference::None } else { Difference::Metadata(what) }
}

#[cfg(test)]
mod tests {
    use intellistor_storage::manifest::UnixAttributes;

    use super::*;

    fn file(digest: u8, size: u64) -> Entry {
        let unix = Some(UnixAttributes { mode: 0o644, uid: 1, gid: 1 });
        Entry { relative_path: "a".into(), sha256: Some([digest; 32]), size, unix, ..Entry::default() }
    }

    #[test]
    fn content_and_metadata_are_told_apart() {
        let before = file(1, 9);
        assert_eq!(difference(&before, &before), Difference::None);
        assert_eq!(difference(&before, &file(2, 9)), Difference::Content);
        assert_eq!(difference(&before, &file(1, 8)), Difference::Content);
        let touched = Entry { mtime_ns: 5, ..before.clone() };
        assert_eq!(difference(&before, &touched), Difference::Metadata(vec!["mtime"]));
        let unix = Some(UnixAttributes { mode: 0o600, uid: 2, gid: 1 });
        assert_eq!(
            difference(&before, &Entry { unix, ..before.clone() }),
            Difference::Metadata(vec!["mode", "owner"])
        );
        // Another name of a file is a file with its content.
        let name = Entry { kind: EntryKind::Hardlink, link_target: Some("b".into()), ..before.clone() };
        assert_eq!(difference(&before, &name), Difference::None);
        let link = |target: &str| Entry {
            kind: EntryKind::Symlink,
            link_target: Some(target.into()),
            ..Entry::default()
        };
        assert_eq!(difference(&link("x"), &link("y")), Difference::Content);
        assert_eq!(difference(&link("x"), &before), Difference::Content);
        let folder = |mtime_ns| Entry { kind: EntryKind::Directory, mtime_ns, ..Entry::default() };
        assert_eq!(difference(&folder(1), &folder(2)), Difference::None);
    }
}
