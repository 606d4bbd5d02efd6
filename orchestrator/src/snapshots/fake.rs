//! Folders in place of snapshots, and faults at every call: the flow of a backup without VSS, on every system.
//!
//! In test builds (`cfg(test)` or the feature `testing`), these variables put it in place of the system's provider. With
//! `storage`'s failpoints, it is all below the command line that reads the environment.
//!
//! | variable | holds |
//! | --- | --- |
//! | `INTELLISTOR_FAKE_SNAPSHOTS` | `<volume's root>=<folder>`, several with `;` between them |
//! | `INTELLISTOR_FAKE_SNAPSHOTS_FAULT` | `<call>:<code in hex>`, `<call>:async:<code>`, `<call>:hang`, `<call>:panic`, `writer:<code>` |
//! | `INTELLISTOR_FAKE_SNAPSHOTS_LOG` | a file to which each call is appended, one a line |

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::calls::{CallResult, SnapshotProperties, VssCall, VssCalls, VssOperation};
use super::error::SnapshotError;
use super::guid::Guid;
use super::hresult::Hresult;
use super::provider::{SnapshotProvider, SnapshotSet};
use super::session::{SessionLimits, take_set};
use super::volumes::{LiveReason, Volume, VolumeLookup, VolumePath, split_at_root, with_separator};
use super::writers::WriterStatus;

pub const FOLDERS_VARIABLE: &str = "INTELLISTOR_FAKE_SNAPSHOTS";
pub const FAULT_VARIABLE: &str = "INTELLISTOR_FAKE_SNAPSHOTS_FAULT";
pub const LOG_VARIABLE: &str = "INTELLISTOR_FAKE_SNAPSHOTS_LOG";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call returns the code.
    Fails(VssCall, Hresult),
    /// The call begins an operation that ends with the code.
    Ends(VssCall, Hresult),
    /// The call begins an operation that stays pending until it is cancelled.
    Hangs(VssCall),
    Panics(VssCall),
    /// The one writer failed at the freeze.
    Writer(Hresult),
}

impl Fault {
    /// # Panics
    /// When the text names no fault: a test that makes none must not pass.
    pub fn parse(text: &str) -> Self {
        let fields: Vec<_> = text.split(':').collect();
        let call = VssCall::ALL.into_iter().find(|call| call.name() == fields[0]);
        let code = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).ok().map(Hresult);
        let fault = match (call, &fields[1..]) {
            (Some(call), ["hang"]) => Some(Self::Hangs(call)),
            (Some(call), ["panic"]) => Some(Self::Panics(call)),
            (Some(call), ["async", text]) => code(text).map(|code| Self::Ends(call, code)),
            (Some(call), [text]) => code(text).map(|code| Self::Fails(call, code)),
            (None, [text]) if fields[0] == "writer" => code(text).map(Self::Writer),
            _ => None,
        };
        fault.unwrap_or_else(|| panic!("{FAULT_VARIABLE}={text} names no fault"))
    }
}

/// Hands out folders as snapshots, by the same calls as VSS.
#[derive(Debug, Clone, Default)]
pub struct FolderSnapshots {
    /// The root of each volume, and the folder that is its snapshot.
    pub folders: Vec<(String, String)>,
    pub fault: Option<Fault>,
    pub log: Option<PathBuf>,
}

impl FolderSnapshots {
    /// # Panics
    /// When a variable cannot be understood.
    pub fn from_environment() -> Option<Self> {
        let folders = std::env::var(FOLDERS_VARIABLE).ok()?;
        let folders = folders.split(';').map(|pair| match pair.split_once('=') {
            Some((root, folder)) => (root.to_owned(), folder.to_owned()),
            None => panic!("{FOLDERS_VARIABLE}: write <volume's root>=<folder>, not {pair:?}"),
        });
        Some(Self {
            folders: folders.collect(),
            fault: std::env::var(FAULT_VARIABLE).ok().map(|text| Fault::parse(&text)),
            log: std::env::var_os(LOG_VARIABLE).map(PathBuf::from),
        })
    }
}

impl VolumeLookup for FolderSnapshots {
    fn locate(&self, path: &str) -> Result<VolumePath, LiveReason> {
        let found = self.folders.iter().find_map(|(root, _)| split_at_root(path, root, root));
        found.ok_or_else(|| LiveReason::Unknown { reason: format!("{path} is on no fake volume") })
    }
}

