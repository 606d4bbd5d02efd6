//! What Windows' attributes and reparse tags make of a file: what is kept as a link, what is read, what is left alone.
//!
//! Pure: what the system says comes in. The tags are those of [MS-FSCC] 2.1.2.1 and of `winnt.h`.

#![cfg_attr(not(windows), allow(dead_code, reason = "no other system has reparse points"))]

use std::fmt;
use std::io;

use intellistor_storage::manifest::WindowsAttributes;

/// It has a reparse point.
pub(super) const REPARSE_POINT: u32 = 0x400;
/// Not all of it has room on the disk.
pub(super) const SPARSE: u32 = 0x200;
/// Its content is elsewhere: what hierarchical storage has moved to tape.
const OFFLINE: u32 = 0x1000;
/// In the listing of a folder alone: it is not on this disk, and to open it is to fetch it. By a handle the bit means something else.
pub(super) const RECALL_ON_OPEN: u32 = 0x4_0000;
/// To read it, or to list it, is to fetch it.
const RECALL_ON_DATA_ACCESS: u32 = 0x40_0000;
/// Of a tag: the reparse point is in the place of another file or folder.
const NAME_SURROGATE: u32 = 0x2000_0000;

const SYMLINK: u32 = 0xA000_000C;
const APP_EXECUTION_ALIAS: u32 = 0x8000_001B;
const NFS: u32 = 0x8000_0014;
const AF_UNIX: u32 = 0x8000_0023;
const LX_FIFO: u32 = 0x8000_0024;
const LX_CHARACTER_DEVICE: u32 = 0x8000_0025;
const LX_BLOCK_DEVICE: u32 = 0x8000_0026;
/// `IO_REPARSE_TAG_CLOUD`; the sixteen of them differ in four bits.
const CLOUD: u32 = 0x9000_001A;
const CLOUD_NUMBER: u32 = 0xF000;

/// What a file or folder is to a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// As programs see it. Where it has a reparse point, a driver gives the content, which only an open that does not ask for the
    /// reparse point itself reaches: deduplicated, compressed by `compact`, cloud files that are here.
    Plain,
    /// As [`Plain`](Self::Plain), and its content, or part of it, is not on this machine: reading it fetches it.
    InCloud,
    /// A link, which is backed up itself, and not followed. The tag is that of a link that is no symbolic link.
    Link { tag: Option<u32> },
    /// It has no content to back up.
    Other(&'static str),
}

/// `tag`: of its reparse point, 0 where it has none. `attributes` are those that a handle gives; with those of a listing,
/// [`RECALL_ON_OPEN`] counts as well.
pub(super) fn nature(attributes: u32, tag: u32, listed: bool) -> Nature {
    let is_folder = attributes & WindowsAttributes::DIRECTORY != 0;
    let tag = if attributes & REPARSE_POINT == 0 { 0 } else { tag };
    match tag {
        SYMLINK => return Nature::Link { tag: None },
        WindowsAttributes::JUNCTION | WindowsAttributes::WSL_LINK => return Nature::Link { tag: Some(tag) },
        AF_UNIX => return Nature::Other("socket"),
        LX_FIFO => return Nature::Other("fifo"),
        LX_CHARACTER_DEVICE => return Nature::Other("character device"),
        LX_BLOCK_DEVICE => return Nature::Other("block device"),
        APP_EXECUTION_ALIAS => return Nature::Other("alias of an installed app"),
        NFS => return Nature::Other("link or device of an NFS client"),
        // What containers and virtual file systems put in the place of files, deleted ones among them.
        tag if tag & NAME_SURROGATE != 0 => return Nature::Other("link of an unknown kind"),
        _ => {}
    }
    let mut elsewhere = RECALL_ON_DATA_ACCESS;
    if listed {
        elsewhere |= RECALL_ON_OPEN;
    }
    if !is_folder {
        // A folder's names are here, whatever was moved out of it.
        elsewhere |= OFFLINE;
    }
    if attributes & elsewhere == 0 { Nature::Plain } else { Nature::InCloud }
}

