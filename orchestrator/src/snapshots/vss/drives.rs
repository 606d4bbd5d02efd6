//! Which volume a path is on, by Windows.

use windows::Win32::Storage::FileSystem::{
    GetDriveTypeW, GetVolumeInformationW, GetVolumeNameForVolumeMountPointW, GetVolumePathNameW,
};
use windows::Win32::System::WindowsProgramming::{
    DRIVE_CDROM, DRIVE_NO_ROOT_DIR, DRIVE_RAMDISK, DRIVE_REMOTE,
};
use windows::core::HSTRING;

use crate::snapshots::volumes::{LiveReason, VolumeLookup, VolumePath, drive_path, split_at_root};

/// Of the longest path, in UTF-16 units.
const MAX_PATH_UNITS: usize = 32_768;
/// Of `\\?\Volume{..}\`, and of a file system's name.
const MAX_NAME_UNITS: usize = 261;

/// VSS takes no others. What is not named here, IsVolumeSupported decides.
const UNSUPPORTED_FILE_SYSTEMS: [&str; 6] = ["FAT", "FAT32", "exFAT", "CDFS", "UDF", "WebDAV"];

#[derive(Debug)]
pub(in crate::snapshots) struct WindowsVolumes;

impl VolumeLookup for WindowsVolumes {
    fn locate(&self, path: &str) -> Result<VolumePath, LiveReason> {
        drive_path(path)?;
        // Follows links and junctions, and finds the drive behind one that `subst` made, and the share behind a letter.
        let resolved = match std::fs::canonicalize(path) {
            // A volume that is mounted nowhere has no other path than by its name.
            Err(_) if path.starts_with(r"\\?\Volume{") => path.into(),
            Err(error) if std::fs::exists(path).is_ok_and(|exists| exists) => {
                let code = error.raw_os_error().unwrap_or_default();
                return Err(LiveReason::no_volume(path, code.cast_unsigned(), &error));
            }
            resolved => resolved.map_err(|error| unknown(path, &error))?,
        };
        let resolved = resolved.to_str().ok_or_else(|| LiveReason::Unknown {
            reason: format!("{path} leads to a name that is not Unicode"),
        })?;
        let resolved = drive_path(resolved)?;

        let root = volume_path(&resolved).map_err(|error| no_volume(&resolved, &error))?;
        let root = root.strip_prefix(r"\\?\").filter(|root| root.get(1..2) == Some(":")).unwrap_or(&root);
        refuse_drive(root)?;
        let name = volume_name(root).map_err(|error| no_volume(root, &error))?;
        let file_system = file_system(root).map_err(|error| unknown(root, &error))?;
        if UNSUPPORTED_FILE_SYSTEMS.iter().any(|known| known.eq_ignore_ascii_case(&file_system)) {
            return Err(LiveReason::FileSystem { name: file_system });
        }
        split_at_root(&resolved, &name, root)
            .ok_or_else(|| LiveReason::Unknown { reason: format!("{resolved} is not below {root}") })
    }
}

fn unknown(path: &str, error: &dyn std::fmt::Display) -> LiveReason {
    LiveReason::Unknown { reason: format!("{path}: {error}") }
}

fn no_volume(path: &str, error: &windows::core::Error) -> LiveReason {
    // In an HRESULT of a code of Win32 the lower half is the code.
    LiveReason::no_volume(path, error.code().0.cast_unsigned() & 0xFFFF, error)
}

#[expect(unsafe_code)]
fn refuse_drive(root: &str) -> Result<(), LiveReason> {
    // SAFETY: the string is NUL-terminated and outlives the call.
    match unsafe { GetDriveTypeW(&HSTRING::from(root)) } {
        DRIVE_REMOTE => Err(LiveReason::Network),
        DRIVE_CDROM => Err(LiveReason::Drive { what: "a CD or DVD".to_owned() }),
        DRIVE_RAMDISK => Err(LiveReason::Drive { what: "a disk in memory".to_owned() }),
        DRIVE_NO_ROOT_DIR => Err(LiveReason::Unknown { reason: format!("{root} is no drive") }),
        _ => Ok(()),
    }
}

/// Where the volume of the path is mounted.
#[expect(unsafe_code)]
fn volume_path(path: &str) -> windows::core::Result<String> {
    let mut buffer = vec![0; MAX_PATH_UNITS];
    // SAFETY: the path is NUL-terminated and outlives the call, which writes no more than the buffer holds.
    unsafe {
        GetVolumePathNameW(&HSTRING::from(format!(r"\\?\{}", path.trim_start_matches(r"\\?\"))), &mut buffer)
    }?;
    Ok(text(&buffer))
}

/// `\\?\Volume{..}\`.
#[expect(unsafe_code)]
fn volume_name(root: &str) -> windows::core::Result<String> {
    let mut buffer = [0; MAX_NAME_UNITS];
    // SAFETY: as in `volume_path`.
    unsafe { GetVolumeNameForVolumeMountPointW(&HSTRING::from(root), &mut buffer) }?;
    Ok(text(&buffer))
}

#[expect(unsafe_code)]
fn file_system(root: &str) -> windows::core::Result<String> {
    let mut buffer = [0; MAX_NAME_UNITS];
    // SAFETY: as in `volume_path`; what is not asked for is null.
    unsafe { GetVolumeInformationW(&HSTRING::from(root), None, None, None, None, Some(&mut buffer)) }?;
    Ok(text(&buffer))
}

/// Up to the first NUL.
fn text(buffer: &[u16]) -> String {
    let end = buffer.iter().position(|unit| *unit == 0).unwrap_or(buffer.len());
    String::from_utf16_lossy(&buffer[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_path_leads_to_its_volume() {
        let located = WindowsVolumes.locate(r"C:\windows\system32").expect("the system's drive");
        assert_eq!(located.volume.root, r"C:\");
        assert!(located.volume.name.starts_with(r"\\?\Volume{") && located.volume.name.ends_with(r"}\"));
        assert!(located.below.eq_ignore_ascii_case(r"windows\system32"), "{}", located.below);
        for path in ["C:/windows/system32", r"\\?\C:\WINDOWS\system32", r"c:\windows\..\Windows\system32\"] {
            let other = WindowsVolumes.locate(path).expect(path);
            assert_eq!(other.volume, located.volume, "{path}");
            assert!(other.below.eq_ignore_ascii_case(&located.below), "{path}: {}", other.below);
        }
        assert_eq!(WindowsVolumes.locate(r"C:\").expect("a root").below, "");
    }

    #[test]
    fn what_is_on_no_local_drive_says_why() {
        assert_eq!(WindowsVolumes.locate(r"\\server\share\x"), Err(LiveReason::Network));
        assert_eq!(WindowsVolumes.locate("windows"), Err(LiveReason::NotAbsolute));
        let missing = WindowsVolumes.locate(r"C:\no such folder").expect_err("it is not there");
        assert!(
            matches!(&missing, LiveReason::Unknown { reason } if reason.contains("no such folder")),
            "{missing}"
        );
    }
}
