//! Who is notified of a run: webhooks, healthchecks, mails. Whatever they do, the backup is made and its exit code stays.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::network::{Authority, Certificate, Listening};
use intellistor_tests::recorder::Recorder;

const TOKEN: &str = "hush-token";
const PATH: &str = "hush-path";

fn sandbox(notify: &str) -> AgentSandbox {
    let sandbox = AgentSandbox::new("docs");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    sandbox.write_policy(&format!("notify:\n{notify}"));
    sandbox
}

#[test]
fn a_webhook_gets_what_a_person_needs_and_no_log_has_its_secrets() {
    let hook = Recorder::http("200 OK");
    let url = format!("http://{}/{PATH}", hook.address());
    let mut sandbox = sandbox(
        "  - { url: 'env:INTELLISTOR_NOTIFY_URL', token: 'env:INTELLISTOR_NOTIFY_TOKEN', on: [success, failed] }\n",
    );
    sandbox.agent =
        sandbox.agent.clone().var("INTELLISTOR_NOTIFY_URL", url).var("INTELLISTOR_NOTIFY_TOKEN", TOKEN);
    let done = sandbox.agent.run(["-v", "run", "--policy", "policy.yaml"]).expect(0);
    let [request] = &hook.got()[..] else { panic!("{:?}", hook.got()) };
    assert!(request.starts_with(&format!("POST /{PATH} HTTP/1.1")), "{request}");
    assert!(request.to_lowercase().contains(&format!("authorization: bearer {TOKEN}")), "{request}");
    let event = &hook.documents()[0];
    assert_eq!(
        (&event["event"], &event["policy"], &event["version"]),
        (&"success".into(), &"docs".into(), &1.into())
    );
    assert_eq!(event["key_backup"], done.json["s3"]["key_backup"]);
    assert_eq!((&event["files"], &event["bytes"]), (&1.into(), &1.into()));
    let restore = event["cli_restore"].as_str().unwrap();
    assert!(restore.contains("restore --policy") && restore.contains("policy.yaml"), "{restore}");
    // It is sent once that is true.
    let log = event["log"]["s3"].as_str().unwrap();
    assert!(sandbox.object(log).is_some(), "{log}");
    let name = event["run"].as_str().unwrap();
    let log = fs::read_to_string(sandbox.logs().join(format!("run_{name}.log"))).unwrap();
    assert!(!log.contains(TOKEN) && !log.contains(PATH), "{log}");
    assert!(!done.stderr.contains(TOKEN) && !done.stderr.contains(PATH), "{}", done.stderr);
}

#[test]
fn those_that_hang_or_refuse_cost_seconds_and_a_warning() {
    // The system takes connections for it, and no one answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing = Recorder::http("500 Internal Server Error");
    let other = Recorder::http("200 OK");
    let redirect = format!("302 Found\r\nLocation: http://{}/elsewhere", other.address()).leak();
    let redirecting = Recorder::http(redirect);
    let notify: String = [silent.local_addr().unwrap(), refusing.address(), redirecting.address()]
        .map(|at| format!("  - {{ url: 'http://{at}/{PATH}', on: [success] }}\n"))
        .concat();
    let mail = silent.local_addr().unwrap();
    let mail = format!(
        "  - {{ mail: {{ to: [a@b.c], from: d@e.f, smtp: '{mail}', security: none }}, on: [success] }}\n"
    );
    let sandbox = sandbox(&(notify + &mail));
    let begun = Instant::now();
    let done = sandbox.run().expect(0);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let warnings = done.warnings();
    for words in
        ["answered 500", "a redirect to http://127.0.0.1", "no answer within 7 s", "mail over 127.0.0.1"]
    {
        assert!(warnings.contains(words), "no {words:?} in {warnings}");
    }
    assert_eq!(done.json["warnings"].as_array().unwrap().len(), 4, "{warnings}");
    assert!(!warnings.contains(PATH), "{warnings}");
    assert!(other.got().is_empty(), "redirects are not followed");
    assert_eq!(refusing.got().len(), 1, "none is repeated");
    let log = sandbox.log(&format!("run_{}.log", done.json["timestamp"].as_str().unwrap()));
    assert!(log.contains("answered 500") && !log.contains(PATH), "{log}");
    sandbox.assert_restores(done.key_backup());
}

#[test]
fn a_run_that_cannot_begin_is_concerned_and_so_is_one_that_fails() {
    let hook = Recorder::http("204 No Content");
    let sandbox = sandbox(&format!("  - {{ url: 'http://{}/' }}\n", hook.address()));
    sandbox.run().expect(0);
    assert!(hook.got().is_empty(), "success is not asked for");
    sandbox.agent.clone().var("INTELLISTOR_KEY", "").run(["-q", "run", "--policy", "policy.yaml"]).expect(2);
    let event = hook.documents().remove(0);
    assert_eq!(event["event"], "failed");
    assert!(event["error"].as_str().unwrap().contains("key"), "{event}");
    assert!(event["last_backup"].is_string() && event["log"]["local"].is_string(), "{event}");
    fs::rename(sandbox.source(), sandbox.at("unmounted")).unwrap();
    sandbox.run().expect(2);
    let event = hook.documents().remove(1);
    assert_eq!((&event["event"], hook.got().len()), (&"failed".into(), 2));
    assert!(event["text"].as_str().unwrap().starts_with("Backup FAILED: docs on "), "{event}");
}

