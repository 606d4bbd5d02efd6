//! Windows' Task Scheduler, through its COM interfaces.
//!
//! In: a [`ScheduleSpec`]. Out: the protected folder, the wrapper in it, the task `IntellistorAgent - <policy_id>`;
//! registered whole ("create or update"), so applying again changes the one task and all its settings.
//!
//! COM is entered on a thread of its own, in the multithreaded apartment, and left when the work is done: the caller's
//! thread may be in another apartment, or in none. All users may read the task (its status, not its log); SYSTEM and
//! administrators may change it.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{Local, NaiveDate, TimeZone};
use windows::Win32::Foundation::{E_ACCESSDENIED, E_NOTIMPL};
use windows::Win32::Security::Authentication::Identity::{GetUserNameExW, NameSamCompatible};
use windows::Win32::Storage::FileSystem::GetDriveTypeW;
use windows::Win32::System::Com::{
    CLSCTX_INPROC_SERVER, COINIT_MULTITHREADED, CoCreateInstance, CoInitializeEx, CoUninitialize,
};
use windows::Win32::System::TaskScheduler::{
    IRegisteredTask, IRunningTask, ITaskFolder, ITaskService, TASK_CREATE_OR_UPDATE, TASK_ENUM_HIDDEN,
    TASK_LOGON_PASSWORD, TASK_LOGON_S4U, TASK_LOGON_SERVICE_ACCOUNT, TASK_STATE_DISABLED, TASK_STATE_QUEUED,
    TASK_STATE_RUNNING, TaskScheduler,
};
use windows::Win32::System::Variant::VARIANT;
use windows::Win32::System::WindowsProgramming::DRIVE_REMOTE;
use windows::core::{BSTR, HRESULT, HSTRING, PWSTR};

use super::error::{Result, ScheduleError};
use super::task_xml::{TASK_PREFIX, cron_of, task_name, task_xml};
use super::triggers::triggers;
use super::wrapper::{wrapper, wrapper_name};
use super::{Applied, Kept, Removed, RunAs, ScheduleInfo, ScheduleSpec, access, is_policy_id};
use crate::cron::Cron;

const TASK_ACCESS: &str = "D:P(A;;FA;;;SY)(A;;FA;;;BA)(A;;FR;;;BU)";
const FILE_NOT_FOUND: HRESULT = HRESULT::from_win32(2);
const PATH_NOT_FOUND: HRESULT = HRESULT::from_win32(3);
/// SCHED_E_SERVICE_NOT_RUNNING.
const NOT_RUNNING: HRESULT = HRESULT(0x8004_1315_u32.cast_signed());
const LOGON_FAILURE: HRESULT = HRESULT::from_win32(1326);
const NONE_MAPPED: HRESULT = HRESULT::from_win32(1332);
const LOGON_TYPE_NOT_GRANTED: HRESULT = HRESULT::from_win32(1385);
/// SCHED_S_TASK_HAS_NOT_RUN and SCHED_S_TASK_RUNNING: no result yet.
const NO_RESULT: [i32; 2] = [0x0004_1303, 0x0004_1301];
/// How often a run that goes on is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Writes the wrapper and registers the task.
///
/// # Errors
/// [`ScheduleError`]; a policy that had no schedule has none afterwards either.
pub(crate) fn apply(spec: &ScheduleSpec, folder: &Path) -> Result<Applied> {
    check_drives(spec)?;
    let triggers = triggers(&spec.cron, Local::now().naive_local())?;
    let script = wrapper(spec)?;
    let file = folder.join(wrapper_name(&spec.policy_id));
    let (caller, mut notes) = (caller_of(spec)?, Vec::new());
    let run_as = caller.as_ref().unwrap_or(&spec.run_as);
    let (file_text, folder_text) = (file.display().to_string(), folder.display().to_string());
    let xml = task_xml(spec, run_as, &triggers, &file_text, &folder_text)?;
    if let RunAs::User { password: None, .. } = run_as {
        notes.push(
            "this account logs on without a password, so its runs reach no share of other machines"
                .to_owned(),
        );
    }

    let replaced = match find(&spec.policy_id)? {
        Some(other) if other.policy_id != spec.policy_id => {
            return Err(ScheduleError::Unusable {
                what: "policy",
                text: spec.policy_id.clone(),
                reason: format!(
                    "Windows cannot tell it from policy {}, which has a schedule. Give one of them another policy_id",
                    other.policy_id
                ),
            });
        }
        found => found.is_some(),
    };

    access::protected_folder(folder)?;
    write_wrapper(&file, &script, !matches!(run_as, RunAs::System))?;
    if let Err(error) = register(&task_name(&spec.policy_id), &xml, run_as) {
        if !replaced {
            // The first error is the one to tell.
            let _ = fs::remove_file(&file);
        }
        return Err(error);
    }
    let info = find(&spec.policy_id)?
        .ok_or_else(|| ScheduleError::NotScheduled { policy_id: spec.policy_id.clone() })?;
    Ok(Applied::new(info, &spec.cron, replaced, notes))
}

