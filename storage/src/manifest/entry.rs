//! One file, folder or link of a backup, and where its content is.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::content_digest::ContentDigest;
use super::security::of_entry::Security;
use super::sketch::Sketch;
use super::streams;

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A regular file.
    #[default]
    File,
    /// A folder.
    Directory,
    /// A symbolic link; `link_target` is its text as it was found.
    Symlink,
    /// Another name of an earlier entry, whose `relative_path` is in `link_target`.
    /// Its extents repeat those of the earlier entry, so that it can be restored alone.
    Hardlink,
    /// An alternate data stream of Windows, of the file or folder that its path names: see [`streams`](super::streams). It has its
    /// owner's times, and neither attributes nor an access list of its own.
    Stream,
}

impl EntryKind {
    /// Whether it counts as a file or a link, as opposed to a folder or a part of a file.
    pub fn is_file_or_link(self) -> bool {
        !matches!(self, Self::Directory | Self::Stream)
    }

    /// Whether it has bytes of its own.
    pub fn has_content(self) -> bool {
        matches!(self, Self::File | Self::Stream)
    }
}

/// Adjacent bytes of an entry in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extent {
    /// Index into [`Head::archives`](super::head::Head::archives).
    pub archive: u32,
    /// Where they begin in the archive's tar stream, in bytes.
    pub offset: u64,
    /// Its length in bytes.
    pub length: u64,
    /// Where it belongs in the file, in bytes, when a hole comes before it; else right after the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
}

/// What Unix keeps of a file besides its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnixAttributes {
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What Windows keeps of a file besides its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowsAttributes {
    /// `FILE_ATTRIBUTE_*`: those in [`Self::KEPT`], and of a link also [`Self::DIRECTORY`].
    pub attributes: u32,
    /// Time of creation, in nanoseconds since 1970 UTC.
    pub created_ns: i128,
    /// Of a link that is no symbolic link, the tag of its reparse point: [`Self::JUNCTION`] or [`Self::WSL_LINK`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reparse_tag: Option<u32>,
}

impl WindowsAttributes {
    /// `IO_REPARSE_TAG_MOUNT_POINT`: a junction, or a volume that is mounted in a folder.
    pub const JUNCTION: u32 = 0xA000_0003;
    /// `IO_REPARSE_TAG_LX_SYMLINK`: a symbolic link of the Windows Subsystem for Linux.
    pub const WSL_LINK: u32 = 0xA000_001D;
    /// It must not be written to.
    pub const READ_ONLY: u32 = 0x1;
    /// It is not listed.
    pub const HIDDEN: u32 = 0x2;
    /// It belongs to the system.
    pub const SYSTEM: u32 = 0x4;
    /// It is a folder, or a link to one.
    pub const DIRECTORY: u32 = 0x10;
    /// It was changed since some backup.
    pub const ARCHIVE: u32 = 0x20;
    /// Those that are kept, and restored; the others say how the disk stores it. The last one: it is not to be searched.
    pub const KEPT: u32 = Self::READ_ONLY | Self::HIDDEN | Self::SYSTEM | Self::ARCHIVE | 0x2000;
}

/// An extended attribute. Both members are base64, since neither needs to be text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xattr {
    /// With its namespace, as in `user.note`.
    #[serde(with = "crate::text::base64_bytes")]
    pub name: Vec<u8>,
    #[serde(with = "crate::text::base64_bytes")]
    pub value: Vec<u8>,
}

