//! What one day of large files adds to a store with chunks of several sizes: the table in docs/PERFORMANCE.md.
//!
//! `chunk_sizes <folder before> <folder after>` looks at files over 1 MiB. Unknown chunks and the lists of files that
//! changed are compressed as an archive's frames are.

#![allow(clippy::print_stdout, reason = "a program for a person")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use intellistor_actors::backup::chunker::{Chunker, CutChunk, SMALLEST_AVERAGE};
use intellistor_storage::archive::{Compression, FRAME_BYTES, FrameCompressor};

const LARGE_BYTES: u64 = 1 << 20;

fn main() -> io::Result<()> {
    let folders: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [before, after] = folders.as_slice() else { return Err(io::Error::other("which two folders?")) };
    let (before, after) = (large_files(before)?, large_files(after)?);
    println!("| average | chunks before | new bytes | compressed | lists, compressed | together |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for average in (0..7).map(|double| SMALLEST_AVERAGE << double) {
        let mut known = HashSet::new();
        for file in &before {
            chunks(file, average, |chunk| {
                known.insert(chunk.id);
            })?;
        }
        let chunks_before = known.len();
        let (mut new, mut lists) = (Frames::default(), Frames::default());
        for file in &after {
            let (mut list, mut is_known) = (Vec::new(), true);
            chunks(file, average, |chunk| {
                if known.insert(chunk.id) {
                    is_known = false;
                    new.add(chunk.bytes);
                }
                list.extend_from_slice(&(chunk.bytes.len() as u64).to_be_bytes());
                list.extend_from_slice(&chunk.id);
            })?;
            if !is_known {
                lists.add(&list);
            }
        }
        let [(new_bytes, new), (_, lists)] = [new.end(), lists.end()];
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        println!(
            "| {} KiB | {chunks_before} | {} | {} | {} | {} |",
            average >> 10,
            mib(new_bytes),
            mib(new),
            mib(lists),
            mib(new + lists)
        );
    }
    Ok(())
}

fn large_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let (path, about) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
            if about.is_dir() {
                folders.push(path);
            } else if about.is_file() && about.len() > LARGE_BYTES {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn chunks(file: &Path, average: u32, mut each: impl FnMut(CutChunk<'_>)) -> io::Result<()> {
    let (mut file, mut chunker, mut block) = (File::open(file)?, Chunker::new(average), vec![0; 1 << 20]);
    let mut each = |chunk: CutChunk<'_>| {
        each(chunk);
        Ok::<_, Infallible>(())
    };
    loop {
        let n = file.read(&mut block)?;
        let Ok(()) = if n == 0 { chunker.end(&mut each) } else { chunker.data(&block[..n], &mut each) };
        if n == 0 {
            return Ok(());
        }
    }
}

/// Bytes as they come, compressed a frame at a time.
struct Frames {
    compressor: FrameCompressor,
    frame: Vec<u8>,
    bytes: u64,
    compressed: u64,
}

impl Default for Frames {
    fn default() -> Self {
        let compressor = FrameCompressor::new(Compression::default());
        Self { compressor, frame: Vec::new(), bytes: 0, compressed: 0 }
    }
}

impl Frames {
    fn add(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let taken = bytes.len().min(FRAME_BYTES - self.frame.len());
            self.frame.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if self.frame.len() == FRAME_BYTES {
                self.compress();
            }
        }
    }

    fn compress(&mut self) {
        self.compressed += self.compressor.compress(&self.frame).len() as u64;
        self.frame.clear();
    }

    /// Bytes, and compressed bytes.
    fn end(mut self) -> (u64, u64) {
        self.compress();
        (self.bytes, self.compressed)
    }
}
