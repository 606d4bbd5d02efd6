//! The calls of VSS, made.
//!
//! All interfaces live and die on the thread that opened them. Whatever VSS allocates is freed on every way out.

use windows::Win32::Foundation::E_POINTER;
use windows::Win32::Storage::Vss::{
    IVssAsync, VSS_BT_COPY, VSS_CTX_BACKUP, VSS_OBJECT_SNAPSHOT_SET, VSS_SNAPSHOT_PROP, VSS_WS_UNKNOWN,
};
use windows::Win32::System::LibraryLoader::{GetProcAddress, LOAD_LIBRARY_SEARCH_SYSTEM32, LoadLibraryExW};
use windows::core::{BOOL, BSTR, GUID, HRESULT, HSTRING, PCWSTR, s, w};

use super::apartment::Apartment;
use super::interface::IVssBackupComponents;
use crate::snapshots::calls::{CallResult, SnapshotProperties, VssCall, VssCalls, VssOperation};
use crate::snapshots::error::SnapshotError;
use crate::snapshots::guid::Guid;
use crate::snapshots::hresult::Hresult;
use crate::snapshots::writers::WriterStatus;

/// From `CreateVssBackupComponentsInternal`.
type Create = unsafe extern "system" fn(*mut Option<IVssBackupComponents>) -> HRESULT;
/// From `VssFreeSnapshotPropertiesInternal`.
type FreeProperties = unsafe extern "system" fn(*mut VSS_SNAPSHOT_PROP);

/// No snapshot provider in particular: Windows takes the one that fits the volume.
const ANY_PROVIDER: GUID = GUID::zeroed();

/// What is used of `vssapi.dll`. Containers and recovery systems have none, so it is not linked: the program would not
/// start there.
#[derive(Clone, Copy)]
struct Library {
    create: Create,
    free_properties: FreeProperties,
}

impl Library {
    #[expect(unsafe_code)]
    fn load() -> Result<Self, SnapshotError> {
        const REASON: &str = "this Windows has no vssapi.dll, and so no Volume Shadow Copy Service";
        let missing = SnapshotError::Unsupported { reason: REASON };
        // SAFETY: the name is a NUL-terminated constant, and only Windows' own folder is searched, so no DLL beside
        // the program is run. The library is never unloaded, so its functions stay valid. Their types are those of
        // vsbackup.h; `Option` of an interface is a pointer that may be null.
        unsafe {
            let library = LoadLibraryExW(w!("vssapi.dll"), None, LOAD_LIBRARY_SEARCH_SYSTEM32);
            let library = library.map_err(|_| missing.clone())?;
            let create = GetProcAddress(library, s!("CreateVssBackupComponentsInternal"));
            let free = GetProcAddress(library, s!("VssFreeSnapshotPropertiesInternal"));
            let (Some(create), Some(free)) = (create, free) else { return Err(missing) };
            type Untyped = unsafe extern "system" fn() -> isize;
            Ok(Self {
                create: std::mem::transmute::<Untyped, Create>(create),
                free_properties: std::mem::transmute::<Untyped, FreeProperties>(free),
            })
        }
    }
}

/// The real calls, in COM's multithreaded apartment.
pub(super) struct Components {
    /// Released before the apartment is left: fields are dropped in this order.
    components: IVssBackupComponents,
    library: Library,
    _apartment: Apartment,
}

impl Components {
    /// Call it on a thread of its own.
    #[expect(unsafe_code)]
    pub(super) fn open(on_call: &dyn Fn(VssCall)) -> Result<Self, SnapshotError> {
        on_call(VssCall::EnterCom);
        let library = Library::load()?;
        let failed = |call| move |error: windows::core::Error| SnapshotError::call(call, code(error.code()));
        let apartment = Apartment::enter().map_err(failed(VssCall::EnterCom))?;
        let call = VssCall::CreateVssBackupComponents;
        on_call(call);
        let mut components = None;
        // SAFETY: the thread is in an apartment; the pointer is to a null interface that outlives the call, which sets
        // it with one reference or leaves it.
        let created = unsafe { (library.create)(&mut components) };
        let components = required(created, components).map_err(|code| SnapshotError::call(call, code))?;
        Ok(Self { components, library, _apartment: apartment })
    }
}

fn code(result: HRESULT) -> Hresult {
    Hresult(result.0.cast_unsigned())
}

/// Successes other than `S_OK` are successes.
fn checked(result: HRESULT) -> CallResult<()> {
    if result.is_err() { Err(code(result)) } else { Ok(()) }
}

