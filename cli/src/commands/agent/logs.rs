//! `logs`: the logs of a policy's runs.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::BinaryBytes;
use intellistor::Agent;
use intellistor::agent::{LogList, LogRow};
use intellistor_telemetry::Escaped;
use intellistor_telemetry::run_log::{self, Follow};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::home;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, plain};
use crate::output::{Done, times, unwritable};
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
    /// List the logs on this machine, oldest first
    #[command(after_help = "\
Examples:
  intellistor-agent logs list --policy-id mvp-default
  intellistor-agent logs list --policy-id mvp-default --format table")]
    List(List),
    /// Print a log: the newest one, unless --run names another
    #[command(after_help = "\
Examples:
  intellistor-agent logs show --policy-id mvp-default
  intellistor-agent logs show --policy-id mvp-default --run 20261123T050000Z
  intellistor-agent logs show --policy-id mvp-default --run '2026-11-23 02:00'
  intellistor-agent logs show --policy-id mvp-default --follow")]
    Show(Show),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    policy: PolicyIdArgument,
    #[command(flatten)]
    format: FormatArgument,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    policy: PolicyIdArgument,
    /// The run: its timestamp, as in 20261123T050000Z; when it began, in local time, as in '2026-11-23 02:00', also with
    /// seconds; or `latest`
    #[arg(long, value_name = "RUN", conflicts_with = "follow")]
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
        LogsCommand::List(list) => {
            let format = list.format.of(&session.environment)?;
            let logs = logs_of(&agent, &list.policy)?;
            match format {
                OutputFormat::Json => Done::document(&logs, Exit::Success),
                OutputFormat::Table => table(&logs).print(Exit::Success),
            }
        }
        LogsCommand::Show(show) if show.follow => follow(&folder(&show.policy), session).await,
        LogsCommand::Show(show) => {
            let logs = logs_of(&agent, &show.policy)?;
            print(which(&logs, show.run.as_deref().unwrap_or("latest"))?)
        }
    }
}

fn logs_of(agent: &Agent, policy: &PolicyIdArgument) -> Result<LogList, Failure> {
    agent.logs(&policy.policy_id).map_err(Failure::engine("cannot list the logs"))
}

fn table(logs: &LogList) -> Table {
    let mut table = Table::new(["run", "began", "size"]).right_aligned(&[2]).shown_from(2, 55);
    for log in &logs.logs {
        let began = log.began.as_ref().map_or_else(|| "-".to_owned(), times::local);
        table.row([plain(&log.timestamp), plain(began), plain(BinaryBytes(log.bytes))]);
    }
    table.note(format_args!("in {}", logs.folder.display()));
    table
}

fn unreadable(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot {action} {}: {error}", path.display()))
        .hint("check that the account that runs this may read it")
}

fn which<'a>(logs: &'a LogList, run: &str) -> Result<&'a Path, Failure> {
    let what = match logs.of(run).as_slice() {
        [log] => return Ok(&log.path),
        [] if logs.logs.is_empty() => format!("no run has left a log in {}", logs.folder.display()),
        [] => format!("there is no log of a run {run} in {}", logs.folder.display()),
        several => {
            let names: Vec<&str> = several.iter().map(|log: &&LogRow| log.timestamp.as_str()).collect();
            let what = format!("{run} may be one of {} runs: {}", names.len(), names.join(", "));
            return Err(Failure::configuration(what).hint("give one of these timestamps as --run"));
        }
    };
    Err(Failure::new(Exit::Failed, what).hint(
        "`intellistor-agent status` shows the policies that have run here, and `logs list` their runs; \
         INTELLISTOR_HOME must have the same value as for the run",
    ))
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
