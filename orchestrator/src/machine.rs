//! The identity of this machine and program, as stores and people know them.

use intellistor_storage::catalog::ownership::Machine;

/// Program and version, as manifests and owners' files name it.
pub(crate) const TOOL: &str = concat!("intellistor ", env!("CARGO_PKG_VERSION"));

/// This machine: a keyed hash of the system's id, or of the host's name where it has none.
pub fn this_machine() -> Machine {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    match system_id() {
        Some(id) => Machine::of_system(&id, host),
        None => Machine::of_host(host),
    }
}

/// systemd writes the first, D-Bus the second; an image that was never started has `uninitialized`, or an empty file.
#[cfg(unix)]
fn system_id() -> Option<String> {
    let files = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    files.iter().find_map(|file| valid(&std::fs::read_to_string(file).ok()?))
}

#[cfg(unix)]
fn valid(text: &str) -> Option<String> {
    let id = text.trim();
    let is_id = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    is_id.then(|| id.to_ascii_lowercase())
}

#[cfg(windows)]
#[expect(unsafe_code)]
fn system_id() -> Option<String> {
    use windows::Win32::System::Registry::{
        HKEY_LOCAL_MACHINE, RRF_RT_REG_SZ, RRF_SUBKEY_WOW6464KEY, RegGetValueW,
    };
    use windows::core::w;

    let mut text = [0_u16; 64];
    let mut bytes = std::mem::size_of_val(&text) as u32;
    // SAFETY: `text` has `bytes` bytes, which is passed in and bounds what is written, a final NUL included.
    let found = unsafe {
        RegGetValueW(
            HKEY_LOCAL_MACHINE,
            w!(r"SOFTWARE\Microsoft\Cryptography"),
            w!("MachineGuid"),
            RRF_RT_REG_SZ | RRF_SUBKEY_WOW6464KEY,
            None,
            Some(text.as_mut_ptr().cast()),
            Some(&mut bytes),
        )
    };
    found.ok().ok()?;
    let text = String::from_utf16_lossy(&text);
    let id = text.split('\0').next().unwrap_or_default().trim();
    (id.len() >= 32).then(|| id.to_ascii_lowercase())
}

#[cfg(not(any(unix, windows)))]
fn system_id() -> Option<String> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_that_was_set_counts() {
        let id = "b08dfa6083e7567a1921a715000001fb";
        assert_eq!(valid(&format!("{}\n", id.to_uppercase())).as_deref(), Some(id));
        for none in ["", "uninitialized\n", "0", &"0".repeat(32), &"x".repeat(32), &id[1..]] {
            assert_eq!(valid(none), None, "{none:?}");
        }
        assert_eq!(this_machine(), this_machine());
    }
}
