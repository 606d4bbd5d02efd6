//! The backend: the protected folder, the wrapper in it, and the task.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::{DateTime, Local};

use super::access;
use super::account::{caller_of, check_drives};
use super::com::{
    all_of_ours, delete, entry, get, has_ended, name_of, register_in, result, start, with_folder,
};
use super::logon::{Logon, logon};
use super::task_xml::{TASK_PREFIX, boot_task_name, boot_task_xml, task_name, task_xml};
use super::triggers::triggers;
use super::windows_error::{is_missing, windows_error};
use super::wrapper::{wrapper, wrapper_name};
use crate::schedule::backend::SchedulerBackend;
use crate::schedule::entry::{AppliedSchedule, RemovedSchedule, ScheduleEntry, utc};
use crate::schedule::error::{Result, ScheduleError};
use crate::schedule::scheduled_command::{Dialect, ScheduledCommand};
use crate::schedule::spec::{RunAs, ScheduleSpec};

/// How often a run's state is polled.
const POLL: Duration = Duration::from_millis(500);

/// Windows Task Scheduler.
pub(crate) struct TaskScheduler {
    /// The agent's: wrappers are written there.
    pub(crate) folder: PathBuf,
}

impl SchedulerBackend for TaskScheduler {
    fn apply(&self, spec: &ScheduleSpec) -> Result<AppliedSchedule> {
        let folder = &self.folder;
        check_drives(spec)?;
        let triggers = triggers(&spec.cron, Local::now().naive_local())?;
        let script = wrapper(spec)?;
        let file = folder.join(wrapper_name(&spec.policy_id));
        let (caller, mut notes) = (caller_of(spec)?, Vec::new());
        let run_as = caller.as_ref().unwrap_or(&spec.run_as);
        let (file_text, folder_text) = (file.display().to_string(), folder.display().to_string());
        let xml = task_xml(spec, run_as, &triggers, &file_text, &folder_text)?;
        let boot_xml = boot_task_xml(spec, run_as, &file_text, &folder_text)?;
        if logon(run_as)? == Logon::S4u {
            notes.push(
                "this account logs on without a password, so its runs cannot access shares on other machines"
                    .to_owned(),
            );
        }

        let replaced = match find(&spec.policy_id)? {
            Some(other) if other.policy_id != spec.policy_id => {
                return Err(ScheduleError::Unusable {
                    what: "policy",
                    text: spec.policy_id.clone(),
                    reason: format!(
                        "to Windows it is the same name as policy {}, which has a schedule. Give one of them another policy_id",
                        other.policy_id
                    ),
                });
            }
            found => found.is_some(),
        };

        access::protected_folder(folder)?;
        write_wrapper(&file, &script, !matches!(run_as, RunAs::System))?;
        let (name, boot_name) = (task_name(&spec.policy_id), boot_task_name(&spec.policy_id));
        let registered = register(&name, &xml, run_as).and_then(|()| register(&boot_name, &boot_xml, run_as));
        if let Err(error) = registered {
            if !replaced {
                // The first error is the one to report.
                let _ = remove_task(&name);
                let _ = fs::remove_file(&file);
            }
            return Err(error);
        }
        let entry = find(&spec.policy_id)?
            .ok_or_else(|| ScheduleError::NotScheduled { policy_id: spec.policy_id.clone() })?;
        let entry = self.with_wrapper(entry);
        Ok(AppliedSchedule::new(entry, &spec.cron, replaced, notes))
    }

    fn remove(&self, policy_id: &str) -> Result<Option<RemovedSchedule>> {
        let had_boot_task = remove_task(&boot_task_name(policy_id))?;
        let had_task = remove_task(&task_name(policy_id))? || had_boot_task;
        let file = self.folder.join(wrapper_name(policy_id));
        let files: Vec<PathBuf> = match fs::remove_file(&file) {
            Ok(()) => vec![file],
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(ScheduleError::file("remove", &file)(error)),
        };
        let removed = had_task || !files.is_empty();
        Ok(removed.then(|| RemovedSchedule {
            policy_id: policy_id.to_owned(),
            removed,
            files,
            notes: Vec::new(),
        }))
    }

