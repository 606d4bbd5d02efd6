//! One file of whole lines, which counts what it could not take.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::fields::Text;

/// A file that lines are appended to.
pub(super) struct LineFile<W = File> {
    path: PathBuf,
    /// `None` while it cannot be created.
    out: Option<W>,
    /// The file ends inside a line.
    torn: bool,
    /// Lines that it lacks.
    lost: u64,
    /// Those of them that the file does not mention yet.
    unreported: u64,
    first_error: Option<String>,
}

impl LineFile {
    /// A file that may have lines already. A torn last line is ended.
    pub(super) fn resumed(path: &Path, mut file: File) -> io::Result<Self> {
        let mut torn = false;
        if file.seek(SeekFrom::End(0))? > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            torn = last != *b"\n";
        }
        // On a full disk the next line begins with that newline.
        torn = torn && file.write_all(b"\n").is_err();
        Ok(Self::new(path, Some(file), torn))
    }

    /// A file that could not be created yet.
    pub(super) fn missing(path: &Path) -> Self {
        Self::new(path, None, false)
    }

    /// A copy of this file, which lacks what this one lacks.
    pub(super) fn copied_to(&self, path: &Path, copy: File) -> Self {
        let first_error = self.first_error.clone();
        Self {
            lost: self.lost,
            unreported: self.unreported,
            first_error,
            ..Self::new(path, Some(copy), self.torn)
        }
    }

    /// As `File::sync_all`.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.out.as_ref().map_or(Ok(()), File::sync_all)
    }
}

impl<W: Write> LineFile<W> {
    fn new(path: &Path, out: Option<W>, torn: bool) -> Self {
        Self { path: path.to_owned(), out, torn, lost: 0, unreported: 0, first_error: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_open(&self) -> bool {
        self.out.is_some()
    }

    /// Appends a line, which ends with a newline, with one write. Where lines before it were lost, the same write says so
    /// first.
    pub(super) fn put(&mut self, now: &str, line: &str) {
        let Some(out) = &mut self.out else {
            self.lost += 1;
            return;
        };
        let mut before = String::from(if self.torn { "\n" } else { "" });
        if let (lines @ 1.., Some(error)) = (self.unreported, &self.first_error) {
            before += &format!("{now} WARN  lines are missing here lines={lines} error={}\n", Text(error));
        }
        let bytes = [before.as_bytes(), line.as_bytes()].concat();
        let (written, refused) = append(out, &bytes);
        if let Some(last) = bytes[..written].last() {
            self.torn = *last != b'\n';
        }
        if written >= before.len() {
            self.unreported = 0;
        }
        if let Some(error) = refused {
            self.lost += 1;
            self.unreported += 1;
            self.first_error.get_or_insert_with(|| error.to_string());
        }
    }

    /// Why the file could not be created; the first error stays.
    pub(super) fn set_error(&mut self, error: &io::Error) {
        self.first_error.get_or_insert_with(|| error.to_string());
    }

    pub(super) fn failure(&self) -> Option<String> {
        let error = self.first_error.as_ref()?;
        let path = self.path.display();
        Some(match (&self.out, self.lost) {
            (None, _) => format!("{path} does not contain this run's log: {error}"),
            (_, 1) => format!("1 line is missing in {path}: {error}"),
            (_, lost) => format!("{lost} lines are missing in {path}: {error}"),
        })
    }
}

/// One write, and more only where the system took a part. Gives the bytes written, and the error that stopped it.
fn append(out: &mut impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (written, Some(e)),
        }
    }
    (written, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with room for so many bytes.
    struct Disk {
        room: usize,
        holds: Vec<u8>,
        writes: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.writes += 1;
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.holds.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn file(room: usize) -> LineFile<Disk> {
        LineFile::new(Path::new("/logs/run.log"), Some(Disk { room, holds: Vec::new(), writes: 0 }), false)
    }

    fn disk(file: &mut LineFile<Disk>) -> &mut Disk {
        file.out.as_mut().unwrap()
    }

    fn text(file: &mut LineFile<Disk>) -> String {
        String::from_utf8(disk(file).holds.clone()).unwrap()
    }

    #[test]
    fn a_line_is_one_write() {
        let mut file = file(1000);
        file.put("T", "one\n");
        file.put("T", "two\n");
        assert_eq!(text(&mut file), "one\ntwo\n");
        assert_eq!(disk(&mut file).writes, 2);
        assert_eq!(file.failure(), None);
    }

    #[test]
    fn a_full_disk_is_counted_reported_in_the_file_and_tried_again() {
        let mut file = file(6);
        for line in ["one\n", "two\n", "three\n"] {
            file.put("T", line);
        }
        assert_eq!(text(&mut file), "one\ntw");
        assert_eq!(file.failure().unwrap(), "2 lines are missing in /logs/run.log: no storage space");

        disk(&mut file).room = 1000;
        file.put("T", "four\n");
        file.put("T", "five\n");
        let gap = "T WARN  lines are missing here lines=2 error=\"no storage space\"\n";
        assert_eq!(text(&mut file), format!("one\ntw\n{gap}four\nfive\n"));
        assert_eq!(file.failure().unwrap(), "2 lines are missing in /logs/run.log: no storage space");
    }

    #[test]
    fn wherever_the_room_ends_every_line_is_whole_or_accounted_for() {
        for room in 0..150 {
            let mut file = file(room);
            for line in ["a-long-first-line\n", "b-second\n", "c-third\n"] {
                file.put("T", line);
                disk(&mut file).room += 3;
            }
            disk(&mut file).room = 1000;
            file.put("T", "d-fourth\n");
            let text = text(&mut file);
            let whole = ["a-long-first-line", "b-second", "c-third", "d-fourth"];
            let present = whole.iter().filter(|line| text.lines().any(|l| l == **line)).count() as u64;
            let missing: u64 = text
                .lines()
                .filter_map(|line| line.split("lines=").nth(1)?.split(' ').next()?.parse::<u64>().ok())
                .sum();
            // A line of which only the newline was lost counts as missing, although it is there.
            assert!(present >= 4 - file.lost && text.ends_with("d-fourth\n"), "{room}: {text}");
            assert_eq!(missing, file.lost, "{room}: {text}");
            assert!(!text.contains("\n\n"), "{room}: {text}");
        }
    }
}
