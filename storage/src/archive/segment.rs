//! Segments: how frames are gathered into parts and sealed.

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::archive::frame::MAX_SEALED_BYTES;
use crate::archive::header::Header;
use crate::error::{Error, Result};
use crate::keys::cipher::{Cipher, NONCE_BYTES, TAG_BYTES};
use crate::keys::data_key::DataKey;
use crate::keys::secret::random;
use crate::memory::buffers::{Buffer, Buffers};
use crate::objects::hashed::Hashed;
use crate::objects::s3::limits::MAX_PARTS;

const MIB: u64 = 1 << 20;
/// A segment is a part, in whatever store: copies are the same, byte for byte.
const MAX_SEGMENTS: u32 = MAX_PARTS;
/// Number and salt.
pub(crate) const SEGMENT_HEAD_BYTES: usize = 36;
pub(crate) const LAST_IN_SEGMENT: u32 = 1 << 31;

/// The size in bytes at which segment `number` is cut.
///
/// Small at first, since a resume repeats what was in flight and memory holds some segments at once; larger
/// later, so that 10,000 parts reach the 5 TiB that an S3 object may have: 47 GiB in parts of up to 16 MiB,
/// 109 GiB in parts of up to 32 MiB, then each part is a little larger than the one before, up to 5,000 MiB.
pub fn part_bytes(number: u32) -> u64 {
    const GROWTH: f64 = 1.0014;
    match number {
        0..=2_000 => 8 * MIB,
        2_001..=4_000 => 16 * MIB,
        4_001..=6_000 => 32 * MIB,
        _ => ((32.0 * GROWTH.powi((number - 6_000) as i32)).min(5_000.0) * MIB as f64) as u64,
    }
}

/// The size in bytes of every part but the last where a store wants them equal, for an archive of about `expected` bytes of
/// files: 8 MiB up to some 68 GiB. It leaves room for an eighth more, of padding and of what grows meanwhile.
pub fn equal_part_bytes(expected: u64) -> u64 {
    const SPARE: u64 = 64 * MIB;
    let most = expected.saturating_add(expected / 8 + SPARE);
    most.div_ceil(u64::from(MAX_SEGMENTS) - 100).next_multiple_of(MIB).max(8 * MIB)
}

/// The least that a frame without tar bytes takes, its length field included.
const LEAST_PADDING: u64 = (4 + TAG_BYTES + EMPTY_MEMBER) as u64;
/// The shortest of `empty_member`'s.
const EMPTY_MEMBER: usize = 21;

/// A gzip member of exactly so many bytes that holds none: stored blocks of length zero, and up to four blanks of comment.
fn empty_member(bytes: usize) -> Vec<u8> {
    const STORED: [u8; 5] = [0, 0, 0, 0xff, 0xff];
    let more = bytes - EMPTY_MEMBER;
    let mut member = Vec::with_capacity(bytes);
    // With a comment; made at no time, by no known system.
    member.extend_from_slice(&[0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 0xff]);
    member.resize(member.len() + more % STORED.len(), b' ');
    member.push(0);
    (0..more / STORED.len()).for_each(|_| member.extend_from_slice(&STORED));
    // The last block, empty; then the CRC and the length of nothing.
    member.extend_from_slice(&[3, 0]);
    member.extend_from_slice(&[0; 8]);
    member
}

/// One frame of a segment, as the manifest keeps it: `[sealed_bytes, tar_bytes]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct FrameRecord {
    /// Ciphertext and tag, in bytes.
    pub sealed_bytes: u32,
    /// The tar bytes within.
    pub tar_bytes: u32,
}

impl From<(u32, u32)> for FrameRecord {
    fn from((sealed_bytes, tar_bytes): (u32, u32)) -> Self {
        Self { sealed_bytes, tar_bytes }
    }
}

impl From<FrameRecord> for (u32, u32) {
    fn from(frame: FrameRecord) -> Self {
        (frame.sealed_bytes, frame.tar_bytes)
    }
}

