//! Looks for secrets in what a program wrote, in the forms in which it could have written them.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::folders::files_below;

/// A shorter secret would be found by chance.
const LEAST_BYTES: usize = 8;

/// What to look for: each form of each secret.
#[derive(Debug, Clone, Default)]
pub struct SecretSearch(Vec<Vec<u8>>);

impl SecretSearch {
    /// # Panics
    /// When a secret is so short that it would be found by chance.
    pub fn new(secrets: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut forms: Vec<_> = secrets.into_iter().flat_map(|secret| forms(secret.as_ref())).collect();
        forms.sort();
        forms.dedup();
        Self(forms)
    }

    /// The first form that is in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Option<&[u8]> {
        let is_there = |form: &&Vec<u8>| {
            let (first, rest) = form.split_first().unwrap();
            // A plain comparison of windows is slow where nothing is optimized.
            let mut at = 0;
            while let Some(found) = bytes[at..].iter().position(|byte| byte == first) {
                at += found + 1;
                if bytes[at..].starts_with(rest) {
                    return true;
                }
            }
            false
        };
        self.0.iter().find(is_there).map(Vec::as_slice)
    }

    /// Asserts that no secret is in `bytes`.
    #[track_caller]
    pub fn assert_absent(&self, bytes: &[u8], what: &str) {
        assert!(!self.0.is_empty(), "nothing to look for");
        assert!(!bytes.is_empty(), "{what} is empty, and could not have a secret");
        if let Some(form) = self.find(bytes) {
            panic!("{what} has a secret: {}", String::from_utf8_lossy(form));
        }
    }

    /// Asserts that no secret is in a file below `folder`, nor in a name, and returns the files that were read. Archives
    /// are left out: what is encrypted has no form to look for.
    ///
    /// # Panics
    /// Also when there is no file.
    #[track_caller]
    pub fn assert_absent_below(&self, folder: &Path) -> Vec<PathBuf> {
        let mut files = files_below(folder);
        files.retain(|path| !path.ends_with("backup.tar.gz.enc"));
        assert!(!files.is_empty(), "{} has no files, and could not have a secret", folder.display());
        for path in &files {
            let what = path.display().to_string();
            self.assert_absent(what.as_bytes(), "a file's name");
            let bytes = fs::read(path).unwrap();
            if !bytes.is_empty() {
                self.assert_absent(&bytes, &what);
            }
        }
        files
    }
}

fn forms(secret: &str) -> Vec<Vec<u8>> {
    assert!(secret.len() >= LEAST_BYTES, "{secret:?} is too short to look for");
    let mut forms = vec![secret.as_bytes().to_vec(), serde_json::to_string(secret).unwrap().into_bytes()];
    forms.push(secret.encode_utf16().flat_map(u16::to_le_bytes).collect());
    let percent = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    forms.push(secret.bytes().map(percent).collect::<String>().into_bytes());
    forms.extend(of_bytes(secret.as_bytes()));
    // A key is written as the base64 of its bytes.
    if let Ok(raw) = STANDARD.decode(secret) {
        forms.extend(of_bytes(&raw));
        forms.push(raw);
    }
    forms
}

/// Texts for bytes: hexadecimal, base64 and a list.
fn of_bytes(bytes: &[u8]) -> Vec<Vec<u8>> {
    let texts = [
        hex::encode(bytes),
        hex::encode_upper(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        format!("{bytes:?}"),
    ];
    texts.map(String::into_bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const PASSPHRASE: &str = "maçã \"verde\" três";

    #[test]
    fn a_planted_secret_is_found_in_every_form() {
        let search = SecretSearch::new([KEY, PASSPHRASE]);
        let raw: Vec<u8> = (0..32).collect();
        for planted in [
            KEY.as_bytes().to_vec(),
            raw.clone(),
            hex::encode(&raw).into_bytes(),
            hex::encode_upper(&raw).into_bytes(),
            format!("{raw:?}").into_bytes(),
            PASSPHRASE.as_bytes().to_vec(),
            STANDARD.encode(PASSPHRASE).into_bytes(),
            serde_json::to_vec(PASSPHRASE).unwrap(),
            b"ma%C3%A7%C3%A3%20%22verde%22%20tr%C3%AAs".to_vec(),
            PASSPHRASE.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ] {
            let text = [b"before ", planted.as_slice(), b" after"].concat();
            assert!(search.find(&text).is_some(), "{}", String::from_utf8_lossy(&planted));
        }
        for whole in [KEY, PASSPHRASE] {
            assert_eq!(search.find(&whole.as_bytes()[1..]), None, "a part of a secret is not the secret");
        }
    }

    #[test]
    #[should_panic(expected = "has a secret")]
    fn a_secret_in_a_file_fails_the_search() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("logs")).unwrap();
        fs::write(dir.path().join("logs/last.log"), format!("key={KEY}\n")).unwrap();
        SecretSearch::new([KEY]).assert_absent_below(dir.path());
    }

    #[test]
    #[should_panic(expected = "a file's name has a secret")]
    fn a_secret_in_a_name_fails_the_search() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(hex::encode((0..32).collect::<Vec<u8>>())), "").unwrap();
        SecretSearch::new([KEY]).assert_absent_below(dir.path());
    }

    #[test]
    #[should_panic(expected = "could not have a secret")]
    fn a_search_through_nothing_fails() {
        SecretSearch::new([KEY]).assert_absent_below(tempfile::tempdir().unwrap().path());
    }
}
