//! What the end of a run's log says.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// A log may be long, and what counts is near its end.
const TAIL_BYTES: u64 = 64 << 10;

/// The last error in a log, in one line: its message and, of its fields, the error.
pub fn last_error(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| line.contains(" ERROR "))?;
    line.split_once(" ERROR ").map(|(_, message)| in_words(message.trim()))
}

/// `the run stopped error="no network\nadvice" parts=2` as `the run stopped: no network`.
fn in_words(message: &str) -> String {
    let Some((what, field)) = message.split_once(" error=") else { return message.to_owned() };
    let Some(quoted) = field.strip_prefix('"') else {
        let end = field.find(char::is_whitespace).unwrap_or(field.len());
        return format!("{what}: {}", &field[..end]);
    };
    let (mut error, mut rest) = (String::new(), quoted.chars());
    while let Some(char) = rest.next() {
        match (char, char == '\\') {
            ('"', _) => break,
            (_, true) => match rest.next() {
                Some('n') => error.push('\n'),
                Some(quoted @ ('"' | '\\')) => error.push(quoted),
                other => error.extend([Some(char), other].into_iter().flatten()),
            },
            _ => error.push(char),
        }
    }
    format!("{what}: {}", one_line(&error))
}

/// What failed, of an error that may have details and advice below: a reason is one line, also for a monitor.
pub(super) fn one_line(error: &str) -> &str {
    let first = error.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_one_line() {
        let line = r#"the run could not begin error="error: cannot open \"a b\"\n  try: again" trace=4b"#;
        assert_eq!(in_words(line), r#"the run could not begin: cannot open "a b""#);
        assert_eq!(in_words("it failed attempt=1 error=gone trace=4b"), "it failed attempt=1: gone");
        assert_eq!(in_words("the disk is full"), "the disk is full");
    }
}
