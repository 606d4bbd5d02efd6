//! Reads a log while it is written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::escape::Escaped;

/// The most that is read at once. A line longer than this is not one of ours, and comes in pieces.
const CHUNK: usize = 64 * 1024;

/// A log is recognized by its first bytes, this many. A line begins with its time in milliseconds.
const HEAD: usize = 64;

/// Follows a log from its beginning and across its replacement: `last.log` becomes another file with each run. A resumed job
/// appends to the same log, which is not read again.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: Option<File>,
    head: Vec<u8>,
    at: u64,
}

impl Follow {
    /// The file need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None, head: Vec::new(), at: 0 }
    }

    /// The whole lines that came since the last call, without their newlines; none when there is nothing new, or no file.
    /// Call again until none come, then wait.
    ///
    /// Each is [`Escaped`]: that changes no line of ours, and a planted file cannot steer the terminal.
    ///
    /// # Errors
    /// The file exists and cannot be read. The next call tries again.
    pub fn read(&mut self) -> io::Result<Vec<String>> {
        let fresh = match File::open(&self.path) {
            Ok(file) => file,
            // Being replaced, or not there yet. What was open may hold more.
            Err(e) if e.kind() == io::ErrorKind::NotFound => return self.more(),
            Err(e) => return Err(e),
        };
        if self.holds_what_was_read(&fresh)? {
            self.file = Some(fresh);
            return self.more();
        }
        // Another log. The one before does not grow any more: its rest comes first.
        let rest = self.more()?;
        if !rest.is_empty() {
            return Ok(rest);
        }
        *self = Self { file: Some(fresh), ..Self::new(&self.path) };
        self.more()
    }

    fn holds_what_was_read(&self, mut file: &File) -> io::Result<bool> {
        let mut head = Vec::new();
        file.take(self.head.len() as u64).read_to_end(&mut head)?;
        Ok(head == self.head && file.seek(SeekFrom::End(0))? >= self.at)
    }

    fn more(&mut self) -> io::Result<Vec<String>> {
        let Some(file) = &mut self.file else {
            return Ok(Vec::new());
        };
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.take(CHUNK as u64).read_to_end(&mut bytes)?;
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if bytes.len() == CHUNK => CHUNK,
            None => 0,
        };
        bytes.truncate(whole);
        self.at += whole as u64;
        let wanted = HEAD - self.head.len();
        self.head.extend(bytes.iter().take(wanted));
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.split_terminator('\n').map(|line| Escaped(line).to_string()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::*;

    fn append(path: &Path, text: &[u8]) {
        OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text).unwrap();
    }

    fn replace(path: &Path, text: &str) {
        let beside = path.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, path).unwrap();
    }

    fn lines(follow: &mut Follow) -> String {
        follow.read().unwrap().join("|")
    }

    #[test]
    fn whole_lines_come_once() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("last.log");
        let mut follow = Follow::new(&path);
        assert_eq!(lines(&mut follow), "");
        append(&path, b"one\ntwo\nthr");
        assert_eq!(lines(&mut follow), "one|two");
        assert_eq!(lines(&mut follow), "");
        append(&path, b"ee\n");
        assert_eq!(lines(&mut follow), "three");
    }

    #[test]
    #[cfg_attr(windows, ignore = "Wine 8 does not replace a file that is open; Windows does, from 10 on")]
    fn another_run_begins_at_its_beginning_after_the_rest_of_the_one_before() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("last.log");
        let mut follow = Follow::new(&path);
        append(&path, b"T1 one\n");
        assert_eq!(lines(&mut follow), "T1 one");
        append(&path, b"T2 two\n");
        replace(&path, "T3 a much longer first line of another run\n");
        assert_eq!(lines(&mut follow), "T2 two");
        assert_eq!(lines(&mut follow), "T3 a much longer first line of another run");
        assert_eq!(lines(&mut follow), "");
        append(&path, b"T4 four\n");
        assert_eq!(lines(&mut follow), "T4 four");
        replace(&path, "");
        assert_eq!(lines(&mut follow), "");
        append(&path, b"T5 five\n");
        assert_eq!(lines(&mut follow), "T5 five");
    }

    #[test]
    #[cfg_attr(windows, ignore = "Wine 8 does not replace a file that is open; Windows does, from 10 on")]
    fn a_resumed_run_is_followed() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("last.log");
        let mut follow = Follow::new(&path);
        append(&path, b"T1 one\nT2 to");
        assert_eq!(lines(&mut follow), "T1 one");
        replace(&path, "T1 one\nT2 to\nT3 resumed\n");
        assert_eq!(lines(&mut follow), "T2 to|T3 resumed");
    }

    #[test]
    fn a_file_that_was_cut_is_read_anew() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("last.log");
        let mut follow = Follow::new(&path);
        append(&path, b"one\ntwo\n");
        assert_eq!(lines(&mut follow), "one|two");
        fs::write(&path, "one\n").unwrap();
        assert_eq!(lines(&mut follow), "one");
    }

    #[test]
    fn a_planted_file_steers_no_terminal() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("last.log");
        append(&path, b"a\x1b[2Jb\rc\xff\n\xe2\x80\xae\n");
        let mut follow = Follow::new(&path);
        assert_eq!(lines(&mut follow), "a\\u{1b}[2Jb\\rc\u{fffd}|\\u{202e}");
        append(&path, &vec![b'x'; CHUNK + 10]);
        append(&path, b"\n");
        assert_eq!(lines(&mut follow).len(), CHUNK);
        assert_eq!(lines(&mut follow).len(), 10);
        assert_eq!(lines(&mut follow), "");
    }
}
