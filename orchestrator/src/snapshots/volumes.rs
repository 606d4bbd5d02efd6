//! Which volumes a policy's paths are on, and where a path is in a volume's snapshot.
//!
//! In: absolute paths and a [`VolumeLookup`]. Out: the distinct volumes of one snapshot set, and for every path either
//! its place below a volume or why it is read live. Strings only, so that Windows' paths are tested on every system.
//!
//! Only the paths of a policy are placed here. A volume that is mounted in a folder below one of them is a link there, in
//! the snapshot as on the drive, and no walk follows it: its files need a path of their own.

use std::fmt;

use serde::Serialize;

/// A volume, as VSS names it and as people do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Volume {
    /// `\\?\Volume{..}\`: unique, and not changed by a new drive letter.
    pub name: String,
    /// Where it is mounted, with its trailing separator: `C:\`, `D:\mount\`.
    pub root: String,
}

/// A path, taken apart where its volume is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumePath {
    pub volume: Volume,
    /// Without a leading separator; empty for the root of the volume.
    pub below: String,
}

/// Why no snapshot of a path can be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LiveReason {
    /// Another computer's disk.
    Network,
    /// Not a path from the root of a drive.
    NotAbsolute,
    /// `\\.\PhysicalDrive0`, `\\?\GLOBALROOT\..`: a device, or a snapshot that somebody else made.
    Device,
    /// A CD, a disk in memory, or a drive that another program makes.
    Drive { what: String },
    /// VSS does not know the file system.
    FileSystem { name: String },
    /// The system does not say which volume it is on.
    Unknown { reason: String },
}

impl fmt::Display for LiveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network => f.write_str(
                "it is on the network: only the computer that has the disk can make a snapshot of it",
            ),
            Self::NotAbsolute => f.write_str("it does not begin with a drive (C:\\...)"),
            Self::Device => f.write_str("it names a device, not a folder of a drive"),
            Self::Drive { what } => write!(f, "it is on {what}, of which no snapshot can be made"),
            Self::FileSystem { name } => {
                write!(f, "the drive is formatted with {name}: VSS takes NTFS and ReFS only")
            }
            Self::Unknown { reason } => write!(f, "its volume was not found: {reason}"),
        }
    }
}

/// With these Windows answers for a drive that its mount manager does not know, and so VSS neither: RAM disks (1), drives of
/// WinFsp and Dokan (1005, 2, 87, 4390), letters that a program has defined itself (3).
const UNMANAGED: [u32; 6] = [1, 2, 3, 87, 1005, 4390];

impl LiveReason {
    /// Of a path that is there, and whose volume the system does not tell.
    pub(super) fn no_volume(path: &str, code: u32, error: &dyn fmt::Display) -> Self {
        if UNMANAGED.contains(&code) {
            let what = "a drive that Windows does not manage (a RAM disk, or another program's)";
            return Self::Drive { what: what.to_owned() };
        }
        Self::Unknown { reason: format!("{path}: {error}") }
    }
}

/// The system's knowledge of volumes.
pub trait VolumeLookup: Send + Sync {
    /// Links, junctions and substituted drives in `path` are followed.
    ///
    /// # Errors
    /// Why the path must be read live.
    fn locate(&self, path: &str) -> Result<VolumePath, LiveReason>;
}

/// The volumes of one snapshot set, and the paths on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPlan {
    /// Each once, in the order of the paths.
    pub volumes: Vec<Volume>,
    /// The paths, in the order in which they were given.
    pub paths: Vec<PlannedPath>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedPath {
    /// As the policy has it.
    pub path: String,
    pub location: Result<VolumePath, LiveReason>,
}

impl SnapshotPlan {
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a str>, lookup: &dyn VolumeLookup) -> Self {
        let mut plan = Self { volumes: Vec::new(), paths: Vec::new() };
        for path in paths {
            let location = lookup.locate(path);
            if let Ok(VolumePath { volume, .. }) = &location
                && !plan.volumes.iter().any(|known| known.name.eq_ignore_ascii_case(&volume.name))
            {
                plan.volumes.push(volume.clone());
            }
            plan.paths.push(PlannedPath { path: path.to_owned(), location });
        }
        plan
    }
}

