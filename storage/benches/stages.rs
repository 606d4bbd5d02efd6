//! What each stage does by itself on one core: the floor of a backup and of a restore is made of these.
//!
//! `cargo bench -p intellistor-storage --features isal`; without the feature `fast` is libdeflate's.

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use intellistor_storage::archive::{
    Compression, FRAME_BYTES, FrameCompressor, FrameRecord, Header, SegmentRecord, SegmentSealer, inflate,
};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::{DataKey, Recipients, UserKey};
use intellistor_storage::manifest::{
    BackupFacts, Base, Entry, Extent, Listed, ManifestDraft, PartEntries, UnixAttributes, VerifiedManifest,
};
use intellistor_storage::memory::packed::Packed;
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

/// A part in which so many entries end.
const ENTRIES: u64 = 10_000;

fn unchanged(criterion: &mut Criterion) {
    let (key, data_key) = (UserKey::generate(), DataKey::generate());
    let name = BackupName { policy_id: "p".into(), timestamp: "t".into(), backup_id: "b".into() };
    let header = Header::new(&name, Recipients::from(key.clone()).wrap(&data_key, "b"));
    let entry = |i: u64| Entry {
        relative_path: format!("home/alguém/Documentos/pasta {}/Relatório {i}.txt", i / 100),
        size: i,
        mtime_ns: 1_700_000_000_123_456_789,
        ctime_ns: Some(1_700_000_000_123_456_789),
        inode: Some(1_000_000 + i),
        unix: Some(UnixAttributes { mode: 0o644, uid: 1000, gid: 1000 }),
        sha256: Some([i as u8; 32]),
        extents: vec![Extent { archive: 0, offset: 1024 * i, length: i, at: None }],
        ..Entry::default()
    };
    let entries: Vec<_> = (0..ENTRIES).map(entry).collect();
    let segment = || SegmentRecord {
        number: 1,
        offset: 0,
        bytes: 1,
        salt: [0; 32],
        sha256: [0; 32],
        frames: vec![FrameRecord { sealed_bytes: 1, tar_bytes: 1 }],
    };
    let mut draft = ManifestDraft::default();
    draft.commit(segment(), PartEntries::of_new(&entries, &[]).unwrap()).unwrap();
    let manifest = draft.finish(&header, &data_key, BackupFacts::default()).unwrap();
    let (document, _) = manifest.into_documents().into_parts();
    let manifest = VerifiedManifest::verify_own(document, None, &header, &data_key).unwrap();
    let base = Arc::new(Base::new(manifest, vec![Some(1)]).unwrap());

    let mut group = criterion.benchmark_group("unchanged");
    group.throughput(Throughput::Elements(ENTRIES)).sample_size(20);
    group.bench_function("take over", |b| {
        b.iter(|| {
            let entries = Packed::of(&[Listed::Unchanged { first: 0, count: ENTRIES }]).unwrap();
            let mut draft = ManifestDraft::new(Some(base.clone()));
            draft.commit(segment(), PartEntries { entries, ..PartEntries::default() }).unwrap();
        });
    });
    group.bench_function("make anew", |b| {
        b.iter(|| {
            let line = |entry: intellistor_storage::Result<Entry>| {
                let mut entry = entry.unwrap();
                base.renumber(&mut entry);
                serde_json::to_vec(&entry).unwrap().len()
            };
            base.entries(0).map(line).sum::<usize>()
        });
    });
    group.finish();
}

criterion_group!(benches, stages, unchanged);
criterion_main!(benches);
