//! Text files that people write with the tools of their system: UTF-8 with or without a byte order mark, and the UTF-16 with
//! one that PowerShell's `>` and Notepad write.

use std::fs::File;
use std::io::{self, Read};

use zeroize::Zeroizing;

/// The text of a file of at most `most_bytes`.
///
/// # Errors
/// The system's own; `InvalidData` with what to do where it is larger, or no such text.
pub(crate) fn read(file: &File, most_bytes: usize) -> io::Result<Zeroizing<String>> {
    let refused = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    // With its full capacity from the start, no copy of a secret is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(most_bytes + 2));
    file.take(most_bytes as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most_bytes {
        return Err(refused(format!("it is larger than {} KiB", most_bytes >> 10)));
    }
    decode(&bytes).map_err(|reason| refused(reason.to_owned()))
}

/// Bytes as text, without a byte order mark.
fn decode(bytes: &[u8]) -> Result<Zeroizing<String>, &'static str> {
    let text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => {
            if rest.contains(&0) {
                return Err(
                    "it contains NUL bytes: it is not text, or it is UTF-16 without a byte order mark. Save it as UTF-8",
                );
            }
            let text = std::str::from_utf8(rest).map_err(|_| "it is not UTF-8. Save it as UTF-8")?;
            Zeroizing::new(text.to_owned())
        }
    };
    Ok(text)
}

fn utf16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> Result<Zeroizing<String>, &'static str> {
    let (pairs, rest) = bytes.as_chunks();
    let units: Zeroizing<Vec<u16>> = Zeroizing::new(pairs.iter().map(|pair| unit(*pair)).collect());
    let text = String::from_utf16(&units).ok().filter(|text| rest.is_empty() && !text.contains('\0'));
    text.map(Zeroizing::new).ok_or("it begins like UTF-16 but is not valid UTF-16. Save it as UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_and_shells_write_is_read() {
        let text = "A='maçã 🍏'\r\n";
        let utf16 = |mark: u16, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
            std::iter::once(mark).chain(text.encode_utf16()).flat_map(bytes).collect()
        };
        let little = utf16(0xfeff, u16::to_le_bytes);
        assert_eq!(little[..4], *b"\xff\xfeA\0", "as PowerShell's `>` writes");
        for bytes in [
            text.as_bytes().to_vec(),
            ["\u{feff}", text].concat().into_bytes(),
            little,
            utf16(0xfeff, u16::to_be_bytes),
        ] {
            assert_eq!(decode(&bytes).unwrap().as_str(), text);
        }
        assert_eq!(decode(b"").unwrap().as_str(), "");
    }

    #[test]
    fn what_is_no_text_is_refused_with_what_to_do() {
        for bytes in
            [&b"A\0=\0"[..], b"\xff\xfeA", b"\xff\xfe\x00\xd8", b"\xff\xfeA\0\0\0", b"ma\xe7\xe3", b"a\0"]
        {
            assert!(decode(bytes).unwrap_err().contains("Save it as UTF-8"), "{bytes:?}");
        }
    }
}
