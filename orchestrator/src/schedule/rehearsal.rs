//! Tries what a scheduled run needs, before it is scheduled: the agent's own `doctor`, as the account that will run it, in the
//! root folder, with the variables that a scheduler gives.
//!
//! In: a [`ScheduleSpec`]. Out: a [`Rehearsal`]. Nothing is scheduled, and `doctor` leaves nothing behind.

use super::error::Result;
use super::spec::ScheduleSpec;
use crate::doctor::finding::DoctorReport;

/// What the agent's `doctor` said.
#[derive(Debug)]
pub enum Rehearsal {
    Report(DoctorReport),
    /// It could not begin: for example, the account may not read the environment file.
    Refused {
        message: String,
        advice: Option<String>,
    },
    /// It was not tried, and why.
    NotTried(String),
}

/// Tries it.
///
/// # Errors
/// [`ScheduleError`](super::ScheduleError) when a program of the system fails.
#[cfg(not(windows))]
pub fn rehearse(spec: &ScheduleSpec) -> Result<Rehearsal> {
    unix::rehearse(spec)
}

/// No program can act as SYSTEM, or log on as another account, without being a task itself.
///
/// # Errors
/// None.
#[cfg(windows)]
pub fn rehearse(_: &ScheduleSpec) -> Result<Rehearsal> {
    Ok(Rehearsal::NotTried("what its account may do was not tried: only a task runs as it does".to_owned()))
}

#[cfg(not(windows))]
mod unix {
    use std::ffi::OsString;

    use serde::Deserialize;

    use crate::schedule::command::{CommandOutput, SystemCommand};
    use crate::schedule::error::{Result, ScheduleError};
    use crate::schedule::rehearsal::Rehearsal;
    use crate::schedule::spec::{RunAs, ScheduleSpec};

    /// As systemd has it for system services; cron's is a part of it.
    const AS_SCHEDULED: &str = r#"cd / && home=$1 && shift && exec env -i HOME="$home" \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@""#;
    /// Files are counted by a person's own `doctor`.
    const COUNT_FOR: &str = "2";

    pub(super) fn rehearse(spec: &ScheduleSpec) -> Result<Rehearsal> {
        let is_root = rustix::process::geteuid().is_root();
        let (as_account, home): (Vec<OsString>, OsString) = match &spec.run_as {
            RunAs::User { .. } | RunAs::System if !is_root => {
                return Ok(Rehearsal::NotTried("only root can try it as another account".to_owned()));
            }
            RunAs::User { name, .. } => {
                let Some((group, home)) = account(name)? else {
                    return Ok(Rehearsal::Refused {
                        message: format!("there is no account {name} on this machine"),
                        advice: Some("Correct --user, or create the account".to_owned()),
                    });
                };
                let words = ["setpriv", "--reuid", name, "--regid", &group, "--init-groups", "--"];
                (words.map(OsString::from).to_vec(), home.into())
            }
            RunAs::System | RunAs::Caller => {
                (Vec::new(), std::env::var_os("HOME").unwrap_or_else(|| "/".into()))
            }
        };
        let mut words = as_account;
        words.extend(["/bin/sh", "-c", AS_SCHEDULED, "sh"].map(OsString::from));
        words.push(home);
        words.push(spec.program.clone().into());
        words.extend(["--quiet", "doctor", "--format", "json", "--count-for", COUNT_FOR].map(OsString::from));
        let is_of_doctor = |flag: &str| ["--policy", "--env-file", "--out"].contains(&flag);
        for (flag, _, path) in spec.path_arguments().filter(|(flag, ..)| is_of_doctor(flag)) {
            words.extend([flag.into(), path.into()]);
        }
        words.extend(spec.switches().split_whitespace().map(OsString::from));
        match SystemCommand::new(words).run() {
            Ok(output) => Ok(read(&output)),
            Err(ScheduleError::NoProgram { .. }) => Ok(Rehearsal::NotTried(
                "`setpriv` (util-linux), which tries it as another account, is not installed".to_owned(),
            )),
            Err(error) => Err(error),
        }
    }

    fn read(output: &CommandOutput) -> Rehearsal {
        #[derive(Deserialize)]
        struct Refusal {
            error: Details,
        }
        #[derive(Deserialize)]
        struct Details {
            message: String,
            r#try: Option<String>,
        }
        if let Ok(report) = serde_json::from_slice(&output.stdout) {
            return Rehearsal::Report(report);
        }
        match serde_json::from_slice(&output.stdout) {
            Ok(Refusal { error: Details { message, r#try } }) => {
                Rehearsal::Refused { message, advice: r#try }
            }
            // It did not even start: the program or a folder above it is not for this account.
            Err(_) => Rehearsal::Refused {
                message: output.reason(),
                advice: Some(
                    "Let the account that runs it execute the agent, and enter the folders above it"
                        .to_owned(),
                ),
            },
        }
    }

    /// The group and the home of an account, where it exists.
    fn account(name: &str) -> Result<Option<(String, String)>> {
        let command = SystemCommand::new(["getent", "passwd", name]);
        let output = command.run()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let fields: Vec<&str> = text.trim_end().split(':').collect();
        Ok(match fields[..] {
            [_, _, _, group, _, home, _] => Some((group.to_owned(), home.to_owned())),
            _ => None,
        })
    }
}
