/* A test aid, which never ships: a vssapi.dll that makes no snapshots, and says so of nothing. Wine's own answers
 * E_NOTIMPL.
 *
 * The vtable is the compiler's, from mingw-w64's vsbackup.h, and so an independent check of the slots in
 * orchestrator/src/snapshots/vss/interface.rs. The n-th volume's snapshot is the device HarddiskVolumeShadowCopy<6+n>,
 * whose files the tests put below the link "globalroot" of Wine's dosdevices. Calls that come at the wrong time answer
 * VSS_E_BAD_STATE, as Windows' do.
 *
 *   FAKE_VSS_LOG=<file>              each call is appended, with its arguments
 *   FAKE_VSS_FAIL=<method>:<hex>     the method returns the code
 *   FAKE_VSS_END=<method>:<hex>      the method begins an operation that ends with the code
 *   FAKE_VSS_HANG=<method>           the method begins an operation that is pending until it is cancelled
 *   FAKE_VSS_PENDING=<count>         how often an operation says first that it is pending
 *   FAKE_VSS_WRITER=<hex>            the one writer failed at the freeze, with the code
 *   FAKE_VSS_UNSUPPORTED=<text>      volumes whose names contain it are not supported
 */
#include <windows.h>
#include <vss.h>
#include <vswriter.h>
#include <vsbackup.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

static void say(const char *format, ...)
{
    FILE *log = fopen(setting("FAKE_VSS_LOG"), "a");
    if (!log)
        return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(log, format, arguments);
    va_end(arguments);
    fputc('\n', log);
    fclose(log);
}

/* The code that a variable has for a method, or `otherwise`. */
static HRESULT code_of(const char *variable, const char *method, HRESULT otherwise)
{
    const char *value = setting(variable);
    size_t length = strlen(method);
    if (strncmp(value, method, length) != 0 || value[length] != ':')
        return otherwise;
    return (HRESULT)strtoul(value + length + 1, NULL, 16);
}

static GUID id(unsigned number)
{
    GUID guid = {number, 0, 0, {0}};
    return guid;
}

static WCHAR *allocated(const WCHAR *text)
{
    WCHAR *copy = (WCHAR *)CoTaskMemAlloc((wcslen(text) + 1) * sizeof *copy);
    return wcscpy(copy, text);
}

enum { SET = 0x100, SNAPSHOT = 0x200, MAX_VOLUMES = 64 };

struct Operation final : IVssAsync {
    LONG references = 1;
    const char *method;
    HRESULT end;
    long pending;

