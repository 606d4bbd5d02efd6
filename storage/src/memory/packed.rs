//! Many small records as few values: MessagePack, deflated, some kilobytes each.
//!
//! A part of 8 MiB may hold the last bytes of 400,000 files, where they are small and alike, and several parts are on
//! their way at once: lists beyond 1 MiB go to a temporary file.
//!
//! In the queue, values must be small. sled's cache (0.34, `lru.rs`) has 256 shards of at least one leaf, and looks at a shard
//! after every 64 accesses: about three leaves of 16 to 32 values stay in each, whatever the cache's size. With a million
//! small files an agent's run took 194 MiB with chunks of 16 KiB, and 101 MiB with these and lists read key by key.

use std::borrow::Borrow;
use std::io::{self, Write as _};
use std::marker::PhantomData;

use libdeflater::{CompressionLvl, Compressor, Decompressor};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::spool::Spool;
use crate::error::{Error, Result};

/// A chunk ends with the record that brings it to this size; it then deflates to some 1 KiB.
const RAW_BYTES: usize = 4 << 10;
/// One record may be as large as a list of 65,536 extents; whatever claims to be larger is damaged.
const MOST_RAW_BYTES: usize = 64 << 20;
/// What a list takes in memory at most.
const MEMORY_BYTES: usize = 1 << 20;
/// Of a chunk in the spool: how many records, and how many bytes.
const HEAD_BYTES: usize = 8;

/// Records in their order. Made by a [`Packer`], which flushes the spool, so that it can be read.
#[derive(Debug)]
pub struct Packed<T> {
    spool: Spool,
    records: usize,
    kind: PhantomData<fn() -> T>,
}

/// Some of them.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) records: usize,
    pub(crate) bytes: Vec<u8>,
}

impl<T> Default for Packed<T> {
    fn default() -> Self {
        Self { spool: Spool::new(MEMORY_BYTES), records: 0, kind: PhantomData }
    }
}

impl<T> Packed<T> {
    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(crate) fn chunks(&self) -> impl Iterator<Item = Result<Chunk>> {
        Chunks { packed: self, position: 0, kind: PhantomData }
    }

    fn push(&mut self, records: usize, bytes: &[u8]) -> io::Result<()> {
        self.records += records;
        for number in [records, bytes.len()] {
            let number = u32::try_from(number).expect("a chunk is far below 4 GiB");
            self.spool.write_all(&number.to_be_bytes())?;
        }
        self.spool.write_all(bytes)
    }
}

impl<T: Serialize> Packed<T> {
    /// Packs records that are at hand.
    ///
    /// # Errors
    /// As [`Packer::push`].
    pub fn of(records: &[T]) -> Result<Self> {
        let mut packer = Packer::default();
        records.iter().try_for_each(|record| packer.push(record))?;
        packer.finish()
    }
}

impl<T: DeserializeOwned> Packed<T> {
    /// The records, some at a time.
    ///
    /// # Errors
    /// Each item: [`Error::Integrity`] when a chunk is not what was packed, [`Error::Io`] when the temporary file cannot
    /// be read.
    pub fn unpack(&self) -> impl Iterator<Item = Result<Vec<T>>> {
        records(self)
    }

    /// As [`unpack`](Self::unpack).
    pub fn into_unpacked(self) -> impl Iterator<Item = Result<Vec<T>>> {
        records(self)
    }
}

fn records<T: DeserializeOwned>(packed: impl Borrow<Packed<T>>) -> impl Iterator<Item = Result<Vec<T>>> {
    let chunks = Chunks { packed, position: 0, kind: PhantomData };
    chunks.map(|chunk| unpack(&chunk?.bytes).map_err(|reason| Error::integrity("a list of entries", reason)))
}

struct Chunks<P, T> {
    packed: P,
    position: u64,
    kind: PhantomData<fn() -> T>,
}

impl<T, P: Borrow<Packed<T>>> Iterator for Chunks<P, T> {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let Packed { spool, .. } = self.packed.borrow();
        if self.position >= spool.bytes() {
            return None;
        }
        let read = || {
            let mut head = [0; HEAD_BYTES];
            spool.read_exact_at(&mut head, self.position)?;
            let [a, b, c, d, e, f, g, h] = head;
            let [records, length] = [[a, b, c, d], [e, f, g, h]].map(|n| u32::from_be_bytes(n) as usize);
            let mut bytes = vec![0; length];
            spool.read_exact_at(&mut bytes, self.position + HEAD_BYTES as u64)?;
            Ok(Chunk { records, bytes })
        };
        let chunk = read();
        // After an error there is no way to know where the next one begins.
        self.position = chunk
            .as_ref()
            .map_or(u64::MAX, |chunk: &Chunk| self.position + (HEAD_BYTES + chunk.bytes.len()) as u64);
        Some(chunk.map_err(temporary))
    }
}

/// Packs records one by one.
#[derive(Debug)]
pub struct Packer<T> {
    packed: Packed<T>,
    raw: Vec<u8>,
    count: usize,
}

impl<T> Default for Packer<T> {
    fn default() -> Self {
        Self { packed: Packed::default(), raw: Vec::new(), count: 0 }
    }
}

