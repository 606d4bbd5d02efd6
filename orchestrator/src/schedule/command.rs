//! Programs of the system (`systemctl`, `crontab`), run to their end or for a limited time.

use std::ffi::{OsStr, OsString};
use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::error::{Result, ScheduleError};

/// For programs that answer at once. D-Bus itself waits 90 s for the service manager of a busy machine.
pub(super) const PROMPT: Duration = Duration::from_secs(120);

/// For a question of someone who waits for a list: a monitor gives `status --check` ten seconds to a minute.
pub(super) const QUESTION: Duration = Duration::from_secs(8);

/// A crontab, or the properties of a unit, is much shorter.
const MOST_BYTES: u64 = 4 << 20;

/// The only variables of this process that a program gets: no key, no secret.
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

/// A program with its arguments and its input.
#[derive(Debug, Clone, Default)]
pub(super) struct SystemCommand {
    words: Vec<OsString>,
    input: Vec<u8>,
    path: Option<OsString>,
    variable: Option<(&'static str, &'static str)>,
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct CommandOutput {
    /// `None` when a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl SystemCommand {
    pub(super) fn new<W: AsRef<OsStr>>(words: impl IntoIterator<Item = W>) -> Self {
        Self { words: words.into_iter().map(|word| word.as_ref().to_owned()).collect(), ..Self::default() }
    }

    /// Its standard input.
    pub(super) fn input(self, input: &[u8]) -> Self {
        Self { input: input.to_owned(), ..self }
    }

    /// Where to look programs up, instead of this process's `PATH`.
    pub(super) fn search_path(self, path: Option<OsString>) -> Self {
        Self { path, ..self }
    }

    /// A variable that is not the caller's.
    pub(super) fn variable(self, name: &'static str, value: &'static str) -> Self {
        Self { variable: Some((name, value)), ..self }
    }

    /// Waits for its end, at most two minutes.
    ///
    /// # Errors
    /// [`ScheduleError::NoProgram`], or [`ScheduleError::Command`] when it cannot be started or does not end. Its exit
    /// code is in the output.
    pub(super) fn run(&self) -> Result<CommandOutput> {
        self.run_to_end(PROMPT, false)
    }

    /// As [`run`](Self::run), of a program that changes nothing, at most for `time_limit`; it is killed then.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(super) fn ask(&self, time_limit: Duration) -> Result<CommandOutput> {
        self.run_to_end(time_limit, true)
    }

    fn run_to_end(&self, time_limit: Duration, kill: bool) -> Result<CommandOutput> {
        let output = self.end_within(time_limit, kill)?.ok_or_else(|| {
            self.failed(format!("it did not end within {} seconds", time_limit.as_secs()), "Try again later")
        })?;
        // What is cut off must not pass for the whole: a crontab is written back as it was read.
        if output.stdout.len() as u64 > MOST_BYTES {
            return Err(self.failed("it printed more than 4 MiB", "Run it by hand to see why"));
        }
        Ok(output)
    }

    /// Waits for its end; `None` when that takes longer than `timeout`. It is not stopped then.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub(super) fn run_for(&self, timeout: Duration) -> Result<Option<CommandOutput>> {
        self.end_within(timeout, false)
    }

    fn end_within(&self, timeout: Duration, kill: bool) -> Result<Option<CommandOutput>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = runtime.and_then(|runtime| {
            let in_time = async { tokio::time::timeout(timeout, self.output(kill)).await };
            runtime.block_on(in_time).ok().transpose()
        });
        match ended {
            Ok(output) => Ok(output.map(|output| CommandOutput {
                code: output.status.code(),
                stdout: output.stdout,
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ScheduleError::NoProgram { command: self.line() })
            }
            Err(error) => {
                Err(self.failed(error.to_string(), "Check that the program is installed and on PATH"))
            }
        }
    }

    async fn output(&self, kill: bool) -> io::Result<std::process::Output> {
        let (program, arguments) = self.words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = tokio::process::Command::new(program);
        command.args(arguments).env_clear().env("LC_ALL", "C");
        command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        if let Some(path) = &self.path {
            command.env("PATH", path);
        }
        command.envs(self.variable);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(kill).spawn()?;
        let stdin = child.stdin.take();
        let (stdout, stderr) = (bounded(child.stdout.take()), bounded(child.stderr.take()));
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A program need not read all of its input; its exit code says whether it did its work.
                let _ = stdin.write_all(&self.input).await;
            }
        };
        let ((), stdout, stderr, status) = tokio::join!(feed, stdout, stderr, child.wait());
        Ok(std::process::Output { status: status?, stdout: stdout?, stderr: stderr? })
    }

    /// As typed in a shell, without quotes.
    pub(super) fn line(&self) -> String {
        self.words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn failed(&self, reason: impl Into<String>, hint: &'static str) -> ScheduleError {
        ScheduleError::Command { command: self.line(), reason: reason.into(), hint }
    }
}

/// One byte more than [`MOST_BYTES`] where there are more. The rest is read and dropped, so that the program can end.
async fn bounded(from: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        (&mut from).take(MOST_BYTES + 1).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

impl CommandOutput {
    pub(super) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// Why it failed: its complaint, or its exit code.
    pub(super) fn reason(&self) -> String {
        match (self.stderr.trim(), self.code) {
            ("", Some(code)) => format!("it ended with code {code}"),
            ("", None) => "it was ended by a signal".to_owned(),
            (complaint, _) => complaint.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_output_and_code_come_through() {
        let command = SystemCommand::new(["sh", "-c", "cat; echo no >&2; exit 3"]).input("olá".as_bytes());
        let output = command.run().unwrap();
        assert_eq!((output.code, &output.stdout[..]), (Some(3), "olá".as_bytes()));
        assert_eq!(output.reason(), "no");
    }

    #[test]
    fn a_program_that_takes_too_long_is_left_running() {
        let ended = SystemCommand::new(["sleep", "1"]).run_for(Duration::from_millis(1)).unwrap();
        assert!(ended.is_none());
    }

    #[test]
    fn a_question_has_no_endless_answer() {
        let begun = std::time::Instant::now();
        let hanging = SystemCommand::new(["sleep", "60"]).ask(Duration::from_millis(50)).unwrap_err();
        assert!(hanging.to_string().contains("did not end"), "{hanging}");
        assert!(begun.elapsed() < Duration::from_secs(30));
        let flood = SystemCommand::new(["head", "-c", "5000000", "/dev/zero"]).run().unwrap_err();
        assert!(flood.to_string().contains("more than 4 MiB"), "{flood}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = SystemCommand::new(["no-such-program"]).run().unwrap_err().to_string();
        assert!(error.contains("`no-such-program` cannot be run"), "{error}");
    }
}
