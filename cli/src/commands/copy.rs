//! `copy`: backups to another store.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use intellistor::{
    BackupSelector, Catalog, CopyOptions, CopyReport, CopySelection, Error, Identity, Policy, StorageError,
    StoreErrorKind, StoreUrl, parse_time,
};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::progress::Meter;
use crate::selection::PolicySelection;
use crate::session::Session;
use crate::summary;
use crate::units::counted;

/// Copy backups, and what they depend on, to another store
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client copy --policy policy.yaml --to file:///mnt/usb --latest
  backup-client copy --policy policy.yaml --to s3://other-bucket/copies --all --to-env-file other.env

Every object is copied byte for byte: nothing is decrypted, the same key opens the copy, and a policy whose `store` is the \
target restores from it. Each byte is compared with what was sealed while it is copied. What the target has is skipped, never \
replaced; after an interruption, the same command continues. The policy's `lock` and `storage_class` are not applied to the \
copy: lock it with the target's own settings. \
Exit code 2 if the target is the store itself, or holds another machine's backups of this policy: nothing was written; or if \
another key than the configured one opens the backups that were not copied. \
Exit code 3: some backups were passed over (see `passed_over`). \
Exit code 4: some backups are damaged in the store, and were not copied (see `failed`); the others were.")]
pub(crate) struct Copy {
    #[command(flatten)]
    policy: PolicySelection,
    /// The store to copy to: s3://bucket/prefix or file:///folder
    #[arg(long, value_name = "STORE", value_parser = StoreUrl::parse)]
    to: StoreUrl,
    #[command(flatten)]
    which: WhichToCopy,
    /// A file of NAME=value lines with the target's credentials and endpoint. Without it they are those of the policy's store;
    /// with it no AWS_* variable from anywhere else is used for the target
    #[arg(long, value_name = "FILE")]
    to_env_file: Option<PathBuf>,
    /// Say what would be copied, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Which of the policy's backups.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhichToCopy {
    /// A backup: its key, as `backup` and `list` show it; or its id or timestamp, or the beginning of one, at least 4 characters;
    /// or `latest~2`. Repeat it for several. Forgotten backups are copied if they are named
    #[arg(long, value_name = "BACKUP")]
    key: Vec<BackupSelector>,
    /// The policy's newest backup
    #[arg(long)]
    latest: bool,
    /// The newest backup that there was at that time: 2026-11-01 (its end), "2026-11-01 14:00" by this machine's clock
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<DateTime<Utc>>,
    /// All backups that `list` shows, oldest first
    #[arg(long)]
    all: bool,
}

impl WhichToCopy {
    async fn selection(
        &self,
        session: &Session,
        from: &Catalog,
        identity: &Identity,
        policy: &Policy,
    ) -> Result<CopySelection, Failure> {
        let at = self.at.map(BackupSelector::At);
        let mut names = Vec::new();
        for selector in self.key.iter().chain(&at) {
            names.push(session.named(from, identity, policy, selector).await?);
        }
        Ok(match (names.is_empty(), self.all) {
            (false, _) => CopySelection::Named(names),
            (true, true) => CopySelection::All,
            (true, false) => CopySelection::Latest,
        })
    }
}

pub(crate) async fn run(command: &Copy, session: &Session) -> Result<Done, Failure> {
    let policy = session.selected_policy(&command.policy)?;
    let (from, identity) = session.open(&policy).await?;
    let selection = command.which.selection(session, &from, &identity, &policy).await?;
    let (to, other_endpoint) =
        session.open_target(&command.to, &policy, command.to_env_file.as_deref()).await?;
    let new_stores = to.new_folders();
    let run = session.run_options();
    session.note_limits(&policy);
    let meter = Meter::start(&session.screen, "copying", run.progress.clone());
    let options = CopyOptions { selection, dry_run: command.dry_run, other_endpoint, run };
    let report = intellistor::copy(&from, &to, &identity, &policy.policy_id, options).await;
    let report = report.map_err(|error| failed(error, &to.url(), command))?;
    drop(meter);
    for warning in &report.warnings {
        session.screen.warn(warning);
    }
    if !command.dry_run && !report.copied.is_empty() {
        session.note_new_stores(&new_stores, "copy again");
    }
    session.screen.conclude(summary::of_copy(&report));
    conclude(&report)
}

/// The engine's error. Where the target's bucket or folder is not there, the policy and the environment are not to blame.
fn failed(error: Error, to: &str, command: &Copy) -> Failure {
    let what = format!("cannot copy backups to {}", command.to);
    match &error {
        Error::Storage(StorageError::Store(of_store))
            if of_store.kind == StoreErrorKind::NoSuchStore && of_store.store == to =>
        {
            Failure::new(error.category().into(), what)
                .because(&error)
                .hint("check the bucket or folder in --to; it must exist: create it, or mount the disk that it is on")
        }
        _ => Failure::engine(what)(error),
    }
}

fn conclude(report: &CopyReport) -> Result<Done, Failure> {
    if report.failed.is_empty() {
        return Done::document(report, if report.is_complete() { Exit::Success } else { Exit::Incomplete });
    }
    let exit = match () {
        () if report.is_damaged => Exit::Integrity,
        () if report.is_of_another_key => Exit::Configuration,
        () => Exit::Failed,
    };
    let failed = counted(report.failed.len() as u64, "backup");
    let reasons = report.failed.iter().map(|backup| format!("{}: {}", backup.key, backup.reason));
    let reasons = reasons.collect::<Vec<_>>().join("\n");
    let failure =
        Failure::new(exit, format!("{failed} could not be copied to {}", report.to)).because(reasons);
    // Another key does not open them; the reasons say which does.
    let failure = match exit {
        Exit::Configuration => failure,
        _ => failure.hint(
            "`backup-client verify` checks a backup; a new one, with `backup --full`, depends on nothing damaged",
        ),
    };
    Err(failure.with_members(report))
}

#[cfg(test)]
mod tests {
    use intellistor::UncopiedBackup;

    use super::*;

    fn exit_of(passed_over: usize, failed: usize, is_damaged: bool) -> Exit {
        let backup = UncopiedBackup {
            backup_id: "b".to_owned(),
            timestamp: "t".to_owned(),
            key: "k".to_owned(),
            reason: "why".to_owned(),
        };
        let report = CopyReport {
            passed_over: vec![backup.clone(); passed_over],
            failed: vec![backup; failed],
            is_damaged,
            ..CopyReport::default()
        };
        match conclude(&report) {
            Ok(done) => done.exit(),
            Err(failure) => {
                assert_eq!(failure.document()["failed"][0]["reason"], "why");
                failure.exit()
            }
        }
    }

    #[test]
    fn the_exit_code_tells_the_worst() {
        assert_eq!(exit_of(0, 0, false), Exit::Success);
        assert_eq!(exit_of(1, 0, false), Exit::Incomplete);
        assert_eq!(exit_of(1, 1, false), Exit::Failed);
        assert_eq!(exit_of(0, 2, true), Exit::Integrity);
    }

    #[test]
    fn another_key_is_no_damage() {
        let report = CopyReport {
            failed: vec![UncopiedBackup {
                backup_id: "b".to_owned(),
                timestamp: "t".to_owned(),
                key: "k".to_owned(),
                reason: "sealed with another key".to_owned(),
            }],
            is_of_another_key: true,
            ..CopyReport::default()
        };
        let failure = conclude(&report).unwrap_err();
        assert_eq!(failure.exit(), Exit::Configuration);
        assert!(!failure.to_string().contains("--full"), "{failure}");
    }
}
