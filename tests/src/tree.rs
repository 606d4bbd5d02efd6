//! Trees of odd files, and what there is to know about a tree, so that two can be compared.
//!
//! ```no_run
//! # let (source, restored) = (std::path::Path::new("a"), std::path::Path::new("b"));
//! use intellistor_tests::tree::{self, Ignore};
//! tree::make(source);
//! // ... back up, restore ...
//! tree::assert_same(&tree::snapshot(source), &tree::snapshot(restored), &[Ignore::Special]);
//! ```

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};
use sha2::{Digest, Sha256};

const MIB: usize = 1 << 20;
/// Blocks that a file system may take for itself beside a file's content.
const ALLOCATION_TOLERANCE: u64 = 256 << 10;

/// Paths of a made tree that no backup holds: they are recorded as skipped.
pub const SPECIAL: [&str; 2] = ["canal.fifo", "tomada.socket"];
/// Content of the file with two names.
pub const LINKED_TEXT: &str = "um ficheiro, dois nomes";
/// The two names of one file.
pub const LINKED: [&str; 2] = ["nomes/a/primeiro.txt", "nomes/b/segundo.txt"];
/// A name in NFC and the same text in NFD.
pub const NFC: &str = "Relat\u{f3}rio de fun\u{e7}\u{e3}o.txt";
/// See [`NFC`].
pub const NFD: &str = "Co\u{301}pia de relato\u{301}rio.txt";
/// A name that is not UTF-8.
pub const NOT_UTF8: &[u8] = b"latin1-a\xe7\xe3o.txt";
/// 64 MiB with two islands of data, and a hole at the end.
pub const SPARSE: &str = "esparso/ilhas.img";