impl SnapshotProvider for FolderSnapshots {
    fn take(&self, volumes: &[Volume], cancel: &dyn Fn() -> bool) -> Result<SnapshotSet, SnapshotError> {
        let mut calls = FakeCalls::new(&self.folders, self.fault.as_slice());
        calls.log.file.clone_from(&self.log);
        take_set(move |on_call| calls.open(on_call), volumes, SessionLimits::default(), cancel)
    }
}

/// The calls that were made.
#[derive(Debug, Clone, Default)]
pub(super) struct CallLog {
    pub(super) lines: Arc<Mutex<Vec<String>>>,
    file: Option<PathBuf>,
}

impl CallLog {
    fn push(&self, line: String) {
        if let Some(file) = &self.file {
            let file = OpenOptions::new().create(true).append(true).open(file);
            file.and_then(|mut file| writeln!(file, "{line}")).expect("the log can be written");
        }
        self.lines.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(line);
    }
}

/// VSS, played.
#[derive(Debug, Default)]
pub(super) struct FakeCalls {
    pub(super) folders: Vec<(String, String)>,
    pub(super) faults: Vec<Fault>,
    /// How often each operation says that it is pending.
    pub(super) pending: usize,
    /// How often StartSnapshotSet says that another program is at it.
    pub(super) busy: usize,
    pub(super) unsupported: Vec<String>,
    /// A volume about which VSS gives an error instead of an answer.
    pub(super) unanswered: Option<(String, Hresult)>,
    pub(super) log: CallLog,
    added: Vec<String>,
}

/// The id of the set; the snapshots count from the next.
const SET: Guid = Guid(3);

impl FakeCalls {
    pub(super) fn new(folders: &[(String, String)], faults: &[Fault]) -> Self {
        let mut calls = Self::default();
        (calls.folders, calls.faults) = (folders.to_vec(), faults.to_vec());
        calls
    }

    /// As the first two calls of the real ones.
    pub(super) fn open(mut self, on_call: &dyn Fn(VssCall)) -> Result<Self, SnapshotError> {
        for call in [VssCall::EnterCom, VssCall::CreateVssBackupComponents] {
            on_call(call);
            if let Err(code) = self.call(call, "") {
                return Err(SnapshotError::call(call, code));
            }
        }
        Ok(self)
    }

