//! The command lines of both programs.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use intellistor_telemetry::console::Format;

use crate::commands::{
    agent, backup, copy, decrypt, diff, doctor, find, forget, help, hold, key_create, list, policy_create,
    prune, release, restore, show, stats, unforget, verify,
};

/// Settings of both programs. Their manual pages are made from these texts, too: see `manual`.
macro_rules! settings {
    () => {
        "\
Settings, from the environment or from a file (see --env-file; docs/SETTINGS.md lists all):
  INTELLISTOR_KEY_FILE   the key; or one of INTELLISTOR_KEY and INTELLISTOR_PASSPHRASE
  AWS_S3_BUCKET          where backups are stored, unless the policy has `store`, which may be
                         s3://bucket/prefix or file:///mnt/nas
  AWS_ACCESS_KEY_ID      the account at the S3 service; AWS_SECRET_ACCESS_KEY, AWS_REGION,
                         AWS_ENDPOINT_URL and others are read as other tools read them
  INTELLISTOR_MACHINE    one name for machines that come and go, such as containers
  INTELLISTOR_FORMAT     `table` for results that people read; otherwise they are JSON
  RUST_LOG               what is logged, if neither -v nor -q is given"
    };
}

macro_rules! exit_codes {
    () => {
        "\
Exit codes:
  0    success
  1    failed
  2    wrong usage or configuration, or refused
  3    finished, but something needs attention: entries skipped or changed, a path missing or empty,
       many files gone or changed at once, an archive of an earlier backup missing, a copy missing,
       a policy taken over, another key, a wrong clock, a lock not extended, retention or a sweep
       that cannot be done until a person acts, a hold or a forgetting that is not proven
  4    integrity failure
  5    another run of this policy is active
  130  interrupted"
    };
}

/// Below the options of a command, and above --help.
const LAST: usize = 900;

/// Options of both programs.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// A file of NAME=value lines to take settings from; without it, `.env` in the current directory is read.
    /// Variables that are already set take precedence over the file
    #[arg(long, global = true, value_name = "FILE", display_order = LAST)]
    pub(crate) env_file: Option<PathBuf>,
    /// Show more on standard error; repeat it for even more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, display_order = LAST)]
    pub(crate) verbose: u8,
    /// Show only errors
    #[arg(short, long, global = true, conflicts_with = "verbose", display_order = LAST)]
    pub(crate) quiet: bool,
    /// The format of the lines on standard error: text for people, or one JSON object per line
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human", display_order = LAST)]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Human,
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Human => Self::Human,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Encrypted backups of folders, to S3 or to a disk.
#[derive(Debug, Parser)]
#[command(name = "backup-client", version, after_help = CLIENT_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct ClientArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: ClientCommand,
}

/// Backups that can be resumed, are scheduled, and leave logs.
#[derive(Debug, Parser)]
#[command(name = "intellistor-agent", version, after_help = AGENT_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct AgentArguments {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: AgentCommand,
}

