//! Commands around a backup: what they see, what their failure means, and that nothing of them is left.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::events::wait_until;
use intellistor_tests::recorder::Recorder;
use rustix::process::Signal;

const SECRETS: [&str; 4] =
    ["INTELLISTOR_KEY", "AWS_SECRET_ACCESS_KEY", "INTELLISTOR_NOTIFY_TOKEN", "INTELLISTOR_SMTP_PASSWORD"];

fn sandbox() -> AgentSandbox {
    let mut sandbox = AgentSandbox::new("shop");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    for name in &SECRETS[2..] {
        sandbox.agent = sandbox.agent.clone().var(name, "hush");
    }
    sandbox
}

/// A policy with hooks that are scripts of `sh`.
fn with_hooks(sandbox: &AgentSandbox, hooks: &[(&str, &str)], more: &str) {
    let hook =
        |(name, script): &(&str, &str)| format!("  {name}: [sh, -c, '{}']\n", script.replace('\'', "''"));
    let hooks: String = hooks.iter().map(hook).collect();
    sandbox.write_policy(&format!("hooks:\n{hooks}{more}"));
}

fn archives(sandbox: &AgentSandbox) -> usize {
    sandbox.backups().len()
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_dump_is_in_the_backup_and_hooks_see_no_secret() {
    let sandbox = sandbox();
    let dump = sandbox.source().join("dump.sql");
    let seen = sandbox.at("seen");
    let before = format!(
        "echo dumped > {}; env > {}; echo \"progress\" >&2; printf 'a\\033[2Jb\\n'",
        dump.display(),
        seen.display()
    );
    let after = format!("rm {}; env > {}2", dump.display(), seen.display());
    with_hooks(&sandbox, &[("before", &before), ("after", &after), ("on_failure", "exit 9")], "");
    let done = sandbox.run().expect(0);
    let restored = sandbox.restore(done.key_backup());
    let found = intellistor_tests::folders::files_below(&restored);
    assert!(found.iter().any(|file| file.ends_with("dump.sql")), "{found:?}");
    assert!(!dump.exists(), "after has run");
    let (before, after) =
        (fs::read_to_string(&seen).unwrap(), fs::read_to_string(sandbox.at("seen2")).unwrap());
    for env in [&before, &after] {
        for name in SECRETS {
            assert!(!env.contains(&format!("{name}=")), "{name}");
        }
        assert!(env.contains("INTELLISTOR_POLICY_ID=shop") && env.contains("INTELLISTOR_RUN=2"), "{env}");
        assert!(env.contains("PATH="), "{env}");
    }
    assert!(after.contains("INTELLISTOR_RESULT=success") && after.contains(done.key_backup()), "{after}");
    let log = sandbox.log(&format!("run_{}.log", done.json["timestamp"].as_str().unwrap()));
    assert!(log.contains("progress") && log.contains("u{1b}[2Jb") && !log.contains('\x1b'), "{log}");
}

#[test]
fn a_before_that_fails_stops_the_run_before_anything_is_sent() {
    let sandbox = sandbox();
    let notified = sandbox.at("notified");
    let on_failure = format!("echo \"$INTELLISTOR_RESULT $INTELLISTOR_ERROR\" > {}", notified.display());
    with_hooks(&sandbox, &[("before", "echo no database >&2; exit 3"), ("on_failure", &on_failure)], "");
    let failed = sandbox.run().expect(1);
    let message = failed.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("hook `before` failed") && message.contains("exit status: 3"), "{message}");
    assert_eq!((archives(&sandbox), sandbox.server.traffic().uploads().len()), (0, 0));
    let notified = fs::read_to_string(notified).unwrap();
    assert!(notified.starts_with("failed the hook `before` failed"), "{notified}");
    let log = fs::read_to_string(sandbox.logs().join("last.log")).unwrap();
    assert!(log.contains("no database"), "{log}");
    sandbox.write_policy("");
    let done = sandbox.run().expect(0);
    assert_eq!(done.json["resumed"], false, "nothing was kept of it");
}

#[test]
fn one_that_hangs_is_ended_with_all_that_it_started() {
    let sandbox = sandbox();
    let pids = sandbox.at("pids");
    let before = format!(
        "sleep 700 & echo $! > {0}; (trap '' TERM; sleep 701 & echo $! >> {0}; wait) & wait",
        pids.display()
    );
    with_hooks(&sandbox, &[("before", &before)], "  timeout: 1s\n");
    let failed = sandbox.run().expect(1);
    let message = failed.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("took more than 1s"), "{message}");
    let pids = fs::read_to_string(pids).unwrap();
    assert_eq!(pids.lines().count(), 2);
    wait_until("none is left", || !pids.lines().any(is_alive));
}

