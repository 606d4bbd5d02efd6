//! Task Scheduler's COM interfaces.
//!
//! COM is entered on a thread of its own, in the multithreaded apartment, and left when the work is done: the caller's
//! thread may be in another apartment, or in none.

use chrono::{Local, NaiveDate, TimeZone};
use intellistor_storage::catalog::layout::is_policy_id;
use windows::Win32::System::Com::{
    CLSCTX_INPROC_SERVER, COINIT_MULTITHREADED, CoCreateInstance, CoInitializeEx, CoUninitialize,
};
use windows::Win32::System::TaskScheduler::{
    IRegisteredTask, IRunningTask, ITaskFolder, ITaskService, TASK_CREATE_OR_UPDATE, TASK_ENUM_HIDDEN,
    TASK_LOGON_PASSWORD, TASK_LOGON_S4U, TASK_LOGON_SERVICE_ACCOUNT, TASK_STATE_DISABLED, TASK_STATE_QUEUED,
    TASK_STATE_RUNNING, TaskScheduler,
};
use windows::Win32::System::Variant::VARIANT;
use windows::core::BSTR;

use super::logon::Logon;
use super::task_xml::{TASK_PREFIX, cron_of};
use super::windows_error::windows_error;
use crate::cron::Cron;
use crate::schedule::entry::{BackendKind, ScheduleEntry, utc};
use crate::schedule::error::Result;
use crate::schedule::spec::RunAs;

/// All users may read a task (its status, not its log); SYSTEM and administrators may change it.
const TASK_ACCESS: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;BU)";
/// SCHED_S_TASK_HAS_NOT_RUN and SCHED_S_TASK_RUNNING: no result yet.
const NO_RESULT: [i32; 2] = [0x0004_1303, 0x0004_1301];

/// COM on this thread, until it is dropped.
struct Apartment;

impl Apartment {
    #[expect(unsafe_code)]
    fn enter() -> windows::core::Result<Self> {
        // SAFETY: no pointer is passed. The thread is new, so no other apartment was chosen for it before, and the
        // call is balanced by exactly one CoUninitialize, on the same thread, for the value is not Send by its use.
        unsafe { CoInitializeEx(None, COINIT_MULTITHREADED) }.ok()?;
        Ok(Self)
    }
}

impl Drop for Apartment {
    #[expect(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: it balances the CoInitializeEx that succeeded in `enter`; every interface was released before,
        // because locals are dropped in reverse order and the apartment is the first.
        unsafe { CoUninitialize() }
    }
}

