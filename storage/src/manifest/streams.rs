//! Alternate data streams of NTFS: which names they may have, and the paths that name them.
//!
//! A file or folder may have named streams beside its content, as `Zone.Identifier`, by which Windows knows that a file came
//! from the internet. In a backup each is an entry of its own, of kind [`Stream`](super::EntryKind::Stream), directly behind the entry of its
//! owner. Its path is the owner's, `//:`, and the stream's name: no path of a file has an empty component, so that this can be no
//! file's, and in the order of the walk it comes behind its owner and before everything in it, whatever the names there are.
//! People see `file.txt:name`.
//!
//! Pure, and the same on every system. Names from a manifest or an archive are hostile: what [`split`] gives has been checked.
//!
//! | file | holds |
//! | --- | --- |
//! | `simulated` | streams on other systems, in tests |

use std::borrow::Cow;

use super::entry::{Entry, EntryKind};
use super::refused::refused;
use crate::error::Result;

pub mod simulated;

/// The mark of the web: where a file was downloaded from.
pub const ZONE_IDENTIFIER: &str = "Zone.Identifier";

/// Stands between the path of a file and the name of its stream.
const SEPARATOR: &str = "//:";
/// In units of UTF-16, as NTFS counts.
const MOST_UNITS: usize = 255;

/// Why a stream cannot have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadStreamName {
    #[error("a stream needs a name")]
    Empty,
    #[error("the name of a stream may have no : / \\ or NUL")]
    Forbidden,
    #[error("the name of a stream is UTF-16, and these bytes are not those of any")]
    NoText,
    #[error("the name of a stream has at most 255 characters")]
    TooLong,
}

/// Whether a stream can have a name: bytes as of every other name, UTF-8 or WTF-8. With one that passes, `file:name:$DATA` means
/// that stream, and nothing else of the file: neither its content nor a stream of another type.
///
/// # Errors
/// [`BadStreamName`].
pub fn check_name(name: &[u8]) -> std::result::Result<(), BadStreamName> {
    if name.is_empty() {
        return Err(BadStreamName::Empty);
    }
    if name.iter().any(|byte| b":/\\\0".contains(byte)) {
        return Err(BadStreamName::Forbidden);
    }
    // Windows would leave such bytes out of a name: `file::$DATA` is the content of the file.
    if !is_wtf8(name) {
        return Err(BadStreamName::NoText);
    }
    // Each unit of UTF-16 takes at most three bytes, and a character of four bytes is two of them.
    let units: usize = name
        .iter()
        .map(|byte| match byte {
            0x80..0xC0 => 0,
            0xF0.. => 2,
            _ => 1,
        })
        .sum();
    if units > MOST_UNITS { Err(BadStreamName::TooLong) } else { Ok(()) }
}

/// Whether bytes are UTF-8 but for surrogates, of three bytes each.
fn is_wtf8(mut name: &[u8]) -> bool {
    loop {
        let Err(e) = std::str::from_utf8(name) else { return true };
        let [0xED, 0xA0..=0xBF, 0x80..=0xBF, rest @ ..] = &name[e.valid_up_to()..] else { return false };
        name = rest;
    }
}

/// The path of a stream, from that of its owner.
pub fn path_of(owner: &[u8], name: &[u8]) -> Vec<u8> {
    [owner, SEPARATOR.as_bytes(), name].concat()
}

/// The path of the owner, and the name, if a path is that of a stream with a name that may be.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = path.windows(2).position(|pair| pair == b"//")?;
    let name = path[at..].strip_prefix(SEPARATOR.as_bytes())?;
    (at > 0 && check_name(name).is_ok()).then_some((&path[..at], name))
}

/// The path of the file that a path, as in a manifest, selects: a stream's owner; otherwise itself.
pub fn owner(path: &str) -> &str {
    path.split_once(SEPARATOR).map_or(path, |(owner, _)| owner)
}

/// A path as people write it: `file.txt:name`, if it is that of a stream.
pub fn shown(path: &str) -> Cow<'_, str> {
    match path.split_once(SEPARATOR) {
        None => Cow::Borrowed(path),
        Some((owner, name)) => Cow::Owned(format!("{owner}:{name}")),
    }
}

