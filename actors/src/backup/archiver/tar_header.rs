//! Tar headers: POSIX.1-2001 (pax), with GNU's pax form 1.0 for sparse files and SCHILY's names for extended
//! attributes. GNU tar, bsdtar and Python's tarfile read all of it.

use std::ops::Range;

use intellistor_storage::manifest::{UnixAttributes, WindowsAttributes};
use tar::{EntryType, Header};

use crate::backup::archiver::stream_member::{STREAM, stream_member};
use crate::source::{Extended, FileMetadata, SourceKind};

/// Size of every tar block.
pub(crate) const BLOCK_BYTES: u64 = 512;

/// Two blocks of zeros close a tar stream.
pub(crate) const END_MARKER: [u8; 1024] = [0; 1024];

/// An entry as its tar header states it.
#[derive(Debug)]
pub(crate) struct TarEntry<'a> {
    /// Relative path, raw bytes, `/` separators. The path of a stream's entry becomes that of its member.
    pub(crate) path: &'a [u8],
    /// File, folder, symbolic or hard link.
    pub(crate) kind: EntryType,
    /// Size of the content, holes included.
    pub(crate) size: u64,
    /// Modification time in nanoseconds since 1970.
    pub(crate) mtime_ns: i128,
    /// Mode and owner.
    pub(crate) unix: Option<&'a UnixAttributes>,
    /// Attributes and time of creation.
    pub(crate) windows: Option<WindowsAttributes>,
    /// Where a link points, raw bytes.
    pub(crate) link: Option<&'a [u8]>,
    /// Extended attributes, and the security descriptor.
    pub(crate) extended: Option<&'a Extended>,
    /// The extents with data, when the file has holes.
    pub(crate) sparse: Option<&'a [Range<u64>]>,
    /// A record of ours, whose value is 1.
    pub(crate) mark: Option<&'a str>,
}

impl<'a> TarEntry<'a> {
    /// An entry without content, of a file with this metadata.
    pub(crate) fn new(path: &'a [u8], kind: EntryType, metadata: &'a FileMetadata) -> Self {
        let FileMetadata { mtime_ns, unix, windows, .. } = metadata;
        Self {
            path,
            kind,
            size: 0,
            mtime_ns: *mtime_ns,
            unix: unix.as_ref(),
            windows: *windows,
            link: None,
            extended: None,
            sparse: None,
            mark: (metadata.kind == SourceKind::Stream).then_some(STREAM),
        }
    }

    /// The blocks that precede the content; for a sparse file they include its map.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut records = Records::default();
        let mut header = Header::new_ustar();
        header.set_entry_type(self.kind);
        let directory = self.kind == EntryType::Directory;
        header.set_mode(self.unix.map_or(if directory { 0o755 } else { 0o644 }, |u| u.mode));
        let (uid, gid) = self.unix.map_or((0, 0), |u| (u.uid, u.gid));
        header.set_uid(records.number("uid", uid.into(), 7));
        header.set_gid(records.number("gid", gid.into(), 7));
        records.time("mtime", self.mtime_ns, &mut header);

        let path = match self.mark {
            Some(STREAM) => stream_member(self.path),
            _ => [self.path, if directory { b"/" } else { b"" }].concat(),
        };
        let map = self.sparse.map(|data| sparse_map(data, self.size));
        let stored = match (self.sparse, &map) {
            (Some(data), Some(map)) => {
                records.add("GNU.sparse.major", b"1");
                records.add("GNU.sparse.minor", b"0");
                records.add("GNU.sparse.name", &path);
                records.add("GNU.sparse.realsize", self.size.to_string().as_bytes());
                map.len() as u64 + data.iter().map(|r| r.end - r.start).sum::<u64>()
            }
            _ => self.size,
        };
        // Beyond eight GiB the field takes GNU's binary form, for readers that do not know the record.
        records.number("size", stored, 11);
        header.set_size(stored);
        let fields = header.as_old_mut();
        match self.sparse {
            Some(_) => fields.name[..17].copy_from_slice(b"GNUSparseFile.0/x"),
            None => records.name("path", &path, &mut fields.name),
        }
        if let Some(link) = self.link {
            records.name("linkpath", link, &mut fields.linkname);
        }
        if let Some(windows) = self.windows {
            records.add(FLAGS, flags(windows.attributes).as_bytes());
            records.add(CREATED, decimal(windows.created_ns).as_bytes());
            if let Some(tag) = windows.reparse_tag {
                records.add(REPARSE_TAG, format!("{tag:08x}").as_bytes());
            }
        }
        for xattr in self.extended.map_or(&[][..], |extended| &extended.xattrs) {
            records.add(&format!("SCHILY.xattr.{}", String::from_utf8_lossy(&xattr.name)), &xattr.value);
        }
        if let Some(descriptor) = self.extended.and_then(|extended| extended.security.as_ref()?.descriptor())
        {
            records.add(SECURITY, descriptor.as_bytes());
        }
        if let Some(mark) = self.mark {
            records.add(mark, b"1");
        }
        header.set_cksum();

