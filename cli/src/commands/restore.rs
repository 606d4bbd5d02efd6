//! `restore`: a backup, whole or in part.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use indicatif::HumanCount;
use intellistor::{
    AccessLists, BackupName, Destination, Integrity, Overwrite, Place, Progress, RestoreOptions,
    RestoreReport,
};
use intellistor_telemetry::Escaped;

use crate::changed::warn_of_changed;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::progress::Meter;
use crate::restore_command::RestoreCommand;
use crate::selection::{OnlyArgument, PolicySelection, Which};
use crate::session::Session;
use crate::summary;
use crate::units::counted;

/// Restore a backup, whole or in part
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client restore --policy policy.yaml --latest --out restored
  backup-client restore --policy policy.yaml --latest --out restored --only '*.png' 'docs/*'
  backup-client restore --policy policy.yaml --at 2026-11-01 --out restored
  backup-client restore --policy policy.yaml --key 019f9d3e --out restored
  backup-client restore --policy policy.yaml --latest --in-place --dry-run
  backup-client restore --policy policy.yaml --latest --in-place --only 'docs/*' --overwrite never

Nothing is written outside --out or, with --in-place, outside the paths that the policy named when the backup was made. \
`backup-client show` lists what a backup contains. \
A file that is there already is compared: what has the right size, attributes and SHA-256 is left alone and not fetched again, so \
that an interrupted restore continues when it is repeated; anything else is replaced, also a file that was modified later: \
`overwritten_newer` counts and names these. What the backup does not have is left alone. Look first, with --dry-run. \
On Windows files get their owner and access list back, for which the restore must run as administrator; --no-acl leaves both out. \
Exit code 3: some files, or some of their attributes, could not be restored (see `warnings`). \
Files that changed while they were backed up are restored as they were read; `changed` counts them, `warnings` names them. \
Exit code 4: files are damaged (see `damaged`).")]
pub(crate) struct Restore {
    #[command(flatten)]
    policy: PolicySelection,
    #[command(flatten)]
    which: Which,
    /// The folder to restore into; it is created if it does not exist
    #[arg(long, value_name = "DIR", required_unless_present = "in_place")]
    out: Option<PathBuf>,
    /// Restore to the paths that the backup came from, on the machine that it came from. Shows them, and asks before anything is
    /// written
    #[arg(long, conflicts_with_all = ["out", "without_manifest"])]
    in_place: bool,
    /// Do not ask before anything is written
    #[arg(long, requires = "in_place")]
    yes: bool,
    #[command(flatten)]
    only: OnlyArgument,
    /// What becomes of files and links that are there already
    #[arg(long, value_name = "WHEN", default_value = "if-different")]
    overwrite: OverwriteArgument,
    /// Leave out the owners and access lists of a backup from Windows: files get those that new files have there
    #[arg(long)]
    no_acl: bool,
    /// Say what would be restored, overwritten and fetched; write nothing
    #[arg(long, conflicts_with = "without_manifest")]
    dry_run: bool,
    /// Restore from the archive alone, if the manifest is lost: of an incremental backup what it added, and no more. This is
    /// slower, as the whole archive is read. Files that are there are not compared, but replaced. --latest then means the
    /// newest archive; `backup-client list --orphans` shows those that have no manifest
    #[arg(long)]
    without_manifest: bool,
}

/// The values of `--overwrite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OverwriteArgument {
    /// Replace what differs from the backup; leave the rest alone
    IfDifferent,
    /// Replace everything
    Always,
    /// Replace nothing: restore only what is missing
    Never,
}

impl OverwriteArgument {
    fn mode(self) -> Overwrite {
        match self {
            Self::IfDifferent => Overwrite::IfDifferent,
            Self::Always => Overwrite::Always,
            Self::Never => Overwrite::Never,
        }
    }

    /// The word for a command to paste; none for the default.
    fn word(self) -> Option<&'static str> {
        match self {
            Self::IfDifferent => None,
            Self::Always => Some("always"),
            Self::Never => Some("never"),
        }
    }
}

