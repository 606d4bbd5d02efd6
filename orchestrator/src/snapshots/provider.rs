//! What makes snapshots, and what it hands out.

use std::fmt::{self, Debug};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::calls::VssCall;
use super::error::SnapshotError;
use super::guid::Guid;
use super::hresult::Hresult;
use super::volumes::{Volume, VolumePath, rebase, with_separator};
use super::writers::FailedWriter;

/// Makes snapshots of volumes.
pub trait SnapshotProvider: Send + Sync + Debug {
    /// One set with every volume, all of the same moment. Blocks, for minutes at worst; `cancel` is asked about every
    /// 100 ms.
    ///
    /// # Errors
    /// After one, no snapshot is left. A volume that VSS cannot take is no error as long as there is another one: it is
    /// in [`SnapshotSet::left_out`].
    fn take(&self, volumes: &[Volume], cancel: &dyn Fn() -> bool) -> Result<SnapshotSet, SnapshotError>;
}

/// The snapshot of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeSnapshot {
    pub volume: Volume,
    pub id: Guid,
    /// The root folder, with exactly one trailing separator: without it, the name is the raw device's.
    pub device: String,
    /// By the computer's clock.
    pub created: SystemTime,
}

impl VolumeSnapshot {
    pub(super) fn new(volume: Volume, id: Guid, device: &str, created: SystemTime) -> Self {
        Self { volume, id, device: with_separator(device), created }
    }

    /// Where the snapshot's files really are, for messages.
    pub fn real_path(&self, path: &str) -> Option<String> {
        rebase(path, &self.device, &self.volume.root)
    }
}

/// What was not perfect about a snapshot that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SnapshotWarning {
    /// Its files are as after a power cut.
    Writer(FailedWriter),
    /// Whether writers failed is not known.
    WritersUnknown { call: VssCall, code: Hresult },
}

impl fmt::Display for SnapshotWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer(writer) => {
                write!(
                    f,
                    "the VSS writer {writer}. Its files are in the snapshot as after a power cut. {}",
                    writer.code.advice(None)
                )
            }
            Self::WritersUnknown { call, code } => write!(
                f,
                "whether a writer failed is not known: {} ({call}: {code}). {}",
                code.meaning(),
                code.advice(None)
            ),
        }
    }
}

/// A volume of which no snapshot was made, while others of the set were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOutVolume {
    pub volume: Volume,
    pub reason: SnapshotError,
}

/// Snapshots that stay until the set is completed or dropped, and no longer than this process.
#[derive(Debug)]
pub struct SnapshotSet {
    pub id: Guid,
    pub snapshots: Vec<VolumeSnapshot>,
    pub left_out: Vec<LeftOutVolume>,
    pub warnings: Vec<SnapshotWarning>,
    guard: Box<dyn SnapshotGuard>,
}

/// Keeps the snapshots of a set. Dropping it aborts the backup and deletes them; it does not panic.
pub(super) trait SnapshotGuard: Debug + Send {
    fn complete(self: Box<Self>, succeeded: bool) -> Result<(), SnapshotError>;
}

/// A set without its guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TakenSnapshots {
    pub(super) id: Guid,
    pub(super) snapshots: Vec<VolumeSnapshot>,
    pub(super) left_out: Vec<LeftOutVolume>,
    pub(super) warnings: Vec<SnapshotWarning>,
}

impl SnapshotSet {
    pub(super) fn new(taken: TakenSnapshots, guard: Box<dyn SnapshotGuard>) -> Self {
        let TakenSnapshots { id, snapshots, left_out, warnings } = taken;
        Self { id, snapshots, left_out, warnings, guard }
    }

    pub fn snapshot_of(&self, volume: &Volume) -> Option<&VolumeSnapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.volume.name.eq_ignore_ascii_case(&volume.name))
    }

    /// Where to read a path of the plan; `None` when its volume was left out.
    pub fn read_at(&self, path: &VolumePath) -> Option<String> {
        Some(self.snapshot_of(&path.volume)?.device.clone() + &path.below)
    }

    /// Tells the writers how the backup ended, and deletes the snapshots. Call it after the last read.
    ///
    /// # Errors
    /// [`SnapshotError::Lost`] when Windows deleted a snapshot in the middle of the run, for want of room. All errors
    /// leave the backup as it is, and no snapshot behind that outlives this process.
    pub fn complete(self, succeeded: bool) -> Result<(), SnapshotError> {
        self.guard.complete(succeeded)
    }
}

/// From 100 ns since 1601, which is how VSS counts. Times before 1970 become 1970.
pub(super) fn time_of(ticks: i64) -> SystemTime {
    const UNIX_EPOCH_TICKS: i64 = 116_444_736_000_000_000;
    let since = u64::try_from(ticks.saturating_sub(UNIX_EPOCH_TICKS)).unwrap_or(0);
    let time = Duration::from_secs(since / 10_000_000) + Duration::from_nanos(since % 10_000_000 * 100);
    SystemTime::UNIX_EPOCH.checked_add(time).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl SnapshotGuard for Nothing {
        fn complete(self: Box<Self>, _: bool) -> Result<(), SnapshotError> {
            Ok(())
        }
    }

    fn volume(name: &str, root: &str) -> Volume {
        Volume { name: name.into(), root: root.into() }
    }

    #[test]
    fn paths_are_read_in_the_snapshot_of_their_volume_and_shown_as_they_are() {
        let c = volume(r"\\?\Volume{c}\", r"C:\");
        let device = r"\\?\GLOBALROOT\Device\HarddiskVolumeShadowCopy7";
        let snapshot = VolumeSnapshot::new(c.clone(), Guid(4), device, SystemTime::UNIX_EPOCH);
        let taken = TakenSnapshots {
            id: Guid(3),
            snapshots: vec![snapshot],
            left_out: Vec::new(),
            warnings: Vec::new(),
        };
        let set = SnapshotSet::new(taken, Box::new(Nothing));
        let at = |volume: &Volume, below: &str| {
            set.read_at(&VolumePath { volume: volume.clone(), below: below.into() })
        };

        assert_eq!(at(&c, r"Users\a.txt"), Some(format!(r"{device}\Users\a.txt")));
        assert_eq!(at(&c, ""), Some(format!(r"{device}\")));
        // The same volume, by another mount point.
        assert_eq!(at(&volume(r"\\?\VOLUME{C}\", r"D:\m\"), "x"), Some(format!(r"{device}\x")));
        assert_eq!(at(&volume(r"\\?\Volume{e}\", r"E:\"), "x"), None);
        let real = set.snapshots[0].real_path(&format!(r"{device}\Users\a.txt"));
        assert_eq!(real.as_deref(), Some(r"C:\Users\a.txt"));
        assert_eq!(set.complete(true), Ok(()));
    }

    #[test]
    fn times_count_from_1601() {
        let epoch = 116_444_736_000_000_000;
        assert_eq!(time_of(epoch), SystemTime::UNIX_EPOCH);
        assert_eq!(time_of(epoch + 15), SystemTime::UNIX_EPOCH + Duration::from_nanos(1500));
        let year_2026 = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        assert_eq!(time_of(134_116_992_000_000_000), year_2026);
        for before in [0, -1, i64::MIN, epoch - 1] {
            assert_eq!(time_of(before), SystemTime::UNIX_EPOCH);
        }
        assert!(time_of(i64::MAX) > year_2026);
    }
}
