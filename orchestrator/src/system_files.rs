//! Which files of the system a walk leaves out: the rules that Windows has for every volume, and those in its registry.
//!
//! **In:** the policy's `system_files`. **Out:** [`SystemFiles`]; empty on other systems; and what Windows itself leaves out of
//! snapshots. **Guarantees:** a rule that cannot be used leaves nothing out, and is in the log. The keys are read afresh for each walk:
//! programs that are installed add to them.

use intellistor_actors::source::SystemFiles;

use crate::policy::{Policy, SystemFilesRule};

/// The rules for a policy on this system.
pub(crate) fn system_files(policy: &Policy) -> SystemFiles {
    match policy.system_files {
        SystemFilesRule::Keep => SystemFiles::default(),
        SystemFilesRule::Skip => of_this_system(),
    }
}

#[cfg(not(windows))]
fn of_this_system() -> SystemFiles {
    SystemFiles::default()
}

#[cfg(windows)]
fn of_this_system() -> SystemFiles {
    let mut files = SystemFiles::default();
    let of_registry = registry::strings_in(registry::NOT_TO_BACKUP).unwrap_or_else(|error| {
        tracing::info!("the registry's FilesNotToBackup could not be read: {error}");
        Vec::new()
    });
    let built_in = intellistor_actors::source::OF_EVERY_VOLUME.into_iter().map(str::to_owned);
    for rule in built_in.chain(of_registry) {
        if let Err(error) = files.add(&rule, &|name| std::env::var(name).ok()) {
            tracing::info!("{error}");
        }
    }
    files
}

/// What the result says of the files that Windows deletes from each snapshot as it makes it, such as Outlook's `.ost`: no walk can
/// see that they are missing.
pub(crate) fn note_of_snapshots() -> Option<String> {
    match not_in_snapshots() {
        Ok(rules) => note_of(&rules),
        Err(error) => Some(format!(
            "Windows may have deleted files from the snapshot: the registry's FilesNotToSnapshot could not be read: {error}"
        )),
    }
}

#[cfg(windows)]
fn not_in_snapshots() -> Result<Vec<String>, windows::core::Error> {
    registry::strings_in(registry::NOT_TO_SNAPSHOT)
}

#[cfg(not(windows))]
fn not_in_snapshots() -> Result<Vec<String>, String> {
    Ok(Vec::new())
}

fn note_of(rules: &[String]) -> Option<String> {
    (!rules.is_empty()).then(|| {
        format!(
            "Windows deletes files from its snapshots, so that this backup does not have them (FilesNotToSnapshot in the registry): {}",
            rules.join(", ")
        )
    })
}

/// The strings of a `REG_MULTI_SZ`: each ends in a NUL, and an empty one ends them all. The last NULs may be missing.
#[cfg(any(windows, test))]
fn strings(units: &[u16]) -> Vec<String> {
    units.split(|&unit| unit == 0).take_while(|text| !text.is_empty()).map(String::from_utf16_lossy).collect()
}

#[cfg(windows)]
mod registry {
    use windows::Win32::Foundation::{
        ERROR_FILE_NOT_FOUND, ERROR_MORE_DATA, ERROR_NO_MORE_ITEMS, WIN32_ERROR,
    };
    use windows::Win32::System::Registry::{
        HKEY, HKEY_LOCAL_MACHINE, KEY_QUERY_VALUE, KEY_WOW64_64KEY, REG_MULTI_SZ, RegCloseKey, RegEnumValueW,
        RegOpenKeyExW,
    };
    use windows::core::{PCWSTR, PWSTR, Result, w};

    use crate::system_files::strings;

    /// What programs do not want backed up.
    pub(super) const NOT_TO_BACKUP: PCWSTR =
        w!(r"SYSTEM\CurrentControlSet\Control\BackupRestore\FilesNotToBackup");
    /// What Windows deletes from snapshots: "Excluding Files from Shadow Copies" in its documentation.
    pub(super) const NOT_TO_SNAPSHOT: PCWSTR =
        w!(r"SYSTEM\CurrentControlSet\Control\BackupRestore\FilesNotToSnapshot");

