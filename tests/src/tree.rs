//! What there is to know about a tree of files, so that two can be compared.
//!
//! ```no_run
//! # let (source, restored) = (std::path::Path::new("a"), std::path::Path::new("b"));
//! use intellistor_tests::sample_tree;
//! use intellistor_tests::tree::{self, Ignore};
//! sample_tree::make(source);
//! // ... back up, restore ...
//! tree::assert_same(&tree::snapshot(source), &tree::snapshot(restored), &[Ignore::Special]);
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use sha2::{Digest, Sha256};

const MIB: usize = 1 << 20;

/// Blocks that a file system may take for itself beside a file's content.
const ALLOCATION_TOLERANCE: u64 = 256 << 10;

/// Sets the time of last modification; of a link, its own.
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// Waits until nothing in a folder is so new that a backup based on the next one would read it again: what changed less
/// than 2 s before its base began might have changed once more.
pub fn let_age(folder: &Path) {
    let old = last_change(folder) + Duration::from_millis(2_100);
    if let Ok(left) = old.duration_since(SystemTime::now()) {
        std::thread::sleep(left);
    }
}

/// When anything in a folder was last changed, or the folder itself.
fn last_change(path: &Path) -> SystemTime {
    let found = fs::symlink_metadata(path).unwrap();
    let own = SystemTime::UNIX_EPOCH + Duration::new(found.ctime() as u64, found.ctime_nsec() as u32);
    if !found.is_dir() {
        return own;
    }
    let below = fs::read_dir(path).unwrap().map(|entry| last_change(&entry.unwrap().path()));
    below.fold(own, SystemTime::max)
}

/// Bytes that do not compress, always the same for a seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = Vec::with_capacity(bytes + 8);
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend_from_slice(&state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}

/// Writes a file of [`noise`], of any size.
pub fn write_noise(path: &Path, seed: u64, bytes: u64) {
    let mut out = BufWriter::with_capacity(MIB, File::create(path).unwrap());
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(MIB as u64);
        out.write_all(&noise(seed.wrapping_mul(1 << 20) + left / MIB as u64, chunk as usize)).unwrap();
        left -= chunk;
    }
    out.flush().unwrap();
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A fifo, a socket or a device.
    Special,
}

/// A path's metadata, and a digest of its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// A file's size in bytes, else 0.
    pub size: u64,
    /// SHA-256 of a file's content, in hex.
    pub sha256: Option<String>,
    /// A symbolic link's text.
    pub target: Option<Vec<u8>>,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path of the same file, if it has more than one in the tree.
    pub same_file_as: Option<Vec<u8>>,
    /// Bytes that a file takes on the disk, else 0.
    pub allocated: u64,
}

/// Entries by the paths' bytes, relative to the root, which itself is `.`.
pub type Tree = BTreeMap<Vec<u8>, TreeEntry>;

/// Reads a tree. It must not change meanwhile.
pub fn snapshot(dir: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut identities = BTreeMap::new();
    add(dir, b".".to_vec(), &mut tree, &mut identities);
    let mut groups: BTreeMap<_, Vec<Vec<u8>>> = BTreeMap::new();
    for (path, identity) in identities {
        groups.entry(identity).or_default().push(path);
    }
    for paths in groups.values().filter(|paths| paths.len() > 1) {
        for path in paths {
            tree.get_mut(path).unwrap().same_file_as = Some(paths[0].clone());
        }
    }
    tree
}

fn add(path: &Path, name: Vec<u8>, tree: &mut Tree, identities: &mut BTreeMap<Vec<u8>, (u64, u64)>) {
    let found = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let kind = match found.file_type() {
        t if t.is_file() => Kind::File,
        t if t.is_dir() => Kind::Folder,
        t if t.is_symlink() => Kind::Link,
        t => {
            assert!(
                t.is_fifo() || t.is_socket() || t.is_char_device() || t.is_block_device(),
                "{}",
                path.display()
            );
            Kind::Special
        }
    };
    if kind == Kind::File {
        identities.insert(name.clone(), (found.dev(), found.ino()));
    }
    let attribute = |name: std::ffi::OsString| {
        let value = xattr::get(path, &name).unwrap().unwrap();
        (name.into_vec(), value)
    };
    let entry = TreeEntry {
        kind,
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        mtime_ns: i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()),
        size: if kind == Kind::File { found.len() } else { 0 },
        sha256: (kind == Kind::File).then(|| sha256(path)),
        target: (kind == Kind::Link).then(|| fs::read_link(path).unwrap().into_os_string().into_vec()),
        xattrs: xattr::list(path).map(|names| names.map(attribute).collect()).unwrap_or_default(),
        same_file_as: None,
        allocated: if kind == Kind::File { found.blocks() * 512 } else { 0 },
    };
    if kind == Kind::Folder {
        for child in fs::read_dir(path).unwrap() {
            let child = child.unwrap();
            let base = child.file_name().into_vec();
            let name = if name == b"." { base } else { [&name[..], b"/", &base].concat() };
            add(&child.path(), name, tree, identities);
        }
    }
    tree.insert(name, entry);
}

