//! What the end of a run's log says.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// A log may be long, and what counts is near its end.
const TAIL_BYTES: u64 = 64 << 10;

/// The last error in a log.
pub fn last_error(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| line.contains(" ERROR "))?;
    line.split_once(" ERROR ").map(|(_, message)| message.trim().to_owned())
}
