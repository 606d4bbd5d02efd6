//! Arguments that several commands share: which policy, which backup, which entries.

use std::path::PathBuf;

use clap::Args;

/// Which policy.
#[derive(Debug, Args)]
pub(crate) struct PolicyArgument {
    /// The policy's file; `policy-create` writes one
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: PathBuf,
}

/// Which of the policy's backups.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The backup's key in the store, as `backup` and `list` show it; ends in backup.tar.gz.enc
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    /// The policy's newest backup
    #[arg(long)]
    pub(crate) latest: bool,
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct OnlyArgument {
    /// Only what matches one of these globs, in quotes so that the shell leaves them alone. They are matched
    /// on the whole relative path, and `*` crosses `/`
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pub(crate) only: Vec<String>,
}
