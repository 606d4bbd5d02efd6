//! `logs`: the logs of a policy's runs.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use intellistor_telemetry::Escaped;
use intellistor_telemetry::run_log::{self, Follow};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::{Done, unwritable};
use crate::selection::PolicyIdArgument;
use crate::session::Session;

/// List or show the logs of a policy's runs
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  intellistor-agent logs list --policy-id mvp-default
  intellistor-agent logs show --policy-id mvp-default")]
pub(crate) struct Logs {
    #[command(subcommand)]
    command: LogsCommand,
}

#[derive(Debug, Subcommand)]
enum LogsCommand {
    /// List the logs on this machine, oldest first, as JSON
    #[command(after_help = "\
Example:
  intellistor-agent logs list --policy-id mvp-default")]
    List(PolicyIdArgument),
    /// Print a log: the newest one, unless --run names another
    #[command(after_help = "\
Examples:
  intellistor-agent logs show --policy-id mvp-default
  intellistor-agent logs show --policy-id mvp-default --run 20261123T020000Z
  intellistor-agent logs show --policy-id mvp-default --follow")]
    Show(Show),
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    policy: PolicyIdArgument,
    /// The timestamp of the run, as `logs list` shows it
    #[arg(long, value_name = "TIMESTAMP", conflicts_with = "follow")]
    run: Option<String>,
    /// Follow the log until Ctrl-C, including new runs
    #[arg(short, long)]
    follow: bool,
}

/// How often a followed log is looked at.
const EVERY: Duration = Duration::from_millis(250);

pub(crate) async fn run(command: Logs, session: &Session) -> Result<Done, Failure> {
    let agent = home::agent(&session.environment)?;
    let folder = |policy: &PolicyIdArgument| agent.logs_folder(&policy.policy_id);
    match command.command {
        LogsCommand::List(policy) => {
            let logs = agent.logs(&policy.policy_id).map_err(Failure::engine("cannot list the logs"))?;
            Done::document(&logs, Exit::Success)
        }
        LogsCommand::Show(show) if show.follow => follow(&folder(&show.policy), session).await,
        LogsCommand::Show(show) => print(&which(&folder(&show.policy), show.run.as_deref())?),
    }
}

fn logs_in(folder: &Path) -> Result<Vec<run_log::LogFile>, Failure> {
    run_log::list(folder).map_err(|e| unreadable("list", folder, &e))
}

fn unreadable(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {action} {}: {error}", path.display()))
        .hint("check that the account that runs this may read it")
}

fn which(folder: &Path, run: Option<&str>) -> Result<PathBuf, Failure> {
    let logs = logs_in(folder)?;
    let found = match run {
        Some(run) => logs.into_iter().find(|log| log.timestamp == run),
        None => logs.into_iter().next_back(),
    };
    found.map(|log| log.path).ok_or_else(|| {
        let what = match run {
            Some(run) => format!("there is no log of a run {run} in {}", folder.display()),
            None => format!("no run has left a log in {}", folder.display()),
        };
        Failure::new(Exit::Failed, what).hint(
            "`intellistor-agent status` shows the policies that have run here, and `logs list` their runs; \
             INTELLISTOR_HOME must have the same value as for the run",
        )
    })
}

fn print(path: &Path) -> Result<Done, Failure> {
    let unreadable = |e: std::io::Error| unreadable("read", path, &e);
    let mut log = BufReader::new(std::fs::File::open(path).map_err(unreadable)?);
    let mut out = std::io::stdout().lock();
    let mut line = Vec::new();
    while log.read_until(b'\n', &mut line).map_err(unreadable)? > 0 {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line));
        writeln!(out, "{}", Escaped(text)).map_err(|e| unwritable(&e))?;
        line.clear();
    }
    Ok(Done::Written(Exit::Success))
}

async fn follow(folder: &Path, session: &Session) -> Result<Done, Failure> {
    let path = folder.join(run_log::LAST);
    let mut log = Follow::new(&path);
    loop {
        let lines = log.read();
        let lines = lines.map_err(|e| unreadable("read", &path, &e))?;
        let mut out = std::io::stdout().lock();
        for line in &lines {
            writeln!(out, "{line}").map_err(|e| unwritable(&e))?;
        }
        out.flush().map_err(|e| unwritable(&e))?;
        drop(out);
        if lines.is_empty() {
            let waited = session.cancel.run_until_cancelled(tokio::time::sleep(EVERY)).await;
            if waited.is_none() {
                return Ok(Done::Written(Exit::Success));
            }
        }
    }
}