/// Whether the bytes on the disk are the content although the driver that is asked for it is missing, as it is in a snapshot: a
/// cloud file that is wholly here is an ordinary file under its reparse point. Not so what was compressed or deduplicated.
pub(super) fn is_whole_without_driver(attributes: u32, tag: u32) -> bool {
    let is_cloud = attributes & REPARSE_POINT != 0 && tag & !CLOUD_NUMBER == CLOUD;
    is_cloud && attributes & SPARSE == 0 && nature(attributes, tag, true) == Nature::Plain
}

/// Whether what has no room on the disk of a file is a hole. Not so where a driver gives the content: of a deduplicated file nothing
/// has room where it was, and all of it is content.
pub(super) fn has_ranges(attributes: u32) -> bool {
    attributes & SPARSE != 0 && attributes & REPARSE_POINT == 0
}

/// Why a file is not opened: it is in the cloud.
#[derive(Debug)]
struct InCloud;

impl fmt::Display for InCloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(IN_CLOUD)
    }
}

impl std::error::Error for InCloud {}

/// Why it is left out, for a person.
pub(crate) const IN_CLOUD: &str = "in the cloud, not here";

/// The error of an open that would have fetched a file.
pub(super) fn in_cloud() -> io::Error {
    io::Error::other(InCloud)
}

