//! Words that name no backup, and selectors that select none.

/// Fewer characters are more often a slip than a name.
pub(super) const FEWEST_CHARACTERS: usize = 4;

/// Why a word names no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSelector {
    /// Occurs when a manifest's key is given; the archive's is in it.
    #[error("{given:?} is the key of a manifest, and a backup is named by its archive: {archive}")]
    Manifest { given: String, archive: String },
    /// Occurs when it is a path or a URL, and no key.
    #[error(
        "{0:?} is not the key of a backup. A key looks like backups/<policy_id>/<timestamp>/<backup_id>/backup.tar.gz.enc, \
         without bucket or prefix; `backup-client list` shows them"
    )]
    Key(String),
    /// Occurs when it is too short to be the beginning of an id.
    #[error(
        "{0:?} is too short: give at least {FEWEST_CHARACTERS} characters of the backup's id or timestamp"
    )]
    Short(String),
    /// Occurs when it has a form that nothing has.
    #[error(
        "{0:?} names no backup: give its key, its id or timestamp or the beginning of one, `latest`, or `latest~2` for the one \
         two before the newest"
    )]
    Unknown(String),
    /// Occurs when it is no time.
    #[error(
        "{0:?} is not a time: write 2026-11-01 for the end of that day, \"2026-11-01 14:00\", or with a zone \
         2026-11-01T14:00:00-03:00"
    )]
    Time(String),
}

/// Why a selector selects no backup of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// Occurs when no backup answers to it.
    #[error("{store} has no backup of policy {policy_id} whose id or timestamp begins with {prefix:?}{}", archive_note(*is_archive))]
    NoneBegins {
        prefix: String,
        policy_id: String,
        /// The store's URL.
        store: String,
        /// Whether an archive without a manifest does.
        is_archive: bool,
    },
    /// Occurs when several do.
    #[error("{prefix:?} may be one of {count} backups; give more characters of an id, or a whole key:\n{}", candidates.join("\n"))]
    Ambiguous {
        prefix: String,
        count: usize,
        /// The first of them, with their times.
        candidates: Vec<String>,
    },
    /// Occurs when there are not so many backups before the newest.
    #[error("latest~{back} goes back too far: policy {policy_id} has {count} in {store} that count")]
    TooFar {
        back: usize,
        /// Backups that are neither forgotten nor dated in the future.
        count: usize,
        policy_id: String,
        /// The store's URL.
        store: String,
    },
    /// Occurs when the oldest backup was made later.
    #[error(
        "policy {policy_id} has no backup from before {time} in {store}; the oldest is of {oldest}, {key}"
    )]
    TooEarly {
        time: String,
        /// When the oldest was made, in the machine's time zone.
        oldest: String,
        /// The oldest backup's key.
        key: String,
        policy_id: String,
        /// The store's URL.
        store: String,
    },
}

fn archive_note(is_archive: bool) -> &'static str {
    if is_archive { ", but an archive without a manifest: --without-manifest restores it" } else { "" }
}
