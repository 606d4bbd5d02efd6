//! Windows' Volume Shadow Copy Service, and its volumes.
//!
//! | module | holds |
//! | --- | --- |
//! | `interface` | `IVssBackupComponents`, slot by slot |
//! | `apartment` | COM on the session's thread |
//! | `components` | the calls |
//! | `drives` | paths to volumes |

mod apartment;
mod components;
mod drives;
mod interface;

pub(super) use drives::WindowsVolumes;

use super::error::SnapshotError;
use super::provider::{SnapshotProvider, SnapshotSet};
use super::session::{SessionLimits, take_set};
use super::volumes::Volume;

/// Needs administrators' rights, or those of backup operators.
#[derive(Debug)]
pub(super) struct Vss;

impl SnapshotProvider for Vss {
    fn take(&self, volumes: &[Volume], cancel: &dyn Fn() -> bool) -> Result<SnapshotSet, SnapshotError> {
        take_set(components::Components::open, volumes, SessionLimits::default(), cancel)
    }
}
