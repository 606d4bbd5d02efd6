//! One command, and all that it starts.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use intellistor_telemetry::Escaped;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::output::{Output, SharedOutput};

/// Variables for hooks, without their common beginning.
pub(crate) type HookVariables = Vec<(&'static str, String)>;

/// What each variable for hooks begins with.
const PREFIX: &str = "INTELLISTOR_";
/// Secrets of this program and of its store. A program that asks for AWS by itself has a profile.
const HIDDEN: [&str; 15] = [
    "INTELLISTOR_KEY",
    "INTELLISTOR_KEY_FILE",
    "INTELLISTOR_PASSPHRASE",
    "INTELLISTOR_RUN_AS_PASSWORD",
    "INTELLISTOR_SMTP_PASSWORD",
    "INTELLISTOR_NOTIFY_TOKEN",
    "INTELLISTOR_NOTIFY_URL",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
];
/// What the names of others begin with: where a container or a pod asks for the role of the backup.
const HIDDEN_PREFIX: &str = "AWS_CONTAINER_";
/// Between the request to end and the end.
const GRACE: Duration = Duration::from_secs(2);
/// For what a command has written, once it has ended: what it has left running may keep its output open for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// How a command ended.
#[derive(Debug)]
pub(super) enum Ended {
    Exited(ExitStatus),
    Stopped(Stop),
}

/// Why it was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Timeout,
    Cancelled,
}

/// Runs a command until it ends, its time is over, or `cancelled` is ready. What it wrote is logged.
pub(super) async fn run(
    hook: &'static str,
    command: &[String],
    timeout: Duration,
    variables: &HookVariables,
    cancelled: impl Future<Output = ()>,
) -> io::Result<Ended> {
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    for name in HIDDEN {
        command.env_remove(name);
    }
    for (name, value) in std::env::vars_os() {
        if is_hidden(&name.to_string_lossy(), &value.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command.env(format!("{PREFIX}HOOK"), hook);
    for (name, value) in variables {
        // Neither can be in a variable.
        let value: String = Escaped(value).to_string().replace('\0', "");
        command.env(format!("{PREFIX}{name}"), value);
    }
    // A group of its own, to end it whole; Ctrl-C at a terminal then comes by way of the run.
    #[cfg(unix)]
    command.process_group(0);
    let mut child = command.spawn()?;
    let output = SharedOutput::default();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let mut readers =
        [tokio::spawn(collect(stdout, output.clone())), tokio::spawn(collect(stderr, output.clone()))];
    let pid = child.id();
    let ended = tokio::select! {
        biased;
        status = child.wait() => Ok(Ended::Exited(status?)),
        () = cancelled => Ok(Ended::Stopped(Stop::Cancelled)),
        () = tokio::time::sleep(timeout) => Ok(Ended::Stopped(Stop::Timeout)),
    };
    if matches!(ended, Ok(Ended::Stopped(_))) {
        end_group(&mut child, pid).await;
    }
    let drained = async {
        for reader in &mut readers {
            // A reader that panicked has no more to say.
            let _ = reader.await;
        }
    };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        readers.iter().for_each(|reader| reader.abort());
    }
    output.log(hook);
    ended
}

/// Whether a variable of this program is a secret by its beginning or its value. A proxy without a password is none.
fn is_hidden(name: &str, value: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.starts_with(HIDDEN_PREFIX) || (name.ends_with("_PROXY") && value.contains('@'))
}

async fn collect(source: Option<impl AsyncRead + Unpin>, output: SharedOutput) {
    let Some(mut source) = source else { return };
    let mut chunk = [0; 8 << 10];
    while let Ok(read) = source.read(&mut chunk).await {
        if read == 0 {
            return;
        }
        output.with(|output: &mut Output| output.push(&chunk[..read]));
    }
}

/// Asks all of them to end, and then ends them.
#[cfg(unix)]
async fn end_group(child: &mut Child, pid: Option<u32>) {
    use rustix::process::{Pid, Signal, kill_process_group};
    let group = pid.and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let Some(group) = group else { return };
    // One that has ended in the meantime cannot be signalled, and need not be.
    let _ = kill_process_group(group, Signal::TERM);
    let _ = tokio::time::timeout(GRACE, child.wait()).await;
    // The group exists as long as any of it does.
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait().await;
}

/// Ends it and what it started, as far as the system still knows who started what.
#[cfg(not(unix))]
async fn end_group(child: &mut Child, pid: Option<u32>) {
    if let Some(pid) = pid {
        let mut kill = Command::new("taskkill");
        kill.args(["/T", "/F", "/PID", &pid.to_string()]);
        kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let _ = tokio::time::timeout(GRACE, kill.status()).await;
    }
    let _ = child.kill().await;
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::Instant;

    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    async fn run_sh(script: &str, timeout: Duration) -> Ended {
        run("before", &sh(script), timeout, &Vec::new(), std::future::pending()).await.expect("sh is there")
    }

    fn is_alive(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        // A zombie waits for the process that adopted it.
        !stat.is_empty() && !stat.contains(") Z ")
    }

    #[tokio::test]
    async fn a_timeout_ends_the_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids");
        let script = format!(
            "sleep 600 & echo $! > {0}; (trap '' TERM; sleep 601 & echo $! >> {0}; wait) & wait",
            file.display()
        );
        let begun = Instant::now();
        let ended = run_sh(&script, Duration::from_millis(800)).await;
        assert!(matches!(ended, Ended::Stopped(Stop::Timeout)), "{ended:?}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        let pids = std::fs::read_to_string(&file).unwrap();
        assert_eq!(pids.lines().count(), 2);
        for pid in pids.lines() {
            for _ in 0..100 {
                if !is_alive(pid) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(!is_alive(pid), "{pid} survived");
        }
    }

    #[tokio::test]
    async fn what_is_left_running_keeps_no_one_waiting() {
        let begun = Instant::now();
        let ended = run_sh("sleep 5 & exit 0", Duration::from_secs(60)).await;
        assert!(matches!(ended, Ended::Exited(status) if status.success()));
        assert!(begun.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn roles_of_containers_and_passwords_of_proxies_are_hidden() {
        for (name, value, hidden) in [
            ("HTTPS_PROXY", "http://u:pw@proxy:3128", true),
            ("all_proxy", "u:pw@proxy:3128", true),
            ("https_proxy", "http://proxy:3128", false),
            ("NO_PROXY", "localhost,.example.com", false),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x", true),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/x", true),
            ("AWS_REGION", "eu-west-1", false),
            ("MAIL", "a@b.c", false),
        ] {
            assert_eq!(is_hidden(name, value), hidden, "{name}");
        }
    }

    #[tokio::test]
    async fn hooks_see_what_happened_and_no_secret() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("env");
        let variables = vec![("RESULT", "failed".to_owned()), ("ERROR", "a\nb\0".to_owned())];
        let command = sh(&format!("env > {}; cat", file.display()));
        let ended = run("after", &command, Duration::from_secs(60), &variables, std::future::pending()).await;
        assert!(matches!(ended.unwrap(), Ended::Exited(status) if status.success()), "nothing to read");
        let seen = std::fs::read_to_string(&file).unwrap();
        for line in ["INTELLISTOR_HOOK=after", "INTELLISTOR_RESULT=failed", "INTELLISTOR_ERROR=a\\nb"] {
            assert!(seen.lines().any(|seen| seen.starts_with(line)), "{line}: {seen}");
        }
        for name in HIDDEN {
            assert!(!seen.contains(&format!("{name}=")), "{name}");
        }
    }
}