    explicit Operation(const char *method)
        : method(method), end(code_of("FAKE_VSS_END", method, VSS_S_ASYNC_FINISHED)),
          pending(strcmp(setting("FAKE_VSS_HANG"), method) == 0 ? -1 : atol(setting("FAKE_VSS_PENDING")))
    {
    }
    HRESULT STDMETHODCALLTYPE QueryInterface(REFIID, void **) override { return E_NOINTERFACE; }
    ULONG STDMETHODCALLTYPE AddRef() override { return ++references; }
    ULONG STDMETHODCALLTYPE Release() override
    {
        ULONG left = --references;
        if (left == 0) {
            say("Release of %s", method);
            delete this;
        }
        return left;
    }
    HRESULT STDMETHODCALLTYPE Cancel() override
    {
        say("Cancel of %s", method);
        pending = 0;
        end = VSS_S_ASYNC_CANCELLED;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE Wait(DWORD) override { return E_NOTIMPL; }
    HRESULT STDMETHODCALLTYPE QueryStatus(HRESULT *status, INT *reserved) override
    {
        if (reserved)
            return E_INVALIDARG;
        *status = pending ? VSS_S_ASYNC_PENDING : end;
        if (pending > 0)
            pending--;
        return S_OK;
    }
};

/* Logs the call, and returns what was ordered for it. */
#define CALL(name, ...)                                                     \
    do {                                                                    \
        say(#name __VA_ARGS__);                                             \
        if (GetCurrentThreadId() != thread)                                 \
            return RPC_E_WRONG_THREAD;                                      \
        HRESULT ordered = code_of("FAKE_VSS_FAIL", #name, S_OK);            \
        if (ordered != S_OK)                                                \
            return ordered;                                                 \
    } while (0)
/* Whether the call comes at its time. */
#define NEEDS(condition)                                                    \
    do {                                                                    \
        if (!(condition))                                                   \
            return VSS_E_BAD_STATE;                                         \
    } while (0)
#define UNUSED(name, ...)                                                   \
    HRESULT STDMETHODCALLTYPE name(__VA_ARGS__) override                    \
    {                                                                       \
        say(#name ": not of a backup");                                     \
        return E_NOTIMPL;                                                   \
    }

struct Components final : IVssBackupComponents {
    LONG references = 1;
    DWORD thread = GetCurrentThreadId();
    bool initialized = false, context = false, state = false, metadata = false, started = false, prepared = false,
         made = false, status = false;
    unsigned volumes = 0;
    WCHAR names[MAX_VOLUMES][64];

    HRESULT STDMETHODCALLTYPE QueryInterface(REFIID, void **) override { return E_NOINTERFACE; }
    ULONG STDMETHODCALLTYPE AddRef() override { return ++references; }
    ULONG STDMETHODCALLTYPE Release() override
    {
        ULONG left = --references;
        if (left == 0) {
            say("Release");
            delete this;
        }
        return left;
    }
    HRESULT STDMETHODCALLTYPE InitializeForBackup(BSTR xml) override
    {
        CALL(InitializeForBackup);
        NEEDS(!initialized);
        initialized = true;
        return xml ? E_INVALIDARG : S_OK;
    }
    HRESULT STDMETHODCALLTYPE SetContext(LONG value) override
    {
        CALL(SetContext, " %ld", value);
        NEEDS(initialized && !context);
        context = true;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE SetBackupState(boolean components, boolean bootable, VSS_BACKUP_TYPE type,
                                             boolean partial) override
    {
        CALL(SetBackupState, " %d %d %d %d", components, bootable, type, partial);
        NEEDS(initialized);
        state = true;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE IsVolumeSupported(VSS_ID provider, VSS_PWSZ volume, WINBOOL *supported) override
    {
        CALL(IsVolumeSupported, " %ls provider %lx", volume, provider.Data1);
        NEEDS(initialized);
        WCHAR refused[64];
        mbstowcs(refused, setting("FAKE_VSS_UNSUPPORTED"), 64);
        *supported = !*refused || !wcsstr(volume, refused);
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE GatherWriterMetadata(IVssAsync **operation) override
    {
        CALL(GatherWriterMetadata);
        NEEDS(context && state);
        metadata = true;
        *operation = new Operation("GatherWriterMetadata");
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE StartSnapshotSet(VSS_ID *set) override
    {
        CALL(StartSnapshotSet);
        NEEDS(metadata && !started);
        started = true;
        *set = id(SET);
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE AddToSnapshotSet(VSS_PWSZ volume, VSS_ID provider, VSS_ID *snapshot) override
    {
        CALL(AddToSnapshotSet, " %ls provider %lx", volume, provider.Data1);
        NEEDS(started && !prepared && volumes < MAX_VOLUMES);
        size_t length = wcslen(volume);
        if (length == 0 || length > 63 || volume[length - 1] != L'\\')
            return VSS_E_OBJECT_NOT_FOUND;
        wcscpy(names[volumes], volume);
        *snapshot = id(SNAPSHOT + volumes++);
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE PrepareForBackup(IVssAsync **operation) override
    {
        CALL(PrepareForBackup);
        NEEDS(volumes);
        prepared = true;
        *operation = new Operation("PrepareForBackup");
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE GatherWriterStatus(IVssAsync **operation) override
    {
        CALL(GatherWriterStatus);
        NEEDS(prepared && !status);
        status = true;
        *operation = new Operation("GatherWriterStatus");
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE GetWriterStatusCount(UINT *count) override
    {
        CALL(GetWriterStatusCount);
        NEEDS(status);
        *count = 1;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE GetWriterStatus(UINT index, VSS_ID *instance, VSS_ID *writer, BSTR *name,
                                              VSS_WRITER_STATE *writer_state, HRESULT *failure) override
    {
        CALL(GetWriterStatus, " %u", index);
        NEEDS(status && index == 0);
        const char *failed = setting("FAKE_VSS_WRITER");
        *instance = id(1);
        *writer = id(2);
        *name = SysAllocString(L"Fake Writer");
        *writer_state = *failed ? VSS_WS_FAILED_AT_FREEZE : VSS_WS_STABLE;
        *failure = (HRESULT)strtoul(failed, NULL, 16);
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE FreeWriterStatus() override
    {
        CALL(FreeWriterStatus);
        status = false;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE DoSnapshotSet(IVssAsync **operation) override
    {
        CALL(DoSnapshotSet);
        NEEDS(prepared && !made);
        made = true;
        *operation = new Operation("DoSnapshotSet");
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE GetSnapshotProperties(VSS_ID snapshot, VSS_SNAPSHOT_PROP *properties) override
    {
        CALL(GetSnapshotProperties, " %lx", snapshot.Data1);
        unsigned index = snapshot.Data1 - SNAPSHOT;
        if (!made || index >= volumes)
            return VSS_E_OBJECT_NOT_FOUND;
        WCHAR device[64];
        _snwprintf(device, 64, L"\\\\?\\GLOBALROOT\\Device\\HarddiskVolumeShadowCopy%u", 7 + index);
        memset(properties, 0, sizeof *properties);
        properties->m_SnapshotId = snapshot;
        properties->m_SnapshotSetId = id(SET);
        properties->m_lSnapshotsCount = volumes;
        properties->m_pwszSnapshotDeviceObject = allocated(device);
        properties->m_pwszOriginalVolumeName = allocated(names[index]);
        properties->m_eStatus = VSS_SS_CREATED;
        /* 2026-01-01. */
        properties->m_tsCreationTimestamp = 134116992000000000;
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE BackupComplete(IVssAsync **operation) override
    {
        CALL(BackupComplete);
        NEEDS(made);
        *operation = new Operation("BackupComplete");
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE DeleteSnapshots(VSS_ID source, VSS_OBJECT_TYPE type, WINBOOL force, LONG *deleted,
                                              VSS_ID *left) override
    {
        CALL(DeleteSnapshots, " %lx type %d force %d", source.Data1, type, force);
        if (!made || source.Data1 != SET || type != VSS_OBJECT_SNAPSHOT_SET)
            return VSS_E_OBJECT_NOT_FOUND;
        made = false;
        *deleted = volumes;
        *left = id(0);
        return S_OK;
    }
    HRESULT STDMETHODCALLTYPE AbortBackup() override
    {
        CALL(AbortBackup);
        NEEDS(initialized);
        return S_OK;
    }

    UNUSED(GetWriterComponentsCount, UINT *)
    UNUSED(GetWriterComponents, UINT, IVssWriterComponentsExt **)
    UNUSED(InitializeForRestore, BSTR)
    UNUSED(SetRestoreState, VSS_RESTORE_TYPE)
    UNUSED(GetWriterMetadataCount, UINT *)
    UNUSED(GetWriterMetadata, UINT, VSS_ID *, IVssExamineWriterMetadata **)
    UNUSED(FreeWriterMetadata)
    UNUSED(AddComponent, VSS_ID, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR)
    UNUSED(SetBackupSucceeded, VSS_ID, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, boolean)
    UNUSED(SetBackupOptions, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, LPCWSTR)
    UNUSED(SetSelectedForRestore, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, boolean)
    UNUSED(SetRestoreOptions, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, LPCWSTR)
    UNUSED(SetAdditionalRestores, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, boolean)
    UNUSED(SetPreviousBackupStamp, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, LPCWSTR)
    UNUSED(SaveAsXML, BSTR *)
    UNUSED(AddAlternativeLocationMapping, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, LPCWSTR, LPCWSTR, boolean,
           LPCWSTR)
    UNUSED(AddRestoreSubcomponent, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, LPCWSTR, LPCWSTR, boolean)
    UNUSED(SetFileRestoreStatus, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, VSS_FILE_RESTORE_STATUS)
    UNUSED(AddNewTarget, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, LPCWSTR, LPCWSTR, boolean, LPCWSTR)
    UNUSED(SetRangesFilePath, VSS_ID, VSS_COMPONENT_TYPE, LPCWSTR, LPCWSTR, UINT, LPCWSTR)
    UNUSED(PreRestore, IVssAsync **)
    UNUSED(PostRestore, IVssAsync **)
    UNUSED(ImportSnapshots, IVssAsync **)
    UNUSED(BreakSnapshotSet, VSS_ID)
    UNUSED(Query, VSS_ID, VSS_OBJECT_TYPE, VSS_OBJECT_TYPE, IVssEnumObject **)
    UNUSED(DisableWriterClasses, const VSS_ID *, UINT)
    UNUSED(EnableWriterClasses, const VSS_ID *, UINT)
    UNUSED(DisableWriterInstances, const VSS_ID *, UINT)
    UNUSED(ExposeSnapshot, VSS_ID, VSS_PWSZ, LONG, VSS_PWSZ, VSS_PWSZ *)
    UNUSED(RevertToSnapshot, VSS_ID, WINBOOL)
    UNUSED(QueryRevertStatus, VSS_PWSZ, IVssAsync **)
};

extern "C" __declspec(dllexport) HRESULT WINAPI CreateVssBackupComponentsInternal(IVssBackupComponents **components)
{
    APTTYPE apartment = APTTYPE_STA;
    APTTYPEQUALIFIER qualifier;
    CoGetApartmentType(&apartment, &qualifier);
    say("CreateVssBackupComponents in the %s apartment", apartment == APTTYPE_MTA ? "multithreaded" : "wrong");
    HRESULT ordered = code_of("FAKE_VSS_FAIL", "CreateVssBackupComponents", S_OK);
    if (ordered == S_OK)
        *components = new Components;
    return ordered;
}

extern "C" __declspec(dllexport) void WINAPI VssFreeSnapshotPropertiesInternal(VSS_SNAPSHOT_PROP *properties)
{
    say("VssFreeSnapshotProperties %lx", properties->m_SnapshotId.Data1);
    CoTaskMemFree(properties->m_pwszSnapshotDeviceObject);
    CoTaskMemFree(properties->m_pwszOriginalVolumeName);
}
