//! The bytes of reparse points: those of junctions, and of links of the Windows Subsystem for Linux.
//!
//! Pure; the layout is `REPARSE_DATA_BUFFER`'s, [MS-FSCC] 2.1.2. Symbolic links are read and made by the system's own calls.

#![cfg_attr(not(windows), allow(dead_code, reason = "no other system has reparse points"))]

use intellistor_storage::manifest::WindowsAttributes;

/// The most bytes that a reparse point has.
pub(crate) const MOST_BYTES: usize = 16 << 10;
/// Tag, length, and two reserved bytes.
const HEADER_BYTES: usize = 8;
/// Offsets and lengths of a junction's two names.
const NAMES_BYTES: usize = 8;
/// What the text of a WSL link follows.
const WSL_VERSION: u32 = 2;

/// Where a link that is no symbolic link leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A folder of this machine, as `\\?\C:\data`, or a volume, as `\\?\Volume{...}\`.
    Junction(Vec<u16>),
    /// A path as Linux writes it.
    Wsl(Vec<u8>),
}

/// Where a reparse point leads; `None` for one of another kind, or one that is malformed.
pub(crate) fn decode(buffer: &[u8]) -> Option<Target> {
    let tag = u32::from_le_bytes(buffer.get(..4)?.try_into().ok()?);
    let length = number(buffer, 4)?;
    let data = buffer.get(HEADER_BYTES..HEADER_BYTES + length)?;
    match tag {
        WindowsAttributes::JUNCTION => {
            let (offset, length) = (number(data, 0)?, number(data, 2)?);
            let name = data.get(NAMES_BYTES + offset..)?.get(..length)?;
            let mut name: Vec<_> =
                name.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
            // The kernel's prefix, as programs write it.
            if name.starts_with(&wide(r"\??\")) {
                name[1] = u16::from(b'\\');
            }
            Some(Target::Junction(name))
        }
        WindowsAttributes::WSL_LINK => {
            let version = u32::from_le_bytes(data.get(..4)?.try_into().ok()?);
            (version == WSL_VERSION).then(|| Target::Wsl(data[4..].to_vec()))
        }
        _ => None,
    }
}

/// The reparse point of a link; `None` where it cannot be one: a junction to a share, or to no absolute path, or too long a text.
pub(crate) fn encode(target: &Target) -> Option<Vec<u8>> {
    let (tag, data) = match target {
        Target::Junction(text) => {
            let verbatim = wide(r"\\?\");
            let path = text.strip_prefix(verbatim.as_slice()).unwrap_or(text);
            if !is_local(path) || path.contains(&0) {
                return None;
            }
            let substitute = [&wide(r"\??\"), path].concat();
            // Only shown to people; a volume has none.
            let print = if is_drive(path) { path } else { &[] };
            let length = |name: &[u16]| u16::try_from(name.len() * 2).ok();
            let (substitute_bytes, print_bytes) = (length(&substitute)?, length(print)?);
            let numbers = [0, substitute_bytes, substitute_bytes.checked_add(2)?, print_bytes];
            let names = [&substitute[..], &[0], print, &[0]].concat();
            (
                WindowsAttributes::JUNCTION,
                [numbers.to_vec(), names].concat().iter().flat_map(|n| n.to_le_bytes()).collect(),
            )
        }
        Target::Wsl(text) => {
            if text.is_empty() || text.contains(&0) {
                return None;
            }
            (WindowsAttributes::WSL_LINK, [&WSL_VERSION.to_le_bytes()[..], text].concat())
        }
    };
    let data: Vec<u8> = data;
    let length = u16::try_from(data.len()).ok().filter(|_| HEADER_BYTES + data.len() <= MOST_BYTES)?;
    Some([&tag.to_le_bytes()[..], &length.to_le_bytes(), &[0; 2], &data].concat())
}

/// Whether a path, without its prefix, is one of a drive or a volume.
fn is_local(path: &[u16]) -> bool {
    is_drive(path) || path.starts_with(&wide("Volume{"))
}

fn is_drive(path: &[u16]) -> bool {
    let is_letter = |n: &u16| u8::try_from(*n).is_ok_and(|b| b.is_ascii_alphabetic());
    path.first().is_some_and(is_letter) && path.get(1..3).is_some_and(|rest| *rest == *wide(r":\"))
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn junction(text: &str) -> Target {
        Target::Junction(wide(text))
    }

    #[test]
    fn a_junction_is_read_as_it_is_written() {
        for (text, expected) in [
            (r"C:\data", r"\\?\C:\data"),
            ("\\\\?\\C:\\caf\u{e9}", "\\\\?\\C:\\caf\u{e9}"),
            (
                r"\\?\Volume{00000000-0000-0000-0000-000000000043}\",
                r"\\?\Volume{00000000-0000-0000-0000-000000000043}\",
            ),
        ] {
            let bytes = encode(&junction(text)).unwrap();
            assert_eq!(decode(&bytes), Some(junction(expected)));
        }
        let wsl = Target::Wsl("../caf\u{e9}".into());
        assert_eq!(decode(&encode(&wsl).unwrap()), Some(wsl));
    }

    #[test]
    fn the_bytes_of_a_junction_are_the_systems() {
        let bytes = encode(&junction(r"C:\a")).unwrap();
        let names = r"\??\C:\a";
        let mut expected = vec![3, 0, 0, 0xa0, 8 + 16 + 2 + 8 + 2, 0, 0, 0, 0, 0, 16, 0, 18, 0, 8, 0];
        for text in [names, r"C:\a"] {
            expected.extend(text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        }
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_is_no_folder_of_this_machine_is_no_junction() {
        for text in
            ["", "C:", "C:a", r"a\b", r"\\server\share", r"\\?\UNC\server\share", r"\a", "C:\\a\0b", "1:\\"]
        {
            assert_eq!(encode(&junction(text)), None, "{text:?}");
        }
        assert_eq!(encode(&junction(&format!("C:\\{}", "a".repeat(8 << 10)))), None);
        assert_eq!(encode(&Target::Wsl(Vec::new())), None);
    }

    #[test]
    fn malformed_bytes_lead_nowhere() {
        let whole = encode(&junction(r"C:\data")).unwrap();
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut]), None, "{cut}");
        }
        for (at, byte) in [(0, 0x0c), (8, 0xff), (10, 0xff), (11, 0xff)] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            assert_eq!(decode(&bytes), None, "{at}");
        }
    }
}
