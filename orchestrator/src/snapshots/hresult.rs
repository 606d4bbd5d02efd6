//! What the codes of VSS mean, and what to do about them.
//!
//! Numbers, not the constants of `windows`, so that the table reads the same on every system.

use std::fmt;

use serde::{Serialize, Serializer};

/// A result of COM. The top bit says failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hresult(pub u32);

impl Hresult {
    pub const NOT_IMPLEMENTED: Self = Self(0x8000_4001);
    pub const ACCESS_DENIED: Self = Self(0x8007_0005);
    pub const UNEXPECTED: Self = Self(0x8000_FFFF);
    pub const BAD_STATE: Self = Self(0x8004_2301);
    pub const PROVIDER_NOT_REGISTERED: Self = Self(0x8004_2304);
    pub const OBJECT_NOT_FOUND: Self = Self(0x8004_2308);
    pub const VOLUME_NOT_SUPPORTED: Self = Self(0x8004_230C);
    pub const SNAPSHOT_SET_IN_PROGRESS: Self = Self(0x8004_2316);
    pub const INSUFFICIENT_STORAGE: Self = Self(0x8004_231F);
    /// Success codes: an operation's state, not its failure.
    pub const ASYNC_PENDING: Self = Self(0x0004_2309);
    pub const ASYNC_FINISHED: Self = Self(0x0004_230A);
    pub const ASYNC_CANCELLED: Self = Self(0x0004_230B);

    /// As programs look it up: `0x8004231F`.
    pub fn hex(self) -> String {
        format!("0x{:08X}", self.0)
    }

    pub const fn is_failure(self) -> bool {
        self.0 >> 31 == 1
    }

    fn row(self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.code == self.0)
    }

    /// The constant's name in Microsoft's headers.
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.name)
    }

    /// Half a sentence that says what happened.
    pub fn meaning(self) -> &'static str {
        self.row().map_or("Windows gave an error that this program does not know", |row| row.meaning)
    }

    /// A sentence without its full stop. `{drive}` in the table is where the volume is mounted.
    pub fn advice(self, volume: Option<&str>) -> String {
        let advice = self.row().map_or(
            "Look at the event log, Windows Logs > Application, sources VSS and volsnap, at this time",
            |row| row.advice,
        );
        advice.replace("{drive}", volume.map_or("<drive>", |volume| volume.trim_end_matches('\\')))
    }
}

impl fmt::Display for Hresult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{name}, 0x{:08X}", self.0),
            None => write!(f, "0x{:08X}", self.0),
        }
    }
}

impl Serialize for Hresult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

struct Row {
    code: u32,
    name: &'static str,
    meaning: &'static str,
    advice: &'static str,
}

const fn row(code: u32, name: &'static str, meaning: &'static str, advice: &'static str) -> Row {
    Row { code, name, meaning, advice }
}

const EVENT_LOG: &str = "Look at the event log, Windows Logs > Application, sources VSS and volsnap, at this time, and run it again";
const WRITERS: &str = "`vssadmin list writers` shows the state of each; restart the service of one that failed, then run it again";
const QUIET: &str =
    "The disk is too busy. Run it at a quieter time, and not at the same time as another backup program";
const STORAGE: &str = "See `vssadmin list shadowstorage`, then give it room: `vssadmin resize shadowstorage /For={drive} /On={drive} /MaxSize=20%`";
const FORMAT: &str = "VSS takes NTFS and ReFS on local disks. Set `vss: try` or `vss: off` for paths on FAT, exFAT, network and removable drives";
const SERVICE: &str =
    "Start it: `sc config VSS start= demand`, then `net start VSS`. `vssadmin list providers` must answer";
const PROVIDER: &str = "`vssadmin list providers` must name \"Microsoft Software Shadow Copy provider\". Start its service: `net start swprv`; remove what is left of another vendor's provider";
const OURS: &str = "This is a defect of this program: report it, with its log";