        let mut blocks = records.encode();
        blocks.extend_from_slice(header.as_bytes());
        blocks.extend_from_slice(map.as_deref().unwrap_or_default());
        blocks
    }
}

/// Nanoseconds as seconds. Decimal notation of a negative time counts its fraction towards zero: -0.25 is -1 s and
/// 0.75.
fn decimal(ns: i128) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let magnitude = ns.unsigned_abs();
    format!("{sign}{}.{:09}", magnitude / 1_000_000_000, magnitude % 1_000_000_000)
}

/// The names that libarchive (bsdtar, which is Windows' own tar) has for attributes; others are in the manifest alone.
const FLAG_NAMES: [(&str, u32); 4] = [
    ("rdonly", WindowsAttributes::READ_ONLY),
    ("hidden", WindowsAttributes::HIDDEN),
    ("system", WindowsAttributes::SYSTEM),
    ("arch", WindowsAttributes::ARCHIVE),
];
/// The security descriptor of a file of Windows: its bytes, as in a manifest.
pub const SECURITY: &str = "INTELLISTOR.security";
/// The tag of a link of Windows that is no symbolic link, in hex: a junction.
const REPARSE_TAG: &str = "INTELLISTOR.reparse_tag";
const FLAGS: &str = "SCHILY.fflags";
const CREATED: &str = "LIBARCHIVE.creationtime";

fn flags(attributes: u32) -> String {
    let set = FLAG_NAMES.iter().filter(|(_, bit)| attributes & bit != 0);
    set.map(|(name, _)| *name).collect::<Vec<_>>().join(",")
}

/// What `TarEntry` wrote of an entry's attributes on Windows. `text` gives a record's value by its key, `nanoseconds`
/// reads a time.
pub fn windows_attributes<'a>(
    text: impl Fn(&str) -> Option<&'a str>,
    nanoseconds: impl Fn(&str) -> Option<i128>,
) -> Option<WindowsAttributes> {
    let created_ns = nanoseconds(text(CREATED)?)?;
    let bit = |flag: &str| FLAG_NAMES.iter().find(|(name, _)| *name == flag).map_or(0, |(_, bit)| *bit);
    let attributes = text(FLAGS)?.split(',').fold(0, |all, flag| all | bit(flag));
    let reparse_tag = text(REPARSE_TAG).and_then(|tag| u32::from_str_radix(tag, 16).ok());
    Some(WindowsAttributes { attributes, created_ns, reparse_tag })
}

/// Pax records, collected where a ustar field is too small or too coarse.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn add(&mut self, key: &str, value: &[u8]) {
        // The length counts its own digits.
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} {key}=").as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// The number for a field of `digits` octal digits; 0 there when only the record can hold it.
    fn number(&mut self, key: &str, value: u64, digits: u32) -> u64 {
        if value < 1 << (3 * digits) {
            return value;
        }
        self.add(key, value.to_string().as_bytes());
        0
    }

    fn time(&mut self, key: &str, ns: i128, header: &mut Header) {
        let (seconds, fraction) = (ns.div_euclid(1_000_000_000), ns.rem_euclid(1_000_000_000));
        let whole = u64::try_from(seconds).ok().filter(|s| *s < 1 << 33);
        header.set_mtime(whole.unwrap_or(0));
        if whole.is_some() && fraction == 0 {
            return;
        }
        self.add(key, decimal(ns).as_bytes());
    }

    /// A name for a field of 100 bytes. What is not ASCII gets a record too, since only there it is known to be UTF-8.
    fn name(&mut self, key: &str, name: &[u8], field: &mut [u8; 100]) {
        let is_text = std::str::from_utf8(name).is_ok();
        if name.len() > field.len() || (is_text && !name.is_ascii()) {
            self.add(key, name);
        }
        let kept = name.len().min(field.len());
        field[..kept].copy_from_slice(&name[..kept]);
    }

    fn encode(self) -> Vec<u8> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        header.as_old_mut().name[..14].copy_from_slice(b"PaxHeaders.0/x");
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(self.0.len() as u64);
        header.set_cksum();
        let mut blocks = header.as_bytes().to_vec();
        blocks.extend_from_slice(&self.0);
        blocks.resize(blocks.len().next_multiple_of(BLOCK_BYTES as usize), 0);
        blocks
    }
}