/// Makes a tree with everything that is odd about files. `dir` is made if it does not exist.
/// Owners and unreadable files are made only where this process is root.
pub fn make(dir: &Path) {
    let folder = |name: &str| {
        let path = dir.join(name);
        fs::create_dir_all(&path).unwrap();
        path
    };
    let file = |name: &str, body: &[u8]| {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, body).unwrap();
        path
    };
    fs::create_dir_all(dir).unwrap();

    file("vazio.txt", b"");
    folder("pasta vazia");
    file(NFC, "ol\u{e1}".as_bytes());
    file(NFD, "tudo bem?".as_bytes());
    fs::write(dir.join(OsStr::from_bytes(NOT_UTF8)), b"bytes").unwrap();
    symlink(OsStr::from_bytes(NOT_UTF8), dir.join(OsStr::from_bytes(b"liga\xe7\xe3o"))).unwrap();
    file("controlo/linha\nnova.txt", b"1");
    file("controlo/sino\x07 e esc\x1b[31m.txt", b"2");
    file("controlo/\u{202e}txt.exe", b"3");
    file("controlo/ espacos \"aspas\" \\barra\\ *?[x]{y} ", b"4");
    file("-rf", b"5");
    file(&"n".repeat(255), b"255 bytes of name");
    let deep: String = (0..6).map(|i| format!("{}{i}/", "funda".repeat(16))).collect();
    file(&format!("{deep}ficheiro.txt"), b"a path of more than 255 bytes");

    symlink("../vazio.txt", dir.join("pasta vazia").join("relativa")).unwrap();
    symlink("/etc/hostname", dir.join("absoluta")).unwrap();
    symlink("n\u{e3}o existe", dir.join("pendurada")).unwrap();
    symlink("nomes", dir.join("para pasta")).unwrap();
    symlink("x".repeat(300), dir.join("alvo longo")).unwrap();

    let first = file(LINKED[0], LINKED_TEXT.as_bytes());
    folder("nomes/b");
    fs::hard_link(first, dir.join(LINKED[1])).unwrap();

    let sparse = File::create(folder("esparso").join("ilhas.img")).unwrap();
    sparse.write_all_at(&noise(1, 100_000), 1 << 20).unwrap();
    sparse.write_all_at(b"second island", 40 << 20).unwrap();
    sparse.set_len(64 << 20).unwrap();
    File::create(dir.join("esparso/so buraco.img")).unwrap().set_len(8 << 20).unwrap();

    for (name, bytes) in
        [("1 MiB", MIB), ("1 MiB - 1", MIB - 1), ("1 MiB + 1", MIB + 1), ("3,5 MiB", 7 * MIB / 2)]
    {
        file(&format!("tamanhos/{name}"), &noise(bytes as u64, bytes));
    }
    file("tamanhos/zeros", &vec![0; MIB]);

    let noted = file("atributos/anotado.txt", b"com xattrs");
    for (name, value) in
        [("user.nota", "lembran\u{e7}a".as_bytes()), ("user.binario", b"\0\xff\n=\0"), ("user.vazio", b"")]
    {
        xattr::set(&noted, name, value).unwrap();
    }
    xattr::set(folder("atributos/pasta"), "user.nota", b"de pasta").unwrap();

    let is_root = rustix::process::geteuid().is_root();
    for (name, mode) in [("0400", 0o400), ("4755", 0o4755), ("0600", 0o600), ("0777", 0o777)] {
        let path = file(&format!("modos/{name}"), name.as_bytes());
        if is_root {
            chown(&path, Some(1234), Some(4321)).unwrap();
        }
        // After the owner, whose change clears the set-user-id bit.
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    if is_root {
        let locked = file("modos/0000", b"0000");
        fs::set_permissions(locked, fs::Permissions::from_mode(0o000)).unwrap();
        lchown(dir.join("pendurada"), Some(1234), Some(4321)).unwrap();
    }

    for special in SPECIAL.into_iter().zip([FileType::Fifo, FileType::Socket]) {
        mknodat(CWD, dir.join(special.0), special.1, Mode::from(0o600), 0).unwrap();
    }

    for (name, seconds, nanoseconds) in [
        ("com ns", 1_700_000_000, 123_456_789),
        ("antes de 1970", -1_000_000_000, 987_654_321),
        ("depois de 2038", 4_500_000_000, 1),
        ("em 1970", 0, 0),
    ] {
        set_mtime(&file(&format!("tempos/{name}"), name.as_bytes()), seconds, nanoseconds);
    }
    set_mtime(&dir.join("absoluta"), 1_000_000_000, 5);
    for (name, mode) in [("modos/r-x", 0o555), ("modos/pegajosa", 0o1777), ("modos/grupo", 0o2750)] {
        let path = folder(name);
        fs::write(path.join("dentro.txt"), name).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // Folders last, since making something in one sets its time.
    for (i, name) in ["modos/r-x", "pasta vazia", "tempos", "nomes/a", "nomes"].into_iter().enumerate() {
        set_mtime(&dir.join(name), 1_200_000_000 + i as i64, 42);
    }
    set_mtime(dir, 1_300_000_000, 7);
}

/// Sets the time of last modification; of a link, its own.
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
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

/// What there is to know about a path.
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

/// A tree: facts by the paths' bytes, relative to the root, which itself is `.`.
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
    let facts = TreeEntry {
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
    tree.insert(name, facts);
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
    /// The facts of the root itself.
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
    for (path, facts) in &expected {
        match actual.get(path) {
            None => differences.push(format!("{:?} is missing", lossy(path))),
            Some(found) => differences.extend(differ(path, facts, found, ignoring)),
        }
    }
    for path in actual.keys().filter(|path| !expected.contains_key(*path)) {
        differences.push(format!("{:?} should not be there", lossy(path)));
    }
    assert!(differences.is_empty(), "the trees differ:\n  {}", differences.join("\n  "));
}

fn comparable(tree: &Tree, ignoring: &[Ignore<'_>]) -> Tree {
    let left_out = |path: &[u8], facts: &TreeEntry| {
        ignoring.iter().any(|ignore| match ignore {
            Ignore::Special => facts.kind == Kind::Special,
            Ignore::Root => path == b".",
            Ignore::Path(name) => {
                path.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
            }
            _ => false,
        })
    };
    tree.iter().filter(|(path, facts)| !left_out(path, facts)).map(|(p, f)| (p.clone(), f.clone())).collect()
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
    let first_name = |facts: &TreeEntry| facts.same_file_as.as_deref().map(lossy);
    compare("first name", ignored(Ignore::HardLinks), &first_name(expected), &first_name(actual));
    let allocated_alike = expected.allocated.abs_diff(actual.allocated) <= ALLOCATION_TOLERANCE;
    let allocated = ignored(Ignore::Allocation) || allocated_alike;
    compare("allocated", allocated, &expected.allocated, &actual.allocated);
    differences
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// What a path's facts say of it by themselves.
fn own(facts: &TreeEntry) -> (Kind, u32, i128, u64, Option<&String>, Option<&Vec<u8>>) {
    let TreeEntry { kind, mode, mtime_ns, size, sha256, target, .. } = facts;
    (*kind, *mode, *mtime_ns, *size, sha256.as_ref(), target.as_ref())
}

/// Everything restored was so in one of the versions, and what was the same in all of them is there.
pub fn assert_is_of(restored: &Tree, versions: &[Tree]) {
    for (path, facts) in restored {
        let was_so = versions.iter().filter_map(|version| version.get(path)).any(|then| {
            (then.kind, &then.sha256, &then.target) == (facts.kind, &facts.sha256, &facts.target)
        });
        assert!(was_so, "{:?} never was as it was restored: {facts:?}", String::from_utf8_lossy(path));
    }
    for (path, facts) in &versions[0] {
        let unchanged = versions.iter().all(|version| version.get(path).map(own) == Some(own(facts)));
        if unchanged {
            let found = restored.get(path).map(own);
            assert_eq!(found, Some(own(facts)), "{:?} never changed", String::from_utf8_lossy(path));
        }
    }
}
