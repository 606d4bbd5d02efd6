//! Paths as an archive states them, taken apart without trust.

use std::ffi::OsString;

use super::TargetError;

/// Whose rules a name must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Unix,
    Windows,
}

const HERE: System = if cfg!(windows) { System::Windows } else { System::Unix };

/// The components of a path from the root of the backup; none for the root itself.
pub(super) fn components(raw: &[u8]) -> Result<Vec<OsString>, TargetError> {
    if raw == b"." {
        return Ok(Vec::new());
    }
    raw.split(|b| *b == b'/').map(|name| check(name, HERE).and_then(|()| text(name))).collect()
}

/// The text of a symbolic link.
pub(super) fn link_text(raw: &[u8]) -> Result<OsString, TargetError> {
    text(raw)
}

fn check(name: &[u8], system: System) -> Result<(), TargetError> {
    let refused = |reason: &str| Err(TargetError::Refused(reason.to_owned()));
    match name {
        b"" => return refused("its path is absolute or has an empty component"),
        b"." | b".." => return refused("its path has a component . or .."),
        _ if name.contains(&0) => return refused("its path has a NUL"),
        _ => {}
    }
    if system == System::Unix {
        return Ok(());
    }
    if name.iter().any(|b| *b < 0x20 || br#"\:*?"<>|"#.contains(b)) {
        return refused(r#"its path has one of \ : * ? " < > | or a control character"#);
    }
    if name.ends_with(b".") || name.ends_with(b" ") {
        return refused("its path has a component that ends with a dot or a space");
    }
    if is_device(name) {
        return refused("its path has the name of a device");
    }
    Ok(())
}

/// Windows opens a device for these names, in any folder and with any extension.
fn is_device(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_uppercase();
    let stem = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    if ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&stem) {
        return true;
    }
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    port.is_some_and(|n| {
        let mut digits = n.chars();
        digits.next().is_some_and(|d| d.is_ascii_digit() || "¹²³".contains(d)) && digits.next().is_none()
    })
}

#[cfg(unix)]
fn text(raw: &[u8]) -> Result<OsString, TargetError> {
    Ok(std::os::unix::ffi::OsStringExt::from_vec(raw.to_vec()))
}

#[cfg(not(unix))]
fn text(raw: &[u8]) -> Result<OsString, TargetError> {
    let text = String::from_utf8(raw.to_vec());
    text.map(OsString::from).map_err(|_| TargetError::Refused("its path is not Unicode".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_refused() {
        let everywhere: [&[u8]; 4] = [b"", b".", b"..", b"a\0b"];
        for name in everywhere {
            assert!(check(name, System::Unix).is_err() && check(name, System::Windows).is_err(), "{name:?}");
        }
        let on_windows = [
            r"a\b",
            "C:",
            "c:x",
            "file:stream",
            "a*",
            "a?",
            "a\"",
            "a<",
            "a>",
            "a|",
            "a\n",
            "a.",
            "a ",
            "CON",
            "nul",
            "Aux.txt",
            "prn .tar.gz",
            "com1",
            "COM¹.log",
            "lpt9",
            "LPT0",
            "conin$",
            "CONOUT$",
        ];
        for name in on_windows {
            assert!(check(name.as_bytes(), System::Windows).is_err(), "{name:?}");
            assert!(check(name.as_bytes(), System::Unix).is_ok(), "{name:?}");
        }
        for name in ["console", "com", "com10", "comx", "...a", ".hidden", "a b", "Cópia", "nul_"] {
            assert!(check(name.as_bytes(), System::Windows).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn paths_fall_apart() {
        assert_eq!(components(b".").unwrap(), Vec::<OsString>::new());
        assert_eq!(components("a/b c/é".as_bytes()).unwrap(), ["a", "b c", "é"]);
        for path in ["", "/", "/a", "a/", "a//b", "./a", "a/.", "a/..", "../a", "a/../../b", "a\0", "a/\0/b"]
        {
            assert!(matches!(components(path.as_bytes()), Err(TargetError::Refused(_))), "{path:?}");
        }
    }
}