    fn list(&self) -> Result<Vec<ScheduleEntry>> {
        let ours =
            with_folder(|tasks| all_of_ours(tasks).map_err(|error| windows_error("list the tasks", &error)))?;
        Ok(ours.into_iter().map(|entry| self.with_wrapper(entry)).collect())
    }

    fn run_now(&self, policy_id: &str, timeout: Duration) -> Result<i32> {
        let name = task_name(policy_id);
        with_folder(|tasks| {
            let running = |error: windows::core::Error| match is_missing(&error) {
                true => ScheduleError::NotScheduled { policy_id: policy_id.to_owned() },
                false => windows_error(format!("run the task {name:?}"), &error),
            };
            let task = get(tasks, &name).map_err(running)?;
            let instance = start(&task).map_err(running)?;
            let began = Instant::now();
            loop {
                std::thread::sleep(POLL);
                // The task's result is the last run's until this one has ended.
                if has_ended(&instance)
                    && let Some(code) = result(&task).map_err(running)?
                {
                    return Ok(code);
                }
                if began.elapsed() > timeout {
                    return Err(ScheduleError::still_running(policy_id, timeout));
                }
            }
        })
    }
}

impl TaskScheduler {
    /// With what its wrapper says, which this account may not be allowed to read.
    fn with_wrapper(&self, mut entry: ScheduleEntry) -> ScheduleEntry {
        let file = self.folder.join(wrapper_name(&entry.policy_id));
        let changed = fs::metadata(&file).and_then(|file| file.modified()).ok();
        entry.since = changed.map(|changed| utc(&DateTime::<Local>::from(changed)));
        let boot_name = boot_task_name(&entry.policy_id);
        // A listing with a gap is better than none.
        entry.boot_location =
            with_folder(|tasks| Ok(get(tasks, &boot_name).ok().map(|_| format!("\\{boot_name}"))))
                .ok()
                .flatten();
        let text = fs::read_to_string(&file).unwrap_or_default();
        let command = text.lines().find_map(|line| ScheduledCommand::parse(line, Dialect::Batch));
        match fs::metadata(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let missing = format!(
                    "the wrapper of the task, {}, does not exist: run `apply-schedule` again",
                    file.display()
                );
                ScheduleEntry { missing: vec![missing], ..entry }
            }
            _ => entry.of_command(command),
        }
    }
}

/// The task of a policy, or of one whose id differs only in case: that is the same task to Windows.
fn find(policy_id: &str) -> Result<Option<ScheduleEntry>> {
    let name = task_name(policy_id);
    with_folder(|tasks| {
        let found = get(tasks, &name).and_then(|task| Ok((name_of(&task)?, task)));
        match found {
            Ok((name, task)) => {
                Ok(Some(entry(name.get(TASK_PREFIX.len()..).unwrap_or(policy_id), &name, &task)))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(windows_error(format!("look for the task {name:?}"), &error)),
        }
    })
}

/// Whether there was such a task.
fn remove_task(name: &str) -> Result<bool> {
    with_folder(|tasks| match delete(tasks, name) {
        Ok(()) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(windows_error(format!("remove the task {name:?}"), &error)),
    })
}

fn register(name: &str, xml: &str, run_as: &RunAs) -> Result<()> {
    let logon = logon(run_as)?;
    with_folder(|tasks| {
        register_in(tasks, name, xml, run_as, logon)
            .map_err(|error| windows_error(format!("register the task {name:?}"), &error))
    })
}

fn write_wrapper(file: &Path, script: &str, users_run_it: bool) -> Result<()> {
    // A new file: handles that others have open to an old one stay valid.
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
