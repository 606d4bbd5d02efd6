//! Snapshots of volumes, so that a backup reads files as they were at one moment, also those that are in use.
//!
//! In: the absolute paths of a policy. Out: a [`SnapshotPlan`] that names their volumes, and from a
//! [`SnapshotProvider`] the [`SnapshotSet`] in which they are read, or a [`SnapshotError`] that says which call failed,
//! for which volume, and what to do.
//!
//! Guarantees: all volumes of a set are of the same moment; every set is given back exactly once, completed or aborted,
//! also after an error, a panic or Ctrl-C; no wait is without a time limit. What survives a crash: nothing. The
//! snapshots belong to the process, and Windows deletes them when it ends.
//!
//! | module | holds |
//! | --- | --- |
//! | `provider`, `error` | the trait, the set it hands out, and why there is none |
//! | `volumes` | paths to volumes, and into snapshots and back: pure |
//! | `hresult`, `writers`, `guid` | what VSS says, in words: pure |
//! | `report` | used or not, and why: for the result, the log and the manifest |
//! | `calls`, `requester`, `watch` | the calls of VSS as a trait, their order, and how long they may take |
//! | `session` | the thread that makes them |
//! | `vss` | the calls and the volumes of Windows |
//! | `fake` | in test builds, folders in place of snapshots, and faults |

#![cfg_attr(
    not(any(windows, test)),
    expect(dead_code, reason = "only Windows makes snapshots; the pure parts are built everywhere")
)]

mod calls;
mod error;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
mod guid;
mod hresult;
mod provider;
mod report;
#[cfg(any(windows, test, feature = "testing"))]
mod requester;
#[cfg(any(windows, test, feature = "testing"))]
mod session;
mod system;
mod volumes;
#[cfg(windows)]
mod vss;
#[cfg(any(windows, test, feature = "testing"))]
mod watch;
mod writers;

pub use calls::VssCall;
pub use error::SnapshotError;
pub use guid::Guid;
pub use hresult::Hresult;
pub use provider::{LeftOutVolume, SnapshotProvider, SnapshotSet, SnapshotWarning, VolumeSnapshot};
pub use report::{VolumeReport, volume_reports};
pub use system::{SnapshotSystem, system_provider, system_volumes};
pub use volumes::{LiveReason, PlannedPath, SnapshotPlan, Volume, VolumeLookup, VolumePath, rebase};
pub use writers::FailedWriter;