pub(crate) async fn run(command: &Restore, session: &Session) -> Result<Done, Failure> {
    let policy = session.selected_policy(&command.policy)?;
    intellistor::privilege::reach_all_files();
    let (catalog, identity) = session.open(&policy).await?;
    let name = if command.without_manifest {
        session.choose_archive(&catalog, &policy, &command.which).await?
    } else {
        session.choose(&catalog, &identity, &policy, &command.which).await?
    };
    if command.in_place {
        intellistor::check_policy(&name, &policy.policy_id)
            .map_err(Failure::engine("nothing was restored"))?;
    }
    let run = session.run_options();
    session.note_limits(&policy);
    let progress = run.progress.clone();
    let destination = match &command.out {
        Some(out) => Destination::Folder(out.clone()),
        None => Destination::Origin,
    };
    let options = RestoreOptions {
        destination,
        overwrite: command.overwrite.mode(),
        only: command.only.only.clone(),
        without_manifest: command.without_manifest,
        without_access_lists: command.no_acl,
        run,
    };
    let failed = |error| {
        let what = format!("cannot restore backup {}", name.backup_id);
        let (only, out) = (&command.only.only[..], command.out.as_deref());
        session.backup_failure(what, &command.policy, only, out)(error)
    };
    if command.dry_run {
        let plan = session.unless_cancelled(intellistor::plan_restore(&catalog, &identity, &name, &options));
        let plan = plan.await.map_err(failed).map_err(zeros)?;
        session.screen.conclude(summary::of_plan(&plan));
        return Done::document(&plan, Exit::Success);
    }
    if command.in_place && !command.yes {
        let places = intellistor::restore_places(&catalog, &identity, &name, &options);
        let places = session.unless_cancelled(places).await.map_err(failed).map_err(zeros)?;
        confirm(&name, &places, command.overwrite, session).await?;
    }
    let meter = Meter::start(&session.screen, "restoring", progress.clone());
    let report = intellistor::restore(&catalog, &identity, &name, options).await;
    drop(meter);
    let report = report.map_err(failed).map_err(zeros).map_err(|failure| {
        let key = name.archive_key();
        let repeat = RestoreCommand {
            without_manifest: command.without_manifest,
            only: &command.only.only,
            out: command.out.as_deref(),
            in_place: command.in_place,
            overwrite: command.overwrite.word(),
            no_acl: command.no_acl,
            ..session.restore_command(&command.policy, &key)
        };
        unfinished(failure, &progress, &repeat)
    })?;
    warn_of_changed(&session.screen, report.changed);
    if command.without_manifest {
        // An archive does not say what its backup took over from others: only the manifest did.
        session.screen.warn(
            "these are the files that this archive holds: if its backup was incremental, files that it took over from \
             earlier backups are not among them; restore the backup before it into another folder, too",
        );
    }
    if report.access_lists == Some(AccessLists::Unsupported) {
        session.screen.warn(
            "the backup has owners and access lists of Windows, which this system has no place for: files have those of new \
             files; --no-acl leaves them out without this line",
        );
    }
    if let count @ 1.. = report.streams_left_out {
        let were = if count == 1 { "stream was" } else { "streams were" };
        session.screen.warn(format!(
            "{count} alternate data {were} left out: only NTFS and ReFS have a place for them; the files are whole",
        ));
    }
    warn_of_newer(&report, session);
    session.screen.conclude(summary::of_restore(&report));
    conclude(&report)
}

/// Shows where files will be written, and asks; without a person to ask, it is refused.
async fn confirm(
    name: &BackupName,
    places: &[Place],
    overwrite: OverwriteArgument,
    session: &Session,
) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(zeros(
            Failure::configuration(
                "--in-place writes over the files that the backup came from, and asks first",
            )
            .because("there is no terminal to ask on")
            .hint("add --yes; --dry-run says what would be overwritten"),
        ));
    }
    let what = match overwrite {
        OverwriteArgument::IfDifferent => "Files that differ from the backup are replaced, also newer ones",
        OverwriteArgument::Always => "All files that are in the backup are replaced, also newer ones",
        OverwriteArgument::Never => "Only missing files are restored",
    };
    let mut question = format!("backup {} of {} is restored to\n", name.backup_id, name.timestamp);
    for place in places {
        question.push_str(&format!("  {}\n", Escaped(place.path.display())));
    }
    question.push_str(&format!("{what}. --dry-run says which. Restore? [y/N] "));
    session.screen.ask(&question);
    // On a thread of its own: Ctrl-C is an answer, too.
    let read = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        let read = io::stdin().lock().take(64).read_line(&mut answer);
        read.map(|_| answer.trim().to_lowercase()).unwrap_or_default()
    });
    match session.cancel.run_until_cancelled(read).await {
        None => Err(zeros(Failure::new(Exit::Interrupted, "interrupted; nothing was restored"))),
        Some(Ok(answer)) if ["y", "yes"].contains(&answer.as_str()) => Ok(()),
        Some(_) => Err(zeros(Failure::new(Exit::Failed, "nothing was restored, as the answer was not yes"))),
    }
}