/// SHA-256 of a file, in hex.
pub fn sha256(path: &Path) -> String {
    let mut file = File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; MIB]);
    loop {
        match file.read(&mut buffer).unwrap() {
            0 => return hex::encode(hash.finalize()),
            n => hash.update(&buffer[..n]),
        }
    }
}

/// What a comparison leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignore<'a> {
    /// Fifos, sockets and devices.
    Special,
    /// A path, and what is below it.
    Path(&'a str),
    /// The metadata of the root itself.
    Root,
    /// Owner and group.
    Owners,
    /// Permission bits.
    Modes,
    /// Times of everything.
    Times,
    /// Times of symbolic links.
    LinkTimes,
    /// Extended attributes.
    Xattrs,
    /// That two names were one file.
    HardLinks,
    /// How much of a file is allocated.
    Allocation,
}

/// Compares two trees, and fails with every difference.
pub fn assert_same(expected: &Tree, actual: &Tree, ignoring: &[Ignore<'_>]) {
    let expected = comparable(expected, ignoring);
    let actual = comparable(actual, ignoring);
    let mut differences = Vec::new();
    for (path, entry) in &expected {
        match actual.get(path) {
            None => differences.push(format!("{:?} is missing", lossy(path))),
            Some(found) => differences.extend(differ(path, entry, found, ignoring)),
        }
    }
    for path in actual.keys().filter(|path| !expected.contains_key(*path)) {
        differences.push(format!("{:?} should not be there", lossy(path)));
    }
    assert!(differences.is_empty(), "the trees differ:\n  {}", differences.join("\n  "));
}

fn comparable(tree: &Tree, ignoring: &[Ignore<'_>]) -> Tree {
    let left_out = |path: &[u8], entry: &TreeEntry| {
        ignoring.iter().any(|ignore| match ignore {
            Ignore::Special => entry.kind == Kind::Special,
            Ignore::Root => path == b".",
            Ignore::Path(name) => {
                path.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
            _ => false,
        })
    };
    tree.iter().filter(|(path, entry)| !left_out(path, entry)).map(|(p, f)| (p.clone(), f.clone())).collect()
}

fn differ(path: &[u8], expected: &TreeEntry, actual: &TreeEntry, ignoring: &[Ignore<'_>]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare =
        |what: &str, left_out: bool, expected: &dyn std::fmt::Debug, actual: &dyn std::fmt::Debug| {
            let (expected, actual) = (format!("{expected:?}"), format!("{actual:?}"));
            if !left_out && expected != actual {
                differences.push(format!("{:?}: {what} should be {expected} and is {actual}", lossy(path)));
            }
        };
    let ignored = |what: Ignore<'_>| ignoring.contains(&what);
    let times = ignored(Ignore::Times) || (ignored(Ignore::LinkTimes) && expected.kind == Kind::Link);
    compare("kind", false, &expected.kind, &actual.kind);
    compare(
        "mode",
        ignored(Ignore::Modes),
        &format!("{:04o}", expected.mode),
        &format!("{:04o}", actual.mode),
    );
    compare("owner", ignored(Ignore::Owners), &(expected.uid, expected.gid), &(actual.uid, actual.gid));
    compare("mtime_ns", times, &expected.mtime_ns, &actual.mtime_ns);
    compare("size", false, &expected.size, &actual.size);
    compare("sha256", false, &expected.sha256, &actual.sha256);
    compare("target", false, &expected.target.as_deref().map(lossy), &actual.target.as_deref().map(lossy));
    compare("xattrs", ignored(Ignore::Xattrs), &expected.xattrs, &actual.xattrs);
    let first_name = |entry: &TreeEntry| entry.same_file_as.as_deref().map(lossy);
    compare("first name", ignored(Ignore::HardLinks), &first_name(expected), &first_name(actual));
    let allocated_alike = expected.allocated.abs_diff(actual.allocated) <= ALLOCATION_TOLERANCE;
    let allocated = ignored(Ignore::Allocation) || allocated_alike;
    compare("allocated", allocated, &expected.allocated, &actual.allocated);
    differences
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// What an entry says by itself, without its owner and its other names.
fn own(entry: &TreeEntry) -> (Kind, u32, i128, u64, Option<&String>, Option<&Vec<u8>>) {
    let TreeEntry { kind, mode, mtime_ns, size, sha256, target, .. } = entry;
    (*kind, *mode, *mtime_ns, *size, sha256.as_ref(), target.as_ref())
}

/// Everything restored was so in one of the versions, and what was the same in all of them is there.
pub fn assert_is_of(restored: &Tree, versions: &[Tree]) {
    for (path, entry) in restored {
        let was_so = versions.iter().filter_map(|version| version.get(path)).any(|then| {
            (then.kind, &then.sha256, &then.target) == (entry.kind, &entry.sha256, &entry.target)
        });
        assert!(was_so, "{:?} never was as it was restored: {entry:?}", String::from_utf8_lossy(path));
    }
    for (path, entry) in &versions[0] {
        let unchanged = versions.iter().all(|version| version.get(path).map(own) == Some(own(entry)));
        if unchanged {
            let found = restored.get(path).map(own);
            assert_eq!(found, Some(own(entry)), "{:?} never changed", String::from_utf8_lossy(path));
        }
    }
}
