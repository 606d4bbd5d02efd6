//! `IVssBackupComponents`, which no metadata of the `windows` 0.62 family has.
//!
//! The order of the methods is the vtable: slot 3 is the first after `IUnknown`'s three. It is that of `vsbackup.h`, as
//! mingw-w64's and Microsoft's SDK have it; the test below holds it, and so does the fake `vssapi.dll` of the tests,
//! whose vtable a C++ compiler makes from mingw's header. C++'s `bool` is one byte, as Rust's; `BOOL` is four. All
//! methods are declared, because each holds its place; what a backup does not call is not called.

#![allow(non_snake_case)]
#![allow(clippy::too_many_arguments)]

use core::ffi::c_void;

use windows::Win32::Storage::Vss::{
    IVssAsync, IVssEnumObject, VSS_BACKUP_TYPE, VSS_COMPONENT_TYPE, VSS_FILE_RESTORE_STATUS, VSS_OBJECT_TYPE,
    VSS_RESTORE_TYPE, VSS_SNAPSHOT_PROP, VSS_WRITER_STATE,
};
use windows_core::{BOOL, BSTR, GUID, HRESULT, IUnknown, IUnknown_Vtbl, PCWSTR, interface};

#[interface("665c1d5f-c218-414d-a05d-7fef5f9d5c86")]
pub(super) unsafe trait IVssBackupComponents: IUnknown {
    pub unsafe fn GetWriterComponentsCount(&self, pc_components: *mut u32) -> HRESULT;
    pub unsafe fn GetWriterComponents(&self, i_writer: u32, pp_writer: *mut *mut c_void) -> HRESULT;
    pub unsafe fn InitializeForBackup(&self, xml: *const u16) -> HRESULT;
    pub unsafe fn SetBackupState(
        &self,
        b_select_components: bool,
        b_backup_bootable_system_state: bool,
        backup_type: VSS_BACKUP_TYPE,
        b_partial_file_support: bool,
    ) -> HRESULT;
    pub unsafe fn InitializeForRestore(&self, xml: *const u16) -> HRESULT;
    pub unsafe fn SetRestoreState(&self, restore_type: VSS_RESTORE_TYPE) -> HRESULT;
    pub unsafe fn GatherWriterMetadata(&self, p_async: *mut Option<IVssAsync>) -> HRESULT;
    pub unsafe fn GetWriterMetadataCount(&self, pc_writers: *mut u32) -> HRESULT;
    pub unsafe fn GetWriterMetadata(
        &self,
        i_writer: u32,
        pid_instance: *mut GUID,
        pp_metadata: *mut *mut c_void,
    ) -> HRESULT;
    pub unsafe fn FreeWriterMetadata(&self) -> HRESULT;
    pub unsafe fn AddComponent(
        &self,
        instance_id: GUID,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
    ) -> HRESULT;
    pub unsafe fn PrepareForBackup(&self, pp_async: *mut Option<IVssAsync>) -> HRESULT;
    pub unsafe fn AbortBackup(&self) -> HRESULT;
    pub unsafe fn GatherWriterStatus(&self, p_async: *mut Option<IVssAsync>) -> HRESULT;
    pub unsafe fn GetWriterStatusCount(&self, pc_writers: *mut u32) -> HRESULT;
    pub unsafe fn FreeWriterStatus(&self) -> HRESULT;
    pub unsafe fn GetWriterStatus(
        &self,
        i_writer: u32,
        pid_instance: *mut GUID,
        pid_writer: *mut GUID,
        pbstr_writer: *mut BSTR,
        pn_status: *mut VSS_WRITER_STATE,
        ph_result_failure: *mut HRESULT,
    ) -> HRESULT;
    pub unsafe fn SetBackupSucceeded(
        &self,
        instance_id: GUID,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        b_succeded: bool,
    ) -> HRESULT;
    pub unsafe fn SetBackupOptions(
        &self,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        wsz_backup_options: PCWSTR,
    ) -> HRESULT;
    pub unsafe fn SetSelectedForRestore(
        &self,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        b_selected_for_restore: bool,
    ) -> HRESULT;
    pub unsafe fn SetRestoreOptions(
        &self,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        wsz_restore_options: PCWSTR,
    ) -> HRESULT;
    pub unsafe fn SetAdditionalRestores(
        &self,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        b_additional_restores: bool,
    ) -> HRESULT;
    pub unsafe fn SetPreviousBackupStamp(
        &self,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        wsz_previous_backup_stamp: PCWSTR,
    ) -> HRESULT;
    pub unsafe fn SaveAsXML(&self, pxml: *mut BSTR) -> HRESULT;
    pub unsafe fn BackupComplete(&self, pp_async: *mut Option<IVssAsync>) -> HRESULT;
    pub unsafe fn AddAlternativeLocationMapping(
        &self,
        writer_id: GUID,
        component_type: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        wsz_path: PCWSTR,
        wsz_filespec: PCWSTR,
        b_recursive: bool,
        wsz_destination: PCWSTR,
    ) -> HRESULT;
    pub unsafe fn AddRestoreSubcomponent(
        &self,
        writer_id: GUID,
        component_type: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        wsz_sub_component_logical_path: PCWSTR,
        wsz_sub_component_name: PCWSTR,
        b_repair: bool,
    ) -> HRESULT;
    pub unsafe fn SetFileRestoreStatus(
        &self,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        status: VSS_FILE_RESTORE_STATUS,
    ) -> HRESULT;
    pub unsafe fn AddNewTarget(
        &self,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        wsz_path: PCWSTR,
        wsz_file_name: PCWSTR,
        b_recursive: bool,
        wsz_alternate_path: PCWSTR,
    ) -> HRESULT;
    pub unsafe fn SetRangesFilePath(
        &self,
        writer_id: GUID,
        ct: VSS_COMPONENT_TYPE,
        wsz_logical_path: PCWSTR,
        wsz_component_name: PCWSTR,
        i_partial_file: u32,
        wsz_ranges_file: PCWSTR,
    ) -> HRESULT;
    pub unsafe fn PreRestore(&self, pp_async: *mut Option<IVssAsync>) -> HRESULT;
    pub unsafe fn PostRestore(&self, pp_async: *mut Option<IVssAsync>) -> HRESULT;
    pub unsafe fn SetContext(&self, l_context: i32) -> HRESULT;
    pub unsafe fn StartSnapshotSet(&self, p_snapshot_set_id: *mut GUID) -> HRESULT;
    pub unsafe fn AddToSnapshotSet(
        &self,
        pwsz_volume_name: PCWSTR,
        provider_id: GUID,
        pid_snapshot: *mut GUID,
    ) -> HRESULT;
    pub unsafe fn DoSnapshotSet(&self, pp_async: *mut Option<IVssAsync>) -> HRESULT;
    pub unsafe fn DeleteSnapshots(
        &self,
        source_object_id: GUID,
        e_source_object_type: VSS_OBJECT_TYPE,
        b_force_delete: BOOL,
        pl_deleted_snapshots: *mut i32,
        p_nondeleted_snapshot_i_d: *mut GUID,
    ) -> HRESULT;
    pub unsafe fn ImportSnapshots(&self, pp_async: *mut Option<IVssAsync>) -> HRESULT;
    pub unsafe fn BreakSnapshotSet(&self, snapshot_set_id: GUID) -> HRESULT;
    pub unsafe fn GetSnapshotProperties(&self, snapshot_id: GUID, p_prop: *mut VSS_SNAPSHOT_PROP) -> HRESULT;
    pub unsafe fn Query(
        &self,
        queried_object_id: GUID,
        e_queried_object_type: VSS_OBJECT_TYPE,
        e_returned_objects_type: VSS_OBJECT_TYPE,
        pp_enum: *mut Option<IVssEnumObject>,
    ) -> HRESULT;
    pub unsafe fn IsVolumeSupported(
        &self,
        provider_id: GUID,
        pwsz_volume_name: PCWSTR,
        pb_supported_by_this_provider: *mut BOOL,
    ) -> HRESULT;
    pub unsafe fn DisableWriterClasses(&self, rg_writer_class_id: *const GUID, c_class_id: u32) -> HRESULT;
    pub unsafe fn EnableWriterClasses(&self, rg_writer_class_id: *const GUID, c_class_id: u32) -> HRESULT;
    pub unsafe fn DisableWriterInstances(
        &self,
        rg_writer_instance_id: *const GUID,
        c_instance_id: u32,
    ) -> HRESULT;
    pub unsafe fn ExposeSnapshot(
        &self,
        snapshot_id: GUID,
        wsz_path_from_root: PCWSTR,
        l_attributes: i32,
        wsz_expose: PCWSTR,
        pwsz_exposed: *mut *mut u16,
    ) -> HRESULT;
    pub unsafe fn RevertToSnapshot(&self, snapshot_id: GUID, b_force_dismount: BOOL) -> HRESULT;
    pub unsafe fn QueryRevertStatus(&self, pwsz_volume: PCWSTR, pp_async: *mut Option<IVssAsync>) -> HRESULT;
}