/// Deletes the task and its wrapper.
///
/// # Errors
/// [`ScheduleError`], when something is left behind.
pub(crate) fn remove(policy_id: &str, folder: &Path) -> Result<Option<Removed>> {
    let name = task_name(policy_id);
    let had_task = with_folder(|tasks| match delete(tasks, &name) {
        Ok(()) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(refused(format!("remove the task {name:?}"), &error)),
    })?;
    let file = folder.join(wrapper_name(policy_id));
    let files: Vec<PathBuf> = match fs::remove_file(&file) {
        Ok(()) => vec![file],
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(ScheduleError::file("remove", &file)(error)),
    };
    let removed = had_task || !files.is_empty();
    Ok(removed.then(|| Removed { policy_id: policy_id.to_owned(), removed, files, notes: Vec::new() }))
}

/// The task of a policy, or of one whose name differs in case alone: that is the same task to Windows.
fn find(policy_id: &str) -> Result<Option<ScheduleInfo>> {
    let name = task_name(policy_id);
    with_folder(|tasks| {
        let found = get(tasks, &name).and_then(|task| Ok((name_of(&task)?, task)));
        match found {
            Ok((name, task)) => {
                Ok(Some(info(name.get(TASK_PREFIX.len()..).unwrap_or(policy_id), &name, &task)))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(refused(format!("look for the task {name:?}"), &error)),
        }
    })
}

/// Our tasks.
///
/// # Errors
/// [`ScheduleError::Windows`].
pub(crate) fn list() -> Result<Vec<ScheduleInfo>> {
    with_folder(|tasks| all_of_ours(tasks).map_err(|error| refused("list the tasks", &error)))
}

/// Runs the task and waits for its result.
///
/// # Errors
/// [`ScheduleError::StillRunning`] when it takes longer than `timeout`; it runs on.
pub(crate) fn run_now(policy_id: &str, timeout: Duration) -> Result<i32> {
    let name = task_name(policy_id);
    with_folder(|tasks| {
        let running = |error: windows::core::Error| match is_missing(&error) {
            true => ScheduleError::NotScheduled { policy_id: policy_id.to_owned() },
            false => refused(format!("run the task {name:?}"), &error),
        };
        let task = get(tasks, &name).map_err(running)?;
        let instance = start(&task).map_err(running)?;
        let began = Instant::now();
        loop {
            std::thread::sleep(LOOK);
            // The task's result is the last run's until this one has ended.
            if has_ended(&instance)
                && let Some(code) = result(&task).map_err(running)?
            {
                return Ok(code);
            }
            if began.elapsed() > timeout {
                return Err(ScheduleError::StillRunning {
                    policy_id: policy_id.to_owned(),
                    seconds: timeout.as_secs(),
                });
            }
        }
    })
}

/// Creates a task, or replaces the one of this name.
///
/// # Errors
/// [`ScheduleError::Windows`].
pub(crate) fn register(name: &str, xml: &str, run_as: &RunAs) -> Result<()> {
    with_folder(|tasks| {
        register_in(tasks, name, xml, run_as)
            .map_err(|error| refused(format!("register the task {name:?}"), &error))
    })
}

/// The account that asks, where it is to be the run's.
fn caller_of(spec: &ScheduleSpec) -> Result<Option<RunAs>> {
    if !matches!(spec.run_as, RunAs::Caller) {
        return Ok(None);
    }
    let name = user_name().map_err(|error| refused("find the name of this account", &error))?;
    Ok(Some(RunAs::User { name, password: None }))
}

fn check_drives(spec: &ScheduleSpec) -> Result<()> {
    let arguments = spec.path_arguments().map(|(_, what, path)| (what, path));
    for (what, path) in std::iter::once(("the agent", spec.program.as_path())).chain(arguments) {
        let text = path.display().to_string();
        if text.as_bytes().get(1) == Some(&b':') && is_remote(&text[..1]) {
            return Err(ScheduleError::Unusable {
                what,
                text,
                reason: "drive letters of the network belong to one logon, and a scheduled run has another. Use a local disk, or the \\\\server\\share path for files other than the agent"
                    .to_owned(),
            });
        }
    }
    Ok(())
}

fn write_wrapper(file: &Path, script: &str, users_run_it: bool) -> Result<()> {
    // A new file: one that somebody made before would keep its owner's open handles.
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(ScheduleError::file("replace", file)(error));
        }
        _ => {}
    }
    let written = fs::File::create_new(file).and_then(|mut new| {
        new.write_all(script.as_bytes())?;
        new.sync_all()
    });
    written.map_err(ScheduleError::file("write", file))?;
    access::protect_file(file, users_run_it)
}

