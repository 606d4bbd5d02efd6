//! The agent while it is interrupted, doubled, cancelled, cut off from its store and refused by it. A real server
//! on 127.0.0.1, and real child processes.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::time::{Duration, Instant};

use intellistor_storage::objects::Operation;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::events::wait_until;
use intellistor_tests::program::Output;
use intellistor_tests::running::Running;
use intellistor_tests::s3_server::{Failure, UploadState};
use rustix::process::Signal;

const POLICY: &str = "faults";
/// Seven parts, of which four are in flight at once.
const MIB: u64 = 50;
const IN_FLIGHT: usize = 4;
/// Whoever stops a run waits no longer.
const PROMPTLY: Duration = Duration::from_secs(10);

fn sandbox(mib: u64) -> AgentSandbox {
    AgentSandbox::filled(POLICY, mib)
}

/// A run of seven parts, four of which the server holds back.
fn held_run() -> (AgentSandbox, Running) {
    let sandbox = sandbox(MIB);
    sandbox.server.traffic().hold_parts();
    let run = sandbox.start();
    sandbox.server.traffic().wait_until(|traffic| traffic.held() == IN_FLIGHT);
    (sandbox, run)
}

fn stored(sandbox: &AgentSandbox) -> u64 {
    sandbox.server.traffic().parts().values().map(|times| u64::from(*times)).sum()
}

#[track_caller]
fn assert_interrupted(output: Output, state: &str) -> Output {
    let output = output.expect(130);
    assert_eq!(output.json["error"]["category"], "interrupted", "{:#}", output.json);
    assert_eq!(output.json["state"], state, "{:#}", output.json);
    output
}

