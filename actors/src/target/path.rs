//! Splits the paths of an archive, which are not trusted, and adapts names to the system.

use std::borrow::Cow;

use super::error::TargetError;

/// Whose rules a name must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum System {
    Unix,
    Windows,
}

pub(super) const HERE: System = if cfg!(windows) { System::Windows } else { System::Unix };

/// The components of a path from the root of the backup; none for the root itself.
pub(super) fn components(raw: &[u8]) -> Result<Vec<&[u8]>, TargetError> {
    if raw == b"." {
        return Ok(Vec::new());
    }
    raw.split(|b| *b == b'/').map(|name| check(name).map(|()| name)).collect()
}

/// What no file may be called, on any system.
fn check(name: &[u8]) -> Result<(), TargetError> {
    let refused = |reason: &str| Err(TargetError::Refused(reason.to_owned()));
    match name {
        b"" => refused("its path is absolute or has an empty component"),
        b"." | b".." => refused("its path contains a component . or .."),
        _ if name.contains(&0) => refused("its path contains a NUL"),
        _ => Ok(()),
    }
}

/// The most similar name that the system allows; `name` itself where it allows that.
pub(super) fn fit(name: &[u8], system: System) -> Cow<'_, [u8]> {
    if system == System::Unix {
        return Cow::Borrowed(name);
    }
    let mut fit = Cow::Borrowed(name);
    let is_refused = |b: &u8| *b < 0x20 || br#"\:*?"<>|"#.contains(b);
    for at in name.iter().enumerate().filter(|(_, b)| is_refused(b)).map(|(at, _)| at) {
        fit.to_mut()[at] = b'_';
    }
    // Windows drops dots and blanks at the end, and then it is another name.
    let end = fit.iter().rposition(|b| !b". ".contains(b)).map_or(0, |last| last + 1);
    if end < fit.len() {
        fit.to_mut()[end..].fill(b'_');
    }
    if is_device(&fit) {
        let stem = fit.iter().position(|b| *b == b'.').unwrap_or(fit.len());
        fit.to_mut().insert(stem, b'_');
    }
    fit
}

/// The form in which the system compares names. Windows has a table for the upper case of single units; for a character
/// that only Rust's table has, a name gets a number that it would not have needed.
pub(super) fn folded(name: &str, system: System) -> Cow<'_, str> {
    let upper = |c: char| {
        let mut upper = c.to_uppercase();
        match (upper.next(), upper.next()) {
            (Some(one), None) => one,
            _ => c,
        }
    };
    match system {
        System::Unix => Cow::Borrowed(name),
        System::Windows => Cow::Owned(name.chars().map(upper).collect()),
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fitted(name: &str) -> String {
        String::from_utf8(fit(name.as_bytes(), System::Windows).into_owned()).unwrap()
    }

    #[test]
    fn what_windows_takes_stays_and_what_it_refuses_becomes_something_like_it() {
        for name in ["console", "com", "com10", "comx", "...a", ".hidden", "a b", "Cópia", "nul_"] {
            assert_eq!(fitted(name), name);
        }
        for (name, expected) in [
            (r"a\b", "a_b"),
            ("C:", "C_"),
            ("file:stream", "file_stream"),
            ("a*?\"<>|\n", "a_______"),
            ("a.", "a_"),
            ("a . ", "a___"),
            ("...", "___"),
            ("CON", "CON_"),
            ("nul", "nul_"),
            ("Aux.txt", "Aux_.txt"),
            ("prn .tar.gz", "prn _.tar.gz"),
            ("com1", "com1_"),
            ("COM¹.log", "COM¹_.log"),
            ("LPT0", "LPT0_"),
            ("conin$", "conin$_"),
            ("CON.", "CON_"),
        ] {
            assert_eq!(fitted(name), expected);
            assert_eq!(fit(name.as_bytes(), System::Unix), name.as_bytes());
        }
    }

    #[test]
    fn names_that_differ_in_case_alone_are_one_to_windows() {
        let same = |a, b| folded(a, System::Windows) == folded(b, System::Windows);
        assert!(same("Ação.TXT", "aÇÃO.txt") && !same("a\u{301}", "á") && !same("straße", "STRASSE"));
        assert_ne!(folded("A", System::Unix), folded("a", System::Unix));
    }

    #[test]
    fn paths_fall_apart() {
        assert!(components(b".").unwrap().is_empty());
        assert_eq!(components("a/b c/é".as_bytes()).unwrap(), [&b"a"[..], b"b c", "é".as_bytes()]);
        for path in ["", "/", "/a", "a/", "a//b", "./a", "a/.", "a/..", "../a", "a/../../b", "a\0", "a/\0/b"]
        {
            assert!(matches!(components(path.as_bytes()), Err(TargetError::Refused(_))), "{path:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

        #[test]
        fn nothing_that_fits_leads_anywhere(name in "[a-cC. :\\\\*?\"<>|\nonaulptm1¹$_]{1,9}") {
            prop_assume!(check(name.as_bytes()).is_ok());
            let fit = fitted(&name);
            prop_assert!(check(fit.as_bytes()).is_ok() && !is_device(fit.as_bytes()), "{}", fit);
            prop_assert!(!fit.contains(['\\', ':', '/', '*', '?', '"', '<', '>', '|', '\n']), "{}", fit);
            prop_assert!(!fit.ends_with(['.', ' ']), "{}", fit);
            prop_assert_eq!(fitted(&fit), fit, "what fits stays");
        }
    }
}
