//! Whether a backup is listed: what follows from the statements about it.
//!
//! | forgotten.json | hold.json | the backup is |
//! | --- | --- | --- |
//! | none, or unproven | any | listed |
//! | proven, with `sweeping` | any | gone: a sweep deletes it |
//! | proven | `held` | listed: a hold wins |
//! | proven | `unforgets` has its id | listed |
//! | proven | any other | forgotten |
//!
//! Law (must): two that act at once on a backup each write first and look after that, so at least one sees the other. The sweep
//! writes `sweeping`, then reads `hold.json`, and passes over the backup if that speaks for it; whoever holds or unforgets
//! writes `hold.json`, then reads `forgotten.json`, and has failed if a sweep had begun.

use crate::catalog::layout::BackupName;
use crate::catalog::statements::{self, Forgotten, Found, Hold};
use crate::error::Result;
use crate::keys::OpensBackups;
use crate::objects::store::ObjectStore;

/// What is said about a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    pub forgotten: Found<Forgotten>,
    pub hold: Found<Hold>,
}

impl Standing {
    /// Nothing was ever said.
    pub const UNTOUCHED: Self = Self { forgotten: Found::Nothing, hold: Found::Nothing };

    /// Reads what is said about a backup. `hold.json` is read last.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn read(store: &dyn ObjectStore, name: &BackupName, keys: &dyn OpensBackups) -> Result<Self> {
        let forgotten = statements::read(store, name, keys).await?;
        let hold = statements::read(store, name, keys).await?;
        Ok(Self { forgotten, hold })
    }

    /// The forgetting that counts; `None` for a backup that is listed.
    pub fn forgotten(&self) -> Option<&Forgotten> {
        let Found::Proven(forgotten) = &self.forgotten else { return None };
        (forgotten.sweeping || !self.speaks_for(forgotten)).then_some(forgotten)
    }

    /// The hold that is in force.
    pub fn held(&self) -> Option<&Hold> {
        match &self.hold {
            Found::Proven(hold) if hold.held => Some(hold),
            _ => None,
        }
    }

    /// Whether `hold.json` keeps the backup from being forgotten.
    pub fn speaks_for(&self, forgotten: &Forgotten) -> bool {
        match &self.hold {
            Found::Proven(hold) => hold.held || hold.unforgets.contains(&forgotten.id),
            Found::Nothing | Found::Unproven(_) => false,
        }
    }

    /// What proves nothing, for people.
    pub fn unproven(&self, name: &BackupName) -> Vec<String> {
        use crate::catalog::layout::ObjectKind;
        let mut warnings = Vec::new();
        if let Found::Unproven(why) = &self.forgotten {
            warnings.push(format!("{} is not used: {why}", name.key(ObjectKind::Forgotten)));
        }
        if let Found::Unproven(why) = &self.hold {
            warnings.push(format!("{} is not used: {why}", name.key(ObjectKind::Hold)));
        }
        warnings
    }
}
