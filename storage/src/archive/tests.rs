//! What is sealed opens again, and nothing that was altered does.

use std::sync::Arc;

use super::header::tests::sample;
use super::*;
use crate::error::{Error, Result};
use crate::keys::{DataKey, UserKey};

/// Two segments: eight frames of noise, which do not compress, fill the first.
struct Made {
    header: Header,
    data_key: DataKey,
    key: UserKey,
    tar: Vec<Vec<u8>>,
    parts: Vec<Sealed>,
}

impl Made {
    fn new(noise_frames: usize) -> Self {
        let (header, data_key, key) = sample();
        let mut tar: Vec<Vec<u8>> = (0..noise_frames)
            .map(|_| (0..FRAME_BYTES / 32).flat_map(|_| crate::keys::secret::random::<32>()).collect())
            .collect();
        tar.push(b"the last file".to_vec());
        tar.push(vec![0; 1024]);
        let mut sealer = SegmentSealer::new(header.clone(), data_key.clone());
        let mut compressor = FrameCompressor::new(Compression::Fast);
        let parts = tar
            .iter()
            .enumerate()
            .filter_map(|(i, t)| {
                sealer.seal(&compressor.compress(t), t.len() as u32, i + 1 == tar.len()).unwrap()
            })
            .collect();
        Self { header, data_key, key, tar, parts }
    }

    fn bytes(&self) -> Vec<u8> {
        self.parts.iter().flat_map(|p| p.body.to_vec()).collect()
    }

    fn records(&self) -> Vec<SegmentRecord> {
        self.parts.iter().map(|p| p.record.clone()).collect()
    }
}

fn read(bytes: &[u8], key: &UserKey) -> Result<(Vec<Vec<u8>>, Vec<SegmentRecord>)> {
    let mut reader = ArchiveReader::open(bytes, &sample().0.name(), &key.clone().into())?;
    let mut tar = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        tar.push(frame.tar);
    }
    Ok((tar, reader.segments().to_vec()))
}

#[test]
fn the_reader_and_the_index_agree_with_the_sealer() {
    let made = Made::new(9);
    assert_eq!(made.parts.len(), 2);
    let bytes = made.bytes();
    let (tar, segments) = read(&bytes, &made.key).unwrap();
    assert_eq!(tar, made.tar);
    assert_eq!(segments, made.records());

    let mut archives = ArchiveSet::default();
    archives.add("key".to_owned(), made.header.clone(), made.data_key.clone(), &made.records()).unwrap();
    let archives = Arc::new(archives);
    let mut opener = Opener::new(archives.clone());
    for i in (0..archives.frame_count()).rev() {
        let frame = archives.frame(i);
        let framed = &bytes[frame.offset as usize..frame.end() as usize];
        assert_eq!(*opener.open(&frame, framed).unwrap(), made.tar[i]);
        let tar_bytes = u64::from(frame.tar_bytes);
        assert_eq!(archives.frames_holding(0, frame.tar_offset, tar_bytes).unwrap(), i..i + 1);
    }
    assert_eq!(archives.frames_holding(0, FRAME_BYTES as u64 - 1, 2).unwrap(), 0..2);
    let last = archives.frame(archives.frame_count() - 1);
    assert!(archives.frames_holding(0, last.tar_offset + u64::from(last.tar_bytes), 1).is_err());
    assert!(archives.frames_holding(0, u64::MAX, 2).is_err());
    assert!(archives.frames_holding(1, 0, 1).is_err(), "there is no other archive");
}

/// Two archives with other keys, of which the second is read as the first: frames are numbered through, and each opens
/// under its own archive's key alone.
#[test]
fn frames_of_a_set_are_numbered_through_and_opened_with_their_own_archives_key() {
    let made = [Made::new(9), Made::new(3)];
    let mut archives = ArchiveSet::default();
    for (number, made) in made.iter().enumerate() {
        let segments = made.records();
        let (header, data_key) = (made.header.clone(), made.data_key.clone());
        archives.add(format!("key {number}"), header, data_key, &segments).unwrap();
    }
    assert_eq!((archives.numbers(), archives.key(1).unwrap()), (0..2, "key 1"));
    assert!(archives.key(2).is_err());
    let archives = Arc::new(archives);
    let tar: Vec<_> = made.iter().flat_map(|made| &made.tar).collect();
    assert_eq!(archives.frame_count(), tar.len());
    let mut opener = Opener::new(archives.clone());
    for (number, tar) in tar.iter().enumerate() {
        let frame = archives.frame(number);
        let within =
            |made: &Made| made.bytes().get(frame.offset as usize..frame.end() as usize).map(<[u8]>::to_vec);
        let own = within(&made[frame.archive as usize]).unwrap();
        assert_eq!(*opener.open(&frame, &own).unwrap(), **tar);
        if let Some(other) = within(&made[1 - frame.archive as usize]) {
            assert!(opener.open(&frame, &other).is_err(), "frame {number}");
        }
        let other = FrameRef { archive: 1 - frame.archive, ..frame };
        assert!(opener.open(&other, &own).is_err(), "frame {number}");
    }
    let first_of_second = made[0].tar.len();
    assert_eq!(archives.frames_holding(1, 0, 1).unwrap(), first_of_second..first_of_second + 1);
    for (number, made) in (0..).zip(&made) {
        let bytes = made.bytes();
        let mut reader = archives.reader(number, &bytes[..]).unwrap();
        while reader.next_frame().unwrap().is_some() {}
        assert_eq!(reader.segments(), made.records());
    }
    assert!(archives.reader(0, &made[1].bytes()[..]).is_err());
}

