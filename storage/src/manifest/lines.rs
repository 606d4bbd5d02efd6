//! The lines of a verified manifest.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::ops::ControlFlow;

use serde::de::DeserializeOwned;

use super::head::Head;
use super::refused::refused;
use super::security::SecurityTable;
use crate::disk::spool::{Spool, SpoolReader};
use crate::error::{Error, Result};

/// The line after which the entries come.
pub(super) const ENTRIES: &[u8] = b"\"entries\":[";
/// The line after which the security descriptors come.
const SECURITY: &[u8] = b"\"security\":[";
/// The line after which nothing more comes, where the lists are sealed, begins so.
pub(super) const TRAILER: &[u8] = b"\"hmac_sha256\":";
/// Segments and frames of the largest archive there can be, 5 TiB, take some 100 MiB; those of all that a backup names may
/// hold about twice what it restores.
const MOST_HEAD_BYTES: usize = 256 << 20;
/// An entry with as many extents as one may have takes 5 MiB.
pub(super) const MOST_LINE_BYTES: usize = 64 << 20;

/// One pass over the lines of a verified document. Each member of a list is on a line of its own, and a line of
/// JSON is read several times as fast as JSON from a reader.
pub(super) struct Lines<'s> {
    reader: BufReader<SpoolReader<'s>>,
    pub(super) line: Vec<u8>,
    /// Where the next line begins.
    position: u64,
}

impl<'s> Lines<'s> {
    pub(super) fn of(spool: &'s Spool) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, spool.reader()), line: Vec::new(), position: 0 }
    }

    /// Reads the next line, without its end; fails where there is none.
    pub(super) fn next(&mut self, most_bytes: usize) -> Result<&[u8]> {
        self.line.clear();
        let mut bounded = (&mut self.reader).take(most_bytes as u64 + 1);
        self.position += bounded.read_until(b'\n', &mut self.line).map_err(temporary)? as u64;
        if self.line.len() > most_bytes {
            return Err(refused(format!("it has a line longer than {most_bytes} bytes")));
        }
        let line = self.line.strip_suffix(b"\n");
        line.ok_or_else(|| refused("it has an unknown form (a list is missing)"))
    }

    /// All before the entries, and where the line of the first one begins, if the lists are not sealed.
    pub(super) fn head(mut self) -> Result<(Head, SecurityTable, Option<u64>)> {
        let (mut head, mut security) = (Vec::new(), SecurityTable::default());
        let has_lists = loop {
            match self.next(MOST_HEAD_BYTES - head.len())? {
                ENTRIES => break true,
                SECURITY => security = self.security()?,
                line if line.starts_with(TRAILER) => break false,
                line => head.extend_from_slice(line),
            }
        };
        let members = head.strip_suffix(b",").unwrap_or(&head);
        let head = serde_json::from_slice(&[members, b"}"].concat()).map_err(unknown)?;
        Ok((head, security, has_lists.then_some(self.position)))
    }

    /// In a text of lists alone, what comes before the entries, and where the line of the first one begins.
    pub(super) fn start(mut self) -> Result<(SecurityTable, u64)> {
        let (mut security, mut line) = (SecurityTable::default(), self.next(MOST_LINE_BYTES)?);
        if line == SECURITY {
            security = self.security()?;
            line = self.next(MOST_LINE_BYTES)?;
        }
        if line != ENTRIES {
            return Err(refused("its sealed lists have an unknown form"));
        }
        Ok((security, self.position))
    }

    /// The rows after the line that begins them.
    fn security(&mut self) -> Result<SecurityTable> {
        let mut security = SecurityTable::default();
        loop {
            let line = self.next(MOST_LINE_BYTES)?;
            if line.starts_with(b"]") {
                return Ok(security);
            }
            let line = line.strip_suffix(b",").unwrap_or(line);
            security.read(serde_json::from_slice(line).map_err(unknown)?)?;
        }
    }

    pub(super) fn for_each<T: DeserializeOwned>(
        mut self,
        member: &str,
        mut wanted: impl FnMut(&[u8]) -> serde_json::Result<bool>,
        mut each: impl FnMut(T) -> ControlFlow<()>,
    ) -> Result<()> {
        let start = format!("\"{member}\":[");
        while self.next(MOST_HEAD_BYTES)? != start.as_bytes() {}
        loop {
            let line = self.next(MOST_LINE_BYTES)?;
            if line.starts_with(b"]") {
                return Ok(());
            }
            let line = line.strip_suffix(b",").unwrap_or(line);
            if wanted(line).map_err(unknown)?
                && each(serde_json::from_slice(line).map_err(unknown)?).is_break()
            {
                return Ok(());
            }
        }
    }
}

pub(super) fn unknown(e: serde_json::Error) -> Error {
    refused(format!("it has an unknown form ({e})"))
}

fn temporary(e: io::Error) -> Error {
    Error::io("use the manifest's temporary file in", std::env::temp_dir())(e)
}