/// What a call that succeeded must have set.
fn required<T>(result: HRESULT, value: Option<T>) -> CallResult<T> {
    checked(result)?;
    value.ok_or(code(E_POINTER))
}

impl VssCalls for Components {
    type Operation = Operation;

    #[expect(unsafe_code)]
    fn initialize_for_backup(&mut self) -> CallResult<()> {
        // SAFETY: null is documented: no document of an earlier backup.
        checked(unsafe { self.components.InitializeForBackup(std::ptr::null()) })
    }

    #[expect(unsafe_code)]
    fn set_context(&mut self) -> CallResult<()> {
        // SAFETY: no pointer is passed.
        checked(unsafe { self.components.SetContext(VSS_CTX_BACKUP.0) })
    }

    #[expect(unsafe_code)]
    fn set_backup_state(&mut self) -> CallResult<()> {
        // SAFETY: no pointer is passed; Rust's `bool` is one byte of 0 or 1, as C++'s.
        checked(unsafe { self.components.SetBackupState(false, false, VSS_BT_COPY, false) })
    }

    #[expect(unsafe_code)]
    fn is_volume_supported(&mut self, volume: &str) -> CallResult<bool> {
        let (volume, mut supported) = (HSTRING::from(volume), BOOL(0));
        // SAFETY: the string is NUL-terminated, and both outlive the call, which keeps neither.
        let result = unsafe {
            self.components.IsVolumeSupported(ANY_PROVIDER, PCWSTR(volume.as_ptr()), &mut supported)
        };
        checked(result).map(|()| supported.as_bool())
    }

    #[expect(unsafe_code)]
    fn gather_writer_metadata(&mut self) -> CallResult<Operation> {
        // SAFETY: `begin` passes a pointer to a null interface that outlives the call.
        Operation::begin(|operation| unsafe { self.components.GatherWriterMetadata(operation) })
    }

    #[expect(unsafe_code)]
    fn start_snapshot_set(&mut self) -> CallResult<Guid> {
        let mut set = GUID::zeroed();
        // SAFETY: the id outlives the call.
        checked(unsafe { self.components.StartSnapshotSet(&mut set) }).map(|()| Guid(set.to_u128()))
    }

    #[expect(unsafe_code)]
    fn add_to_snapshot_set(&mut self, volume: &str) -> CallResult<Guid> {
        let (volume, mut snapshot) = (HSTRING::from(volume), GUID::zeroed());
        // SAFETY: the string is NUL-terminated and not written to, though VSS_PWSZ is not const; both outlive the call.
        let result =
            unsafe { self.components.AddToSnapshotSet(PCWSTR(volume.as_ptr()), ANY_PROVIDER, &mut snapshot) };
        checked(result).map(|()| Guid(snapshot.to_u128()))
    }

    #[expect(unsafe_code)]
    fn prepare_for_backup(&mut self) -> CallResult<Operation> {
        // SAFETY: as in `gather_writer_metadata`.
        Operation::begin(|operation| unsafe { self.components.PrepareForBackup(operation) })
    }

    #[expect(unsafe_code)]
    fn gather_writer_status(&mut self) -> CallResult<Operation> {
        // SAFETY: as in `gather_writer_metadata`.
        Operation::begin(|operation| unsafe { self.components.GatherWriterStatus(operation) })
    }

    #[expect(unsafe_code)]
    fn get_writer_status_count(&mut self) -> CallResult<u32> {
        let mut count = 0;
        // SAFETY: the count outlives the call.
        checked(unsafe { self.components.GetWriterStatusCount(&mut count) }).map(|()| count)
    }

    #[expect(unsafe_code)]
    fn get_writer_status(&mut self, index: u32) -> CallResult<WriterStatus> {
        let (mut instance, mut class) = (GUID::zeroed(), GUID::zeroed());
        let (mut name, mut state, mut failure) = (BSTR::new(), VSS_WS_UNKNOWN, HRESULT(0));
        // SAFETY: all five outlive the call. The name is a null BSTR before it; what the call allocates there is freed
        // when the name is dropped.
        let result = unsafe {
            self.components.GetWriterStatus(
                index,
                &mut instance,
                &mut class,
                &mut name,
                &mut state,
                &mut failure,
            )
        };
        checked(result)?;
        Ok(WriterStatus { name: name.to_string(), state: state.0.cast_unsigned(), failure: code(failure) })
    }