/// What Windows said, in its words, and what to do about it.
pub(super) fn refused(action: impl Into<String>, error: &windows::core::Error) -> ScheduleError {
    let hint = match error.code() {
        E_ACCESSDENIED => "Open the console with \"Run as administrator\" and run it again",
        LOGON_FAILURE => "The account's name or password is wrong; a PIN is no password",
        NONE_MAPPED => "There is no such account. Write it as DOMAIN\\name or .\\name",
        LOGON_TYPE_NOT_GRANTED => {
            "The account may not \"log on as a batch job\". Grant it in secpol.msc, Local Policies, User Rights Assignment, or schedule for SYSTEM"
        }
        NOT_RUNNING => "The service \"Task Scheduler\" does not run. Start it: net start Schedule",
        E_NOTIMPL => "This system's Task Scheduler cannot do it",
        _ => "Look at the service \"Task Scheduler\" (services.msc) and at its history (taskschd.msc)",
    };
    let message = error.message();
    let message = message.trim_end_matches(['.', '\r', '\n', ' ']);
    ScheduleError::Windows {
        action: action.into(),
        message: if message.is_empty() { "Windows gave no reason".to_owned() } else { message.to_owned() },
        code: error.code().0.cast_unsigned(),
        hint,
    }
}

fn is_missing(error: &windows::core::Error) -> bool {
    [FILE_NOT_FOUND, PATH_NOT_FOUND].contains(&error.code())
}

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