/// Reads pax records: `length key=value\n`, where the value may be any bytes. `None` when they are malformed.
///
/// The tar crate's own reader (0.4.46) ends a value at the first newline.
pub fn read_records(mut bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let blank = bytes.iter().position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(&bytes[..blank]).ok()?.parse().ok()?;
        let record = bytes.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|b| *b == b'=')?;
        let key = std::str::from_utf8(&record[..equals]).ok()?;
        records.push((key.to_owned(), record[equals + 1..].to_vec()));
        bytes = &bytes[length..];
    }
    Some(records)
}

/// GNU sparse map 1.0: the number of extents, then offset and length of each, one decimal a line.
fn sparse_map(data: &[Range<u64>], size: u64) -> Vec<u8> {
    // A file that ends in a hole names its end with an empty extent.
    let end = data.last().is_none_or(|r| r.end < size).then_some(size..size);
    let mut map = format!("{}\n", data.len() + usize::from(end.is_some()));
    for extent in data.iter().chain(&end) {
        map += &format!("{}\n{}\n", extent.start, extent.end - extent.start);
    }
    let mut map = map.into_bytes();
    map.resize(map.len().next_multiple_of(BLOCK_BYTES as usize), 0);
    map
}

#[cfg(test)]
mod tests {
    use intellistor_storage::manifest::Xattr;

    use super::*;

    #[test]
    fn a_record_counts_its_own_length() {
        for value in 1..120 {
            let mut records = Records::default();
            records.add("k", &vec![b'v'; value]);
            let digits = records.0.split(|b| *b == b' ').next().unwrap();
            assert_eq!(std::str::from_utf8(digits).unwrap().parse::<usize>().unwrap(), records.0.len());
        }
    }

    #[test]
    fn records_of_any_bytes_read_back_and_hostile_ones_are_refused() {
        let mut records = Records::default();
        records.add("path", b"a\nb=c\xff");
        records.add("SCHILY.xattr.user.x", b"");
        let expected =
            [("path".to_owned(), b"a\nb=c\xff".to_vec()), ("SCHILY.xattr.user.x".to_owned(), vec![])];
        assert_eq!(read_records(&records.0).unwrap(), expected);
        for hostile in
            [&b"x"[..], b"0 k=v\n", b"3 k=v\n", b"99 k=v\n", b"6 k=v", b"5 kv\n", b"-6 k=v\n", b"2 "]
        {
            assert_eq!(read_records(hostile), None, "{hostile:?}");
        }
    }

    #[test]
    fn the_tar_crate_reads_it_back() {
        let path = "pasta/".repeat(60) + "Relatório.txt";
        let xattrs = [Xattr { name: b"user.nota".to_vec(), value: vec![0, 1, 255] }];
        let unix = UnixAttributes { mode: 0o4755, uid: 5_000_000, gid: 7 };
        let attributes = WindowsAttributes::HIDDEN | WindowsAttributes::ARCHIVE;
        let windows =
            WindowsAttributes { attributes, created_ns: -500_000_000, reparse_tag: Some(0xA000_0003) };
        let entry = TarEntry {
            path: path.as_bytes(),
            kind: EntryType::Regular,
            size: 3,
            mtime_ns: 1_700_000_000_000_000_001,
            unix: Some(&unix),
            windows: Some(windows),
            link: None,
            extended: Some(&Extended { xattrs: xattrs.to_vec(), security: None }),
            sparse: None,
            mark: None,
        };
        let mut bytes = entry.encode();
        bytes.extend_from_slice(b"abc");
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes.extend_from_slice(&END_MARKER);
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entries = archive.entries().unwrap();
        let mut read = entries.next().unwrap().unwrap();
        assert_eq!(read.path_bytes().as_ref(), path.as_bytes());
        assert_eq!(read.header().mode().unwrap(), 0o4755);
        let pax: Vec<_> = read
            .pax_extensions()
            .unwrap()
            .unwrap()
            .map(|r| r.unwrap())
            .map(|r| (r.key().unwrap().to_owned(), r.value_bytes().to_vec()))
            .collect();
        assert!(pax.contains(&("mtime".into(), b"1700000000.000000001".to_vec())));
        assert!(pax.contains(&("SCHILY.xattr.user.nota".into(), vec![0, 1, 255])));
        assert!(pax.contains(&("uid".into(), b"5000000".to_vec())));
        assert!(pax.contains(&("LIBARCHIVE.creationtime".into(), b"-0.500000000".to_vec())));
        let text =
            |key: &str| pax.iter().find(|(k, _)| k == key).map(|(_, v)| std::str::from_utf8(v).unwrap());
        let nanoseconds = |time: &str| (time == "-0.500000000").then_some(-500_000_000);
        assert_eq!(windows_attributes(text, nanoseconds), Some(windows));
    }
}