/// One segment, as the manifest keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentRecord {
    /// 1-based, and the number of the part.
    pub number: u32,
    /// Where its part begins in the archive, in bytes.
    pub offset: u64,
    /// Size of its part in bytes; the first part includes the header.
    pub bytes: u64,
    /// The salt of its key.
    #[serde(with = "crate::text::base64_array")]
    pub salt: [u8; 32],
    /// SHA-256 of its part.
    #[serde(with = "crate::text::hex_digest")]
    pub sha256: [u8; 32],
    /// Its frames in order.
    pub frames: Vec<FrameRecord>,
}

/// The archive's digest: SHA-256 over the parts' SHA-256 digests, so that it is known without reading the
/// parts again. S3 calls the same value a composite checksum.
pub fn archive_digest<'a>(segments: impl IntoIterator<Item = &'a SegmentRecord>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for segment in segments {
        digest.update(segment.sha256);
    }
    digest.finalize().into()
}

/// The position of a frame: what is not in its own bytes but must not be altered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FramePlace<'a> {
    pub(crate) header_digest: &'a [u8; 32],
    pub(crate) previous_salt: &'a [u8; 32],
    pub(crate) segment: u32,
    pub(crate) index: u32,
    pub(crate) last_in_segment: bool,
    pub(crate) last_in_archive: bool,
}

impl FramePlace<'_> {
    fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        nonce[8..].copy_from_slice(&self.index.to_be_bytes());
        nonce
    }

    fn associated_data(&self) -> [u8; 74] {
        let mut data = [0; 74];
        data[..32].copy_from_slice(self.header_digest);
        data[32..64].copy_from_slice(self.previous_salt);
        data[64..68].copy_from_slice(&self.segment.to_be_bytes());
        data[68..72].copy_from_slice(&self.index.to_be_bytes());
        data[72] = self.last_in_segment.into();
        data[73] = self.last_in_archive.into();
        data
    }

    /// Opens ciphertext and tag into `gzip`, which may be larger; `None` when they are not what was sealed here.
    pub(crate) fn open<'g>(&self, cipher: &Cipher, sealed: &[u8], gzip: &'g mut Vec<u8>) -> Option<&'g [u8]> {
        cipher.open(self.nonce(), &self.associated_data(), sealed, gzip)
    }
}

/// Seals frames into segments. The only place that makes salts and nonces.
#[derive(Debug)]
pub struct SegmentSealer {
    header: Header,
    data_key: DataKey,
    next_number: u32,
    next_offset: u64,
    previous_salt: [u8; 32],
    current: Option<Building>,
    buffers: Buffers,
    ended: bool,
    /// The size of every part but the last, where they are to be equal.
    equal: Option<u64>,
}

/// A segment that is gathered and not sealed: it has neither salt nor key.
struct Building {
    /// The part's layout, with the frames' plaintext, and room for the salt and the tags.
    body: Buffer,
    frames: Vec<FrameRecord>,
}

impl std::fmt::Debug for Building {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Building({} frames)", self.frames.len())
    }
}

/// A segment that is ready for the store.
#[derive(Debug)]
pub struct Sealed {
    /// What the manifest keeps of it.
    pub record: SegmentRecord,
    /// Its part's bytes.
    pub body: Hashed,
}

impl SegmentSealer {
    /// Begins an archive.
    pub fn new(header: Header, data_key: DataKey) -> Self {
        Self {
            header,
            data_key,
            next_number: 1,
            next_offset: 0,
            previous_salt: [0; 32],
            current: None,
            buffers: Buffers::default(),
            ended: false,
            equal: None,
        }
    }

    /// Makes every part but the last exactly so large, with a frame of padding where the next one does not fit.
    #[must_use]
    pub fn with_equal_parts(self, bytes: Option<u64>) -> Self {
        Self { equal: bytes, ..self }
    }

