//! The journal of an upload: the parts that are durable, one JSON line each.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;

use serde::{Deserialize, Serialize};

use crate::disk::spool::read_at;
use crate::objects::upload::{Part, PartReceipt};

/// A line has so many bytes of each end of its part, so that a replaced file is noticed.
const END_BYTES: usize = 32;

/// One line of a journal.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) number: u32,
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// None where the part is about to be written over another one.
    #[serde(default, with = "crate::text::hex_option", skip_serializing_if = "Option::is_none")]
    pub(super) sha256: Option<[u8; 32]>,
    /// The part's first and last bytes, in hex.
    #[serde(default)]
    ends: String,
}

impl Record {
    /// Of a part that is written; `None` for one that ends nowhere.
    pub(super) fn new(part: &Part) -> Option<Self> {
        let bytes = part.body.len() as u64;
        part.offset.checked_add(bytes)?;
        let ends = ends(bytes, |at, buffer| {
            buffer.copy_from_slice(&part.body[at as usize..at as usize + buffer.len()]);
            Ok(())
        });
        let sha256 = Some(part.body.sha256());
        Some(Self { number: part.number, offset: part.offset, bytes, sha256, ends: ends.unwrap_or_default() })
    }

    /// A line, unless a crash, or the disk, made something else of it.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let record: Self = serde_json::from_slice(line).ok()?;
        record.offset.checked_add(record.bytes).is_some_and(|_| record.number > 0).then_some(record)
    }

    /// The line that is written before the bytes, where they overwrite another part.
    pub(super) fn about_to_be(&self) -> Self {
        let Self { number, offset, bytes, .. } = *self;
        Self { number, offset, bytes, sha256: None, ends: String::new() }
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + self.bytes
    }

    pub(super) fn receipt(&self) -> Option<PartReceipt> {
        let sha256 = self.sha256?;
        let etag = hex::encode(sha256);
        Some(PartReceipt { number: self.number, bytes: self.bytes, sha256: Some(sha256), etag })
    }

    /// Whether the file has the part's ends where they were written.
    pub(super) fn is_in(&self, data: &File, length: u64) -> bool {
        let read = |at, buffer: &mut [u8]| read_exact_at(data, buffer, self.offset + at);
        self.end() <= length
            && (self.ends.is_empty() || ends(self.bytes, read).is_ok_and(|found| found == self.ends))
    }
}

fn ends(bytes: u64, mut read: impl FnMut(u64, &mut [u8]) -> io::Result<()>) -> io::Result<String> {
    let length = bytes.min(END_BYTES as u64);
    let (mut first, mut last) = (vec![0; length as usize], vec![0; length as usize]);
    read(0, &mut first)?;
    read(bytes - length, &mut last)?;
    Ok(hex::encode(first) + &hex::encode(last))
}

fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, at)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => (buffer, at) = (&mut buffer[n..], at + n as u64),
        }
    }
    Ok(())
}

/// The parts that a journal names, by number and by place.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) by_offset: BTreeMap<u64, Record>,
    pub(super) offsets: BTreeMap<u32, u64>,
}

impl Records {
    /// Takes a line for true: what it overwrites is there no more.
    pub(super) fn take(&mut self, record: Record) {
        if let Some(offset) = self.offsets.remove(&record.number) {
            self.by_offset.remove(&offset);
        }
        while let Some(other) = self.overwritten_by(&record) {
            let (number, offset) = (other.number, other.offset);
            self.offsets.remove(&number);
            self.by_offset.remove(&offset);
        }
        if record.sha256.is_some() {
            self.offsets.insert(record.number, record.offset);
            self.by_offset.insert(record.offset, record);
        }
    }

    /// A part some of whose bytes are in the place of `record`.
    pub(super) fn overwritten_by(&self, record: &Record) -> Option<&Record> {
        let before_its_end = self.by_offset.range(..record.end()).next_back();
        before_its_end.map(|(_, other)| other).filter(|other| other.end() > record.offset)
    }

    pub(super) fn of(&self, number: u32) -> Option<&Record> {
        self.by_offset.get(self.offsets.get(&number)?).filter(|record| record.number == number)
    }
}