/// One file, folder or link of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// `/` separators on every system; relative to the root, `.` for the root itself. Of a stream that of its file, `//:` and its name.
    /// Where the name is not UTF-8, U+FFFD replaces what is not, and `path_bytes` has the name.
    pub relative_path: String,
    /// The name's bytes where it is not UTF-8.
    #[serde(default, with = "crate::text::base64_option", skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<Vec<u8>>,
    /// What it is.
    pub kind: EntryKind,
    /// Size in bytes, holes included.
    pub size: u64,
    /// Time of last modification, in nanoseconds since 1970 UTC.
    pub mtime_ns: i128,
    /// Time of the last change to anything about it, in nanoseconds since 1970 UTC, where the system keeps one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ctime_ns: Option<i128>,
    /// Its number in its file system; on Windows its file id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inode: Option<u64>,
    /// Mode and owner, where the backup was made on Unix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix: Option<UnixAttributes>,
    /// Attributes and time of creation, where the backup was made on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<WindowsAttributes>,
    /// Extended attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<Xattr>,
    /// Owner, group and access list, where the backup was made on Windows. In a manifest it is the id of a line of `security`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Where a link points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_target: Option<String>,
    /// The target's bytes where they are not UTF-8.
    #[serde(default, with = "crate::text::base64_option", skip_serializing_if = "Option::is_none")]
    pub link_target_bytes: Option<Vec<u8>>,
    /// SHA-256 of the content, in hex: what `sha256sum` prints. Where its holes are longer than
    /// [`MOST_HASHED_HOLES`](crate::MOST_HASHED_HOLES) together, of its data alone.
    #[serde(default, with = "crate::text::hex_option", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<[u8; 32]>,
    /// Where the content is, ascending in the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extents: Vec<Extent>,
    /// Where the list of its chunks is, if it is a large file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunks: Option<Extent>,
    /// What it has in common with other large files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch: Option<Sketch>,
}

impl Entry {
    /// The digest of its content, of which nothing has been counted yet.
    pub fn content_digest(&self) -> ContentDigest {
        let data = self.extents.iter().fold(0_u64, |sum, extent| sum.saturating_add(extent.length));
        ContentDigest::of(self.size, data)
    }

    /// Its extents, each with its place in the file.
    pub fn placed_extents(&self) -> impl Iterator<Item = (u64, Extent)> {
        let mut next = 0_u64;
        self.extents.iter().map(move |extent| {
            let place = extent.at.unwrap_or(next);
            next = place.saturating_add(extent.length);
            (place, *extent)
        })
    }

    /// The path as its bytes were found.
    pub fn raw_path(&self) -> &[u8] {
        self.path_bytes.as_deref().unwrap_or(self.relative_path.as_bytes())
    }

    /// The link's target as its bytes were found.
    pub fn raw_link_target(&self) -> Option<&[u8]> {
        self.link_target_bytes.as_deref().or(self.link_target.as_deref().map(str::as_bytes))
    }

    /// What it takes in memory, about, in bytes. A path has no longest length, nor has a list of extents: who holds several
    /// entries bounds them by this, and not by their number.
    pub fn memory_bytes(&self) -> u64 {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let texts = self.relative_path.len() + self.link_target.as_ref().map_or(0, String::len);
        let raw = length(&self.path_bytes) + length(&self.link_target_bytes);
        let xattr = |xattr: &Xattr| size_of::<Xattr>() + xattr.name.len() + xattr.value.len();
        let xattrs: usize = self.xattrs.iter().map(xattr).sum();
        let security = self.security.as_ref().map_or(0, Security::memory_bytes);
        (size_of::<Self>() + texts + raw + xattrs + security + self.extents.len() * size_of::<Extent>())
            as u64
    }

    /// Its path as people write it: `file.txt:name` for a stream.
    pub fn shown_path(&self) -> Cow<'_, str> {
        if self.kind == EntryKind::Stream {
            streams::shown(&self.relative_path)
        } else {
            Cow::Borrowed(&self.relative_path)
        }
    }

    /// Splits raw bytes into a readable text and, where that loses something, the bytes.
    pub fn text_and_bytes(raw: Vec<u8>) -> (String, Option<Vec<u8>>) {
        match String::from_utf8(raw) {
            Ok(text) => (text, None),
            Err(e) => (String::from_utf8_lossy(e.as_bytes()).into_owned(), Some(e.into_bytes())),
        }
    }
}
