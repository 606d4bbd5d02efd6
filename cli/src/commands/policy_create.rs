//! `policy-create`: writes a policy to start from.

use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use intellistor::policy::parse_duration;
use intellistor::{LockPolicy, Policy, RetentionRules, StoreUrl, leftovers};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::session::Session;

const TEMPORARY: &str = ".policy-";

/// Write a policy: what to back up, what to leave out, and where to store it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client policy-create --out policy.yaml --paths ~/Documents ~/Pictures
  backup-client policy-create --out db.yaml --policy-id database --paths /srv/db --exclude '*.tmp' 'cache/*'
  backup-client policy-create --out nas.yaml --store file:///mnt/nas
  backup-client policy-create --out docs.yaml --keep-daily 14 --keep-monthly 12 --timezone America/Sao_Paulo

The file is commented; edit it as you like. Relative paths are made absolute.")]
pub(crate) struct PolicyCreate {
    /// The file to write; its folder is created if it does not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The policy's name in the store, in logs and in schedules: at most 64 letters, digits, `.`, `_` and `-`
    #[arg(long, value_name = "ID", default_value = "mvp-default")]
    policy_id: String,
    /// Files and folders to back up
    #[arg(long, value_name = "PATH", num_args = 1.., default_value = ".")]
    paths: Vec<PathBuf>,
    /// When the agent runs it, as a cron expression: minute, hour, day of month, month, day of week
    #[arg(long, value_name = "CRON", default_value = "0 2 * * *")]
    schedule: String,
    /// What to leave out: globs, matched against the path relative to each of --paths; `*` also matches `/`
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    exclude: Vec<String>,
    /// The store: s3://bucket/prefix or file:///folder; without it, each run uses AWS_S3_BUCKET
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    lifecycle: LifecycleOptions,
}

/// What becomes of backups. Without a `keep`, all are kept.
#[derive(Debug, Args)]
#[command(next_help_heading = "What becomes of backups")]
struct LifecycleOptions {
    /// Keep the newest N backups
    #[arg(long, value_name = "N")]
    keep_last: Option<u32>,
    /// Keep the backups made within this time before the newest one, as in 14d
    #[arg(long, value_name = "TIME")]
    keep_within: Option<String>,
    /// Keep the newest of each of the newest N hours that have a backup
    #[arg(long, value_name = "N")]
    keep_hourly: Option<u32>,
    /// The same for days
    #[arg(long, value_name = "N")]
    keep_daily: Option<u32>,
    /// The same for ISO weeks
    #[arg(long, value_name = "N")]
    keep_weekly: Option<u32>,
    /// The same for months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<u32>,
    /// The same for years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<u32>,
    /// Where hours, days and weeks begin: a name of the IANA database, as in America/Sao_Paulo; without it, UTC
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// How long a forgotten backup can be taken back before it is deleted, at least 2d; without it, 8d
    #[arg(long, value_name = "TIME")]
    prune_after: Option<String>,
    /// Lock each backup in the store with S3 Object Lock: governance or compliance, and for how many days, as in governance:30
    #[arg(long, value_name = "MODE:DAYS")]
    lock: Option<LockPolicy>,
    /// The store's class for archives, as in STANDARD_IA
    #[arg(long, value_name = "CLASS")]
    storage_class: Option<String>,
}

impl LifecycleOptions {
    fn apply(&self, policy: &mut Policy) -> Result<(), Failure> {
        let number = |number: &Option<u32>| number.unwrap_or_default();
        let rules = RetentionRules {
            keep_last: number(&self.keep_last),
            keep_within: self.keep_within.as_deref().map(parse_duration).transpose()?,
            keep_hourly: number(&self.keep_hourly),
            keep_daily: number(&self.keep_daily),
            keep_weekly: number(&self.keep_weekly),
            keep_monthly: number(&self.keep_monthly),
            keep_yearly: number(&self.keep_yearly),
            timezone: self.timezone.clone(),
        };
        let numbers = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        // A rule of 0 that was asked for is refused, as in a policy, where it is the only one.
        let is_asked_for =
            rules != RetentionRules::default() || numbers.iter().any(|number| number.is_some());
        policy.retention = is_asked_for.then_some(rules);
        if let Some(text) = &self.prune_after {
            policy.prune_after = parse_duration(text)?;
        }
        policy.lock = self.lock;
        policy.storage_class = self.storage_class.clone();
        Ok(())
    }
}

