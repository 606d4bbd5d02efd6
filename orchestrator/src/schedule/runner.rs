//! Programs of the system (`systemctl`, `crontab`), behind a trait: tests answer for them, or put their own on `PATH`.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::error::{Result, ScheduleError};

/// A call of a program.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    /// The program and its arguments.
    pub(crate) words: Vec<OsString>,
    /// What it reads.
    pub(crate) input: Vec<u8>,
    /// How long to wait for its end. `None` is for ever.
    pub(crate) timeout: Option<Duration>,
}

/// What came of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The exit code; `None` when a signal ended it or the time was over (then it runs on).
    pub(crate) code: Option<i32>,
    /// Whether the time was over.
    pub(crate) timed_out: bool,
    /// What it printed.
    pub(crate) output: Vec<u8>,
    /// What it complained about.
    pub(crate) complaint: String,
}

/// Runs programs.
pub(crate) trait Runner: Send + Sync {
    /// Runs one to its end.
    ///
    /// # Errors
    /// [`ScheduleError::Command`] when it cannot be started. That it failed is in the answer.
    fn run(&self, call: &Call) -> Result<Answer>;
}

/// All that a program of the system gets of this process's variables: no key, no secret. Nothing here looks at them.
const PASSED_ON: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TMPDIR",
    "TZ",
    // Where `systemctl --user` finds the user's manager.
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// Real processes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes {
    /// Where to look for programs, instead of the `PATH` of this process.
    pub(crate) path: Option<OsString>,
}

impl Call {
    /// A call without input.
    pub(crate) fn of<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Self {
        Self { words: words.into_iter().map(|word| word.as_ref().to_owned()).collect(), ..Self::default() }
    }

    /// The same, with something to read.
    pub(crate) fn with_input(self, input: impl Into<Vec<u8>>) -> Self {
        Self { input: input.into(), ..self }
    }

    /// As a person would type it.
    pub(crate) fn line(&self) -> String {
        self.words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    pub(crate) fn failed(&self, reason: impl Into<String>, hint: &'static str) -> ScheduleError {
        ScheduleError::Command { command: self.line(), reason: reason.into(), hint }
    }
}

impl Answer {
    /// Whether it ended well.
    pub(crate) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Why it did not.
    pub(crate) fn reason(&self) -> String {
        match (self.complaint.trim(), self.code) {
            ("", Some(code)) => format!("it ended with code {code}"),
            ("", None) => "it was ended by a signal".to_owned(),
            (said, _) => said.to_owned(),
        }
    }
}

impl Runner for Processes {
    fn run(&self, call: &Call) -> Result<Answer> {
        let unstarted = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => ScheduleError::NoProgram { command: call.line() },
            _ => call.failed(error.to_string(), "Check that the program is installed and on PATH"),
        };
        let Some((program, arguments)) = call.words.split_first() else { return Ok(Answer::default()) };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("LC_ALL", "C");
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        let piped = || Stdio::piped();
        let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).spawn().map_err(unstarted)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let input = call.input.clone();
        let (done, ended) = channel();
        // The threads end with the program; one that outlives the wait goes on reading, so that it never blocks.
        std::thread::spawn(move || {
            let feeder = std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(&input)));
            let complaints = std::thread::spawn(move || read(stderr));
            let output = read(stdout);
            let complaint = complaints.join().unwrap_or_default();
            let _ = feeder.join();
            // Nobody may be left to hear it.
            let _ = done.send((child.wait(), output, complaint));
        });
        let outcome = match call.timeout {
            Some(timeout) => ended.recv_timeout(timeout),
            None => ended.recv().map_err(RecvTimeoutError::from),
        };
        match outcome {
            Ok((status, output, complaint)) => Ok(Answer {
                code: status.map_err(unstarted)?.code(),
                timed_out: false,
                output,
                complaint: String::from_utf8_lossy(&complaint).into_owned(),
            }),
            Err(_) => Ok(Answer { timed_out: true, ..Answer::default() }),
        }
    }
}

fn read(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read until an error is all there is to tell.
        let _ = pipe.read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_output_and_code_come_through() {
        let call = Call::of(["sh", "-c", "cat; echo no >&2; exit 3"]).with_input("olá");
        let answer = Processes::default().run(&call).unwrap();
        assert_eq!((answer.code, &answer.output[..]), (Some(3), "olá".as_bytes()));
        assert_eq!(answer.reason(), "no");
    }

    #[test]
    fn a_program_that_goes_on_is_left_running() {
        let call = Call { timeout: Some(Duration::from_millis(1)), ..Call::of(["sleep", "1"]) };
        assert!(Processes::default().run(&call).unwrap().timed_out);
    }

    #[test]
    fn a_program_that_is_missing_is_told() {
        let error = Processes::default().run(&Call::of(["no-such-program"])).unwrap_err().to_string();
        assert!(error.contains("`no-such-program` cannot be run"), "{error}");
    }
}