    fn call(&mut self, call: VssCall, argument: &str) -> CallResult<()> {
        self.log.push(format!("{call} {argument}").trim_end().to_owned());
        for fault in &self.faults {
            match *fault {
                Fault::Fails(at, code) if at == call => return Err(code),
                Fault::Panics(at) if at == call => panic!("a fault at {call}"),
                _ => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, call: VssCall) -> CallResult<FakeOperation> {
        self.call(call, "")?;
        let mut operation = FakeOperation {
            call,
            pending: self.pending,
            end: Hresult::ASYNC_FINISHED,
            log: self.log.clone(),
        };
        for fault in &self.faults {
            match *fault {
                Fault::Ends(at, code) if at == call => operation.end = code,
                Fault::Hangs(at) if at == call => operation.pending = usize::MAX,
                _ => {}
            }
        }
        Ok(operation)
    }
}

impl Drop for FakeCalls {
    fn drop(&mut self) {
        self.log.push("Release".to_owned());
    }
}

impl VssCalls for FakeCalls {
    type Operation = FakeOperation;

    fn initialize_for_backup(&mut self) -> CallResult<()> {
        self.call(VssCall::InitializeForBackup, "")
    }

    fn set_context(&mut self) -> CallResult<()> {
        self.call(VssCall::SetContext, "")
    }

    fn set_backup_state(&mut self) -> CallResult<()> {
        self.call(VssCall::SetBackupState, "")
    }

    fn is_volume_supported(&mut self, volume: &str) -> CallResult<bool> {
        self.call(VssCall::IsVolumeSupported, volume)?;
        if let Some((name, code)) = &self.unanswered
            && name == volume
        {
            return Err(*code);
        }
        Ok(!self.unsupported.iter().any(|name| name == volume))
    }

    fn gather_writer_metadata(&mut self) -> CallResult<FakeOperation> {
        self.begin(VssCall::GatherWriterMetadata)
    }

    fn start_snapshot_set(&mut self) -> CallResult<Guid> {
        self.call(VssCall::StartSnapshotSet, "")?;
        if self.busy > 0 {
            self.busy -= 1;
            return Err(Hresult::SNAPSHOT_SET_IN_PROGRESS);
        }
        Ok(SET)
    }

    fn add_to_snapshot_set(&mut self, volume: &str) -> CallResult<Guid> {
        self.call(VssCall::AddToSnapshotSet, volume)?;
        self.added.push(volume.to_owned());
        Ok(Guid(SET.0 + self.added.len() as u128))
    }

    fn prepare_for_backup(&mut self) -> CallResult<FakeOperation> {
        self.begin(VssCall::PrepareForBackup)
    }

    fn gather_writer_status(&mut self) -> CallResult<FakeOperation> {
        self.begin(VssCall::GatherWriterStatus)
    }

    fn get_writer_status_count(&mut self) -> CallResult<u32> {
        self.call(VssCall::GetWriterStatusCount, "").map(|()| 1)
    }

    fn get_writer_status(&mut self, index: u32) -> CallResult<WriterStatus> {
        self.call(VssCall::GetWriterStatus, &index.to_string())?;
        let failure = self.faults.iter().find_map(|fault| match fault {
            Fault::Writer(code) => Some(*code),
            _ => None,
        });
        Ok(WriterStatus {
            name: "Fake Writer".to_owned(),
            state: if failure.is_some() { 9 } else { 1 },
            failure: failure.unwrap_or(Hresult(0)),
        })
    }

    fn free_writer_status(&mut self) -> CallResult<()> {
        self.call(VssCall::FreeWriterStatus, "")
    }

    fn do_snapshot_set(&mut self) -> CallResult<FakeOperation> {
        self.begin(VssCall::DoSnapshotSet)
    }

    fn get_snapshot_properties(&mut self, snapshot: Guid) -> CallResult<SnapshotProperties> {
        self.call(VssCall::GetSnapshotProperties, &snapshot.to_string())?;
        let volume = self.added.get((snapshot.0 - SET.0 - 1) as usize).ok_or(Hresult::OBJECT_NOT_FOUND)?;
        let folder = self.folders.iter().find(|(root, _)| with_separator(root) == *volume);
        let (_, folder) = folder.ok_or(Hresult::OBJECT_NOT_FOUND)?;
        // 2026-01-01.
        Ok(SnapshotProperties { device: folder.clone(), created: 134_116_992_000_000_000 })
    }

    fn backup_complete(&mut self) -> CallResult<FakeOperation> {
        self.begin(VssCall::BackupComplete)
    }

    fn delete_snapshots(&mut self, set: Guid) -> CallResult<()> {
        self.call(VssCall::DeleteSnapshots, &set.to_string())
    }

    fn abort_backup(&mut self) -> CallResult<()> {
        self.call(VssCall::AbortBackup, "")
    }
}

#[derive(Debug)]
pub(super) struct FakeOperation {
    call: VssCall,
    pending: usize,
    end: Hresult,
    log: CallLog,
}

impl VssOperation for FakeOperation {
    fn query_status(&mut self) -> CallResult<Hresult> {
        if self.pending == 0 {
            return Ok(self.end);
        }
        self.pending -= 1;
        Ok(Hresult::ASYNC_PENDING)
    }

    fn cancel(&mut self) -> CallResult<()> {
        self.log.push(format!("Cancel {}", self.call));
        (self.pending, self.end) = (0, Hresult::ASYNC_CANCELLED);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_their_variable_holds_them() {
        for (text, fault) in [
            ("DoSnapshotSet:8004231F", Fault::Fails(VssCall::DoSnapshotSet, Hresult::INSUFFICIENT_STORAGE)),
            ("DoSnapshotSet:async:0x80042306", Fault::Ends(VssCall::DoSnapshotSet, Hresult(0x8004_2306))),
            ("PrepareForBackup:hang", Fault::Hangs(VssCall::PrepareForBackup)),
            ("AddToSnapshotSet:panic", Fault::Panics(VssCall::AddToSnapshotSet)),
            ("writer:800423F2", Fault::Writer(Hresult(0x8004_23F2))),
        ] {
            assert_eq!(Fault::parse(text), fault);
        }
        for bad in ["", "NoSuchCall:1", "DoSnapshotSet", "DoSnapshotSet:x", "writer", "DoSnapshotSet:async:"]
        {
            assert!(std::panic::catch_unwind(|| Fault::parse(bad)).is_err(), "{bad}");
        }
    }
}
