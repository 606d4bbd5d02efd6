//! How fast one core cuts a large file into chunks, and computes their ids.
//!
//! ```sh
//! cargo run --release -p intellistor-actors --example chunking [FILE]
//! ```
//! Of a file, its first 256 MiB; without one, of noise.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::time::Instant;

use intellistor_actors::backup::chunker::{Chunker, CutChunk, SMALLEST_AVERAGE};

const BYTES: usize = 256 << 20;
/// As the archiver hands them over.
const BLOCK_BYTES: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::with_capacity(BYTES);
    match std::env::args_os().nth(1) {
        Some(file) => drop(File::open(file)?.take(BYTES as u64).read_to_end(&mut bytes)?),
        None => {
            let mut state = 7_u64;
            while bytes.len() < BYTES {
                // xorshift64.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                bytes.extend_from_slice(&state.to_le_bytes());
            }
        }
    }
    let mut best = f64::MAX;
    let mut chunks = 0_u32;
    for _ in 0..5 {
        let begun = Instant::now();
        chunks = 0;
        let mut chunker = Chunker::new(SMALLEST_AVERAGE);
        let mut count = |_: CutChunk<'_>| {
            chunks += 1;
            Ok::<_, Infallible>(())
        };
        for block in bytes.chunks(BLOCK_BYTES) {
            chunker.data(block, &mut count)?;
        }
        chunker.end(&mut count)?;
        best = best.min(begun.elapsed().as_secs_f64());
    }
    let (gib, average) =
        (bytes.len() as f64 / f64::from(1 << 30), bytes.len() as f64 / f64::from(chunks.max(1)));
    println!("{:.2} GiB/s, {chunks} chunks of {average:.0} bytes on average", gib / best);
    Ok(())
}