const ROWS: &[Row] = &[
    row(0x0004_2309, "VSS_S_ASYNC_PENDING", "the operation is still in progress", EVENT_LOG),
    row(0x0004_230B, "VSS_S_ASYNC_CANCELLED", "Windows cancelled the operation", EVENT_LOG),
    row(0x8000_4001, "E_NOTIMPL", "this system has no working VSS", "Set `vss: off` on this system"),
    row(0x8000_FFFF, "E_UNEXPECTED", "VSS failed without saying why", EVENT_LOG),
    row(0x8001_0106, "RPC_E_CHANGED_MODE", "COM was entered in another mode", OURS),
    row(0x8004_0154, "REGDB_E_CLASSNOTREG", "VSS is not registered on this system", SERVICE),
    row(0x8004_2301, "VSS_E_BAD_STATE", "a call came at the wrong time", OURS),
    row(0x8004_2302, "VSS_E_UNEXPECTED", "VSS failed without saying why", EVENT_LOG),
    row(0x8004_2304, "VSS_E_PROVIDER_NOT_REGISTERED", "no snapshot provider is registered", PROVIDER),
    row(0x8004_2306, "VSS_E_PROVIDER_VETO", "the snapshot provider refused", PROVIDER),
    row(0x8004_2307, "VSS_E_PROVIDER_IN_USE", "the snapshot provider is busy", EVENT_LOG),
    row(
        0x8004_2308,
        "VSS_E_OBJECT_NOT_FOUND",
        "Windows no longer has the volume or the snapshot",
        "It deletes a snapshot when the storage for it is full. See `vssadmin list shadowstorage`, then give it room: `vssadmin resize shadowstorage /For={drive} /On={drive} /MaxSize=20%`",
    ),
    row(0x8004_230C, "VSS_E_VOLUME_NOT_SUPPORTED", "no provider can make a snapshot of this volume", FORMAT),
    row(
        0x8004_230E,
        "VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER",
        "the provider cannot make a snapshot of this volume",
        FORMAT,
    ),
    row(0x8004_230F, "VSS_E_UNEXPECTED_PROVIDER_ERROR", "the snapshot provider failed", PROVIDER),
    row(
        0x8004_2312,
        "VSS_E_MAXIMUM_NUMBER_OF_VOLUMES_REACHED",
        "the policy has more volumes than one snapshot set holds",
        "Split the policy: a set holds at most 64 volumes",
    ),
    row(0x8004_2313, "VSS_E_FLUSH_WRITES_TIMEOUT", "writes could not be flushed in time", QUIET),
    row(0x8004_2314, "VSS_E_HOLD_WRITES_TIMEOUT", "writes could not be held long enough", QUIET),
    row(0x8004_2315, "VSS_E_UNEXPECTED_WRITER_ERROR", "VSS could not talk to the writers", WRITERS),
    row(
        0x8004_2316,
        "VSS_E_SNAPSHOT_SET_IN_PROGRESS",
        "another program is making a snapshot",
        "Another backup program or System Restore is at it: run this one at another time. If nothing else is: `net stop VSS`, then run it again",
    ),
    row(
        0x8004_2317,
        "VSS_E_MAXIMUM_NUMBER_OF_SNAPSHOTS_REACHED",
        "the volume has as many snapshots as it can",
        "Delete old ones: `vssadmin list shadows /For={drive}`, `vssadmin delete shadows /For={drive} /Oldest`",
    ),
    row(0x8004_2318, "VSS_E_WRITER_INFRASTRUCTURE", "the writers cannot be reached", WRITERS),
    row(0x8004_2319, "VSS_E_WRITER_NOT_RESPONDING", "a writer does not answer", WRITERS),
    row(0x8004_231B, "VSS_E_UNSUPPORTED_CONTEXT", "the provider knows no snapshots for backups", PROVIDER),
    row(
        0x8004_231D,
        "VSS_E_VOLUME_IN_USE",
        "the volume is in use in a way that allows no snapshot",
        "Wait for `chkdsk`, a format or a resize of it to end, and run it again",
    ),
    row(
        0x8004_231E,
        "VSS_E_MAXIMUM_DIFFAREA_ASSOCIATIONS_REACHED",
        "no further place for snapshots can be made on the volume",
        STORAGE,
    ),
    row(0x8004_231F, "VSS_E_INSUFFICIENT_STORAGE", "there is no room for the snapshot", STORAGE),
    row(
        0x8004_2325,
        "VSS_E_REVERT_IN_PROGRESS",
        "the volume is being reverted to a snapshot",
        "Wait for it to end, and run it again",
    ),
    row(0x8004_2327, "VSS_E_REBOOT_REQUIRED", "Windows must restart first", "Restart the computer"),
    row(0x8004_2328, "VSS_E_TRANSACTION_FREEZE_TIMEOUT", "transactions could not be held in time", QUIET),
    row(0x8004_2329, "VSS_E_TRANSACTION_THAW_TIMEOUT", "transactions were held for too long", QUIET),
    row(
        0x8004_232C,
        "VSS_E_NESTED_VOLUME_LIMIT",
        "the volume is a virtual disk within a virtual disk",
        "Back up the disk that holds it instead",
    ),
    row(0x8004_232D, "VSS_E_VOLUME_NOT_LOCAL", "the volume is not a local one", FORMAT),
    row(0x8004_232F, "VSS_E_NOT_SUPPORTED", "the provider does not support it", PROVIDER),
    row(0x8004_2336, "VSS_E_WRITERERROR_PARTIAL_FAILURE", "a writer failed for some of its parts", WRITERS),
    row(
        0x8004_23F0,
        "VSS_E_WRITERERROR_INCONSISTENTSNAPSHOT",
        "the set lacks a volume with files of the writer",
        "Add a path on that volume to the policy",
    ),
    row(0x8004_23F1, "VSS_E_WRITERERROR_OUTOFRESOURCES", "the writer ran out of memory or handles", WRITERS),
    row(
        0x8004_23F2,
        "VSS_E_WRITERERROR_TIMEOUT",
        "the writer took longer than the 60 s that Windows allows",
        QUIET,
    ),
    row(
        0x8004_23F3,
        "VSS_E_WRITERERROR_RETRYABLE",
        "the writer failed for a moment",
        "Run it again; if that fails too, restart the writer's service",
    ),
    row(0x8004_23F4, "VSS_E_WRITERERROR_NONRETRYABLE", "the writer failed", WRITERS),
    row(0x8004_23F5, "VSS_E_WRITERERROR_RECOVERY_FAILED", "the writer could not recover its data", WRITERS),
    row(0x8004_2409, "VSS_E_WRITER_STATUS_NOT_AVAILABLE", "the writer's state is not known", WRITERS),
    row(
        0x8007_0005,
        "E_ACCESSDENIED",
        "this account may not make snapshots",
        "Open the console with \"Run as administrator\", or schedule the policy for SYSTEM",
    ),
    row(
        0x8007_000E,
        "E_OUTOFMEMORY",
        "Windows is out of memory",
        "Close programs or add memory, and run it again",
    ),
    row(0x8007_0057, "E_INVALIDARG", "VSS did not take what it was given", OURS),
    row(0x8007_0070, "ERROR_DISK_FULL", "the disk is full", "Free space on {drive}, and run it again"),
    row(0x8007_0422, "ERROR_SERVICE_DISABLED", "the service VSS or swprv is disabled", SERVICE),
    row(
        0x8007_045B,
        "ERROR_SHUTDOWN_IN_PROGRESS",
        "Windows is shutting down",
        "Run it after the computer has started",
    ),
    row(0x8007_06BA, "RPC_S_SERVER_UNAVAILABLE", "the service VSS cannot be reached", SERVICE),
    row(0x8007_06BE, "RPC_S_CALL_FAILED", "the service VSS ended in the middle of a call", EVENT_LOG),
    row(0x8008_0005, "CO_E_SERVER_EXEC_FAILURE", "the service VSS does not start", SERVICE),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_ascend_so_that_none_is_there_twice() {
        assert!(ROWS.is_sorted_by(|a, b| a.code < b.code));
        let mut names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }

    #[test]
    fn sentences_end_without_a_full_stop_because_the_error_adds_it() {
        for row in ROWS {
            for text in [row.meaning, row.advice] {
                assert!(!text.is_empty() && !text.ends_with(['.', ' ']), "{}: {text}", row.name);
            }
            assert!(
                !row.meaning.starts_with(char::is_uppercase)
                    || row.meaning.starts_with("VSS")
                    || row.meaning.starts_with("Windows")
                    || row.meaning.starts_with("COM"),
                "{}",
                row.meaning
            );
        }
    }

    #[test]
    fn advice_names_the_volume() {
        let advice = Hresult::INSUFFICIENT_STORAGE.advice(Some(r"D:\"));
        assert!(advice.contains("/For=D: /On=D:"), "{advice}");
        let advice = Hresult::INSUFFICIENT_STORAGE.advice(Some(r"C:\mount\"));
        assert!(advice.contains(r"/For=C:\mount /On=C:\mount"), "{advice}");
    }

    #[test]
    fn an_unknown_code_is_shown_by_its_number_and_leads_to_the_event_log() {
        let unknown = Hresult(0x8765_4321);
        assert_eq!(unknown.to_string(), "0x87654321");
        assert!(unknown.advice(None).contains("event log"));
        assert_eq!(Hresult::BAD_STATE.to_string(), "VSS_E_BAD_STATE, 0x80042301");
    }

    #[test]
    fn the_states_of_operations_are_no_failures() {
        for state in [Hresult::ASYNC_PENDING, Hresult::ASYNC_FINISHED, Hresult::ASYNC_CANCELLED, Hresult(0)] {
            assert!(!state.is_failure());
        }
        assert!(Hresult::ACCESS_DENIED.is_failure());
    }
}
