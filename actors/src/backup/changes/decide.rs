//! Decides whether the base has a file as it is now, without opening it.

use intellistor_storage::manifest::{Entry, EntryKind};

use super::detect::DetectChanges;
use super::reason::Reason;
use crate::source::{FileMetadata, SourceKind};

/// Before the base's own start by this much a time says that the base has what was there then: FAT counts in steps of
/// 2 s, and other file systems in steps of the kernel's clock. Git calls what is younger racily clean:
/// <https://git-scm.com/docs/racy-git>.
const RACY_NS: i128 = 2_000_000_000;

/// By what to decide.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    detect: DetectChanges,
    /// What has this time or a later one may have changed after the base had read it.
    racy_from_ns: i128,
}

impl Rules {
    /// `began_ms`: when the base's walk began, in milliseconds since 1970 UTC.
    pub(super) fn new(detect: DetectChanges, began_ms: i64) -> Self {
        Self { detect, racy_from_ns: i128::from(began_ms) * 1_000_000 - RACY_NS }
    }
}

/// Why an entry must be read again, if it must. What the base or the file system does not have is not compared.
pub(super) fn decide(metadata: &FileMetadata, base: &Entry, rules: Rules) -> Result<(), Reason> {
    let is_file = metadata.kind.has_content();
    // Its time of change is that of its removal from this machine, and to read it is to fetch it.
    let detect = if metadata.in_cloud { DetectChanges::Mtime } else { rules.detect };
    let compares_ctime = detect != DetectChanges::Mtime;
    let ctime_ns = metadata.ctime_ns.filter(|_| compares_ctime);
    let inode = metadata.identity.map(|identity| identity.inode).filter(|_| compares_ctime);
    // Of folders and links a manifest has no size.
    let has_other_size = is_file && metadata.size != base.size;
    let has_other_attributes = (&metadata.unix, metadata.windows) != (&base.unix, base.windows);
    let latest_ns = metadata.mtime_ns.max(ctime_ns.unwrap_or(metadata.mtime_ns));
    // Without times of change nothing tells that the attributes of a folder or a link are others, and reading them
    // costs little.
    let is_asked = match detect {
        DetectChanges::Ctime => false,
        DetectChanges::Mtime => !is_file,
        DetectChanges::Content => true,
    };
    let reasons = [
        (!is_of_kind(metadata.kind, base.kind), Reason::Kind),
        (has_other_size, Reason::Size),
        (metadata.mtime_ns != base.mtime_ns, Reason::Mtime),
        (differs(ctime_ns, base.ctime_ns), Reason::Ctime),
        (differs(inode, base.inode), Reason::Inode),
        (has_other_attributes, Reason::Attributes),
        (latest_ns >= rules.racy_from_ns, Reason::Racy),
        (is_asked, Reason::Asked),
    ];
    match reasons.into_iter().find(|(holds, _)| *holds) {
        Some((_, reason)) => Err(reason),
        None => Ok(()),
    }
}

/// Whether the base has an entry of Windows without owner and access list, as older programs wrote it. Where the file has them, it
/// is read again, once.
pub(super) fn lacks_access_list(metadata: &FileMetadata, base: &Entry) -> bool {
    metadata.windows.is_some() && base.windows.is_some() && base.security.is_none()
}

/// Whether the base has a file, folder or link where the walk found one.
pub(super) fn is_of_kind(kind: SourceKind, base: EntryKind) -> bool {
    match base {
        EntryKind::File | EntryKind::Hardlink => kind == SourceKind::File,
        EntryKind::Directory => kind == SourceKind::Directory,
        EntryKind::Symlink => kind == SourceKind::Symlink,
        EntryKind::Stream => kind == SourceKind::Stream,
    }
}

fn differs<T: PartialEq>(now: Option<T>, base: Option<T>) -> bool {
    now.zip(base).is_some_and(|(now, base)| now != base)
}

#[cfg(test)]
mod tests;
