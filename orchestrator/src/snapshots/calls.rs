//! The calls of VSS that a backup makes, one method each.

use std::fmt;

use serde::{Serialize, Serializer};

use super::guid::Guid;
use super::hresult::Hresult;
use super::writers::WriterStatus;

pub(super) type CallResult<T> = Result<T, Hresult>;

/// A call, by its name in Microsoft's documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VssCall {
    /// COM's own: CoInitializeEx, CoInitializeSecurity.
    EnterCom,
    CreateVssBackupComponents,
    InitializeForBackup,
    SetContext,
    SetBackupState,
    IsVolumeSupported,
    GatherWriterMetadata,
    StartSnapshotSet,
    AddToSnapshotSet,
    PrepareForBackup,
    GatherWriterStatus,
    GetWriterStatusCount,
    GetWriterStatus,
    FreeWriterStatus,
    DoSnapshotSet,
    GetSnapshotProperties,
    BackupComplete,
    DeleteSnapshots,
    AbortBackup,
}

impl VssCall {
    /// In the order in which a backup first makes them.
    pub const ALL: [Self; 19] = [
        Self::EnterCom,
        Self::CreateVssBackupComponents,
        Self::InitializeForBackup,
        Self::SetContext,
        Self::SetBackupState,
        Self::IsVolumeSupported,
        Self::GatherWriterMetadata,
        Self::StartSnapshotSet,
        Self::AddToSnapshotSet,
        Self::PrepareForBackup,
        Self::GatherWriterStatus,
        Self::GetWriterStatusCount,
        Self::GetWriterStatus,
        Self::FreeWriterStatus,
        Self::DoSnapshotSet,
        Self::GetSnapshotProperties,
        Self::BackupComplete,
        Self::DeleteSnapshots,
        Self::AbortBackup,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::EnterCom => "EnterCom",
            Self::CreateVssBackupComponents => "CreateVssBackupComponents",
            Self::InitializeForBackup => "InitializeForBackup",
            Self::SetContext => "SetContext",
            Self::SetBackupState => "SetBackupState",
            Self::IsVolumeSupported => "IsVolumeSupported",
            Self::GatherWriterMetadata => "GatherWriterMetadata",
            Self::StartSnapshotSet => "StartSnapshotSet",
            Self::AddToSnapshotSet => "AddToSnapshotSet",
            Self::PrepareForBackup => "PrepareForBackup",
            Self::GatherWriterStatus => "GatherWriterStatus",
            Self::GetWriterStatusCount => "GetWriterStatusCount",
            Self::GetWriterStatus => "GetWriterStatus",
            Self::FreeWriterStatus => "FreeWriterStatus",
            Self::DoSnapshotSet => "DoSnapshotSet",
            Self::GetSnapshotProperties => "GetSnapshotProperties",
            Self::BackupComplete => "BackupComplete",
            Self::DeleteSnapshots => "DeleteSnapshots",
            Self::AbortBackup => "AbortBackup",
        }
    }
}

impl fmt::Display for VssCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for VssCall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What VSS tells of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnapshotProperties {
    /// Windows gives it without a trailing `\`.
    pub(super) device: String,
    /// In 100 ns since 1601.
    pub(super) created: i64,
}

/// An `IVssBackupComponents` for one backup; dropping it is its `Release`, after which Windows deletes the snapshots of a
/// backup that was not completed.
pub(super) trait VssCalls {
    type Operation: VssOperation;

    fn initialize_for_backup(&mut self) -> CallResult<()>;
    /// `VSS_CTX_BACKUP`: with writers; deleted at the release.
    fn set_context(&mut self) -> CallResult<()>;
    /// Without components, a copy: writers must not shorten their logs for it.
    fn set_backup_state(&mut self) -> CallResult<()>;
    fn is_volume_supported(&mut self, volume: &str) -> CallResult<bool>;
    fn gather_writer_metadata(&mut self) -> CallResult<Self::Operation>;
    fn start_snapshot_set(&mut self) -> CallResult<Guid>;
    fn add_to_snapshot_set(&mut self, volume: &str) -> CallResult<Guid>;
    fn prepare_for_backup(&mut self) -> CallResult<Self::Operation>;
    fn gather_writer_status(&mut self) -> CallResult<Self::Operation>;
    fn get_writer_status_count(&mut self) -> CallResult<u32>;
    fn get_writer_status(&mut self, index: u32) -> CallResult<WriterStatus>;
    fn free_writer_status(&mut self) -> CallResult<()>;
    fn do_snapshot_set(&mut self) -> CallResult<Self::Operation>;
    fn get_snapshot_properties(&mut self, snapshot: Guid) -> CallResult<SnapshotProperties>;
    fn backup_complete(&mut self) -> CallResult<Self::Operation>;
    fn delete_snapshots(&mut self, set: Guid) -> CallResult<()>;
    fn abort_backup(&mut self) -> CallResult<()>;
}

/// An `IVssAsync`; dropping it is its `Release`.
pub(super) trait VssOperation {
    /// One of the `ASYNC_` codes, or the failure that ended it.
    fn query_status(&mut self) -> CallResult<Hresult>;
    fn cancel(&mut self) -> CallResult<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_its_own_name() {
        for (index, call) in VssCall::ALL.into_iter().enumerate() {
            assert_eq!(call as usize, index);
            assert!(VssCall::ALL[..index].iter().all(|other| other.name() != call.name()));
            assert_eq!(call.name(), format!("{call:?}"));
        }
    }

    /// The methods of `IVssBackupComponents` from slot 3, as g++ counts them in mingw's `vsbackup.h`.
    #[test]
    fn the_interface_is_declared_in_the_order_of_its_header() {
        let header = [
            "GetWriterComponentsCount",
            "GetWriterComponents",
            "InitializeForBackup",
            "SetBackupState",
            "InitializeForRestore",
            "SetRestoreState",
            "GatherWriterMetadata",
            "GetWriterMetadataCount",
            "GetWriterMetadata",
            "FreeWriterMetadata",
            "AddComponent",
            "PrepareForBackup",
            "AbortBackup",
            "GatherWriterStatus",
            "GetWriterStatusCount",
            "FreeWriterStatus",
            "GetWriterStatus",
            "SetBackupSucceeded",
            "SetBackupOptions",
            "SetSelectedForRestore",
            "SetRestoreOptions",
            "SetAdditionalRestores",
            "SetPreviousBackupStamp",
            "SaveAsXML",
            "BackupComplete",
            "AddAlternativeLocationMapping",
            "AddRestoreSubcomponent",
            "SetFileRestoreStatus",
            "AddNewTarget",
            "SetRangesFilePath",
            "PreRestore",
            "PostRestore",
            "SetContext",
            "StartSnapshotSet",
            "AddToSnapshotSet",
            "DoSnapshotSet",
            "DeleteSnapshots",
            "ImportSnapshots",
            "BreakSnapshotSet",
            "GetSnapshotProperties",
            "Query",
            "IsVolumeSupported",
            "DisableWriterClasses",
            "EnableWriterClasses",
            "DisableWriterInstances",
            "ExposeSnapshot",
            "RevertToSnapshot",
            "QueryRevertStatus",
        ];
        let declared: Vec<_> = include_str!("vss/interface.rs")
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("pub unsafe fn "))
            .map(|line| line.split('(').next().unwrap_or_default())
            .collect();
        assert_eq!(declared, header);
    }
}