#[test]
fn an_interrupted_run_ends_its_hook_cleans_up_and_tells_no_one() {
    let hook = Recorder::http("200 OK");
    let sandbox = sandbox();
    let (pid, cleaned) = (sandbox.at("pid"), sandbox.at("cleaned"));
    let before = format!("echo $$ > {}; sleep 702", pid.display());
    let on_failure = format!("echo $INTELLISTOR_RESULT > {}", cleaned.display());
    let notify = format!(
        "notify: [{{ url: 'http://{}/', on: [failed, success, warnings, missed] }}]\n",
        hook.address()
    );
    with_hooks(&sandbox, &[("before", &before), ("on_failure", &on_failure)], &notify);
    let running = sandbox.start();
    wait_until("the hook runs", || fs::read_to_string(&pid).is_ok_and(|pid| pid.ends_with('\n')));
    sandbox.run().expect(5);
    running.signal(Signal::INT);
    let ended = running.end_within(Duration::from_secs(12));
    assert_eq!(ended.code, 130, "{}", ended.stderr);
    assert_eq!(fs::read_to_string(cleaned).unwrap(), "interrupted\n");
    let pid = fs::read_to_string(pid).unwrap();
    wait_until("the hook is gone", || !is_alive(&pid));
    assert!(hook.got().is_empty(), "{:?}", hook.got());
}

#[test]
fn a_run_that_resumes_prepares_its_files_again() {
    let sandbox = AgentSandbox::filled("shop", 40);
    let (count, after) = (sandbox.at("count"), sandbox.at("after"));
    let before = format!("echo x >> {}", count.display());
    let on_end = format!("echo x >> {}", after.display());
    with_hooks(&sandbox, &[("before", &before), ("after", &on_end)], "");
    assert!(sandbox.run_until("part_recorded", 2));
    assert!(!after.exists());
    let done = sandbox.run().expect(0);
    assert_eq!(done.json["resumed"], true);
    assert_eq!(fs::read_to_string(&count).unwrap(), "x\nx\n");
    assert_eq!(fs::read_to_string(&after).unwrap(), "x\n");
    sandbox.assert_restores(done.key_backup());
}

#[test]
fn an_after_that_fails_is_a_warning_and_the_backup_is_there() {
    let sandbox = sandbox();
    let second = sandbox.at("second");
    sandbox.write_policy(&format!("hooks: {{ after: [['false'], [touch, '{}']] }}\n", second.display()));
    let done = sandbox.run().expect(3);
    assert!(done.warnings().contains("hook `after` failed"), "{}", done.warnings());
    assert!(second.exists(), "the second cleans up all the same");
    assert_eq!(done.json["state"], "completed_with_warnings");
    sandbox.assert_restores(done.key_backup());
}

#[test]
fn the_hooks_of_a_policy_that_others_can_write_do_not_run() {
    let sandbox = sandbox();
    let ran = sandbox.at("ran");
    with_hooks(&sandbox, &[("before", &format!("touch {}", ran.display()))], "");
    let policy = sandbox.at("policy.yaml");
    let refused = |why: &str| {
        let refused = sandbox.run().expect(2);
        assert!(refused.json["error"]["message"].as_str().unwrap().contains(why), "{:#}", refused.json);
        assert!(!ran.exists());
    };
    fs::set_permissions(&policy, Permissions::from_mode(0o666)).unwrap();
    refused("can be written by everyone");
    fs::set_permissions(&policy, Permissions::from_mode(0o644)).unwrap();
    if rustix::process::geteuid().is_root() {
        // Root would run what they write.
        std::os::unix::fs::chown(&policy, Some(54_321), None).unwrap();
        refused("belongs to");
        std::os::unix::fs::chown(&policy, Some(0), None).unwrap();
    }
    sandbox.run().expect(0);
    assert!(ran.exists());
}

#[test]
fn backup_client_leaves_hooks_to_the_agent() {
    let sandbox = sandbox();
    let ran = sandbox.at("ran");
    with_hooks(&sandbox, &[("before", &format!("touch {}", ran.display()))], "");
    let done = sandbox.client.run(["backup", "--policy", "policy.yaml"]).expect(0);
    assert!(done.stderr.contains("the policy's hooks are not used here"), "{}", done.stderr);
    assert!(!ran.exists());
}

#[test]
fn the_examples_of_the_guides_are_policies() {
    for page in ["POLICY.md", "POLICY.pt-BR.md"] {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(page);
        let text = fs::read_to_string(path).unwrap();
        let around = text.split_once("## `notify`").unwrap().1;
        let blocks: Vec<_> =
            around.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert_eq!(blocks.len(), 6, "{page}");
        for block in blocks {
            let policy = format!("policy_id: a\npaths: [x]\n{block}");
            if let Err(refused) = intellistor::Policy::from_yaml(page.as_ref(), &policy) {
                panic!("{refused}\n{block}");
            }
        }
    }
}