fn what_was_in_flight_is_kept_after(signal: Signal) {
    let (sandbox, run) = held_run();
    run.signal(signal);
    run.wait_for("interrupted: cleaning up");
    sandbox.server.traffic().release();
    let output = assert_interrupted(run.end_within(PROMPTLY), "transferring");
    assert_eq!(output.json["parts_sent"], IN_FLIGHT, "{:#}", output.json);
    assert_eq!(stored(&sandbox), IN_FLIGHT as u64);
    let status = sandbox.status();
    assert_eq!(status["activity"], "stopped", "{status:#}");
    let next = sandbox.run().expect(0);
    sandbox.assert_resumed(&next, IN_FLIGHT as u64);
    assert_eq!(next.json["parts_reused"], IN_FLIGHT, "{:#}", next.json);
    let twice: Vec<_> =
        sandbox.server.traffic().parts().into_iter().filter(|(_, times)| *times > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn after_ctrl_c_what_was_in_flight_is_kept() {
    what_was_in_flight_is_kept_after(Signal::INT);
}

#[test]
fn after_sigterm_what_was_in_flight_is_kept() {
    what_was_in_flight_is_kept_after(Signal::TERM);
}

#[test]
fn ctrl_c_ends_a_run_whose_parts_never_arrive() {
    let (sandbox, run) = held_run();
    run.signal(Signal::INT);
    assert_interrupted(run.end_within(PROMPTLY), "transferring");
    sandbox.server.traffic().release();
    sandbox.assert_resumed(&sandbox.run().expect(0), 0);
}

#[test]
fn a_second_ctrl_c_ends_a_run_at_once() {
    let (sandbox, run) = held_run();
    run.signal(Signal::INT);
    run.wait_for("interrupted: cleaning up");
    run.signal(Signal::INT);
    let output = run.end_within(Duration::from_secs(3)).expect(130);
    assert_eq!(output.json["error"]["category"], "interrupted", "{:#}", output.json);
    sandbox.server.traffic().release();
    sandbox.assert_resumed(&sandbox.run().expect(0), 0);
}

/// The server hangs at one kind of request; Ctrl-C must end the run all the same.
fn ctrl_c_while_the_store_hangs_at(operation: Operation) {
    let sandbox = sandbox(20);
    sandbox.server.traffic().hold(operation);
    let run = sandbox.start();
    sandbox.server.traffic().wait_until(|traffic| traffic.held() > 0);
    run.signal(Signal::INT);
    let output = run.end_within(PROMPTLY).expect(130);
    assert_eq!(output.json["error"]["category"], "interrupted", "{:#}", output.json);
    sandbox.server.traffic().release();
    sandbox.assert_resumed(&sandbox.run().expect(0), 0);
}

#[test]
fn ctrl_c_ends_a_run_that_waits_for_the_list_of_uploads() {
    ctrl_c_while_the_store_hangs_at(Operation::ListUploads);
}

#[test]
fn ctrl_c_ends_a_run_that_waits_for_its_upload_to_begin() {
    ctrl_c_while_the_store_hangs_at(Operation::BeginUpload);
}

#[test]
fn ctrl_c_ends_a_run_that_waits_for_its_archive_to_be_completed() {
    ctrl_c_while_the_store_hangs_at(Operation::CompleteUpload);
}

#[test]
fn ctrl_c_ends_a_run_that_waits_for_its_manifest_to_be_put() {
    ctrl_c_while_the_store_hangs_at(Operation::Put);
}

#[test]
fn a_second_run_of_a_policy_ends_at_once_and_names_the_first() {
    let (sandbox, run) = held_run();
    let begun = Instant::now();
    let second = sandbox.run();
    assert!(begun.elapsed() < Duration::from_secs(5), "it waited {:?}", begun.elapsed());
    let second = second.expect(5);
    assert_eq!(second.json["error"]["category"], "busy", "{:#}", second.json);
    let message = second.json["error"]["message"].as_str().unwrap();
    assert!(message.contains(&run.pid().to_string()), "{message}");
    sandbox.server.traffic().release();
    assert_eq!(run.end().expect(0).json["state"], "completed");
    assert_eq!(sandbox.backups().len(), 1);
}

#[test]
fn a_run_is_seen_while_it_is_active() {
    let (sandbox, run) = held_run();
    wait_until("its progress is shown", || {
        let status = sandbox.status();
        assert_eq!(status["activity"], "running", "{status:#}");
        assert_eq!(status["pid"], run.pid(), "{status:#}");
        let progress = &status["progress"];
        progress["state"] == "transferring"
            && progress["bytes"].as_u64().unwrap() > 20 << 20
            && progress["total_bytes"].as_u64().unwrap() > MIB << 20
    });
    sandbox.server.traffic().release();
    run.end().expect(0);
    let status = sandbox.status();
    assert_eq!(status["activity"], "idle", "{status:#}");
    assert_eq!(status["last"]["state"], "completed", "{status:#}");
    assert_eq!(status["last"]["files"], 602, "{status:#}");
    assert!(status["pid"].is_null() && status["progress"].is_null(), "{status:#}");
}

#[test]
fn two_policies_run_at_the_same_time() {
    let sandbox = sandbox(20);
    let other = format!("policy_id: other\npaths: ['{}']\n", sandbox.source().display());
    fs::write(sandbox.at("other.yaml"), other).unwrap();
    sandbox.server.traffic().hold_parts();
    let runs = [sandbox.start(), Running::start(sandbox.agent.command(["run", "--policy", "other.yaml"]))];
    sandbox.server.traffic().wait_until(|traffic| traffic.uploads().len() == 2 && traffic.held() >= 2);
    sandbox.server.traffic().release();
    for run in runs {
        let output = run.end().expect(0);
        assert_eq!(output.json["state"], "completed");
        sandbox.assert_restores(output.json["s3"]["key_backup"].as_str().unwrap());
    }
    sandbox.assert_no_open_upload();
}

/// The job is gone, its log tells so, and the next run starts a new one.
#[track_caller]
fn assert_cancelled(sandbox: &AgentSandbox) {
    assert_eq!(sandbox.upload(0).state, UploadState::Aborted);
    let status = sandbox.status();
    assert_eq!(status["activity"], "idle", "{status:#}");
    assert_eq!(status["last"]["state"], "cancelled", "{status:#}");
    let timestamp = status["last"]["timestamp"].as_str().unwrap();
    let log = sandbox.object(&format!("logs/{POLICY}/run_{timestamp}.log")).unwrap_or_default();
    assert!(log.contains("cancelled"), "{log}");
    let next = sandbox.run().expect(0);
    assert_eq!(next.json["resumed"], false, "{:#}", next.json);
    assert_ne!(next.json["timestamp"], timestamp);
    assert_eq!(sandbox.backups().len(), 1);
    sandbox.assert_no_open_upload();
}

#[test]
fn an_active_run_is_cancelled() {
    let (sandbox, run) = held_run();
    assert_eq!(sandbox.cancel(), "asked");
    let output = run.end_within(Duration::from_secs(12));
    assert_eq!(output.code, 1, "{}", output.stderr);
    assert_eq!(output.json["state"], "cancelled", "{:#}", output.json);
    assert!(!output.stderr.contains("run it again"), "{}", output.stderr);
    sandbox.server.traffic().release();
    assert_cancelled(&sandbox);
}

#[test]
fn a_stopped_job_is_cancelled() {
    let sandbox = sandbox(MIB);
    assert!(sandbox.run_until("part_recorded", 2));
    assert_eq!(sandbox.cancel(), "done");
    assert_cancelled(&sandbox);
}

#[test]
fn where_there_is_nothing_nothing_is_cancelled() {
    let sandbox = sandbox(1);
    assert_eq!(sandbox.cancel(), "nothing");
    sandbox.run().expect(0);
    assert_eq!(sandbox.cancel(), "nothing");
    assert_eq!(sandbox.status()["last"]["state"], "completed");
}

#[test]
fn a_job_whose_copy_cannot_be_written_any_more_can_be_cancelled() {
    let sandbox = sandbox(MIB);
    let armed = format!("part_recorded:2:{}", sandbox.at("fired").display());
    let agent = sandbox.agent.clone().var("INTELLISTOR_FAILPOINT", armed);
    let died = agent.run(["-q", "run", "--policy", "policy.yaml", "--out", "copy"]);
    assert!(sandbox.at("fired").exists(), "{}", died.stderr);
    fs::remove_dir_all(sandbox.at("copy")).unwrap();
    fs::write(sandbox.at("copy"), "no folder any more").unwrap();
    assert_eq!(sandbox.cancel(), "done");
    assert_cancelled(&sandbox);
}

#[test]
fn a_network_that_comes_back_is_waited_for() {
    let sandbox = sandbox(MIB);
    assert!(sandbox.run_until("part_recorded", 2));
    sandbox.server.traffic().hold_parts();
    let run = sandbox.start();
    sandbox.server.traffic().wait_until(|traffic| traffic.held() > 0);
    sandbox.server.stop_listening();
    run.wait_for("the store failed; trying again");
    sandbox.server.traffic().release();
    sandbox.server.listen_again();
    sandbox.assert_resumed(&run.end().expect(0), 2);
}

#[test]
fn a_store_that_refuses_parts_stops_the_run_and_the_next_goes_on() {
    let sandbox = sandbox(MIB);
    assert!(sandbox.run_until("part_recorded", 2));
    sandbox.server.traffic().fail_next(1000, Operation::PutPart, Failure::AccessDenied);
    let stopped = sandbox.run().expect(1);
    assert_eq!(stopped.json["state"], "transferring", "{:#}", stopped.json);
    assert!(stopped.json["parts_reused"].as_u64().unwrap() >= 2, "{:#}", stopped.json);
    assert_eq!(stopped.json["parts_sent"], 0, "{:#}", stopped.json);
    let error = &stopped.json["error"];
    assert!(error["message"].as_str().unwrap().contains("permission"), "{error:#}");
    assert!(error["try"].as_str().unwrap().contains("to resume"), "{error:#}");
    let status = sandbox.status();
    assert_eq!(status["job"]["state"], "transferring", "{status:#}");
    assert!(status["job"]["error"].as_str().is_some_and(|e| e.contains("permission")), "{status:#}");
    let log_key = stopped.json["log"]["s3"].as_str().expect("the log of a failed run is in the store");
    assert!(sandbox.object(log_key).unwrap().contains("the run stopped"), "{log_key}");

    sandbox.server.traffic().fail_no_more();
    let next = sandbox.run().expect(0);
    sandbox.assert_resumed(&next, 2);
    assert_eq!(next.json["log"], stopped.json["log"]);
    let log = sandbox.object(log_key).unwrap();
    assert_eq!(log.matches("run begins").count(), 3, "{log}");
    assert!(log.contains("the run stopped") && log.contains("the backup exists"), "{log}");
    assert_eq!(sandbox.log("last.log"), log);
}

/// One run succeeds, or the one after it; either way there is one whole backup and nothing open.
fn is_survived(cases: &[(u32, Operation, Failure)]) {
    for (n, operation, failure) in cases {
        let what = format!("{n} x {operation:?} {failure:?}");
        let sandbox = sandbox(20);
        sandbox.server.traffic().fail_next(*n, *operation, *failure);
        let mut output = sandbox.run();
        assert_eq!(sandbox.server.traffic().failures_left(*operation), 0, "{what} was never met");
        if output.code != 0 {
            output = sandbox.run();
        }
        assert_eq!(output.code, 0, "{what}: {}", output.stderr);
        let key = output.json["s3"]["key_backup"].as_str().unwrap();
        assert_eq!(sandbox.backups(), [key], "{what}");
        let open: Vec<_> = sandbox.server.traffic().uploads();
        assert!(open.iter().all(|upload| upload.state != UploadState::Open), "{what}: {open:?}");
        sandbox.assert_order();
        sandbox.assert_restores(key);
    }
}

#[test]
fn parts_that_fail_are_survived() {
    let cases = [
        (7, Failure::SlowDown),
        (3, Failure::ServerFault),
        (3, Failure::Cut),
        (2, Failure::AnswerLost),
        (1, Failure::Altered),
    ];
    is_survived(&cases.map(|(n, failure)| (n, Operation::PutPart, failure)));
}

#[test]
fn a_completion_that_fails_is_survived() {
    let cases = [
        (2, Failure::SlowDown),
        (6, Failure::ServerFault),
        (2, Failure::Cut),
        (1, Failure::AnswerLost),
        (1, Failure::AccessDenied),
    ];
    is_survived(&cases.map(|(n, failure)| (n, Operation::CompleteUpload, failure)));
}

#[test]
fn a_manifest_that_is_not_put_at_first_is_survived() {
    let cases = [
        (2, Failure::SlowDown),
        (6, Failure::ServerFault),
        (2, Failure::Cut),
        (1, Failure::AnswerLost),
        (1, Failure::AccessDenied),
    ];
    is_survived(&cases.map(|(n, failure)| (n, Operation::Put, failure)));
}

#[test]
fn questions_that_fail_are_survived() {
    let cases = [
        (2, Operation::Head, Failure::SlowDown),
        (1, Operation::Head, Failure::AccessDenied),
        (2, Operation::ListUploads, Failure::SlowDown),
        (1, Operation::ListUploads, Failure::AccessDenied),
        (2, Operation::BeginUpload, Failure::SlowDown),
        (1, Operation::BeginUpload, Failure::AccessDenied),
    ];
    is_survived(&cases);
}

#[test]
fn an_upload_of_whose_beginning_nobody_heard_is_not_left_open() {
    is_survived(&[(1, Operation::BeginUpload, Failure::AnswerLost)]);
}
