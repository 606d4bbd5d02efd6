//! Restores a backup, whole or in part.
//!
//! | file | holds |
//! | --- | --- |
//! | `options` | what to restore, where to, and the report |
//! | `by_manifest` | fetches what was asked for |
//! | `plan` | says what it would do, for `--dry-run` |
//! | `places` | the paths that a backup came from, for a restore in place |
//! | `salvage` | reads the archive alone, when the manifest is lost |

mod by_manifest;
pub(crate) mod options;
pub(crate) mod places;
pub(crate) mod plan;
mod salvage;

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_telemetry::names::span;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::operations::report::RestoreReport;
use crate::operations::restore::options::RestoreOptions;
use crate::operations::root_span::{root, stopped_by, traced};

/// Restores a backup, whole or in part.
///
/// # Errors
/// Those of the store and the key; [`Error::NothingMatches`](crate::Error::NothingMatches);
/// [`Error::Interrupted`](crate::Error::Interrupted); [`Error::NotInPlace`](crate::Error::NotInPlace). Damage to single files is no error but in the report.
pub async fn restore(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    options: RestoreOptions,
) -> Result<RestoreReport> {
    let BackupName { policy_id, backup_id, .. } = name;
    let cancel = options.run.cancel.clone();
    let restored = async {
        if options.without_manifest {
            salvage::restore(catalog, identity, name, options).await
        } else {
            by_manifest::restore(catalog, identity, name, options).await
        }
    };
    let restored = stopped_by(&cancel, restored);
    traced(span::RESTORE, policy_id, root!(span::RESTORE, policy_id, backup_id), restored).await
}
