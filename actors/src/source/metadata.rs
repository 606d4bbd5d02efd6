//! The metadata of one file: its kind, its size, its times, its owner.

use intellistor_storage::manifest::{UnixAttributes, WindowsAttributes};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// What a path leads to, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// An alternate data stream of a file or folder.
    Stream,
    /// What is not backed up, by name: a socket, a device. No scanned entry is of this kind.
    Other(&'static str),
}

impl SourceKind {
    /// Whether it counts as a file or a link, as opposed to a folder or a part of a file.
    pub fn is_file_or_link(self) -> bool {
        matches!(self, Self::File | Self::Symlink)
    }

    /// Whether it has bytes of its own.
    pub fn has_content(self) -> bool {
        matches!(self, Self::File | Self::Stream)
    }
}

// By hand, because a derived `Deserialize` needs a `'static` input for the `&'static str`.
impl Serialize for SourceKind {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u8(match self {
            Self::File => 0,
            Self::Directory => 1,
            Self::Symlink => 2,
            Self::Stream => 3,
            Self::Other(kind) => return Err(ser::Error::custom(format_args!("a {kind} is not scanned"))),
        })
    }
}

impl<'de> Deserialize<'de> for SourceKind {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match u8::deserialize(d)? {
            0 => Ok(Self::File),
            1 => Ok(Self::Directory),
            2 => Ok(Self::Symlink),
            3 => Ok(Self::Stream),
            unknown => Err(de::Error::custom(format_args!("no scanned entry is of kind {unknown}"))),
        }
    }
}

/// How the disk has a file, which is not restored. Programs read its content, whichever it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stored {
    #[default]
    Plain,
    /// Compressed by NTFS (`FILE_ATTRIBUTE_COMPRESSED`).
    Compressed,
    /// Encrypted by Windows' Encrypting File System for some accounts (`FILE_ATTRIBUTE_ENCRYPTED`).
    Encrypted,
}

impl Stored {
    /// Of a file with these `FILE_ATTRIBUTE_*`; NTFS never does both.
    #[cfg_attr(not(windows), allow(dead_code, reason = "no other system has these attributes"))]
    pub(super) fn of_attributes(attributes: u32) -> Self {
        const COMPRESSED: u32 = 0x800;
        const ENCRYPTED: u32 = 0x4000;
        match attributes {
            a if a & ENCRYPTED != 0 => Self::Encrypted,
            a if a & COMPRESSED != 0 => Self::Compressed,
            _ => Self::Plain,
        }
    }

    fn is_plain(&self) -> bool {
        *self == Self::Plain
    }
}

/// Identifies a file: two names of one file have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// Its file system.
    pub device: u64,
    pub inode: u64,
}

/// A file's metadata as the system reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMetadata {
    pub kind: SourceKind,
    /// Size in bytes, holes included.
    pub size: u64,
    /// Time of last modification, in nanoseconds since 1970 UTC.
    pub mtime_ns: i128,
    /// Time of the last change to anything about it, in nanoseconds since 1970 UTC, where the file system keeps one.
    pub ctime_ns: Option<i128>,
    /// Mode and owner.
    pub unix: Option<UnixAttributes>,
    /// Attributes and time of creation.
    pub windows: Option<WindowsAttributes>,
    /// Equal for hard links to one file; absent where the file system numbers no files.
    pub identity: Option<FileId>,
    /// How many names it has.
    pub links: u64,
    /// Bytes that it takes on disk.
    pub allocated: u64,
    /// Whether its content, or part of it, is not on this machine, and reading it would fetch it. Only Windows says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub in_cloud: bool,
    #[serde(default, skip_serializing_if = "Stored::is_plain")]
    pub stored: Stored,
}

#[cfg(any(windows, test))]
impl FileMetadata {
    /// Whether kind, size and times are those of an earlier look at the file.
    pub(super) fn is_unchanged_since(&self, then: &Self) -> bool {
        let of = |found: &Self| (found.kind, found.size, found.mtime_ns, found.ctime_ns);
        of(self) == of(then)
    }
}

#[cfg(unix)]
impl From<&rustix::fs::Stat> for FileMetadata {
    // The types of the fields differ from machine to machine.
    #[allow(clippy::unnecessary_cast)]
    fn from(found: &rustix::fs::Stat) -> Self {
        use rustix::fs::FileType;
        let kind = match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => SourceKind::File,
            FileType::Directory => SourceKind::Directory,
            FileType::Symlink => SourceKind::Symlink,
            FileType::Socket => SourceKind::Other("socket"),
            FileType::Fifo => SourceKind::Other("fifo"),
            FileType::BlockDevice => SourceKind::Other("block device"),
            FileType::CharacterDevice => SourceKind::Other("character device"),
            _ => SourceKind::Other("file of an unknown kind"),
        };
        let time = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        let mode = found.st_mode as u32 & 0o7777;
        Self {
            kind,
            size: found.st_size as u64,
            mtime_ns: time(found.st_mtime as i64, found.st_mtime_nsec as i64),
            // Zero is what file systems in user space give where they have none.
            ctime_ns: Some(time(found.st_ctime as i64, found.st_ctime_nsec as i64)).filter(|&ns| ns != 0),
            unix: Some(UnixAttributes { mode, uid: found.st_uid, gid: found.st_gid }),
            windows: None,
            identity: Some(FileId { device: found.st_dev as u64, inode: found.st_ino as u64 })
                .filter(|identity| identity.inode != 0),
            links: found.st_nlink as u64,
            // A file system in user space may report any number.
            allocated: (found.st_blocks as u64).saturating_mul(512),
            in_cloud: false,
            stored: Stored::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_say_how_the_disk_has_a_file() {
        const NORMAL: u32 = 0x80;
        assert_eq!(
            [0, NORMAL, 0x20 | 0x800, 0x4000, 0x4000 | 0x800].map(Stored::of_attributes),
            [Stored::Plain, Stored::Plain, Stored::Compressed, Stored::Encrypted, Stored::Encrypted]
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_differs_in_kind_size_or_time_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let then = super::super::stat::metadata_at(&path).unwrap();
        assert!(then.is_unchanged_since(&then));
        for now in [
            FileMetadata { size: 2, ..then.clone() },
            FileMetadata { mtime_ns: then.mtime_ns + 1, ..then.clone() },
            FileMetadata { ctime_ns: then.ctime_ns.map(|ns| ns + 1), ..then.clone() },
            FileMetadata { kind: SourceKind::Directory, ..then.clone() },
        ] {
            assert!(!now.is_unchanged_since(&then), "{now:?}");
        }
    }
}
