//! Arguments that several commands share: which policy, which backup, which entries.

use std::path::PathBuf;

use clap::Args;
use intellistor::is_policy_id;

/// Which policy.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgument {
    /// The policy's file; `policy-create` writes one
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
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
fn policy_id(text: &str) -> Result<String, String> {
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
    /// The backup's key in the store, as `backup` and `list` show it; it ends in backup.tar.gz.enc
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// The policy's newest backup
    #[arg(long)]
    pub(crate) latest: bool,
}

/// Which of the policy's backups, by its key alone.
#[derive(Debug, Args)]
pub(crate) struct KeyArgument {
    /// The backup's key in the store, as `list` shows it; it ends in backup.tar.gz.enc
    #[arg(long, value_name = "KEY")]
    pub(crate) key: String,
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