/// A drive's path without `\\?\`, with `\` between its parts.
///
/// # Errors
/// For a path whose first characters name no drive of this computer. A letter may still be a network's.
pub(super) fn drive_path(path: &str) -> Result<String, LiveReason> {
    let (verbatim, rest) = match path.strip_prefix(r"\\?\") {
        Some(rest) => (true, rest.to_owned()),
        None => (false, path.replace('/', r"\")),
    };
    let bytes = rest.as_bytes();
    let on_drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
    if verbatim {
        let first = rest.split('\\').next().unwrap_or_default();
        return match first {
            _ if on_drive && bytes.get(2) == Some(&b'\\') => Ok(rest),
            _ if first.eq_ignore_ascii_case("UNC") => Err(LiveReason::Network),
            _ if starts_with(first, "Volume{") => Ok(path.to_owned()),
            _ => Err(LiveReason::Device),
        };
    }
    match bytes {
        [b'\\', b'\\', b'.' | b'?', b'\\', ..] => Err(LiveReason::Device),
        [b'\\', b'\\', ..] => Err(LiveReason::Network),
        [_, _, b'\\', ..] if on_drive => Ok(rest),
        _ => Err(LiveReason::NotAbsolute),
    }
}

/// A resolved path, taken apart at the root of its volume; `None` when it is not below it.
pub(super) fn split_at_root(path: &str, name: &str, root: &str) -> Option<VolumePath> {
    let root = with_separator(root);
    let below = below(path, &root)?.to_owned();
    Some(VolumePath { volume: Volume { name: with_separator(name), root }, below })
}

/// The path in `to` that corresponds to `path` in `from`; `None` when `path` is not there.
///
/// `from` and `to` are folders, with or without a trailing separator. A device without its trailing `\` is the raw
/// volume, not its root folder, so the root keeps it: `C:\` becomes `\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7\`.
pub fn rebase(path: &str, from: &str, to: &str) -> Option<String> {
    Some(with_separator(to) + below(path, &with_separator(from))?)
}

/// The text with exactly one separator at its end.
pub(super) fn with_separator(folder: &str) -> String {
    let separator = separator_of(folder);
    format!("{}{separator}", folder.trim_end_matches(separator))
}

/// `\` in Windows' paths, `/` in those of tests on other systems.
fn separator_of(path: &str) -> char {
    if path.starts_with('/') { '/' } else { '\\' }
}

/// What is left of `path` below `root`, which ends with its separator. Windows' names are compared without case.
fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let separator = separator_of(root);
    let folder = root.trim_end_matches(separator);
    let begins = if separator == '\\' { starts_with(path, folder) } else { path.starts_with(folder) };
    let rest = path.get(folder.len()..).filter(|_| begins)?;
    match rest.strip_prefix(separator) {
        Some(rest) => Some(rest.trim_start_matches(separator)),
        None => rest.is_empty().then_some(""),
    }
}

/// Without case. Mount points in other alphabets than Latin are compared as they are written: both sides come from the
/// system, which gives a folder's name always in the same case.
fn starts_with(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: &str = r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7";

    #[test]
    fn a_path_moves_into_the_snapshot_and_back() {
        let device = with_separator(DEVICE);
        for (path, root, below) in [
            (r"C:\Users\ana\a.txt", r"C:\", r"Users\ana\a.txt"),
            (r"c:\Users", r"C:\", "Users"),
            (r"C:\Users\", r"C:\", r"Users\"),
            (r"D:\mount\x", r"D:\mount\", "x"),
            (r"D:\MOUNT\x", r"D:\mount", "x"),
            (r"C:\ação\x", r"C:\ação\", "x"),
            (r"C:\\Users", r"C:\", "Users"),
        ] {
            for device in [DEVICE, device.as_str()] {
                let moved = rebase(path, root, device).expect(path);
                assert_eq!(moved, format!(r"{DEVICE}\{below}"));
                let back = rebase(&moved, device, root).expect(path);
                assert_eq!(back, format!(r"{}\{below}", root.trim_end_matches('\\')));
            }
        }
    }

    #[test]
    fn the_root_of_a_volume_is_the_root_of_its_snapshot_with_one_separator() {
        for (path, root) in
            [(r"C:\", r"C:\"), ("C:", r"C:\"), (r"D:\mount", r"D:\mount\"), (r"D:\mount\", r"D:\mount")]
        {
            assert_eq!(rebase(path, root, DEVICE).expect(path), format!(r"{DEVICE}\"));
        }
        assert_eq!(rebase(DEVICE, DEVICE, r"C:\").expect("the root"), r"C:\");
    }

    #[test]
    fn a_name_that_only_begins_alike_is_not_below() {
        for (path, root) in [
            (r"D:\mountain\x", r"D:\mount\"),
            (r"E:\x", r"C:\"),
            ("C", r"C:\"),
            ("", r"C:\"),
            ("/ab/x", "/a/"),
        ] {
            assert_eq!(rebase(path, root, DEVICE), None, "{path}");
        }
        assert_eq!(rebase(r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy71\x", DEVICE, r"C:\"), None);
        // The prefix ends in the middle of a character.
        assert_eq!(rebase(r"C:\ç", r"C:\Ã\", DEVICE), None);
    }

    #[test]
    fn folders_of_other_systems_keep_their_separator_and_their_case() {
        assert_eq!(rebase("/data/x/y", "/data", "/snapshot/").as_deref(), Some("/snapshot/x/y"));
        assert_eq!(rebase("/data", "/data/", "/snapshot").as_deref(), Some("/snapshot/"));
        assert_eq!(rebase("/data/x", "/", "/snapshot").as_deref(), Some("/snapshot/data/x"));
        assert_eq!(rebase("/Data/x", "/data", "/snapshot"), None);
    }

    #[test]
    fn drives_are_told_from_shares_and_devices() {
        for (path, drive) in [
            (r"C:\Users", r"C:\Users"),
            (r"\\?\C:\Users", r"C:\Users"),
            ("C:/Users/ana", r"C:\Users\ana"),
            (r"C:\", r"C:\"),
            (
                r"\\?\Volume{00000000-0000-0000-0000-000000000043}\x",
                r"\\?\Volume{00000000-0000-0000-0000-000000000043}\x",
            ),
        ] {
            assert_eq!(drive_path(path).as_deref(), Ok(drive), "{path}");
        }
        for path in [r"\\server\share\x", "//server/share", r"\\?\UNC\server\share", r"\\?\unc\server\share"]
        {
            assert_eq!(drive_path(path), Err(LiveReason::Network), "{path}");
        }
        for path in [r"\\.\PhysicalDrive0", &format!(r"{DEVICE}\x"), r"\\?\C:", r"\\?\", "//./x"] {
            assert_eq!(drive_path(path), Err(LiveReason::Device), "{path}");
        }
        for path in ["", "x", r"Users\ana", r"\Users", "C:", "C:Users", "é:\\"] {
            assert_eq!(drive_path(path), Err(LiveReason::NotAbsolute), "{path}");
        }
    }

    /// `C:` is mounted as `C:\` and as `D:\mount\`.
    struct Drives;

    impl VolumeLookup for Drives {
        fn locate(&self, path: &str) -> Result<VolumePath, LiveReason> {
            let path = drive_path(path)?;
            [(r"\\?\Volume{c}", r"D:\mount"), (r"\\?\Volume{C}", r"C:\"), (r"\\?\Volume{d}", r"D:\")]
                .into_iter()
                .find_map(|(name, root)| split_at_root(&path, name, root))
                .ok_or(LiveReason::Unknown { reason: "no such drive".into() })
        }
    }

    #[test]
    fn a_volume_is_in_the_set_once_however_many_paths_and_mounts_it_has() {
        let paths = [r"C:\a", r"\\server\share", r"\\?\c:\b", r"D:\mount\a", r"D:\", "E:/x"];
        let plan = SnapshotPlan::new(paths, &Drives);
        let roots: Vec<_> = plan.volumes.iter().map(|volume| volume.root.as_str()).collect();
        assert_eq!(roots, [r"C:\", r"D:\"]);
        assert_eq!(plan.paths.iter().map(|path| path.path.as_str()).collect::<Vec<_>>(), paths);
        let below: Vec<_> =
            plan.paths.iter().map(|path| path.location.as_ref().ok().map(|at| at.below.as_str())).collect();
        assert_eq!(below, [Some("a"), None, Some("b"), Some("a"), Some(""), None]);
        assert_eq!(plan.paths[1].location, Err(LiveReason::Network));
    }

    #[test]
    fn a_drive_without_a_volume_is_as_it_is_and_a_drive_that_fails_is_not() {
        for code in [1, 2, 3, 87, 1005, 4390] {
            let reason = LiveReason::no_volume(r"R:\", code, &"Incorrect function.");
            assert!(matches!(reason, LiveReason::Drive { .. }), "{code}: {reason}");
        }
        for code in [5, 21, 1117] {
            let reason = LiveReason::no_volume(r"E:\", code, &"The device is not ready.");
            assert_eq!(reason, LiveReason::Unknown { reason: r"E:\: The device is not ready.".into() });
        }
    }

    #[test]
    fn reasons_read_as_the_end_of_a_sentence() {
        let reason = LiveReason::FileSystem { name: "exFAT".into() };
        assert_eq!(reason.to_string(), "the drive is formatted with exFAT: VSS takes NTFS and ReFS only");
        assert!(LiveReason::Network.to_string().contains("network"));
    }
}
