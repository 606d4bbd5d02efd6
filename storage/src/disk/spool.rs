//! A byte buffer that moves to an unlinked temporary file when it grows: a manifest of a million files must
//! not live in memory. Nothing of it remains after the process, however that ends.
//!
//! `tempfile::SpooledTempFile` has one cursor behind `&mut`, and no buffer: a spool is read by several readers at once, at
//! any place, and written in small pieces.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};

use crate::disk::shortage::wait_out;
use crate::error::Error;

/// Up to here it stays in memory.
const MEMORY_BYTES: usize = 4 << 20;

/// Write once, then read from the start as often as needed.
#[derive(Debug)]
pub struct Spool {
    backing: Backing,
    bytes: u64,
    memory_bytes: usize,
}

#[derive(Debug)]
enum Backing {
    Memory(Vec<u8>),
    File(BufWriter<AtEnd>),
}

impl Default for Spool {
    fn default() -> Self {
        Self::new(MEMORY_BYTES)
    }
}

impl Spool {
    /// One that takes so much memory at most.
    pub(crate) fn new(memory_bytes: usize) -> Self {
        Self { backing: Backing::Memory(Vec::new()), bytes: 0, memory_bytes }
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// A reader from the start. Call [`flush`](Write::flush) first if anything was written since the last one.
    pub fn reader(&self) -> SpoolReader<'_> {
        SpoolReader { spool: self, position: 0 }
    }

    /// Fills a buffer from a place. Call [`flush`](Write::flush) before, as for a [`reader`](Self::reader).
    pub(crate) fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        SpoolReader { spool: self, position }.read_exact(buffer)
    }

    /// Reads at a place; nothing behind the end.
    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match &self.backing {
            Backing::Memory(bytes) => {
                let rest = bytes.get(offset as usize..).unwrap_or_default();
                let n = rest.len().min(buffer.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                Ok(n)
            }
            Backing::File(file) => read_at(&file.get_ref().file, buffer, offset),
        }
    }
}

/// What went wrong with a spool, which has no path to name.
pub(crate) fn temporary_error(e: io::Error) -> Error {
    Error::io("use a temporary file in", std::env::temp_dir())(e)
}

/// Reads at a place of a file, wherever its cursor is.
///
/// # Errors
/// The system's.
#[cfg(unix)]
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buffer, offset)
}

/// Reads at a place of a file, wherever its cursor is, and moves the cursor behind it.
///
/// # Errors
/// The system's.
#[cfg(windows)]
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file, buffer, offset)
}

/// A file that is written at its end, wherever its cursor is: on Windows each read at a place moves it.
#[derive(Debug)]
struct AtEnd {
    file: File,
    end: u64,
}

impl Write for AtEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(unix)]
        let written = std::os::unix::fs::FileExt::write_at(&self.file, bytes, self.end)?;
        #[cfg(windows)]
        let written = std::os::windows::fs::FileExt::seek_write(&self.file, bytes, self.end)?;
        self.end += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Backing::Memory(held) = &mut self.backing
            && held.len() + bytes.len() > self.memory_bytes
        {
            let file = AtEnd { file: wait_out(tempfile::tempfile)?, end: 0 };
            let mut file = BufWriter::with_capacity(64 << 10, file);
            file.write_all(held)?;
            self.backing = Backing::File(file);
        }
        match &mut self.backing {
            Backing::Memory(held) => held.extend_from_slice(bytes),
            Backing::File(file) => file.write_all(bytes)?,
        }
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.backing {
            Backing::Memory(_) => Ok(()),
            Backing::File(file) => file.flush(),
        }
    }
}

/// Reads a [`Spool`] from its start.
#[derive(Debug)]
pub struct SpoolReader<'a> {
    spool: &'a Spool,
    position: u64,
}

impl Read for SpoolReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.spool.read_at(buffer, self.position)?;
        self.position += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_from_memory_and_from_disk() {
        for memory_bytes in [4, 1 << 20] {
            let mut spool = Spool::new(memory_bytes);
            for i in 0..1000u32 {
                spool.write_all(&i.to_be_bytes()).unwrap();
            }
            spool.flush().unwrap();
            for _ in 0..2 {
                let mut read = Vec::new();
                spool.reader().read_to_end(&mut read).unwrap();
                assert_eq!(read.len() as u64, spool.bytes());
                assert!(read.chunks(4).zip(0u32..).all(|(c, i)| c == i.to_be_bytes()));
            }
        }
    }
}