#[cfg(test)]
mod tests {
    use core::mem::{offset_of, size_of};

    use super::*;

    /// Slots that a backup calls, counted by g++ from mingw's `vsbackup.h`.
    macro_rules! assert_slots {
        ($($slot:literal $method:ident)*) => {
            $(assert_eq!(
                offset_of!(IVssBackupComponents_Vtbl, $method),
                $slot * size_of::<usize>(),
                stringify!($method)
            );)*
        };
    }

    #[test]
    fn slots_are_those_of_the_header() {
        assert_slots! {
            3 GetWriterComponentsCount
            5 InitializeForBackup
            6 SetBackupState
            9 GatherWriterMetadata
            14 PrepareForBackup
            15 AbortBackup
            16 GatherWriterStatus
            17 GetWriterStatusCount
            18 FreeWriterStatus
            19 GetWriterStatus
            27 BackupComplete
            35 SetContext
            36 StartSnapshotSet
            37 AddToSnapshotSet
            38 DoSnapshotSet
            39 DeleteSnapshots
            42 GetSnapshotProperties
            44 IsVolumeSupported
            50 QueryRevertStatus
        }
        assert_eq!(size_of::<IVssBackupComponents_Vtbl>(), 51 * size_of::<usize>());
    }

    #[test]
    fn structures_are_laid_out_as_the_header_has_them() {
        assert_eq!(size_of::<VSS_SNAPSHOT_PROP>(), 128);
        assert_eq!(offset_of!(VSS_SNAPSHOT_PROP, m_pwszSnapshotDeviceObject), 40);
        assert_eq!(offset_of!(VSS_SNAPSHOT_PROP, m_tsCreationTimestamp), 112);
        assert_eq!(size_of::<bool>(), 1);
        assert_eq!(size_of::<BOOL>(), 4);
    }
}