#[test]
fn starts_that_were_missed_are_told_by_the_next_run() {
    let hook = Recorder::http("200 OK");
    let sandbox = sandbox(&format!(
        "  - {{ url: 'http://{}/', on: [missed] }}\nschedule: \"0 * * * *\"\n",
        hook.address()
    ));
    // A start that failed is no backup, and no start that was missed.
    sandbox.agent.clone().var("INTELLISTOR_KEY", "").run(["-q", "run", "--policy", "policy.yaml"]).expect(2);
    for log in fs::read_dir(sandbox.logs()).unwrap() {
        let aged =
            Command::new("touch").args(["-d", "3 hours ago"]).arg(log.unwrap().path()).status().unwrap();
        assert!(aged.success());
    }
    sandbox.run().expect(0);
    let [event] = &hook.documents()[..] else { panic!("{:?}", hook.got()) };
    assert_eq!(event["event"], "missed");
    assert!((2..=3).contains(&event["missed"]["count"].as_u64().unwrap()), "{event}");
    sandbox.run().expect(0);
    assert_eq!(hook.got().len(), 1, "it is notified once");
}

#[test]
fn a_check_hears_of_start_and_end() {
    let check = Recorder::http("200 OK");
    let sandbox = sandbox(&format!("  - {{ healthchecks: 'http://{}/0f1e/' }}\n", check.address()));
    sandbox.run().expect(0);
    sandbox.agent.clone().var("INTELLISTOR_KEY", "").run(["-q", "run", "--policy", "policy.yaml"]).expect(2);
    let lines: Vec<_> =
        check.got().iter().map(|request| request.lines().next().unwrap().to_owned()).collect();
    assert_eq!(lines, ["POST /0f1e/start HTTP/1.1", "POST /0f1e HTTP/1.1", "POST /0f1e/fail HTTP/1.1"]);
    assert!(check.got()[2].contains("failed"), "{}", check.got()[2]);
}

#[test]
fn tls_trusts_the_authorities_of_the_environment_and_no_others() {
    let (authority, other) = (Authority::named("ours"), Authority::named("other"));
    let hook = Recorder::http("200 OK");
    let mail = Recorder::smtp();
    let secure_hook = Listening::tls(&authority, Certificate::Good, hook.address());
    let secure_mail = Listening::tls(&authority, Certificate::Good, mail.address());
    let sandbox = sandbox(&format!(
        "  - {{ url: 'https://localhost:{}/', on: [success] }}\n  - {{ mail: {{ to: ['TI <ti@empresa.com.br>', b@b.c], from: backup@empresa.com.br, smtp: 'localhost:{}', security: tls, user: ana }}, on: [success] }}\n",
        secure_hook.address().port(),
        secure_mail.address().port()
    ));
    for (name, authority) in [("ours.pem", &authority), ("other.pem", &other)] {
        fs::write(sandbox.at(name), authority.pem()).unwrap();
    }
    let agent = sandbox.agent.clone().var("INTELLISTOR_SMTP_PASSWORD", "hush-mail");
    let run = |bundle: &str| {
        agent
            .clone()
            .var("AWS_CA_BUNDLE", sandbox.at(bundle))
            .run(["-v", "run", "--policy", "policy.yaml"])
            .expect(0)
    };
    let refused = run("other.pem").warnings();
    assert_eq!(refused.matches("a notice was not sent").count(), 2, "{refused}");
    assert!(hook.got().is_empty() && mail.got().is_empty());
    let done = run("ours.pem");
    assert_eq!((done.warnings().as_str(), hook.got().len()), ("", 1));
    assert!(!done.stderr.contains("hush-mail"), "{}", done.stderr);
    let [mail] = &mail.got()[..] else { panic!("{:?}", mail.got()) };
    assert!(mail.starts_with(" ana hush-mail\r\n"), "{mail}");
    for words in [
        "RCPT TO:<ti@empresa.com.br>",
        "RCPT TO:<b@b.c>",
        "Subject: Backup made: docs on ",
        "Date: ",
        "Message-ID: <",
        "Auto-Submitted: auto-generated",
        "Last backup",
        "To restore it:",
        "intellistor-agent logs show --policy-id docs --run ",
    ] {
        // A backup that was made is the last one.
        assert_eq!(mail.contains(words), words != "Last backup", "{words}: {mail}");
    }
}
