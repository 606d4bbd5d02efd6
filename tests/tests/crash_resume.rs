//! The agent is killed at every step of the ordering law, with SIGKILL, and the next run finishes the job.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use intellistor_storage::failpoint::Failpoint;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::Output;

/// Five parts.
const MIB: u64 = 34;
/// Parts in flight when a run dies, at most: four whole ones, and the small last one.
const IN_FLIGHT: u32 = 5;

/// The hits at which a point is tried: the first, and a later one where a run passes it several times.
fn hits(point: Failpoint) -> &'static [u32] {
    match point {
        Failpoint::ScanAdded => &[1, 3],
        Failpoint::PartAcknowledged
        | Failpoint::PartListed
        | Failpoint::PartWritten
        | Failpoint::PartRecorded => &[1, 3],
        _ => &[1],
    }
}

/// Whether the job is still to be resumed when a run dies there.
fn leaves_a_job(point: Failpoint) -> bool {
    !matches!(point, Failpoint::JobEnded | Failpoint::JobInHistory | Failpoint::JobClosed)
}

fn assert_finished(sandbox: &AgentSandbox, output: &Output, what: &str) {
    let result = &output.json;
    assert_eq!(result["state"], "completed", "{what}: {result:#}");
    let key = result["s3"]["key_backup"].as_str().unwrap();
    sandbox.assert_restores(key);
    let parts = sandbox.parts_of(key);
    let reused = result["parts_reused"].as_u64().unwrap() as u32;
    let total = result["parts"].as_u64().unwrap() as u32;
    for (number, times) in &parts {
        let most = if *number <= reused { 1 } else { 2 };
        assert!(*times <= most, "{what}: part {number} was stored {times} times, {reused} were recorded");
        assert!(*times == 1 || *number <= reused + IN_FLIGHT, "{what}: part {number} was sent too early");
    }
    assert_eq!(parts.len() as u32, total, "{what}");
    sandbox.assert_no_open_upload();
    sandbox.assert_order();
    let timestamp = result["timestamp"].as_str().unwrap();
    let sent = sandbox.object(&format!("logs/crash/run_{timestamp}.log")).unwrap_or_default();
    assert!(sent.contains("the backup exists") && sent.contains(key), "{what}: {sent}");
    assert_eq!(sandbox.object("logs/crash/last.log").as_deref(), Some(&*sent), "{what}");
}

#[test]
fn a_crash_at_any_step_costs_no_backup_and_no_finished_part() {
    for point in Failpoint::ALL {
        for &nth in hits(point) {
            let what = format!("{} {nth}", point.name());
            let sandbox = AgentSandbox::filled("crash", MIB);
            assert!(sandbox.run_until(point.name(), nth), "{what} was never reached");
            let before = sandbox.backups();
            let output = sandbox.run().expect(0);
            assert_eq!(output.json["resumed"], leaves_a_job(point), "{what}: {:#}", output.json);
            assert_finished(&sandbox, &output, &what);
            // What was published before the crash is the same backup, and not one more.
            let expected = if leaves_a_job(point) { 1 } else { 2 };
            assert_eq!(sandbox.backups().len(), expected, "{what}");
            assert!(before.iter().all(|key| sandbox.backups().contains(key)), "{what}");
        }
    }
}

#[test]
fn a_run_that_dies_in_the_same_place_twice_is_finished_by_the_third() {
    use Failpoint::{
        ArchiveCompleted, BeforeManifest, LogShipped, ManifestPut, PartAcknowledged, PartRecorded,
    };
    for point in [PartAcknowledged, PartRecorded, ArchiveCompleted, BeforeManifest, ManifestPut, LogShipped] {
        let sandbox = AgentSandbox::filled("crash", MIB);
        let nth = if matches!(point, PartAcknowledged | PartRecorded) { 2 } else { 1 };
        assert!(sandbox.run_until(point.name(), nth), "{} was never reached", point.name());
        let again = sandbox.run_until(point.name(), 1);
        // An archive that is there is not completed again; a manifest may be put twice.
        assert_eq!(again, point != ArchiveCompleted, "{}", point.name());
        let output = if again { sandbox.run() } else { sandbox.run().expect(0) };
        assert_eq!(output.code, 0, "{}", output.stderr);
        sandbox.assert_restores(output.json["s3"]["key_backup"].as_str().unwrap());
        sandbox.assert_no_open_upload();
    }
}