    /// Goes on with an archive after a crash, behind the last segment that the store is known to hold.
    ///
    /// Chain law (must): the segment built next names `after`'s salt, so nothing that another run built behind
    /// `after` can follow it. Nonce law (must): it has a salt of its own, as every segment that is built.
    pub fn resume(header: Header, data_key: DataKey, after: &SegmentRecord) -> Self {
        Self {
            next_number: after.number + 1,
            next_offset: after.offset + after.bytes,
            previous_salt: after.salt,
            ..Self::new(header, data_key)
        }
    }

    /// Closes the segment that has no room for the next frame, where parts are to be equal. To be called before
    /// [`seal`](Self::seal), for what is committed with a segment is what came before that frame.
    pub fn close_before(&mut self, gzip_bytes: usize, last: bool) -> Option<Sealed> {
        let (equal, current) = (self.equal?, self.current.as_mut()?);
        let filled = current.body.len() as u64;
        let end = filled + (4 + gzip_bytes + TAG_BYTES) as u64;
        if end == equal || end + LEAST_PADDING <= equal || last && end <= equal {
            return None;
        }
        let member = empty_member((equal - filled) as usize - 4 - TAG_BYTES);
        let sealed_bytes = (member.len() + TAG_BYTES) as u32;
        current.push(&member, FrameRecord { sealed_bytes, tar_bytes: 0 }, true);
        self.finish(false)
    }

    /// Takes the next frame; gives the segment that it completes. `last` says that this is the tar end marker.
    ///
    /// # Errors
    /// [`Error::TooLarge`] after 10,000 segments.
    ///
    /// # Panics
    /// When called again after `last`.
    pub fn seal(&mut self, gzip: &[u8], tar_bytes: u32, last: bool) -> Result<Option<Sealed>> {
        assert!(!self.ended, "the archive is closed");
        let number = self.next_number;
        if number > MAX_SEGMENTS {
            return Err(Error::TooLarge(format!(
                "it would need more than {MAX_SEGMENTS} parts. Split the policy into several smaller ones"
            )));
        }
        let cut = self.equal.unwrap_or_else(|| part_bytes(number));
        let current =
            self.current.get_or_insert_with(|| Building::new(&self.header, number, self.buffers.take(), cut));

        let sealed_bytes = gzip.len() + TAG_BYTES;
        assert!(sealed_bytes <= MAX_SEALED_BYTES, "a frame holds at most FRAME_BYTES of tar");
        let last_in_segment = last || (current.body.len() + 4 + sealed_bytes) as u64 >= cut;
        current.push(gzip, FrameRecord { sealed_bytes: sealed_bytes as u32, tar_bytes }, last_in_segment);

        Ok(if last_in_segment { self.finish(last) } else { None })
    }

    /// Seals the segment that was gathered.
    fn finish(&mut self, last: bool) -> Option<Sealed> {
        let built = self.current.take()?;
        let sealed = self.seal_built(built, self.next_number, last);
        self.next_number += 1;
        self.next_offset += sealed.record.bytes;
        self.previous_salt = sealed.record.salt;
        self.ended = last;
        Some(sealed)
    }

    /// Seals a segment that is whole, at once and in its place.
    fn seal_built(&self, built: Building, number: u32, last: bool) -> Sealed {
        let Building { mut body, frames } = built;
        let salt = self.salt(random(), number, last, &body);
        let cipher = self.data_key.segment_cipher(&salt, self.header.backup_id(), number);
        let mut at = first_byte(&self.header, number) + SEGMENT_HEAD_BYTES;
        body[at - salt.len()..at].copy_from_slice(&salt);
        for (index, frame) in (0u32..).zip(&frames) {
            let last_in_segment = index as usize + 1 == frames.len();
            let place = FramePlace {
                header_digest: self.header.digest(),
                previous_salt: &self.previous_salt,
                segment: number,
                index,
                last_in_segment,
                last_in_archive: last && last_in_segment,
            };
            let end = at + 4 + frame.sealed_bytes as usize;
            cipher.seal(place.nonce(), &place.associated_data(), &mut body[at + 4..end]);
            at = end;
        }
        let body = Hashed::new(Bytes::from_owner(body));
        let (offset, bytes) = (self.next_offset, body.len() as u64);
        let record = SegmentRecord { number, offset, bytes, salt, sha256: body.sha256(), frames };
        Sealed { record, body }
    }

