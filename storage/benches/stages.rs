//! What each stage does by itself on one core: the floor of a backup and of a restore is made of these.
//!
//! `cargo bench -p intellistor-storage --features isal`; without the feature `fast` is libdeflate's.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use intellistor_storage::archive::{
    Compression, FRAME_BYTES, FrameCompressor, Header, SegmentSealer, inflate,
};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::{DataKey, Recipients, UserKey};
use sha2::{Digest, Sha256};

/// Numbers that are the same each time (splitmix64).
fn numbers() -> impl FnMut() -> u64 {
    let mut state = 7u64;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A frame of what compresses about as source code does, and one of noise.
fn frames() -> [(&'static str, Vec<u8>); 2] {
    let mut next = numbers();
    let words: Vec<Vec<u8>> = (0..3_000)
        .map(|_| {
            (0..2 + next() % 9).map(|_| b"etaoinsrhldcumfpgwybvk_ ();"[(next() % 27) as usize]).collect()
        })
        .collect();
    let mut text = Vec::with_capacity(FRAME_BYTES + 16);
    while text.len() < FRAME_BYTES {
        // The product of two makes small numbers frequent, as Zipf's law has it.
        let rank = (next() % 55) * (next() % 55);
        text.extend_from_slice(&words[rank as usize % words.len()]);
    }
    text.truncate(FRAME_BYTES);
    let noise = (0..FRAME_BYTES / 8).flat_map(|_| next().to_le_bytes()).collect();
    [("text", text), ("noise", noise)]
}

fn stages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stage");
    group.throughput(Throughput::Bytes(FRAME_BYTES as u64)).sample_size(20);
    for (content, frame) in frames() {
        for compression in [Compression::Fast, Compression::Balanced, Compression::Best] {
            let mut compressor = FrameCompressor::new(compression);
            let id = BenchmarkId::new(format!("compress {compression:?}").to_lowercase(), content);
            group.bench_function(id, |b| b.iter(|| compressor.compress(black_box(&frame))));
        }
        let gzip = FrameCompressor::new(Compression::Fast).compress(&frame);
        group.bench_function(BenchmarkId::new("inflate", content), |b| {
            b.iter(|| inflate(black_box(&gzip), FRAME_BYTES).unwrap());
        });
    }
    let [_, (_, noise)] = frames();
    group.bench_function("hash", |b| b.iter(|| Sha256::digest(black_box(&noise))));
    // Sealing hashes the part, too.
    let (key, data_key) = (UserKey::generate(), DataKey::generate());
    let name = BackupName { policy_id: "p".into(), timestamp: "t".into(), backup_id: "b".into() };
    let header = Header::new(&name, Recipients::from(key.clone()).wrap(&data_key, "b"));
    let sealer = || SegmentSealer::new(header.clone(), data_key.clone());
    let (mut segments, mut sealed) = (sealer(), 0);
    group.bench_function("seal and hash", |b| {
        b.iter(|| {
            sealed += 1;
            // An archive ends at 10,000 segments.
            if sealed % 50_000 == 0 {
                segments = sealer();
            }
            segments.seal(black_box(&noise), FRAME_BYTES as u32, false).unwrap()
        });
    });
    group.finish();
}

criterion_group!(benches, stages);
criterion_main!(benches);
