//! Finds `archives[].key` in a manifest that passes once, in pieces cut anywhere.
//!
//! All archives, with their segments and frames, are on one line of the manifest, which may have a hundred MiB: it is not kept.
//! Only the document's brackets and strings are looked at. What is found is used once the document is authentic, so that
//! this has to understand what this program's writer writes, and to refuse what it does not.

use super::head::MOST_ARCHIVES;
use super::refused::refused;
use crate::error::Result;

/// The longest key of an archive, and more.
const MOST_TEXT_BYTES: usize = 512;
const ARCHIVES: &[u8] = b"archives";
const KEY: &[u8] = b"key";
/// Depth of the members of the document, and of the members of one archive.
const OF_DOCUMENT: u32 = 1;
const OF_ARCHIVE: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct ArchiveKeys {
    /// Brackets that are open.
    depth: u32,
    string: Option<StringState>,
    /// The string that ended last, as it is written.
    text: Vec<u8>,
    /// Whether what comes next is the value of a member.
    is_value: bool,
    /// Whether the member that was named last, of the document or of an archive, is the one that is looked for.
    is_wanted: bool,
    archives: Archives,
    keys: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StringState {
    Inside,
    /// After a backslash.
    Escaped,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Archives {
    #[default]
    Before,
    Inside,
    /// Nothing more is looked at: the entries may be gigabytes.
    Passed,
}

impl ArchiveKeys {
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<()> {
        for &byte in bytes {
            if self.archives == Archives::Passed {
                break;
            }
            match self.string {
                Some(state) => self.read_string(state, byte)?,
                None => self.read_between(byte)?,
            }
        }
        Ok(())
    }

    fn read_string(&mut self, state: StringState, byte: u8) -> Result<()> {
        match (state, byte) {
            (StringState::Inside, b'"') => {
                self.string = None;
                return self.end_string();
            }
            (StringState::Inside, b'\\') => self.string = Some(StringState::Escaped),
            _ => self.string = Some(StringState::Inside),
        }
        // One longer than any that is looked for is none of those.
        if self.text.len() < MOST_TEXT_BYTES {
            self.text.push(byte);
        }
        Ok(())
    }

    fn end_string(&mut self) -> Result<()> {
        let is_key =
            self.archives == Archives::Inside && self.depth == OF_ARCHIVE && self.is_value && self.is_wanted;
        if !is_key {
            return Ok(());
        }
        if self.keys.len() == MOST_ARCHIVES {
            return Err(refused(format!("it names more than {MOST_ARCHIVES} archives")));
        }
        let key = std::str::from_utf8(&self.text).ok().filter(|key| !key.contains('\\'));
        self.keys.push(key.ok_or_else(|| refused("the key of an archive has an unknown form"))?.to_owned());
        Ok(())
    }

    fn read_between(&mut self, byte: u8) -> Result<()> {
        match byte {
            b'"' => {
                self.string = Some(StringState::Inside);
                self.text.clear();
            }
            b':' => {
                self.is_value = true;
                self.is_wanted = match (self.archives, self.depth) {
                    (Archives::Before, OF_DOCUMENT) => self.text == ARCHIVES,
                    (Archives::Inside, OF_ARCHIVE) => self.text == KEY,
                    _ => false,
                };
            }
            b',' => self.is_value = false,
            b'{' | b'[' => {
                if byte == b'[' && self.depth == OF_DOCUMENT && self.is_value && self.is_wanted {
                    self.archives = Archives::Inside;
                }
                self.depth += 1;
                self.is_value = false;
                self.is_wanted = false;
            }
            b'}' | b']' => {
                self.depth = self.depth.checked_sub(1).ok_or_else(|| refused("its brackets do not match"))?;
                if self.archives == Archives::Inside && self.depth == OF_DOCUMENT {
                    self.archives = Archives::Passed;
                }
                self.is_value = false;
                self.is_wanted = false;
            }
            _ => {}
        }
        Ok(())
    }

    /// The keys, in their order.
    pub(super) fn finish(self) -> Result<Vec<String>> {
        match self.archives {
            Archives::Passed => Ok(self.keys),
            _ => Err(refused("it has an unknown form (it names no archives)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(document: &str, piece: usize) -> Result<Vec<String>> {
        let mut found = ArchiveKeys::default();
        for piece in document.as_bytes().chunks(piece) {
            found.read(piece)?;
        }
        found.finish()
    }

    #[test]
    fn only_the_archives_own_keys_are_found_however_the_document_is_cut() {
        let document = r#"{"format":"x","key":"no","archives_":["key","no"],"roots":[{"key":"no","path":"\"archives\":[{\"key\":\"no\"}]\\"}],
"totals":{"archives":[{"key":"no"}],"key":"no"},
"archives":[{"backup_id":"key","key":"a","header":"key","segments":[{"key":"no","frames":[[1,2],{"key":"no"}]}],"bytes":7},
 { "sha256" : "", "key" : "b" , "x":{"key":"no"}}],"entries_enc":{"key":"no"},
"entries":[
{"relative_path":"archives","key":"no"}"#;
        for piece in [1, 2, 3, 7, 64, 4096] {
            assert_eq!(keys(document, piece).unwrap(), ["a", "b"], "pieces of {piece}");
        }
    }

    #[test]
    fn what_has_another_form_is_refused() {
        let many = format!("{{\"archives\":[{}]}}", vec![r#"{"key":"a"}"#; MOST_ARCHIVES + 1].join(","));
        for document in
            ["", "{}", "}", r#"{"archives":{"key":"a"}}"#, r#"{"archives":[{"key":"\u0061"}]}"#, &many]
        {
            assert!(keys(document, 5).is_err(), "{document}");
        }
    }
}