/// Does some work with the root folder of tasks, on a thread that has entered COM.
fn with_folder<T: Send>(work: impl FnOnce(&ITaskFolder) -> Result<T> + Send) -> Result<T> {
    let on_thread = move || {
        let apartment = Apartment::enter();
        let _apartment = apartment.map_err(|error| refused("enter COM", &error))?;
        let folder = connect().map_err(|error| refused("reach Task Scheduler", &error))?;
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
fn register_in(tasks: &ITaskFolder, name: &str, xml: &str, run_as: &RunAs) -> windows::core::Result<()> {
    let empty = VARIANT::default;
    let (user, password, logon) = match run_as {
        // The definition names SYSTEM by its SID, which is the same in every language.
        RunAs::System | RunAs::Caller => (empty(), empty(), TASK_LOGON_SERVICE_ACCOUNT),
        RunAs::User { name, password: None } => (VARIANT::from(name.as_str()), empty(), TASK_LOGON_S4U),
        RunAs::User { name, password: Some(password) } => {
            (VARIANT::from(name.as_str()), VARIANT::from(password.expose()), TASK_LOGON_PASSWORD)
        }
    };
    let (name, xml, access) = (BSTR::from(name), BSTR::from(xml), VARIANT::from(TASK_ACCESS));
    // SAFETY: all strings and variants are owned here and outlive the call, which copies what it keeps.
    unsafe {
        tasks.RegisterTask(&name, &xml, TASK_CREATE_OR_UPDATE.0, &user, &password, logon, &access)?;
    }
    Ok(())
}

#[expect(unsafe_code)]
fn delete(tasks: &ITaskFolder, name: &str) -> windows::core::Result<()> {
    // SAFETY: the string outlives the call; the flags must be 0.
    unsafe { tasks.DeleteTask(&BSTR::from(name), 0) }
}

#[expect(unsafe_code)]
fn get(tasks: &ITaskFolder, name: &str) -> windows::core::Result<IRegisteredTask> {
    // SAFETY: the string outlives the call.
    unsafe { tasks.GetTask(&BSTR::from(name)) }
}

#[expect(unsafe_code)]
fn name_of(task: &IRegisteredTask) -> windows::core::Result<String> {
    // SAFETY: a plain getter of an interface that is alive.
    Ok(unsafe { task.Name() }?.to_string())
}

#[expect(unsafe_code)]
fn start(task: &IRegisteredTask) -> windows::core::Result<IRunningTask> {
    // SAFETY: an empty variant means no parameters.
    unsafe { task.Run(&VARIANT::default()) }
}

/// An instance that has ended refuses to be refreshed.
#[expect(unsafe_code)]
fn has_ended(instance: &IRunningTask) -> bool {
    // SAFETY: a call without parameters on an interface that is alive.
    unsafe { instance.Refresh() }.is_err()
}

/// The result, once the task neither runs nor waits.
#[expect(unsafe_code)]
fn result(task: &IRegisteredTask) -> windows::core::Result<Option<i32>> {
    // SAFETY: plain getters of an interface that is alive.
    let (state, code) = unsafe { (task.State()?, task.LastTaskResult()?) };
    let busy = [TASK_STATE_RUNNING, TASK_STATE_QUEUED].contains(&state) || NO_RESULT.contains(&code);
    Ok((!busy).then_some(code))
}

#[expect(unsafe_code)]
fn all_of_ours(tasks: &ITaskFolder) -> windows::core::Result<Vec<ScheduleInfo>> {
    let mut ours = Vec::new();
    // SAFETY: plain getters; the collection counts from 1 and keeps its size, for it is a snapshot.
    unsafe {
        let all = tasks.GetTasks(TASK_ENUM_HIDDEN.0)?;
        for index in 1..=all.Count()? {
            let task = all.get_Item(&VARIANT::from(index))?;
            let name = name_of(&task)?;
            if let Some(id) = name.strip_prefix(TASK_PREFIX).filter(|id| is_policy_id(id)) {
                ours.push(info(id, &name, &task));
            }
        }
    }
    Ok(ours)
}

/// What a task tells of itself. What it keeps to itself is left out: a listing with a gap is better than none.
#[expect(unsafe_code)]
fn info(policy_id: &str, name: &str, task: &IRegisteredTask) -> ScheduleInfo {
    // SAFETY: plain getters of an interface that is alive; the description is written to a place of ours.
    let (state, last, next, description) = unsafe {
        let mut description = BSTR::new();
        let read = task
            .Definition()
            .and_then(|definition| definition.RegistrationInfo()?.Description(&mut description));
        (
            task.State().ok(),
            task.LastTaskResult().ok(),
            task.NextRunTime().ok(),
            read.ok().map(|()| description),
        )
    };
    let description = description.map(|text| text.to_string()).unwrap_or_default();
    let cron = cron_of(&description).and_then(|cron| Cron::parse(cron).ok());
    ScheduleInfo {
        policy_id: policy_id.to_owned(),
        cron: cron.map(|cron| cron.to_string()),
        next_run: next.and_then(local_time),
        last_result: last.filter(|code| !NO_RESULT.contains(code)),
        enabled: state.is_some_and(|state| state != TASK_STATE_DISABLED),
        running: state.map(|state| state == TASK_STATE_RUNNING),
        kept: Kept::TaskScheduler,
        place: format!("\\{name}"),
    }
}

/// An OLE date: days since 1899-12-30, in local time. 0 means "none".
fn local_time(days: f64) -> Option<String> {
    let epoch = NaiveDate::from_ymd_opt(1899, 12, 30)?.and_hms_opt(0, 0, 0)?;
    let seconds = chrono::Duration::try_seconds((days * 86_400.0).round() as i64)?;
    let time = epoch.checked_add_signed(seconds).filter(|_| days > 1.0)?;
    Local.from_local_datetime(&time).earliest().map(|time| time.to_rfc3339())
}

#[expect(unsafe_code)]
fn user_name() -> windows::core::Result<String> {
    let mut buffer = vec![0u16; 1024];
    let mut length = buffer.len() as u32;
    // SAFETY: the buffer is valid for `length` UTF-16 units, which the call does not exceed.
    if unsafe { GetUserNameExW(NameSamCompatible, Some(PWSTR(buffer.as_mut_ptr())), &mut length) } {
        buffer.truncate(length as usize);
        Ok(String::from_utf16_lossy(&buffer))
    } else {
        Err(windows::core::Error::from_thread())
    }
}

#[expect(unsafe_code)]
fn is_remote(drive: &str) -> bool {
    let root = HSTRING::from(format!("{drive}:\\"));
    // SAFETY: the string is NUL-terminated and outlives the call.
    unsafe { GetDriveTypeW(&root) == DRIVE_REMOTE }
}