const CLIENT_HELP: &str = concat!(
    "\
First steps:
  backup-client key-create --out intellistor.key
  export INTELLISTOR_KEY_FILE=intellistor.key AWS_S3_BUCKET=my-bucket
  backup-client policy-create --out policy.yaml --paths ~/Documents
  backup-client backup --policy policy.yaml
  backup-client restore --policy policy.yaml --latest --out restored

",
    settings!(),
    "

Files:
  .env   settings, if --env-file names no other file

Standard output is one JSON document, with {\"error\": ...} on failure; progress and hints go to standard error.

",
    exit_codes!()
);

const AGENT_HELP: &str = concat!(
    "\
First steps, with a policy and a key made by backup-client:
  intellistor-agent run --policy policy.yaml      backs up, or resumes an unfinished backup
  intellistor-agent status                        the state of every policy
  intellistor-agent logs show --policy-id mvp-default
  intellistor-agent apply-schedule --policy-id mvp-default --policy-path policy.yaml --env-file backup.env

",
    settings!(),
    "
  INTELLISTOR_HOME       the folder of the agent's queues and logs

Files:
  .env                                 settings, if --env-file names no other file
  /var/lib/intellistor/agent           queues and logs of root's runs
  ~/.local/state/intellistor/agent     those of other users' runs; in $XDG_STATE_HOME, if that is set
  C:\\ProgramData\\Intellistor\\Agent     queues, logs and the scripts of schedules on Windows

",
    exit_codes!()
);

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum ClientCommand {
    PolicyCreate(policy_create::PolicyCreate),
    KeyCreate(key_create::KeyCreate),
    Backup(backup::Backup),
    Restore(restore::Restore),
    List(list::List),
    Find(find::Find),
    Diff(diff::Diff),
    Stats(stats::Stats),
    Show(show::Show),
    Verify(verify::Verify),
    Forget(forget::Forget),
    Unforget(unforget::Unforget),
    Prune(prune::Prune),
    Hold(hold::Hold),
    Release(release::Release),
    Decrypt(decrypt::Decrypt),
    Doctor(doctor::Doctor),
    Copy(copy::Copy),
    Completions(help::Completions),
    Manual(help::Manual),
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    Run(agent::run::Run),
    Status(agent::status::Status),
    Logs(agent::logs::Logs),
    Doctor(doctor::Doctor),
    Cancel(agent::cancel::Cancel),
    ApplySchedule(agent::schedule::apply::ApplySchedule),
    TestSchedule(agent::schedule::test::TestSchedule),
    RemoveSchedule(agent::schedule::remove::RemoveSchedule),
    Serve(agent::serve::Serve),
    ListSchedules(agent::schedule::list::ListSchedules),
    Completions(help::Completions),
    Manual(help::Manual),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<ClientArguments, clap::Error> {
        ClientArguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        ClientArguments::command().debug_assert();
        AgentArguments::command().debug_assert();
    }

    #[test]
    fn the_contracts_command_lines_are_accepted() {
        for line in [
            "backup-client policy-create --out p.yaml",
            "backup-client --env-file x.env policy-create --out p.yaml --policy-id a --paths a b --schedule x --force",
            "backup-client key-create --out k",
            "backup-client backup --policy p.yaml --out d --env-file x.env",
            "backup-client backup --policy p.yaml --take-over",
            "backup-client backup --policy p.yaml --full",
            "backup-client restore --policy p.yaml --key 0192f3a1 --out d --only *.png --only docs/* a -v",
            "backup-client restore --policy p.yaml --latest --out d -q",
            "backup-client restore --policy p.yaml --key 0192f3a1 --out d --without-manifest",
            "backup-client restore --policy p.yaml --latest --out d --without-manifest",
            "backup-client list --policy p.yaml",
            "backup-client list --policy p.yaml --orphans",
            "backup-client list --policy p.yaml --forgotten",
            "backup-client forget --policy p.yaml --dry-run",
            "backup-client forget --policy p.yaml --confirm",
            "backup-client forget --policy p.yaml --key 0192f3a1 --why w --confirm --dry-run",
            "backup-client unforget --policy p.yaml --key 0192f3a1",
            "backup-client prune --policy p.yaml --dry-run",
            "backup-client hold --policy p.yaml --key 0192f3a1 --reason r --legal",
            "backup-client hold --policy p.yaml --latest --reason r",
            "backup-client release --policy p.yaml --key 0192f3a1 --legal",
            "backup-client show --policy p.yaml --latest --only a",
            "backup-client verify --policy p.yaml --key 0192f3a1",
            "backup-client show --policy p.yaml --latest --tree",
            "backup-client copy --policy p.yaml --to s3://b/copy --latest --to-env-file b.env",
            "backup-client copy --policy p.yaml --to file:///mnt/usb --key 0192f3a1 --key latest~2 --dry-run",
            "backup-client copy --policy p.yaml --to file:///mnt/usb --all",
            "backup-client doctor --policy p.yaml --env-file x.env --format table",
            "backup-client completions zsh",
            "backup-client manual --out d",
            "backup-client decrypt --policy p.yaml --key 0192f3a1 --out -",
        ] {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        for line in [
            "intellistor-agent run --policy p.yaml --out d --env-file x.env",
            "intellistor-agent run --policy p.yaml --metrics-dir m",
            "intellistor-agent run --policy p.yaml --take-over",
            "intellistor-agent run --policy p.yaml --only-unfinished",
            "intellistor-agent run --policy p.yaml --full",
            "intellistor-agent status",
            "intellistor-agent status --policy p.yaml --json",
            "intellistor-agent status --check --warning-age 36h --critical-age 3d",
            "intellistor-agent status --format table",
            "intellistor-agent logs list --policy-id a --format table",
            "intellistor-agent logs show --policy-id a --run 20261123T020000Z",
            "intellistor-agent logs show --policy-id a --run latest",
            "intellistor-agent logs show --policy-id a --follow",
            "intellistor-agent cancel --policy p.yaml",
            "intellistor-agent apply-schedule --policy-id a --cron @daily --policy-path p.yaml --out d --env-file x.env",
            "intellistor-agent apply-schedule --policy-id a --policy-path p.yaml --user ana",
            "intellistor-agent test-schedule --policy-id a --timeout 60",
            "intellistor-agent remove-schedule --policy-id a",
            "intellistor-agent list-schedules --format table",
            "intellistor-agent serve --policies d --at-once 1 --metrics-dir m",
            "intellistor-agent doctor --policy p.yaml --env-file x.env",
        ] {
            AgentArguments::try_parse_from(line.split(' ')).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    /// Arguments in PowerShell, `@('a', $b)`; a variable is any text.
    fn powershell_arguments(list: &str) -> Vec<&str> {
        let words = list.split(',').map(str::trim);
        words
            .map(|word| word.strip_prefix('\'').and_then(|word| word.strip_suffix('\'')).unwrap_or("1"))
            .collect()
    }

    #[test]
    fn the_acceptance_script_gives_command_lines_that_there_are() {
        let script = include_str!("../../packaging/windows/acceptance.ps1");
        let calls = |function: &str| {
            let lists = script.split(function).skip(1).filter_map(|rest| rest.strip_prefix(" @("));
            let lists = lists.map(|rest| powershell_arguments(rest.split_once(')').unwrap().0));
            lists.collect::<Vec<_>>()
        };
        let (client, agent) = (calls("Invoke-Client"), calls("Invoke-Agent"));
        assert!(client.len() >= 6 && agent.len() >= 4, "{client:?} {agent:?}");
        for line in client {
            ClientArguments::try_parse_from(["backup-client"].iter().chain(&line))
                .unwrap_or_else(|e| panic!("{line:?}: {e}"));
        }
        for line in agent {
            AgentArguments::try_parse_from(["intellistor-agent"].iter().chain(&line))
                .unwrap_or_else(|e| panic!("{line:?}: {e}"));
        }
    }

    #[test]
    fn a_restore_names_one_backup() {
        assert!(parse("backup-client restore --policy p.yaml --out d").is_err());
        assert!(parse("backup-client restore --policy p.yaml --out d --latest --key 0192f3a1").is_err());
        assert_eq!(parse("backup-client restore").unwrap_err().exit_code(), 2);
    }
}