/// What an interruption, or a disk that is full, has left, and the command that resumes it.
fn unfinished(failure: Failure, progress: &Progress, repeat: &RestoreCommand<'_>) -> Failure {
    let (done, selected) = (progress.entries.get(), progress.selected_entries.get());
    if done == 0 || failure.exit() == Exit::Configuration {
        return failure;
    }
    let to_go = match selected.checked_sub(done) {
        Some(to_go) if selected > 0 => format!(" of {}; {} to go", HumanCount(selected), HumanCount(to_go)),
        _ => String::new(),
    };
    let items = counted(done, "item");
    let compared = match repeat.without_manifest {
        true => "repeat it to restore all of them",
        false => "repeat it to go on; what is there is compared, and not fetched again",
    };
    failure
        .and(format!("handled {items}{to_go}. Files that have their name are whole: {compared}"))
        .hint(repeat.line())
        .with("handled", done)
        .with("selected", selected)
}

/// A person asked for it, and may not have known: one line, and no other exit code.
fn warn_of_newer(report: &RestoreReport, session: &Session) {
    let newer = &report.overwritten_newer;
    if !newer.is_empty() {
        let files = counted(newer.count(), "file");
        session.screen.warn(format_args!(
            "{files} that had been modified later than in the backup {} replaced: {}",
            if newer.count() == 1 { "was" } else { "were" },
            summary::names(newer.names(), newer.count())
        ));
    }
}

/// Programs find the members that they know, also where nothing was restored.
fn zeros(failure: Failure) -> Failure {
    let integrity = if failure.exit() == Exit::Integrity { "failed" } else { "not checked" };
    failure.with("found", 0).with("restored", 0).with("integrity", integrity)
}

fn conclude(report: &RestoreReport) -> Result<Done, Failure> {
    if report.integrity == Integrity::Failed {
        let (damaged, backup_id) = (report.damaged_count, &report.name.backup_id);
        let entries = if damaged == 1 { "entry is" } else { "entries are" };
        let failure = Failure::new(
            Exit::Integrity,
            format!("{damaged} {entries} damaged in backup {backup_id}, and not restored"),
        )
        .because(report.damaged.join("\n"))
        .hint("restore these entries from another backup of the policy: `backup-client list` shows them");
        return Err(failure.with_members(report));
    }
    Done::document(report, if report.is_complete() { Exit::Success } else { Exit::Incomplete })
}

#[cfg(test)]
mod tests {
    use super::*;
    use intellistor::NameList;

    fn report(warnings: usize, damaged: u64) -> RestoreReport {
        let list = |n: usize| (0..n).map(|i| format!("a{i}")).collect();
        RestoreReport {
            name: BackupName::default(),
            found: 5,
            restored: 5 - damaged,
            unchanged: 0,
            overwritten: 0,
            overwritten_newer: NameList::default(),
            left: NameList::default(),
            out: Some("out".into()),
            places: Vec::new(),
            integrity: if damaged > 0 { Integrity::Failed } else { Integrity::Verified },
            bytes: 9,
            fetched_bytes: 10,
            streams_left_out: 0,
            access_lists: None,
            changed: 0,
            warnings: list(warnings),
            warning_count: warnings as u64,
            damaged: list(damaged as usize),
            damaged_count: damaged,
            seconds: 0.1,
            trace_id: None,
        }
    }

    #[test]
    fn the_exit_code_tells_the_worst() {
        let exit = |report| match conclude(&report) {
            Ok(Done::Document(text, exit)) => {
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(&text).unwrap()["integrity"],
                    "verified"
                );
                exit
            }
            Ok(Done::Written(_)) => panic!("no document"),
            Err(failure) => {
                let document = failure.document();
                assert_eq!(document["integrity"], "failed");
                assert_eq!(document["error"]["category"], "integrity");
                assert_eq!(document["damaged"][1], "a1");
                failure.exit()
            }
        };
        assert_eq!(exit(report(0, 0)), Exit::Success);
        assert_eq!(exit(report(2, 0)), Exit::Incomplete);
        assert_eq!(exit(report(2, 2)), Exit::Integrity);
    }

    #[test]
    fn a_refused_backup_says_so_in_the_members_that_programs_know() {
        let document = zeros(Failure::new(Exit::Integrity, "refused")).document();
        assert_eq!((&document["found"], &document["integrity"]), (&0.into(), &"failed".into()));
        assert_eq!(zeros(Failure::new(Exit::Failed, "x")).document()["integrity"], "not checked");
    }
}
