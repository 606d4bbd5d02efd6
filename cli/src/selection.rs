//! Arguments that several commands share: which policy, which backup, which entries.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use intellistor::{BackupSelector, StoreUrl, is_policy_id, parse_time};

/// Which policy, for what needs all that its file says.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgument {
    /// The policy's file; `policy-create` writes one
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
}

/// Which policy, for what reads its backups: a machine that has lost its policy file still has the policy's name.
#[derive(Debug, Args)]
pub(crate) struct PolicySelection {
    #[command(flatten)]
    pub(crate) policy: PolicyFileOrId,
    /// The store to read from: s3://bucket/prefix or file:///folder. Without it, the policy's, or AWS_S3_BUCKET
    #[arg(long, value_name = "STORE", value_parser = StoreUrl::parse)]
    pub(crate) store: Option<StoreUrl>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PolicyFileOrId {
    /// The policy's file; `policy-create` writes one
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// The policy's id, where its file is not at hand, as on a new machine
    #[arg(long, value_name = "ID", value_parser = policy_id)]
    pub(crate) policy_id: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct TakeOverArgument {
    /// Take the policy over from the machine that owns it in the store, because this machine replaces that one
    #[arg(long)]
    pub(crate) take_over: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FullArgument {
    /// Make a full backup: one that depends on no earlier backup
    #[arg(long)]
    pub(crate) full: bool,
}

/// Which policy, by name, for what needs no more than that.
#[derive(Debug, Args)]
pub(crate) struct PolicyIdArgument {
    /// The policy's id
    #[arg(long, value_name = "ID", value_parser = policy_id)]
    pub(crate) policy_id: String,
}

/// It becomes part of a path.
pub(crate) fn policy_id(text: &str) -> Result<String, String> {
    match is_policy_id(text) {
        true => Ok(text.to_owned()),
        false => Err(
            "a policy id has at most 64 letters, digits, `.`, `_` and `-`, and begins with a letter or a digit"
                .to_owned(),
        ),
    }
}

/// Which of the policy's backups.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The backup: its key in the store, as `backup` and `list` show it (it ends in backup.tar.gz.enc); or its id or timestamp,
    /// or the beginning of one, at least 4 characters; or `latest~2`, the one two before the newest
    #[arg(long, value_name = "BACKUP")]
    pub(crate) key: Option<BackupSelector>,
    /// The policy's newest backup
    #[arg(long)]
    pub(crate) latest: bool,
    /// The newest backup that there was at that time: 2026-11-01 (its end), "2026-11-01 14:00" by this machine's clock, or with
    /// a zone 2026-11-01T14:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) at: Option<DateTime<Utc>>,
}

impl Which {
    /// What the arguments say.
    pub(crate) fn selector(&self) -> BackupSelector {
        match (&self.key, self.at) {
            (Some(key), _) => key.clone(),
            (None, Some(time)) => BackupSelector::At(time),
            (None, None) => BackupSelector::Latest(0),
        }
    }
}

/// Which of the policy's backups, by name alone.
#[derive(Debug, Args)]
pub(crate) struct KeyArgument {
    /// The backup: its key in the store, as `list` shows it; or its id or timestamp, or the beginning of one, at least 4
    /// characters
    #[arg(long, value_name = "BACKUP")]
    pub(crate) key: BackupSelector,
}

/// A reason, for people. It becomes part of a statement, and one is read up to a bound; lists show it in one line.
pub(crate) fn reason(text: &str) -> Result<String, String> {
    const MOST: usize = 1000;
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err("it is empty: say why".to_owned());
    }
    if length > MOST {
        return Err(format!(
            "it has {length} characters, and a reason has at most {MOST}: write where the rest can be read"
        ));
    }
    if text.contains(char::is_control) {
        return Err(
            "it has a line break, a tab or another control character: write it in one line".to_owned()
        );
    }
    Ok(text.to_owned())
}

/// What a backup may be sealed with.
#[derive(Debug, Args)]
pub(crate) struct SealArgument {
    /// Allow a passphrase that is easily guessed
    #[arg(long)]
    pub(crate) weak_passphrase: bool,
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct OnlyArgument {
    /// Only what matches one of these globs; quote them, so that the shell leaves them alone. They are matched against
    /// the whole relative path, `*` also matches `/`, and a folder includes its contents. A name that contains brackets
    /// or braces also matches itself
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pub(crate) only: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_a_line_that_people_can_read() {
        let longest = "ã".repeat(1000);
        for good in ["case 2026/118", &longest] {
            assert_eq!(reason(good).unwrap(), good);
        }
        let longer = "ã".repeat(1001);
        for (bad, why) in [
            ("", "empty"),
            (" ", "empty"),
            (&*longer, "1001 characters"),
            ("a\nb", "one line"),
            ("\u{1b}[2J", "one line"),
        ] {
            let refused = reason(bad).unwrap_err();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