impl<T> Packer<T> {
    /// Adds a chunk as it was kept, with so many records. Not to be mixed with [`push`](Self::push), whose records wait
    /// for their chunk.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) fn push_chunk(&mut self, records: usize, bytes: &[u8]) -> Result<()> {
        debug_assert_eq!(self.count, 0, "records wait for their chunk");
        self.packed.push(records, bytes).map_err(temporary)
    }

    /// How many records were added with their chunks.
    pub(crate) fn len(&self) -> usize {
        self.packed.len()
    }

    /// All that was added.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary folder is full.
    pub fn finish(mut self) -> Result<Packed<T>> {
        if self.count > 0 {
            self.end_chunk()?;
        }
        self.packed.spool.flush().map_err(temporary)?;
        Ok(self.packed)
    }

    fn end_chunk(&mut self) -> Result<()> {
        let pushed = self.packed.push(std::mem::take(&mut self.count), &deflate(&self.raw));
        self.raw.clear();
        pushed.map_err(temporary)
    }
}

impl<T: Serialize> Packer<T> {
    /// Adds a record.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary folder is full.
    pub fn push(&mut self, record: &T) -> Result<()> {
        // By name, for some members are left out where they say nothing.
        let written = rmp_serde::encode::write_named(&mut self.raw, record);
        written.expect("memory takes all, and MessagePack has a form for all that our records hold");
        self.count += 1;
        if self.raw.len() >= RAW_BYTES { self.end_chunk() } else { Ok(()) }
    }
}

fn temporary(e: io::Error) -> Error {
    Error::io("use a temporary file in", std::env::temp_dir())(e)
}

/// The records of a chunk, or what is wrong with it.
pub(crate) fn unpack<T: DeserializeOwned>(chunk: &[u8]) -> std::result::Result<Vec<T>, String> {
    let raw = inflate(chunk).ok_or("a chunk does not inflate")?;
    let mut rest = raw.as_slice();
    let mut records = Vec::new();
    while !rest.is_empty() {
        let mut decoder = rmp_serde::Deserializer::new(&mut rest);
        records.push(T::deserialize(&mut decoder).map_err(|e| e.to_string())?);
    }
    Ok(records)
}

fn deflate(raw: &[u8]) -> Vec<u8> {
    let level = CompressionLvl::new(1).expect("libdeflate has levels 0 to 12");
    let mut coder = Compressor::new(level);
    let mut chunk = u32::try_from(raw.len()).expect("a chunk is far below 4 GiB").to_be_bytes().to_vec();
    chunk.resize(4 + coder.zlib_compress_bound(raw.len()), 0);
    let bytes = coder.zlib_compress(raw, &mut chunk[4..]).expect("the buffer has the coder's own bound");
    chunk.truncate(4 + bytes);
    chunk
}

fn inflate(chunk: &[u8]) -> Option<Vec<u8>> {
    let (length, zlib) = chunk.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    let mut raw = vec![0; Some(length).filter(|length| *length <= MOST_RAW_BYTES)?];
    let bytes = Decompressor::new().zlib_decompress(zlib, &mut raw).ok()?;
    (bytes == length).then_some(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn records_come_back_in_their_order(records: Vec<(u64, i128, Option<String>)>) {
            let packed = Packed::of(&records).unwrap();
            prop_assert_eq!(packed.len(), records.len());
            let mut kept = Packer::<(u64, i128, Option<String>)>::default();
            for chunk in packed.chunks() {
                let Chunk { records, bytes } = chunk.unwrap();
                kept.push_chunk(records, &bytes).unwrap();
            }
            let kept = kept.finish().unwrap();
            prop_assert_eq!(kept.len(), records.len());
            prop_assert_eq!(kept.unpack().flat_map(Result::unwrap).collect::<Vec<_>>(), records);
        }

        #[test]
        fn damaged_chunks_are_refused_and_never_panic(noise: Vec<u8>, at: usize, flip in 1u8..) {
            let _ = unpack::<(u64, String)>(&noise);
            let packed = Packed::of(&[(7u64, "a record".to_owned())]).unwrap();
            let mut chunk = packed.chunks().next().unwrap().unwrap().bytes;
            let at = at % chunk.len();
            chunk[at] ^= flip;
            // Some bits say nothing. What comes back is what was packed, or nothing.
            let unpacked = unpack::<(u64, String)>(&chunk);
            prop_assert!(unpacked.is_err() || unpacked == Ok(vec![(7, "a record".to_owned())]), "{unpacked:?}");
        }
    }

    #[test]
    fn what_is_too_much_for_memory_comes_back_from_the_disk() {
        let record = |i: u32| crate::keys::secret::random::<32>().map(|b| b ^ i as u8).to_vec();
        let records: Vec<Vec<u8>> = (0..60_000).map(record).collect();
        let packed = Packed::of(&records).unwrap();
        assert!(packed.spool.bytes() > MEMORY_BYTES as u64);
        assert_eq!(packed.unpack().flat_map(Result::unwrap).collect::<Vec<_>>(), records);
    }

    #[test]
    fn many_records_make_small_chunks() {
        let records: Vec<_> =
            (0..10_000).map(|i| format!("/pasta número {}/ficheiro {i}.txt", i / 100)).collect();
        let packed = Packed::of(&records).unwrap();
        assert!(packed.chunks().count() > 10);
        assert!(packed.chunks().all(|chunk| chunk.unwrap().bytes.len() < 2 << 10));
    }
}