#[test]
fn every_flipped_byte_is_seen() {
    let made = Made::new(0);
    let bytes = made.bytes();
    for i in 0..bytes.len() {
        let mut altered = bytes.clone();
        altered[i] ^= 0x01;
        assert!(read(&altered, &made.key).is_err(), "byte {i} of {}", bytes.len());
    }
}

#[test]
fn every_cut_and_every_addition_is_seen() {
    let made = Made::new(0);
    let bytes = made.bytes();
    for cut in 0..bytes.len() {
        assert!(read(&bytes[..cut], &made.key).is_err(), "cut at {cut}");
    }
    assert!(read(&[&bytes[..], b"x"].concat(), &made.key).is_err());
    // A cut between segments leaves whole segments behind; only the seal of the archive's end tells.
    let made = Made::new(9);
    let message = read(&made.parts[0].body, &made.key).unwrap_err().to_string();
    assert!(message.contains("cut off"), "{message}");
}

#[test]
fn segments_cannot_be_swapped_repeated_or_spliced() {
    let made = Made::new(17);
    let [a, b, c] = [0, 1, 2].map(|i| made.parts[i].body.to_vec());
    for order in [vec![&a, &c, &b], vec![&a, &b, &b, &c], vec![&a, &c], vec![&b, &a, &c]] {
        let bytes: Vec<u8> = order.into_iter().flatten().copied().collect();
        assert!(matches!(read(&bytes, &made.key), Err(Error::Integrity { .. })));
    }
    // Built again with the same keys and the same plaintext, but with another salt before it.
    let mut sealer = SegmentSealer::new(made.header.clone(), made.data_key.clone());
    let mut compressor = FrameCompressor::new(Compression::Fast);
    let again: Vec<Sealed> = made.tar[..17]
        .iter()
        .filter_map(|t| sealer.seal(&compressor.compress(t), t.len() as u32, false).unwrap())
        .collect();
    let spliced = [&again[0].body[..], &b, &c].concat();
    assert!(matches!(read(&spliced, &made.key), Err(Error::Integrity { .. })));
}

#[test]
fn an_archive_that_went_on_after_a_crash_is_whole_and_its_abandoned_segment_fits_nowhere() {
    let made = Made::new(17);
    let mut compressor = FrameCompressor::new(Compression::Fast);
    let mut resumed =
        SegmentSealer::resume(made.header.clone(), made.data_key.clone(), &made.parts[0].record);
    let begins = made.parts[0].record.frames.len();
    let rest: Vec<Sealed> = (begins..made.tar.len())
        .filter_map(|i| {
            let (tar, last) = (&made.tar[i], i + 1 == made.tar.len());
            resumed.seal(&compressor.compress(tar), tar.len() as u32, last).unwrap()
        })
        .collect();
    assert!(rest.iter().zip(&made.parts[1..]).all(|(new, old)| new.record.salt != old.record.salt));
    let bytes: Vec<u8> =
        made.parts[..1].iter().chain(&rest).flat_map(|part| part.body.iter().copied()).collect();
    let (tar, segments) = read(&bytes, &made.key).unwrap();
    assert_eq!(tar, made.tar);
    assert_eq!(segments[1..], rest.iter().map(|part| part.record.clone()).collect::<Vec<_>>());
    let spliced = [&made.parts[0].body[..], &rest[0].body, &made.parts[2].body].concat();
    assert!(matches!(read(&spliced, &made.key), Err(Error::Integrity { .. })));
}

#[test]
fn a_segment_built_again_has_another_salt() {
    let (header, data_key, _) = sample();
    let salts: Vec<_> = (0..2)
        .map(|_| {
            let mut sealer = SegmentSealer::new(header.clone(), data_key.clone());
            sealer.seal(b"gzip", 4, true).unwrap().unwrap().record.salt
        })
        .collect();
    assert_ne!(salts[0], salts[1]);
}