/// Whether a file was not opened because that would have fetched it.
pub fn is_in_cloud(e: &io::Error) -> bool {
    e.get_ref().is_some_and(|e| e.is::<InCloud>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: u32 = WindowsAttributes::DIRECTORY;
    const NORMAL: u32 = 0x80;
    const PINNED: u32 = 0x8_0000;
    const UNPINNED: u32 = 0x10_0000;

    fn cloud(number: u32) -> u32 {
        CLOUD | number << 12
    }

    #[test]
    fn each_tag_is_a_link_content_or_neither() {
        let junction = Nature::Link { tag: Some(WindowsAttributes::JUNCTION) };
        let wsl = Nature::Link { tag: Some(WindowsAttributes::WSL_LINK) };
        let unknown = Nature::Other("link of an unknown kind");
        let table = [
            ("SYMLINK", 0xA000_000C, Nature::Link { tag: None }),
            // Volumes that are mounted in a folder have the tag of junctions.
            ("MOUNT_POINT", 0xA000_0003, junction),
            ("LX_SYMLINK", 0xA000_001D, wsl),
            ("DEDUP", 0x8000_0013, Nature::Plain),
            ("WOF", 0x8000_0017, Nature::Plain),
            ("WIM", 0x8000_0008, Nature::Plain),
            ("SIS", 0x8000_0007, Nature::Plain),
            ("HSM", 0xC000_0004, Nature::Plain),
            ("HSM2", 0x8000_0006, Nature::Plain),
            ("CSV", 0x8000_0009, Nature::Plain),
            ("DFS", 0x8000_000A, Nature::Plain),
            ("DFSR", 0x8000_0012, Nature::Plain),
            ("FILE_PLACEHOLDER", 0x8000_0015, Nature::Plain),
            ("WCI", 0x8000_0018, Nature::Plain),
            ("WCI_1", 0x9000_1018, Nature::Plain),
            ("PROJFS", 0x9000_001C, Nature::Plain),
            ("STORAGE_SYNC", 0x8000_001E, Nature::Plain),
            ("STORAGE_SYNC_FOLDER", 0x9000_0027, Nature::Plain),
            ("ONEDRIVE", 0x8000_0021, Nature::Plain),
            ("APPEXECLINK", 0x8000_001B, Nature::Other("alias of an installed app")),
            ("NFS", 0x8000_0014, Nature::Other("link or device of an NFS client")),
            ("AF_UNIX", 0x8000_0023, Nature::Other("socket")),
            ("LX_FIFO", 0x8000_0024, Nature::Other("fifo")),
            ("LX_CHR", 0x8000_0025, Nature::Other("character device")),
            ("LX_BLK", 0x8000_0026, Nature::Other("block device")),
            ("GLOBAL_REPARSE", 0xA000_0019, unknown),
            ("WCI_TOMBSTONE", 0xA000_001F, unknown),
            ("PROJFS_TOMBSTONE", 0xA000_0022, unknown),
            ("WCI_LINK", 0xA000_0027, unknown),
            ("of a third party", 0x0000_4711, Nature::Plain),
            ("of a third party, a surrogate", 0x2000_4711, unknown),
        ];
        for (name, tag, expected) in table {
            for attributes in [NORMAL, FOLDER, 0x20] {
                assert_eq!(nature(attributes | REPARSE_POINT, tag, false), expected, "{name}");
            }
            // A tag without the attribute is what a call left in its buffer.
            assert_eq!(nature(NORMAL, tag, true), Nature::Plain, "{name}");
        }
        for number in 0..16 {
            assert_eq!(nature(0x20 | REPARSE_POINT, cloud(number), true), Nature::Plain);
        }
    }

    #[test]
    fn what_is_not_here_is_known_by_its_attributes() {
        // As OneDrive sets them: a placeholder, a file that is here, one that is to stay here.
        let placeholder = 0x20 | SPARSE | REPARSE_POINT | OFFLINE | RECALL_ON_DATA_ACCESS | UNPINNED;
        for number in 0..16 {
            assert_eq!(nature(placeholder, cloud(number), false), Nature::InCloud);
            assert_eq!(nature(0x20 | REPARSE_POINT | PINNED, cloud(number), false), Nature::Plain);
        }
        for (attributes, listed, expected) in [
            // Hierarchical storage; some of it has no reparse point.
            (0x20 | OFFLINE, false, Nature::InCloud),
            (0x20 | RECALL_ON_DATA_ACCESS, false, Nature::InCloud),
            (0x20 | RECALL_ON_OPEN, true, Nature::InCloud),
            // By a handle the bit says that it has extended attributes.
            (0x20 | RECALL_ON_OPEN, false, Nature::Plain),
            (FOLDER | OFFLINE, true, Nature::Plain),
            (FOLDER | RECALL_ON_DATA_ACCESS, false, Nature::InCloud),
            (FOLDER | RECALL_ON_OPEN, true, Nature::InCloud),
            (FOLDER | RECALL_ON_OPEN, false, Nature::Plain),
            (FOLDER, true, Nature::Plain),
        ] {
            assert_eq!(nature(attributes, 0, listed), expected, "{attributes:#x} {listed}");
        }
        // A link is here, whatever it leads to.
        assert_eq!(nature(REPARSE_POINT | OFFLINE, SYMLINK, true), Nature::Link { tag: None });
    }

    #[test]
    fn only_a_cloud_file_that_is_wholly_here_is_read_without_its_driver() {
        let here = 0x20 | REPARSE_POINT;
        assert!(is_whole_without_driver(here, cloud(0)) && is_whole_without_driver(here | PINNED, cloud(15)));
        for (attributes, tag) in [
            (here | SPARSE, cloud(6)),
            (here | RECALL_ON_DATA_ACCESS, cloud(6)),
            (here | RECALL_ON_OPEN, cloud(6)),
            (here | OFFLINE, cloud(6)),
            (0x20, cloud(6)),
            (here, 0x8000_0013),
            (here, 0x8000_0017),
            (here, 0x8000_0021),
        ] {
            assert!(!is_whole_without_driver(attributes, tag), "{attributes:#x} {tag:#x}");
        }
    }

    #[test]
    fn only_a_sparse_file_of_the_file_systems_own_has_holes() {
        assert!(has_ranges(0x20 | SPARSE));
        // As deduplication leaves a file: all of it is elsewhere.
        for attributes in [0x20, 0x20 | SPARSE | REPARSE_POINT, 0x20 | REPARSE_POINT] {
            assert!(!has_ranges(attributes), "{attributes:#x}");
        }
    }

    #[test]
    fn the_error_of_a_file_that_is_not_here_is_known() {
        assert!(is_in_cloud(&in_cloud()));
        assert!(!is_in_cloud(&io::Error::other("in the cloud, not here")));
    }
}