/// Refuses a stream of a manifest that has no path of one.
pub(super) fn check(entry: &Entry) -> Result<()> {
    if entry.kind != EntryKind::Stream
        || split(entry.raw_path()).is_some() && split(entry.relative_path.as_bytes()).is_some()
    {
        return Ok(());
    }
    Err(refused(format!("{:?} is no path of a stream", entry.relative_path)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        for name in
            ["Zone.Identifier", "a b", "$DATA", "..", ".", "\u{1}\u{5}DocumentSummaryInformation", "\u{e7}"]
        {
            assert_eq!(check_name(name.as_bytes()), Ok(()), "{name:?}");
        }
        for name in [
            "::$DATA",
            ":$DATA",
            "a:$DATA",
            ":$INDEX_ALLOCATION",
            "$I30:$INDEX_ALLOCATION",
            "a:b",
            "a/b",
            "a\\b",
            "..\\a",
            "a\0",
        ] {
            assert_eq!(check_name(name.as_bytes()), Err(BadStreamName::Forbidden), "{name:?}");
        }
        assert_eq!(check_name(b""), Err(BadStreamName::Empty));
        for name in
            [&b"\xff"[..], b"\x80", b"x\xff", b"\xc0\xba", b"\xed\xa0", b"\xed\x9f\xed\xa0\x80", b"\xf0\x9f"]
        {
            assert_eq!(check_name(name), Err(BadStreamName::NoText), "{name:?}");
        }
        for surrogate in [&b"\xed\xa0\x80"[..], b"a\xed\xbf\xbfb", b"\xed\xb0\x80\xed\xa0\x80"] {
            assert_eq!(check_name(surrogate), Ok(()), "{surrogate:?}");
        }
    }

    #[test]
    fn length_is_counted_as_ntfs_counts_it() {
        for (character, units) in [('a', 1), ('\u{e9}', 1), ('\u{20ac}', 1), ('\u{1f600}', 2)] {
            let name = |units_at_most: usize| character.to_string().repeat(units_at_most / units);
            assert_eq!(check_name(name(255).as_bytes()), Ok(()));
            assert_eq!(check_name((name(255) + "aa").as_bytes()), Err(BadStreamName::TooLong), "{character}");
        }
    }

    #[test]
    fn a_path_is_put_together_and_taken_apart() {
        assert_eq!(path_of(b"a/b.txt", b"x"), b"a/b.txt//:x");
        assert_eq!(split(b"a/b.txt//:x"), Some((&b"a/b.txt"[..], &b"x"[..])));
        assert_eq!(split(b".//:x"), Some((&b"."[..], &b"x"[..])));
        for none in ["a", "a/:x", "a//x", "//:x", "a//:", "a//:b:c", "a//:b/c", "a//:b//:c", "a//b//:c", ""] {
            assert_eq!(split(none.as_bytes()), None, "{none}");
        }
        assert_eq!((owner("a/b//:x"), owner("a/b:x"), owner("a/:x")), ("a/b", "a/b:x", "a/:x"));
        assert_eq!((shown("a/b//:x"), shown("a/:x")), ("a/b:x".into(), "a/:x".into()));
    }

    #[test]
    fn an_entry_that_is_called_a_stream_needs_the_path_of_one() {
        let entry = |path: &str, kind| Entry { relative_path: path.into(), kind, ..Entry::default() };
        assert!(check(&entry("a//:x", EntryKind::Stream)).is_ok());
        assert!(check(&entry("a", EntryKind::File)).is_ok());
        for path in ["a", "a//:", "a//:x:$DATA", "//:x", "a//:..\\x"] {
            assert!(check(&entry(path, EntryKind::Stream)).is_err(), "{path}");
        }
        let hidden = Entry { path_bytes: Some(b"a//:x\\\xff".to_vec()), ..entry("a//:x", EntryKind::Stream) };
        assert!(check(&hidden).is_err(), "both forms of the path count");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn what_split_gives_is_a_name_that_may_be(path in "[a:/\\\\\0x.]{0,12}") {
            if let Some((owner, name)) = split(path.as_bytes()) {
                prop_assert!(check_name(name).is_ok() && !owner.is_empty());
                prop_assert_eq!(path_of(owner, name), path.as_bytes());
            }
        }
    }
}
