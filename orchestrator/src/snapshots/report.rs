//! What a run's result, log and manifest say of snapshots: used or not, for each volume, and why.

use std::time::SystemTime;

use serde::Serialize;

use super::calls::VssCall;
use super::error::SnapshotError;
use super::guid::Guid;
use super::hresult::Hresult;
use super::provider::{SnapshotSet, SnapshotWarning};
use super::volumes::SnapshotPlan;
use super::writers::FailedWriter;

/// One volume, or one path without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VolumeReport {
    /// Where it is mounted, or the path as the policy has it.
    pub volume: String,
    /// Whether its files were read in a snapshot.
    pub used: bool,
    /// Why not, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The call that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<VssCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Hresult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Guid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<Guid>,
    /// When the snapshot was made.
    #[serde(skip)]
    pub created: Option<SystemTime>,
    /// Those that failed: of the whole set, because VSS does not say which volumes hold a writer's files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writers: Vec<FailedWriter>,
}

impl VolumeReport {
    fn live(volume: &str, reason: String) -> Self {
        Self {
            volume: volume.to_owned(),
            used: false,
            reason: Some(reason),
            call: None,
            code: None,
            snapshot: None,
            set: None,
            created: None,
            writers: Vec::new(),
        }
    }

    fn failed(volume: &str, error: &SnapshotError) -> Self {
        Self {
            call: error.failed_call(),
            code: error.code(),
            writers: error.writers().to_vec(),
            ..Self::live(volume, error.to_string())
        }
    }
}

/// A line for each volume of the plan, then one for each path without a volume.
pub fn volume_reports(plan: &SnapshotPlan, taken: Result<&SnapshotSet, &SnapshotError>) -> Vec<VolumeReport> {
    let volumes = plan.volumes.iter().map(|volume| {
        let set = match taken {
            Ok(set) => set,
            Err(error) => return VolumeReport::failed(&volume.root, error),
        };
        if let Some(left_out) = set.left_out.iter().find(|left_out| left_out.volume.name == volume.name) {
            return VolumeReport::failed(&volume.root, &left_out.reason);
        }
        let snapshot = set.snapshot_of(volume);
        VolumeReport {
            volume: volume.root.clone(),
            used: snapshot.is_some(),
            reason: None,
            call: None,
            code: None,
            snapshot: snapshot.map(|snapshot| snapshot.id),
            set: Some(set.id),
            created: snapshot.map(|snapshot| snapshot.created),
            writers: failed_writers(&set.warnings),
        }
    });
    let live = plan.paths.iter().filter_map(|path| {
        let reason = path.location.as_ref().err()?;
        Some(VolumeReport::live(&path.path, reason.to_string()))
    });
    volumes.chain(live).collect()
}

fn failed_writers(warnings: &[SnapshotWarning]) -> Vec<FailedWriter> {
    let writer = |warning: &SnapshotWarning| match warning {
        SnapshotWarning::Writer(writer) => Some(writer.clone()),
        SnapshotWarning::WritersUnknown { .. } => None,
    };
    warnings.iter().filter_map(writer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::fake::{Fault, FolderSnapshots};
    use crate::snapshots::provider::SnapshotProvider;

    fn report(fault: Option<Fault>) -> (serde_json::Value, Vec<String>) {
        let folders = FolderSnapshots {
            folders: vec![("/c".into(), "/shadow".into())],
            fault,
            ..FolderSnapshots::default()
        };
        let plan = SnapshotPlan::new(["/c/a", "/c/b", "/elsewhere"], &folders);
        let taken = folders.take(&plan.volumes, &|| false);
        let reports = volume_reports(&plan, taken.as_ref());
        let read_at: Vec<_> = plan
            .paths
            .iter()
            .filter_map(|path| taken.as_ref().ok()?.read_at(path.location.as_ref().ok()?))
            .collect();
        (serde_json::to_value(reports).expect("plain data"), read_at)
    }

    #[test]
    fn used_volumes_name_their_snapshot_and_its_writers() {
        let (report, read_at) = report(Some(Fault::Writer(Hresult(0x8004_23F2))));
        assert_eq!(read_at, ["/shadow/a", "/shadow/b"]);
        assert_eq!(
            report,
            serde_json::json!([
                {
                    "volume": "/c/",
                    "used": true,
                    "snapshot": "{00000000-0000-0000-0000-000000000004}",
                    "set": "{00000000-0000-0000-0000-000000000003}",
                    "writers": [{"name": "Fake Writer", "state": "failed at the freeze", "code": "0x800423F2"}]
                },
                {
                    "volume": "/elsewhere",
                    "used": false,
                    "reason": "its volume was not found: /elsewhere is on no fake volume"
                }
            ])
        );
    }

    #[test]
    fn volumes_that_are_read_live_say_why() {
        let (report, read_at) =
            report(Some(Fault::Fails(VssCall::DoSnapshotSet, Hresult::INSUFFICIENT_STORAGE)));
        assert!(read_at.is_empty());
        let volume = &report[0];
        assert_eq!(
            (&volume["volume"], &volume["used"], &volume["call"], &volume["code"]),
            (&"/c/".into(), &false.into(), &"DoSnapshotSet".into(), &"0x8004231F".into())
        );
        assert!(
            volume["reason"].as_str().is_some_and(|reason| reason.contains("vssadmin resize")),
            "{volume}"
        );
    }
}
