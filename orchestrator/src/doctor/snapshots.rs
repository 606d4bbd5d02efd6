//! Whether files can be read in snapshots, as the policy's `vss` wants. None is made: databases pause for one.

use super::examination::Examination;
use super::finding::Finding;
use crate::policy::{Policy, VssMode};
use crate::snapshots::{SnapshotPlan, SnapshotSystem};

/// Whether there is anything to say: a system without VSS has no row, unless the policy asks for it.
pub(super) fn applies(policy: &Policy) -> bool {
    cfg!(windows) || policy.vss.is_some_and(|vss| vss != VssMode::Off)
}

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let Some(policy) = examination.policy.clone() else { return Finding::skipped("there is no policy") };
    let examined = tokio::task::spawn_blocking(move || examine(&policy, &SnapshotSystem::default())).await;
    examined.unwrap_or_else(|error| Finding::failed(format!("the volumes could not be looked up: {error}")))
}

fn examine(policy: &Policy, system: &SnapshotSystem) -> Finding {
    let mode = VssMode::of(policy.vss, system.is_elevated);
    // Those of which there must be a snapshot fail a run; the others are read as they are.
    let finding = |text: String| match mode {
        VssMode::Required => Finding::failed(text),
        VssMode::Try | VssMode::Off => Finding::warning(text),
    };
    if policy.vss == Some(VssMode::Off) {
        return Finding::ok("`vss: off`: files that another program holds open are left out");
    }
    if cfg!(windows) && !system.is_elevated {
        return finding(
            "this account may make no snapshot; files that another program holds open are left out".to_owned(),
        )
        .advise(
            "Open the console with \"Run as administrator\", or schedule the policy for SYSTEM; or set `vss: off`",
        );
    }
    let paths: Vec<_> = policy
        .paths
        .iter()
        .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()).to_string_lossy().into_owned())
        .collect();
    let plan = SnapshotPlan::new(paths.iter().map(String::as_str), &*system.volumes);
    let live: Vec<_> = plan
        .paths
        .iter()
        .filter_map(|path| Some(format!("{}: {}", path.path, path.location.as_ref().err()?)))
        .collect();
    if !live.is_empty() {
        return finding(format!("no snapshot can be made of {}", live.join("; ")))
            .advise("Give these paths a policy of their own with `vss: off`, or set `vss: try`");
    }
    let volumes: Vec<_> = plan.volumes.iter().map(|volume| volume.root.as_str()).collect();
    Finding::ok(format!("files are read in a snapshot of {}", volumes.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::doctor::CheckState;
    use crate::snapshots::fake::FolderSnapshots;

    #[test]
    fn a_path_without_a_volume_is_told_before_a_run() {
        let [volume, inside, outside] =
            if cfg!(windows) { [r"C:\c\", r"C:\c\x", r"C:\d"] } else { ["/c/", "/c/x", "/d"] };
        let folders = vec![(volume.to_owned(), "/shadow".to_owned())];
        let fake = Arc::new(FolderSnapshots { folders, ..FolderSnapshots::default() });
        let system = SnapshotSystem { provider: fake.clone(), volumes: fake, is_elevated: true };
        for (vss, paths, state, words) in [
            (None, &[inside][..], CheckState::Ok, volume),
            (Some(VssMode::Off), &[inside], CheckState::Ok, "vss: off"),
            (None, &[inside, outside], CheckState::Warning, &format!("{outside}: its volume was not found")),
            (Some(VssMode::Required), &[inside, outside], CheckState::Failed, outside),
        ] {
            let policy = Policy { vss, ..Policy::new("p", paths.iter().copied()).unwrap() };
            let row = examine(&policy, &system).row("snapshots", "snapshots");
            assert!(row.state == state && row.detail.contains(words), "{vss:?} {row:?}");
        }
    }

    #[test]
    fn a_system_without_vss_has_a_row_only_where_it_is_asked_for() {
        let policy = |vss| Policy { vss, ..Policy::new("p", ["/x"]).unwrap() };
        assert_eq!(applies(&policy(None)), cfg!(windows));
        assert_eq!(applies(&policy(Some(VssMode::Off))), cfg!(windows));
        assert!(applies(&policy(Some(VssMode::Required))));
    }
}
