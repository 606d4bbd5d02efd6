//! The publish law: what is looked at before a manifest is put.
//!
//! **Law (must).** A manifest that names a base is put only if, at a look at most an hour earlier by the store's clock,
//!
//! 1. its own backup is not forgotten,
//! 2. its base's manifest is in the store, and is not [forgotten for more than a day](crate::operations::base::forgotten),
//! 3. every archive that it names is in the store, with its size.
//!
//! The time is taken before the look, and again from the answer to the put. Where more than an hour is between them, since
//! the process was stopped or the store was slow, the same is looked at again; what fails then has this backup forgotten at
//! once, and the job begins anew. So does a manifest that an earlier, crashed run has put. Nothing else undoes a put.
//!
//! **Proof** that no archive of a listed backup is swept. A sweep deletes an archive only if no manifest names it, forgotten or not,
//! by a listing that is made after the sweep has deleted manifests. So it is enough that from the first manifest that names an
//! archive until the last one is deleted, some manifest in the store names it *at every moment*: then whenever the sweep lists, and
//! however long it is stopped after that, it finds one, or no manifest will ever name that archive again. New references are only
//! made to what a base names (no manifest names an archive that neither its base does nor its own job has made). Let a manifest be
//! put at P after a look at L.
//! - P <= L + 1 h: at L the base was not forgotten, or since L - 1 d at most. A sweep deletes the base's manifest two days after
//!   the forgetting at the earliest, so after L + 1 d > P. The two manifests exist side by side for 22 hours or more, and a
//!   listing that shows neither would have to take as long, or be as far behind.
//! - P > L + 1 h: the same holds with the second look in the place of P, or the backup is forgotten and the archives may go.
//!
//! What is not asked is whether an archive's own backup is forgotten: it may have been for months, and its archive lives on
//! because bases name it.
//!
//! A hold or an `unforget` does not help a base: both may be taken back within the hour, when a sweep is due at once.
//!
//! **What is left.** A process that is stopped for a day or more between its last look at the clock and the put, and is killed between
//! the put and the second look, and never resumed, leaves a backup that may name what is gone. An agent's job is always
//! resumed. For `backup-client` the window is that between two instructions: S3 refuses a request that was signed more than
//! 15 minutes ago. Its next run finds the backup as a base, and warns of what is missing.
//!
//! A folder has no clock of its own, so this machine's counts, together with [`Uptime`], which no one can set: a span is as long as
//! the longer of the two says. Two machines that share a folder and a policy, one after the other, must agree on the date to a day.

use std::time::Duration;

use chrono::Utc;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::catalog::statements::{self, Forgotten, Found};
use intellistor_storage::keys::OpensBackups;
use intellistor_storage::objects::ObjectStore;
use intellistor_storage::uptime::Uptime;
use intellistor_storage::{Error as Storage, StoreErrorKind};

use crate::error::{Error, Result};
use crate::operations::base;

/// How old a look may be when the manifest is put.
const VALID: Duration = Duration::from_secs(60 * 60);
/// A look that is older than this is made again rather than relied on: the put takes time, too.
const FRESH: Duration = Duration::from_secs(30 * 60);
/// Looks that took longer than [`FRESH`], one after the other. After so many the manifest is put, and looked at again after that.
const MOST_SLOW_LOOKS: u32 = 3;

/// What a manifest that is about to be put relies on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks<'a> {
    pub(crate) store: &'a dyn ObjectStore,
    pub(crate) keys: &'a dyn OpensBackups,
    pub(crate) name: &'a BackupName,
    pub(crate) base: Option<&'a BackupName>,
    /// By key and size, its own among them.
    pub(crate) archives: &'a [(String, u64)],
}

/// When a look was begun, by two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    store_ms: i64,
    uptime: Uptime,
}

impl Looks<'_> {
    /// Looks at everything.
    ///
    /// # Errors
    /// [`Error::Forgotten`], [`Error::BaseLost`] or [`Error::DependencyLost`] when the manifest must not be put; those of the store.
    pub(super) async fn look(&self) -> Result<Look> {
        let look = Look { store_ms: now_ms(self.store), uptime: Uptime::now() };
        self.look_at_own().await?;
        if let Some(base) = self.base {
            self.look_at_base(base).await?;
        }
        let found = base::look_at(self.store, self.archives.to_vec()).await?;
        for ((key, bytes), state) in self.archives.iter().zip(found) {
            if let Some(what) = state.problem(*bytes) {
                return Err(Error::DependencyLost { key: key.clone(), what });
            }
        }
        Ok(look)
    }

    /// Looks until a look is young enough to put a manifest after it.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub(super) async fn look_before_put(&self) -> Result<Look> {
        let mut look = self.look().await?;
        for _ in 1..MOST_SLOW_LOOKS {
            if !look.is_older_than(FRESH, self.store) {
                break;
            }
            look = self.look().await?;
        }
        Ok(look)
    }

    /// Whether the manifest that was put after `look` needs another look.
    pub(super) fn was_late(&self, look: Look) -> bool {
        look.is_older_than(VALID, self.store)
    }

    /// A manifest that an earlier run has put may have been forgotten since, by that run itself.
    ///
    /// Law (must): before the archives. A sweep removes `forgotten.json` last, so where that is gone the archive is, too.
    async fn look_at_own(&self) -> Result<()> {
        match statements::read::<Forgotten>(self.store, self.name, self.keys).await {
            Ok(Found::Proven(forgotten)) => {
                Err(Error::Forgotten { key: self.name.manifest_key(), why: forgotten.why })
            }
            Ok(Found::Nothing | Found::Unproven(_)) => Ok(()),
            // Without the right to list, this is the answer for what does not exist.
            Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Law (must): the statement before the manifest, for the same reason.
    async fn look_at_base(&self, base: &BackupName) -> Result<()> {
        let lost = |why| Err(Error::BaseLost { key: base.manifest_key(), why });
        if let Some(why) = base::obstacle(self.store, base, self.keys).await? {
            return lost(why);
        }
        match self.store.head(&base.manifest_key()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => lost("it is not in the store any more".to_owned()),
            Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
                lost(format!("it is not shown any more ({error})"))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Look {
    /// Whether more than `limit` has passed since, by either clock. A clock that was set back says nothing about the span: that
    /// counts as longer, too.
    fn is_older_than(self, limit: Duration, store: &dyn ObjectStore) -> bool {
        let by_store = Duration::from_millis(now_ms(store).abs_diff(self.store_ms));
        by_store.max(self.uptime.elapsed()) > limit
    }
}

fn now_ms(store: &dyn ObjectStore) -> i64 {
    store.now_ms().unwrap_or_else(|| Utc::now().timestamp_millis())
}
