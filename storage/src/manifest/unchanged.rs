//! Takes entries over from a base, as the lines that they are.
//!
//! An unchanged run takes over a million of them: a line is copied with other numbers of its archives, and not made anew,
//! which takes about two fifths of the time (`cargo bench -p intellistor-storage`, "take over" and "make anew").

use serde::Deserialize;

use super::base::{Base, UNUSABLE_ARCHIVE};
use super::entry::{Entry, EntryKind, Extent};
use super::lines::unknown;
use super::refused::refused;
use super::security::Security;
use super::tally::Counted;
use crate::error::Result;

/// Before the number of an archive. In a text its quotes have backslashes, so it is nowhere else.
const ARCHIVE: &str = "\"archive\":";

/// What is read of an entry's line.
#[derive(Debug, Deserialize)]
pub(super) struct TakenOver {
    kind: EntryKind,
    size: u64,
    #[serde(default)]
    extents: Vec<Extent>,
    chunks: Option<Extent>,
    /// Its line keeps the id.
    pub(super) security: Option<Security>,
}

impl TakenOver {
    pub(super) fn counted(&self) -> Counted<'_> {
        let Self { kind, size, extents, chunks, security: _ } = self;
        Counted { kind: *kind, size: *size, extents, chunks: chunks.as_ref() }
    }
}

/// Appends an entry's line to `out` with the numbers that its archives have in the new manifest.
///
/// # Errors
/// [`Error::Integrity`](crate::Error::Integrity) when it has no known form, or one of its archives may not be used.
pub(super) fn take_over(base: &Base, line: &[u8], out: &mut Vec<u8>) -> Result<TakenOver> {
    let mut taken: TakenOver = serde_json::from_slice(line).map_err(unknown)?;
    let before = out.len();
    let mut rest = std::str::from_utf8(line).map_err(|e| refused(e.to_string()))?;
    let mut as_written = true;
    for extent in taken.extents.iter_mut().chain(&mut taken.chunks) {
        let number = base.numbers().get(extent.archive as usize).copied().flatten();
        let number =
            number.ok_or_else(|| refused("an entry that was taken over is in an archive that is not"))?;
        let old = std::mem::replace(&mut extent.archive, number);
        let digits = rest.find(ARCHIVE).map(|at| rest.split_at(at + ARCHIVE.len()));
        let behind = digits.and_then(|(before, digits)| {
            let behind = digits.trim_start_matches(|c: char| c.is_ascii_digit());
            let digits = &digits[..digits.len() - behind.len()];
            (digits.parse() == Ok(old)).then_some((before, behind))
        });
        let Some((before, behind)) = behind else {
            as_written = false;
            break;
        };
        out.extend_from_slice(before.as_bytes());
        push_number(out, number);
        rest = behind;
    }
    out.extend_from_slice(rest.as_bytes());
    if !as_written || rest.contains(ARCHIVE) {
        // Another program has written it in another way.
        let mut entry: Entry = serde_json::from_slice(line).map_err(unknown)?;
        base.renumber(&mut entry);
        out.truncate(before);
        serde_json::to_writer(&mut *out, &entry).map_err(unknown)?;
        taken.extents = entry.extents;
        taken.chunks = entry.chunks;
    }
    debug_assert!(taken.extents.iter().all(|extent| extent.archive != UNUSABLE_ARCHIVE));
    Ok(taken)
}

/// Appends a line that was taken over, made anew with the descriptor itself, for which the new manifest's table has no room.
///
/// # Errors
/// [`Error::Integrity`](crate::Error::Integrity) when it has no known form.
pub(super) fn with_descriptor(
    base: &Base,
    line: &[u8],
    descriptor: Security,
    out: &mut Vec<u8>,
) -> Result<()> {
    let mut entry: Entry = serde_json::from_slice(line).map_err(unknown)?;
    base.renumber(&mut entry);
    entry.security = Some(descriptor);
    serde_json::to_writer(out, &entry).map_err(unknown)
}

fn push_number(out: &mut Vec<u8>, number: u32) {
    use std::io::Write as _;
    let written = write!(out, "{number}");
    written.expect("memory takes all");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::fixtures::{Making, extent, file};
    use crate::manifest::listed::Listed;

    #[test]
    fn a_line_is_taken_over_however_it_was_written() {
        let (full, first) = (Making::new(0), Making::new(1));
        let base = first.base(Some(full.base(None, &[])), &[] as &[Listed]);
        let old = Entry { chunks: Some(extent(1, 7, 8)), ..file(3, vec![extent(0, 1, 2), extent(1, 3, 4)]) };
        let mut new = old.clone();
        assert!(base.renumber(&mut new));
        let as_written = serde_json::to_string(&old).unwrap();
        let value: serde_json::Value = serde_json::from_str(&as_written).unwrap();
        let members = value.as_object().unwrap().iter();
        let spaced = serde_json::to_string_pretty(&value).unwrap().replace('\n', " ");
        let reversed =
            members.rev().map(|(key, value)| format!("{key:?}:{value}")).collect::<Vec<_>>().join(",");
        for line in [as_written, spaced, format!("{{{reversed}}}")] {
            let mut out = b",\n".to_vec();
            let taken = take_over(&base, line.as_bytes(), &mut out).unwrap();
            assert_eq!(serde_json::from_slice::<Entry>(&out[2..]).unwrap(), new, "{line}");
            assert_eq!((taken.extents, taken.chunks), (new.extents.clone(), new.chunks));
        }
        let lost = serde_json::to_vec(&file(0, vec![extent(2, 0, 1)])).unwrap();
        for refused in [&lost[..], b"{", b"{}", b"", b"\xff"] {
            assert!(take_over(&base, refused, &mut Vec::new()).is_err());
        }
    }
}