    #[expect(unsafe_code)]
    fn free_writer_status(&mut self) -> CallResult<()> {
        // SAFETY: no pointer is passed, and none to the status is kept.
        checked(unsafe { self.components.FreeWriterStatus() })
    }

    #[expect(unsafe_code)]
    fn do_snapshot_set(&mut self) -> CallResult<Operation> {
        // SAFETY: as in `gather_writer_metadata`.
        Operation::begin(|operation| unsafe { self.components.DoSnapshotSet(operation) })
    }

    #[expect(unsafe_code)]
    fn get_snapshot_properties(&mut self, snapshot: Guid) -> CallResult<SnapshotProperties> {
        let mut properties =
            Properties { properties: VSS_SNAPSHOT_PROP::default(), free: self.library.free_properties };
        // SAFETY: the structure is zeroed, has the layout of vss.h, and outlives the call.
        checked(unsafe {
            self.components.GetSnapshotProperties(GUID::from_u128(snapshot.0), &mut properties.properties)
        })?;
        let created = properties.properties.m_tsCreationTimestamp;
        let device = properties.device().ok_or(code(E_POINTER))?;
        Ok(SnapshotProperties { device, created })
    }

    #[expect(unsafe_code)]
    fn backup_complete(&mut self) -> CallResult<Operation> {
        // SAFETY: as in `gather_writer_metadata`.
        Operation::begin(|operation| unsafe { self.components.BackupComplete(operation) })
    }

    #[expect(unsafe_code)]
    fn delete_snapshots(&mut self, set: Guid) -> CallResult<()> {
        let (mut deleted, mut left) = (0, GUID::zeroed());
        // SAFETY: the count and the id outlive the call.
        checked(unsafe {
            self.components.DeleteSnapshots(
                GUID::from_u128(set.0),
                VSS_OBJECT_SNAPSHOT_SET,
                BOOL(1),
                &mut deleted,
                &mut left,
            )
        })
    }

    #[expect(unsafe_code)]
    fn abort_backup(&mut self) -> CallResult<()> {
        // SAFETY: no pointer is passed.
        checked(unsafe { self.components.AbortBackup() })
    }
}

/// The properties of a snapshot, with the strings that VSS allocates for them.
struct Properties {
    properties: VSS_SNAPSHOT_PROP,
    free: FreeProperties,
}

impl Properties {
    #[expect(unsafe_code)]
    fn device(&self) -> Option<String> {
        let device = PCWSTR(self.properties.m_pwszSnapshotDeviceObject.cast_const());
        if device.is_null() {
            return None;
        }
        // SAFETY: it is not null, and VSS has set it to a NUL-terminated string that is freed by the drop of `self`.
        unsafe { device.to_string() }.ok().filter(|device| !device.is_empty())
    }
}

impl Drop for Properties {
    #[expect(unsafe_code)]
    fn drop(&mut self) {
        // The call that fails leaves the strings null, and the function is not documented to take those.
        if self.properties.m_pwszSnapshotDeviceObject.is_null() {
            return;
        }
        // SAFETY: the structure was filled by GetSnapshotProperties, and is freed once: this is its only owner.
        unsafe { (self.free)(&mut self.properties) }
    }
}

/// An operation of VSS that was begun.
pub(super) struct Operation(IVssAsync);

impl Operation {
    fn begin(call: impl FnOnce(*mut Option<IVssAsync>) -> HRESULT) -> CallResult<Self> {
        let mut operation = None;
        let result = call(&mut operation);
        required(result, operation).map(Self)
    }
}

impl VssOperation for Operation {
    /// The code in the answer is a success also while the operation is pending, so it is read as it is.
    #[expect(unsafe_code)]
    fn query_status(&mut self) -> CallResult<Hresult> {
        let mut status = HRESULT(0);
        // SAFETY: the code outlives the call; the second parameter is reserved, and must be null.
        let asked = unsafe { self.0.QueryStatus(&mut status, std::ptr::null_mut()) };
        asked.map(|()| code(status)).map_err(|error| code(error.code()))
    }

    #[expect(unsafe_code)]
    fn cancel(&mut self) -> CallResult<()> {
        // SAFETY: no pointer is passed.
        unsafe { self.0.Cancel() }.map_err(|error| code(error.code()))
    }
}

// An interface is one pointer, and `Option` of it is one that may be null: what the calls fill.
const _: () = assert!(size_of::<Option<IVssBackupComponents>>() == size_of::<*mut u8>());
const _: () = assert!(size_of::<Option<IVssAsync>>() == size_of::<*mut u8>());
