//! Why no snapshot was made, and what to do about it.

use std::time::Duration;

use super::calls::VssCall;
use super::hresult::Hresult;
use super::writers::FailedWriter;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Occurs when the system has no VSS.
    #[error("cannot make a snapshot: {reason}. Set `vss: off` in the policy on this system")]
    Unsupported { reason: &'static str },
    /// Occurs when no volume was asked for.
    #[error("cannot make a snapshot: none of the paths is on a local drive. Set `vss: off` in the policy")]
    NoVolume,
    /// Occurs when a call of VSS fails, or the operation that it began.
    #[error("cannot make a snapshot{}: {} ({call}: {code}).{} {}", of_volume(volume), code.meaning(), failed_writers(writers), code.advice(volume.as_deref()))]
    Call {
        call: VssCall,
        code: Hresult,
        /// Where the volume is mounted, when the call was for one.
        volume: Option<String>,
        /// Those that had failed until then.
        writers: Vec<FailedWriter>,
    },
    /// Occurs when Windows deletes a snapshot while it is read: what failed to be read since then failed because of it.
    #[error("Windows deleted the snapshot of {volume} in the middle of the run. {}", Hresult::OBJECT_NOT_FOUND.advice(Some(volume)))]
    Lost {
        /// Where it is mounted.
        volume: String,
    },
    /// Occurs when the backup is made, but cannot be ended in VSS.
    #[error("the snapshot was read, but not given back: {} ({call}: {code}). Windows deletes it when this program ends. {}", code.meaning(), code.advice(None))]
    NotEnded { call: VssCall, code: Hresult },
    /// Occurs when the run is stopped.
    #[error("the snapshot was not made, because the run was stopped at {call}")]
    Cancelled { call: VssCall },
    /// Occurs when VSS does not end within the time limit.
    #[error("VSS did not end {call} within {} s. `vssadmin list writers` shows which writer is slow; if it does not answer, restart the computer", limit.as_secs())]
    TimeLimit { call: VssCall, limit: Duration },
    /// Occurs when the thread that talks to VSS panics, or cannot be started.
    #[error(
        "cannot talk to VSS: {reason}, at {call}. This is a defect of this program: report it, with its log"
    )]
    Thread { call: VssCall, reason: String },
}

impl SnapshotError {
    pub(super) fn call(call: VssCall, code: Hresult) -> Self {
        Self::Call { call, code, volume: None, writers: Vec::new() }
    }

    /// The call at which it happened.
    pub fn failed_call(&self) -> Option<VssCall> {
        match self {
            Self::Unsupported { .. } | Self::NoVolume => None,
            Self::Call { call, .. }
            | Self::NotEnded { call, .. }
            | Self::Cancelled { call }
            | Self::TimeLimit { call, .. }
            | Self::Thread { call, .. } => Some(*call),
            Self::Lost { .. } => Some(VssCall::GetSnapshotProperties),
        }
    }

    pub fn code(&self) -> Option<Hresult> {
        match self {
            Self::Call { code, .. } | Self::NotEnded { code, .. } => Some(*code),
            Self::Lost { .. } => Some(Hresult::OBJECT_NOT_FOUND),
            _ => None,
        }
    }

    pub fn volume(&self) -> Option<&str> {
        match self {
            Self::Call { volume, .. } => volume.as_deref(),
            Self::Lost { volume } => Some(volume),
            _ => None,
        }
    }

    pub fn writers(&self) -> &[FailedWriter] {
        match self {
            Self::Call { writers, .. } => writers,
            _ => &[],
        }
    }

    /// Whether it is as the system or the drive is, today as tomorrow, and no failure.
    pub fn is_of_the_system(&self) -> bool {
        match self {
            Self::Unsupported { .. } | Self::NoVolume => true,
            Self::Call { call: VssCall::CreateVssBackupComponents, code, .. } => {
                *code == Hresult::NOT_IMPLEMENTED
            }
            Self::Call { call: VssCall::IsVolumeSupported, code, .. } => {
                *code == Hresult::VOLUME_NOT_SUPPORTED
            }
            _ => false,
        }
    }

    /// Whether the run itself is to stop: there is nothing to fall back to.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled { .. })
    }
}

fn of_volume(volume: &Option<String>) -> String {
    volume.as_ref().map(|volume| format!(" of {volume}")).unwrap_or_default()
}

fn failed_writers(writers: &[FailedWriter]) -> String {
    let writers: Vec<_> = writers.iter().map(ToString::to_string).collect();
    if writers.is_empty() { String::new() } else { format!(" Failed writers: {}.", writers.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_failed_where_why_and_what_to_do() {
        let error = SnapshotError::Call {
            call: VssCall::DoSnapshotSet,
            code: Hresult::INSUFFICIENT_STORAGE,
            volume: Some(r"D:\".into()),
            writers: vec![FailedWriter {
                name: "SqlServerWriter".into(),
                state: "failed at the freeze",
                code: Hresult(0x8004_23F3),
            }],
        };
        assert_eq!(
            error.to_string(),
            "cannot make a snapshot of D:\\: there is no room for the snapshot (DoSnapshotSet: VSS_E_INSUFFICIENT_STORAGE, 0x8004231F). \
             Failed writers: \"SqlServerWriter\" failed at the freeze: the writer failed for a moment (VSS_E_WRITERERROR_RETRYABLE, 0x800423F3). \
             See `vssadmin list shadowstorage`, then give it room: `vssadmin resize shadowstorage /For=D: /On=D: /MaxSize=20%`"
        );
        assert_eq!(
            SnapshotError::call(VssCall::CreateVssBackupComponents, Hresult::ACCESS_DENIED).to_string(),
            "cannot make a snapshot: this account may not make snapshots (CreateVssBackupComponents: E_ACCESSDENIED, 0x80070005). \
             Open the console with \"Run as administrator\", or schedule the policy for SYSTEM"
        );
        assert_eq!(
            SnapshotError::TimeLimit { call: VssCall::PrepareForBackup, limit: Duration::from_secs(600) }
                .to_string(),
            "VSS did not end PrepareForBackup within 600 s. `vssadmin list writers` shows which writer is slow; if it does not answer, restart the computer"
        );
    }
}
