//! Many small records as few values: MessagePack, deflated, some kilobytes each.
//!
//! sled keeps at least one whole leaf of 16 values for each key that it touches, so its memory is bounded by its cache
//! only while values are small: with values of 64 KiB it took 260 MiB for 250 MiB written, with 4 KiB 37 MiB.

use libdeflater::{CompressionLvl, Compressor, Decompressor};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A chunk ends with the record that brings it to this size; it then deflates to some 4 KiB.
const RAW_BYTES: usize = 16 << 10;
/// One record may be as large as a list of 65,536 extents; whatever claims to be larger is damaged.
const MOST_RAW_BYTES: usize = 64 << 20;

/// One chunk and how many records it holds.
pub(super) struct Chunk {
    pub(super) records: usize,
    pub(super) bytes: Vec<u8>,
}

/// Packs records into chunks, in their order.
pub(super) fn pack<T: Serialize>(records: &[T]) -> Result<Vec<Chunk>, rmp_serde::encode::Error> {
    let mut chunks = Vec::new();
    let (mut raw, mut count) = (Vec::new(), 0);
    for record in records {
        // By name, for some members are left out where they say nothing.
        rmp_serde::encode::write_named(&mut raw, record)?;
        count += 1;
        if raw.len() >= RAW_BYTES {
            chunks.push(Chunk { records: count, bytes: deflate(&raw) });
            raw.clear();
            count = 0;
        }
    }
    if count > 0 {
        chunks.push(Chunk { records: count, bytes: deflate(&raw) });
    }
    Ok(chunks)
}

/// The records of a chunk.
pub(super) fn unpack<T: DeserializeOwned>(chunk: &[u8]) -> Result<Vec<T>, String> {
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
            let chunks = pack(&records).unwrap();
            prop_assert_eq!(chunks.iter().map(|c| c.records).sum::<usize>(), records.len());
            let back = chunks.iter().flat_map(|c| unpack(&c.bytes).unwrap());
            prop_assert_eq!(back.collect::<Vec<(u64, i128, Option<String>)>>(), records);
        }

        #[test]
        fn damaged_chunks_are_refused_and_never_panic(noise: Vec<u8>, at: usize, flip in 1u8..) {
            let _ = unpack::<(u64, String)>(&noise);
            let mut chunk = pack(&[(7u64, "a record".to_owned())]).unwrap().remove(0).bytes;
            let at = at % chunk.len();
            chunk[at] ^= flip;
            // Some bits say nothing. What comes back is what was packed, or nothing.
            let unpacked = unpack::<(u64, String)>(&chunk);
            prop_assert!(unpacked.is_err() || unpacked == Ok(vec![(7, "a record".to_owned())]), "{unpacked:?}");
        }
    }

    #[test]
    fn many_records_make_small_chunks() {
        let records: Vec<_> =
            (0..10_000).map(|i| format!("/pasta número {}/ficheiro {i}.txt", i / 100)).collect();
        let chunks = pack(&records).unwrap();
        assert!(chunks.len() > 10 && chunks.iter().all(|chunk| chunk.bytes.len() < 8 << 10));
    }
}
