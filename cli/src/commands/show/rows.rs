//! A backup's entries as a table, for people: line by line, however many there are.
//!
//! ```text
//!        SIZE  MODIFIED                 PATH
//!    1.50 KiB  2026-11-26 02:00 -03:00  pasta/Relatório.txt
//! ```

use chrono::DateTime;
use indicatif::BinaryBytes;
use intellistor::{Entry, EntryKind};
use intellistor_telemetry::Escaped;

use crate::output::table::without_middle;
use crate::output::times;

/// Of a size.
const SIZE: usize = 11;
/// Of a time, with its zone.
const TIME: usize = 23;
/// A terminal that is narrower has no room for zones; one that is narrower still, none for times.
const WITH_ZONES: usize = 80;
const WITH_TIMES: usize = 50;

/// The form of the lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows {
    /// Of the terminal; `None` where lines may have any length.
    width: Option<usize>,
}

impl Rows {
    pub(super) fn new(width: Option<usize>) -> Self {
        Self { width }
    }

    fn time_width(self) -> usize {
        match self.width {
            Some(width) if width < WITH_TIMES => 0,
            Some(width) if width < WITH_ZONES => TIME - " -03:00".len(),
            _ => TIME,
        }
    }

    pub(super) fn header(self) -> String {
        self.line("SIZE", "MODIFIED", "PATH")
    }

    pub(super) fn entry(self, entry: &Entry) -> String {
        let size = match entry.kind {
            EntryKind::Directory => "folder".to_owned(),
            EntryKind::Symlink => "link".to_owned(),
            EntryKind::File | EntryKind::Hardlink | EntryKind::Stream => BinaryBytes(entry.size).to_string(),
        };
        let target = match (&entry.link_target, entry.kind) {
            (Some(target), EntryKind::Symlink) => format!(" -> {target}"),
            (Some(target), EntryKind::Hardlink) => format!(" = {target}"),
            _ => String::new(),
        };
        self.line(&size, &time(entry.mtime_ns), &format!("{}{target}", entry.shown_path()))
    }

    /// Something that is no entry: what was skipped, a sum.
    pub(super) fn remark(self, kind: &str, text: &str) -> String {
        self.line(kind, "", text)
    }

    fn line(self, size: &str, time: &str, path: &str) -> String {
        let (path, width) = (Escaped(path).to_string(), self.time_width());
        let time = if width < TIME { times::without_zone(time) } else { time.to_owned() };
        let time = if width == 0 { String::new() } else { format!("{time:width$}  ") };
        let before = format!("{size:>SIZE$}  {time}");
        let room = self.width.map(|width| width.saturating_sub(before.chars().count()));
        let path = room.map_or(path.clone(), |room| without_middle(&path, room));
        format!("{before}{path}\n")
    }
}

fn time(mtime_ns: i128) -> String {
    let seconds = i64::try_from(mtime_ns.div_euclid(1_000_000_000)).ok();
    let time = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    time.map_or_else(|| "-".to_owned(), |time| times::local(&time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_terminal_and_steer_nothing() {
        let entry = Entry {
            relative_path: "documentos/\u{1b}[2Jcontabilidade/2026/novembro/Relatório.txt".into(),
            size: 1536,
            mtime_ns: 1_790_000_000_000_000_000,
            ..Entry::default()
        };
        for width in [40, 60, 80, 100] {
            let rows = Rows::new(Some(width));
            for line in [rows.header(), rows.entry(&entry)] {
                assert!(line.trim_end().chars().count() <= width && !line.contains('\u{1b}'), "{line}");
            }
            assert!(rows.entry(&entry).contains("1.50 KiB"), "{width}");
        }
        assert!(Rows::new(None).entry(&entry).contains("contabilidade/2026/novembro/Relatório.txt"));
        let link = Entry { kind: EntryKind::Symlink, link_target: Some("b".into()), ..entry };
        assert!(Rows::new(None).entry(&link).trim_end().ends_with(" -> b"));
        assert_eq!(time(i128::MAX), "-");
    }
}
