//! What this system can do.

use std::fmt;
use std::sync::Arc;

use super::provider::SnapshotProvider;
use super::volumes::VolumeLookup;

/// What a run makes snapshots with.
#[derive(Clone)]
pub struct SnapshotSystem {
    pub provider: Arc<dyn SnapshotProvider>,
    pub volumes: Arc<dyn VolumeLookup>,
    /// As [`is_elevated`](crate::privilege::is_elevated) says.
    pub is_elevated: bool,
}

impl Default for SnapshotSystem {
    /// This computer's.
    fn default() -> Self {
        let is_elevated = crate::privilege::is_elevated();
        Self { provider: system_provider().into(), volumes: system_volumes().into(), is_elevated }
    }
}

impl fmt::Debug for SnapshotSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotSystem").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// VSS on Windows; elsewhere, a provider that refuses with
/// [`SnapshotError::Unsupported`](super::SnapshotError::Unsupported).
pub fn system_provider() -> Box<dyn SnapshotProvider> {
    #[cfg(any(test, feature = "testing"))]
    if let Some(folders) = super::fake::FolderSnapshots::from_environment() {
        return Box::new(folders);
    }
    #[cfg(windows)]
    return Box::new(super::vss::Vss);
    #[cfg(not(windows))]
    return Box::new(absent::NoSnapshots);
}

/// Windows' volumes; elsewhere, none.
pub fn system_volumes() -> Box<dyn VolumeLookup> {
    #[cfg(any(test, feature = "testing"))]
    if let Some(folders) = super::fake::FolderSnapshots::from_environment() {
        return Box::new(folders);
    }
    #[cfg(windows)]
    return Box::new(super::vss::WindowsVolumes);
    #[cfg(not(windows))]
    return Box::new(absent::NoSnapshots);
}

#[cfg(not(windows))]
mod absent {
    use crate::snapshots::error::SnapshotError;
    use crate::snapshots::provider::{SnapshotProvider, SnapshotSet};
    use crate::snapshots::volumes::{LiveReason, Volume, VolumeLookup, VolumePath};

    const REASON: &str = "only Windows has the Volume Shadow Copy Service";

    #[derive(Debug)]
    pub(super) struct NoSnapshots;

    impl SnapshotProvider for NoSnapshots {
        fn take(&self, _: &[Volume], _: &dyn Fn() -> bool) -> Result<SnapshotSet, SnapshotError> {
            Err(SnapshotError::Unsupported { reason: REASON })
        }
    }

    impl VolumeLookup for NoSnapshots {
        fn locate(&self, _: &str) -> Result<VolumePath, LiveReason> {
            Err(LiveReason::Unknown { reason: REASON.to_owned() })
        }
    }
}

#[cfg(all(test, not(windows)))]
mod tests {
    use super::*;
    use crate::snapshots::error::SnapshotError;

    #[test]
    fn systems_without_vss_say_so() {
        let error = system_provider().take(&[], &|| false).expect_err("there is no VSS here");
        assert!(matches!(error, SnapshotError::Unsupported { .. }));
        assert!(error.to_string().contains("`vss: off`"), "{error}");
        assert!(system_volumes().locate("/data").is_err());
    }
}