    /// A value's name has at most 16,383 characters.
    const NAME_UNITS: usize = 16_384;
    /// Beyond this a value is no list of a few paths.
    const MOST_VALUE_UNITS: usize = 1 << 20;

    /// A key that is open.
    struct Key(HKEY);

    impl Drop for Key {
        #[expect(unsafe_code)]
        fn drop(&mut self) {
            // SAFETY: the key was opened by us, is closed once, and is used by nothing after `self`. Nothing can be done
            // about a failure.
            let _ = unsafe { RegCloseKey(self.0) };
        }
    }

    /// All strings of the values of one of the two keys; none where there is no such key.
    pub(super) fn strings_in(path: PCWSTR) -> Result<Vec<String>> {
        let Some(key) = open(path)? else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        let mut data = vec![0_u16; 4096];
        let mut index = 0;
        loop {
            match value(&key, index, &mut data) {
                Ok((kind, units)) => {
                    if kind == REG_MULTI_SZ.0 {
                        all.extend(strings(&data[..units]));
                    }
                    index += 1;
                }
                Err(ERROR_NO_MORE_ITEMS) => return Ok(all),
                Err(ERROR_MORE_DATA) if data.len() < MOST_VALUE_UNITS => data.resize(data.len() * 4, 0),
                Err(error) => return Err(error.into()),
            }
        }
    }

    #[expect(unsafe_code)]
    fn open(path: PCWSTR) -> Result<Option<Key>> {
        let mut key = HKEY::default();
        // SAFETY: the path is one of the two above, NUL-terminated and static; `key` is a valid place for one handle.
        let opened = unsafe {
            RegOpenKeyExW(HKEY_LOCAL_MACHINE, path, None, KEY_QUERY_VALUE | KEY_WOW64_64KEY, &mut key)
        };
        match opened {
            ERROR_FILE_NOT_FOUND => Ok(None),
            other => other.ok().map(|()| Some(Key(key))),
        }
    }

    /// The type of a value, and how many units of `data` it fills.
    #[expect(unsafe_code)]
    fn value(key: &Key, index: u32, data: &mut [u16]) -> std::result::Result<(u32, usize), WIN32_ERROR> {
        let mut name = vec![0_u16; NAME_UNITS];
        let (mut name_units, mut kind, mut bytes) = (NAME_UNITS as u32, 0, size_of_val(data) as u32);
        // SAFETY: the key is open; `name` has `name_units` units and `data` has `bytes` bytes, which bound what is written;
        // every place outlives the call.
        let found = unsafe {
            RegEnumValueW(
                key.0,
                index,
                Some(PWSTR(name.as_mut_ptr())),
                &mut name_units,
                None,
                Some(&mut kind),
                Some(data.as_mut_ptr().cast()),
                Some(&mut bytes),
            )
        };
        if found.is_err() {
            return Err(found);
        }
        Ok((kind, bytes as usize / size_of::<u16>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_strings_ends_at_the_empty_one() {
        let units = |text: &str| text.encode_utf16().collect::<Vec<_>>();
        for (text, expected) in [
            ("\\a\0C:\\é /s\0\0", &["\\a", "C:\\é /s"][..]),
            ("\\a\0\0\\b\0\0", &["\\a"]),
            ("\\a\0", &["\\a"]),
            ("\\a", &["\\a"]),
            ("\0", &[]),
            ("", &[]),
        ] {
            assert_eq!(strings(&units(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn what_windows_deletes_from_snapshots_is_said() {
        assert_eq!(note_of(&[]), None);
        let rules = [r"$UserProfile$\AppData\Local\Microsoft\Outlook\*.ost".to_owned(), r"C:\x".to_owned()];
        let note = note_of(&rules).unwrap();
        assert!(
            note.ends_with(r"registry): $UserProfile$\AppData\Local\Microsoft\Outlook\*.ost, C:\x"),
            "{note}"
        );
    }

    #[cfg(not(windows))]
    #[test]
    fn other_systems_have_no_such_rules() {
        let policy = Policy::new("a", ["/"]).unwrap();
        assert!(format!("{:?}", system_files(&policy)).contains("rules: []"));
        assert_eq!(note_of_snapshots(), None);
    }
}