pub(crate) fn run(command: &PolicyCreate, session: &Session) -> Result<Done, Failure> {
    let paths = command.paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let mut policy = Policy::new(&command.policy_id, paths)?;
    policy.schedule = Some(command.schedule.clone());
    policy.exclude = command.exclude.clone();
    policy.store = match &command.store {
        Some(url) => Some(StoreUrl::parse(url).map_err(|e| Failure::configuration(e.to_string()))?),
        None => None,
    };
    command.lifecycle.apply(&mut policy)?;
    policy.check()?;
    // A disk that is not mounted today may be a good path tomorrow.
    for missing in policy.missing_paths() {
        session.screen.warn(missing);
    }
    policy.check_overlap()?;
    write(&command.out, &policy.to_yaml(), command.force)?;
    Done::document(&json!({ "created": command.out.to_string_lossy() }), Exit::Success)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let refused = |e| Failure::configuration(format!("cannot make {path:?} an absolute path: {e}"));
    let absolute = std::path::absolute(path).map_err(refused)?;
    // `..` after a symbolic link is not the folder before it: only the system can tell which one it is.
    let climbs = absolute.components().any(|part| part == Component::ParentDir);
    if climbs { absolute.canonicalize().map_err(refused) } else { Ok(absolute) }
}

/// The file appears whole or not at all.
fn write(out: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let refused = |e: std::io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Failed, format!("{} exists already", out.display()))
            .hint("name another file with --out, or replace this one with --force"),
        _ => Failure::new(Exit::Failed, format!("cannot write {}: {e}", out.display()))
            .hint("check that its folder exists, that you may write to it, and that the disk is not full"),
    };
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot create the folder {}: {e}", folder.display()))
    })?;
    leftovers::remove_abandoned_in(folder, |name| leftovers::is_temporary(name, TEMPORARY));
    let mut builder = tempfile::Builder::new();
    // A policy holds no secret; what others may read is up to the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(TEMPORARY).tempfile_in(folder).map_err(refused)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(refused)?;
    let kept = if force { file.persist(out) } else { file.persist_noclobber(out) };
    kept.map(drop).map_err(|e| refused(e.error))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        command: PolicyCreate,
    }

    /// The policy that a command line makes of one without lifecycle.
    fn policy(line: &str) -> Result<Policy, Failure> {
        let words = ["policy-create", "--out", "p.yaml"].into_iter().chain(line.split_whitespace());
        let command = Line::try_parse_from(words).map_err(|e| Failure::configuration(e.to_string()))?.command;
        let mut policy = Policy::new("a", ["/x"])?;
        command.lifecycle.apply(&mut policy)?;
        policy.check()?;
        Ok(policy)
    }

    #[test]
    fn flags_write_what_becomes_of_backups() {
        let all = "--keep-last 1 --keep-within 14d --keep-hourly 2 --keep-daily 3 --keep-weekly 4 --keep-monthly 5 \
                   --keep-yearly 6 --timezone America/Sao_Paulo --prune-after 10d --lock governance:30 --storage-class STANDARD_IA";
        let yaml = policy(all).unwrap().to_yaml();
        let expected = "
retention: { keep_last: 1, keep_within: 14d, keep_hourly: 2, keep_daily: 3, keep_weekly: 4, keep_monthly: 5, keep_yearly: 6, timezone: 'America/Sao_Paulo' }
prune_after: 10d
lock: { mode: governance, days: 30 }
storage_class: 'STANDARD_IA'
";
        assert!(yaml.contains(expected), "{yaml}");
        assert_eq!(Policy::from_yaml(Path::new("p"), &yaml).unwrap(), policy(all).unwrap());
        assert_eq!(policy("").unwrap(), Policy::new("a", ["/x"]).unwrap());
    }

    #[test]
    fn flags_that_keep_or_lock_nothing_are_refused() {
        for (line, reason) in [
            ("--keep-last 0", "no rule"),
            ("--timezone UTC", "no rule"),
            ("--keep-daily 7 --timezone America/Sao_Paolo", "Write America/Sao_Paulo"),
            ("--keep-within 0d", "from 1h"),
            ("--keep-within week", "not a duration"),
            ("--keep-last=-1", "--keep-last"),
            ("--prune-after 1d", "from 2d"),
            ("--lock 30", "governance:30"),
            ("--lock governance:0", "from 1 to 36500"),
            ("--storage-class glacier", "Write GLACIER"),
        ] {
            let refused = policy(line).map(drop).unwrap_err().to_string();
            assert!(refused.contains(reason), "{line}: {refused}");
        }
    }

    #[test]
    fn paths_become_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute(Path::new(".")).unwrap(), here);
        assert_eq!(absolute(Path::new("a/./b")).unwrap(), here.join("a").join("b"));
        let above = here.parent().unwrap();
        let above = if cfg!(windows) { above.to_owned() } else { above.canonicalize().unwrap() };
        assert_eq!(absolute(Path::new("..")).unwrap(), above);
    }

    #[test]
    fn a_policy_is_replaced_only_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("p.yaml");
        write(&out, "one", false).unwrap();
        let text = write(&out, "two", false).unwrap_err().to_string();
        assert!(text.contains("exists already") && text.contains("--force"), "{text}");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "one");
        write(&out, "two", true).unwrap();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let below = dir.path().join("policies/of/p.yaml");
        write(&below, "three", false).unwrap();
        assert_eq!(std::fs::read_to_string(&below).unwrap(), "three");
        let text = write(&out.join("p.yaml"), "x", false).unwrap_err().to_string();
        assert!(text.contains("cannot create the folder"), "{text}");
    }
}