    /// Nonce law (must): the salt is drawn when all that its key will seal is known, and depends on all of it. A
    /// segment that is built again has another salt since `fresh` is random; and where a machine was copied as it
    /// ran, random numbers and all, two copies that have the same salt seal the same bytes.
    ///
    /// The bytes go in through GMAC under a key of its own, which takes a tenth of a hash's time: two different parts have
    /// one tag with a chance of about 2^-108, since the key is drawn after both are made.
    fn salt(&self, fresh: [u8; 64], number: u32, last: bool, part: &[u8]) -> [u8; 32] {
        let (fresh, tag_key) = fresh.split_at(32);
        let mut salt = Hmac::<Sha256>::new_from_slice(fresh).expect("HMAC takes keys of any length");
        salt.update(b"intellistor/v1/salt");
        salt.update(self.header.digest());
        salt.update(&self.previous_salt);
        salt.update(&number.to_be_bytes());
        salt.update(&[last.into()]);
        salt.update(&Cipher::new(tag_key.try_into().expect("the other half")).tag(part));
        salt.finalize().into_bytes().into()
    }
}

/// Where in its part a segment begins: the first one has the header before it.
fn first_byte(header: &Header, number: u32) -> usize {
    if number == 1 { header.encoded().len() } else { 0 }
}

impl Building {
    fn new(header: &Header, number: u32, mut body: Buffer, cut: u64) -> Self {
        body.clear();
        body.reserve_exact(cut as usize + MAX_SEALED_BYTES);
        if number == 1 {
            body.extend_from_slice(header.encoded());
        }
        body.extend_from_slice(&number.to_be_bytes());
        body.extend_from_slice(&[0; 32]);
        Self { body, frames: Vec::new() }
    }