/// Calls `work` with the root folder of tasks, on a thread of its own that has entered COM.
pub(super) fn with_folder<T: Send>(work: impl FnOnce(&ITaskFolder) -> Result<T> + Send) -> Result<T> {
    let on_thread = move || {
        let apartment = Apartment::enter();
        let _apartment = apartment.map_err(|error| windows_error("enter COM", &error))?;
        let folder = connect().map_err(|error| windows_error("reach Task Scheduler", &error))?;
        work(&folder)
    };
    std::thread::scope(|scope| match scope.spawn(on_thread).join() {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

#[expect(unsafe_code)]
fn connect() -> windows::core::Result<ITaskFolder> {
    let local = VARIANT::default();
    // SAFETY: this thread is in an apartment (`with_folder`); the class and the interface belong together; the empty
    // variants mean this computer and this account, and outlive the call.
    unsafe {
        let service: ITaskService = CoCreateInstance(&TaskScheduler, None, CLSCTX_INPROC_SERVER)?;
        service.Connect(&local, &local, &local, &local)?;
        service.GetFolder(&BSTR::from("\\"))
    }
}

#[expect(unsafe_code)]
pub(super) fn register_in(
    tasks: &ITaskFolder,
    name: &str,
    xml: &str,
    run_as: &RunAs,
    logon: Logon,
) -> windows::core::Result<()> {
    let empty = VARIANT::default;
    let (user, password) = match run_as {
        // The definition names SYSTEM by its SID, which is the same in every language.
        RunAs::System | RunAs::Caller => (empty(), empty()),
        RunAs::User { name, password } => {
            let password = password.as_ref().map(|password| VARIANT::from(password.expose()));
            (VARIANT::from(name.as_str()), password.unwrap_or_default())
        }
    };
    let logon = match logon {
        Logon::Service => TASK_LOGON_SERVICE_ACCOUNT,
        Logon::S4u => TASK_LOGON_S4U,
        Logon::Password => TASK_LOGON_PASSWORD,
    };
    let (name, xml, access) = (BSTR::from(name), BSTR::from(xml), VARIANT::from(TASK_ACCESS));
    // SAFETY: all strings and variants are owned here and outlive the call, which copies what it keeps.
    unsafe {
        tasks.RegisterTask(&name, &xml, TASK_CREATE_OR_UPDATE.0, &user, &password, logon, &access)?;
    }
    Ok(())
}

#[expect(unsafe_code)]
pub(super) fn delete(tasks: &ITaskFolder, name: &str) -> windows::core::Result<()> {
    // SAFETY: the string outlives the call; the flags must be 0.
    unsafe { tasks.DeleteTask(&BSTR::from(name), 0) }
}

#[expect(unsafe_code)]
pub(super) fn get(tasks: &ITaskFolder, name: &str) -> windows::core::Result<IRegisteredTask> {
    // SAFETY: the string outlives the call.
    unsafe { tasks.GetTask(&BSTR::from(name)) }
}

#[expect(unsafe_code)]
pub(super) fn name_of(task: &IRegisteredTask) -> windows::core::Result<String> {
    // SAFETY: a plain getter of an interface that is alive.
    Ok(unsafe { task.Name() }?.to_string())
}

#[expect(unsafe_code)]
pub(super) fn start(task: &IRegisteredTask) -> windows::core::Result<IRunningTask> {
    // SAFETY: an empty variant means no parameters.
    unsafe { task.Run(&VARIANT::default()) }
}

/// An instance that has ended refuses to be refreshed.
#[expect(unsafe_code)]
pub(super) fn has_ended(instance: &IRunningTask) -> bool {
    // SAFETY: a call without parameters on an interface that is alive.
    unsafe { instance.Refresh() }.is_err()
}

/// The result, once the task neither runs nor waits.
#[expect(unsafe_code)]
pub(super) fn result(task: &IRegisteredTask) -> windows::core::Result<Option<i32>> {
    // SAFETY: plain getters of an interface that is alive.
    let (state, code) = unsafe { (task.State()?, task.LastTaskResult()?) };
    let busy = [TASK_STATE_RUNNING, TASK_STATE_QUEUED].contains(&state) || NO_RESULT.contains(&code);
    Ok((!busy).then_some(code))
}

#[expect(unsafe_code)]
pub(super) fn all_of_ours(tasks: &ITaskFolder) -> windows::core::Result<Vec<ScheduleEntry>> {
    let mut ours = Vec::new();
    // SAFETY: plain getters; the collection counts from 1 and keeps its size, for it is a snapshot.
    unsafe {
        let all = tasks.GetTasks(TASK_ENUM_HIDDEN.0)?;
        for index in 1..=all.Count()? {
            let task = all.get_Item(&VARIANT::from(index))?;
            let name = name_of(&task)?;
            if let Some(id) = name.strip_prefix(TASK_PREFIX).filter(|id| is_policy_id(id)) {
                ours.push(entry(id, &name, &task));
            }
        }
    }
    Ok(ours)
}

/// A task as an entry. Properties that cannot be read are left out: a listing with a gap is better than none.
#[expect(unsafe_code)]
pub(super) fn entry(policy_id: &str, name: &str, task: &IRegisteredTask) -> ScheduleEntry {
    // SAFETY: plain getters of an interface that is alive; the description is written to a local.
    let (state, last, began, next, description) = unsafe {
        let mut description = BSTR::new();
        let read = task
            .Definition()
            .and_then(|definition| definition.RegistrationInfo()?.Description(&mut description));
        (
            task.State().ok(),
            task.LastTaskResult().ok(),
            task.LastRunTime().ok(),
            task.NextRunTime().ok(),
            read.ok().map(|()| description),
        )
    };
    let description = description.map(|text| text.to_string()).unwrap_or_default();
    let cron = cron_of(&description).and_then(|cron| Cron::parse(cron).ok());
    ScheduleEntry {
        policy_id: policy_id.to_owned(),
        cron: cron.map(|cron| cron.to_string()),
        next_run: next.and_then(utc_time),
        last_run: began.and_then(utc_time),
        last_result: last.filter(|code| !NO_RESULT.contains(code)),
        since: None,
        enabled: state.is_some_and(|state| state != TASK_STATE_DISABLED),
        running: state.map(|state| state == TASK_STATE_RUNNING),
        backend: BackendKind::TaskScheduler,
        location: format!("\\{name}"),
        boot_location: None,
        policy_path: None,
        missing: Vec::new(),
    }
}

/// An OLE date: days since 1899-12-30, in local time. 0 means "none", and so does 30 November 1999 to Task Scheduler.
fn utc_time(days: f64) -> Option<String> {
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_hms_opt(0, 0, 0)?;
    let seconds = chrono::Duration::try_seconds((days * 86_400.0).round() as i64)?;
    let time = epoch.checked_add_signed(seconds).filter(|_| days > 1.0)?;
    let never = NaiveDate::from_ymd_opt(1999, 11, 30)? == time.date();
    Local.from_local_datetime(&time).earliest().filter(|_| !never).map(|time| utc(&time))
}