    fn push(&mut self, gzip: &[u8], record: FrameRecord, last_in_segment: bool) {
        let flag = if last_in_segment { LAST_IN_SEGMENT } else { 0 };
        let length = (record.sealed_bytes | flag).to_be_bytes();
        self.body.extend_from_slice(&length);
        self.body.extend_from_slice(gzip);
        self.body.extend_from_slice(&[0; TAG_BYTES]);
        self.frames.push(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::s3::limits::{MAX_PART_BYTES, MIN_PART_BYTES};

    #[test]
    fn ten_thousand_parts_reach_five_tebibytes() {
        let total: u64 = (1..=MAX_SEGMENTS).map(part_bytes).sum();
        assert!(total >= 5 << 40, "{} GiB", total >> 30);
        assert!((1..MAX_SEGMENTS).all(|n| part_bytes(n) <= part_bytes(n + 1)));
        assert!(part_bytes(1) >= MIN_PART_BYTES && part_bytes(MAX_SEGMENTS) < MAX_PART_BYTES);
    }

    #[test]
    fn equal_parts_hold_what_was_expected_and_more() {
        assert_eq!((equal_part_bytes(0), equal_part_bytes(60 << 30)), (8 * MIB, 8 * MIB));
        for expected in [100u64 << 30, 1 << 40, 4 << 40] {
            let room = equal_part_bytes(expected) * u64::from(MAX_SEGMENTS);
            assert!(room > expected + expected / 8 && room < expected + expected / 5, "{expected}");
        }
    }

    #[test]
    fn a_member_of_any_size_holds_nothing() {
        for bytes in (EMPTY_MEMBER..60).chain([1 << 20, (1 << 20) + 3]) {
            let member = empty_member(bytes);
            assert_eq!(member.len(), bytes);
            assert!(super::super::inflate(&member, 0).unwrap().is_empty(), "{bytes}");
        }
        #[cfg(unix)]
        assert_gzip_finds_nothing(&[empty_member(77), empty_member(21)].concat());
    }

    #[cfg(unix)]
    fn assert_gzip_finds_nothing(members: &[u8]) {
        use std::io::Read as _;
        let mut gzip = std::process::Command::new("gzip")
            .args(["-dc"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("gzip");
        std::io::Write::write_all(&mut gzip.stdin.take().unwrap(), members).unwrap();
        let mut out = Vec::new();
        gzip.stdout.take().unwrap().read_to_end(&mut out).unwrap();
        assert!(gzip.wait().unwrap().success() && out.is_empty());
    }

    #[test]
    fn equal_parts_are_equal_whatever_the_frames() {
        let (header, data_key, _) = super::super::header::tests::sample();
        let part = 300_000;
        let frames: Vec<Vec<u8>> = (0..200).map(|i: usize| vec![i as u8; 1 + (i * 7919) % 60_000]).collect();
        let mut sealer = SegmentSealer::new(header, data_key).with_equal_parts(Some(part));
        let mut sealed = Vec::new();
        for (i, frame) in frames.iter().enumerate() {
            let last = i + 1 == frames.len();
            sealed.extend(sealer.close_before(frame.len(), last));
            sealed.extend(sealer.seal(frame, 1, last).unwrap());
        }
        let (last, others) = sealed.split_last().unwrap();
        assert!(others.len() > 10 && others.iter().all(|sealed| sealed.record.bytes == part));
        assert!(last.record.bytes <= part);
        let tar: u32 = sealed.iter().flat_map(|sealed| &sealed.record.frames).map(|f| f.tar_bytes).sum();
        assert_eq!(tar as usize, frames.len());
    }

    /// Two copies of a machine that was copied as it ran draw the same random numbers, or none between them.
    #[test]
    fn copies_that_draw_the_same_randomness_share_a_salt_only_where_they_seal_the_same() {
        let (header, data_key, _) = super::super::header::tests::sample();
        let sealer = SegmentSealer::new(header.clone(), data_key.clone());
        let salt = |sealer: &SegmentSealer, number, last, frames: &[&[u8]]| {
            let mut built = Building::new(&header, number, Buffer::default(), part_bytes(number));
            for frame in frames {
                let sealed_bytes = (frame.len() + TAG_BYTES) as u32;
                built.push(frame, FrameRecord { sealed_bytes, tar_bytes: 1 }, false);
            }
            sealer.salt([7; 64], number, last, &built.body)
        };
        let same = salt(&sealer, 2, false, &[b"one", b"two"]);
        assert_eq!(same, salt(&sealer, 2, false, &[b"one", b"two"]));
        let after_another =
            SegmentSealer { previous_salt: [1; 32], ..SegmentSealer::new(header.clone(), data_key) };
        for other in [
            salt(&sealer, 2, false, &[b"one", b"twO"]),
            salt(&sealer, 2, false, &[b"onet", b"wo"]),
            salt(&sealer, 2, false, &[b"one"]),
            salt(&sealer, 3, false, &[b"one", b"two"]),
            salt(&sealer, 2, true, &[b"one", b"two"]),
            salt(&after_another, 2, false, &[b"one", b"two"]),
        ] {
            assert_ne!(same, other);
        }
    }

    /// A copy of a machine continues from its memory: nothing in it may hold a salt or a key for what is still to come.
    #[test]
    fn a_segment_has_no_salt_before_it_is_whole() {
        let (header, data_key, _) = super::super::header::tests::sample();
        let mut sealer = SegmentSealer::new(header.clone(), data_key);
        assert!(sealer.seal(b"one", 3, false).unwrap().is_none());
        let built = sealer.current.as_ref().unwrap();
        let head = header.encoded().len() + SEGMENT_HEAD_BYTES;
        assert_eq!(built.body[head - 32..head], [0; 32]);
        assert_eq!(built.body[head + 4..head + 7], *b"one", "it is sealed when the segment is whole");
    }
}
