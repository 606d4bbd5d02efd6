//! Who else can write what decides what runs and where it goes: environment files, policies, keys, the agent's home. What
//! another account owns is tried as root alone, which alone can give a file away.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot be set up fails at that line"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::{Client, Output, built, finish};

/// A uid that no account has.
const SOMEONE: u32 = 54_321;

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode_of(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Whether what another account owns can be tried.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED in part: only root can give files away");
    }
    root
}

/// A place without secrets in the environment, which are in `.env`.
fn place_with_env() -> (AgentSandbox, Client) {
    let sandbox = AgentSandbox::new("confia");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    fs::write(sandbox.at(".env"), sandbox.client.env_file(&["AWS_", "INTELLISTOR_KEY"])).unwrap();
    chmod(sandbox.at(".env"), 0o600);
    sandbox.write_policy("store: s3://bucket\n");
    let bare = Client::new(&sandbox.at("")).var("INTELLISTOR_HOME", sandbox.at("home"));
    (sandbox, bare)
}

fn backup(client: &Client) -> Output {
    client.run(["backup", "--policy", "policy.yaml"])
}

#[track_caller]
fn assert_refused(output: Output, words: &[&str]) {
    let output = output.expect(2);
    for word in words {
        assert!(output.stderr.contains(word), "{word:?} is missing from: {}", output.stderr);
    }
}

#[test]
fn an_env_file_that_nobody_named_must_be_in_ones_own_hands() {
    let (sandbox, client) = place_with_env();
    backup(&client).expect(0);
    for mode in [0o666, 0o602] {
        chmod(sandbox.at(".env"), mode);
        assert_refused(
            backup(&client),
            &[".env in the current directory was not read", "can be written by everyone"],
        );
    }
    chmod(sandbox.at(".env"), 0o600);
    chmod(sandbox.at(""), 0o777);
    assert_refused(backup(&client), &["can be written by everyone", "--env-file"]);
    assert_refused(client.agent().run(["run", "--policy", "policy.yaml"]), &["can be written by everyone"]);
    // A folder such as /tmp, where no user can replace another's files.
    chmod(sandbox.at(""), 0o1777);
    backup(&client).expect(0);
    chmod(sandbox.at(""), 0o700);
    if is_root() {
        chown(sandbox.at(".env"), Some(SOMEONE), None).unwrap();
        assert_refused(backup(&client), &[".env belongs to uid 54321"]);
        // Named, it is read.
        let named = client.run(["--env-file", ".env", "backup", "--policy", "policy.yaml"]).expect(0);
        assert!(named.stderr.contains("belongs to uid 54321"), "{}", named.stderr);
        chown(sandbox.at(".env"), Some(0), None).unwrap();
        fs::rename(sandbox.at(".env"), sandbox.at("elsewhere.env")).unwrap();
        symlink("elsewhere.env", sandbox.at(".env")).unwrap();
        backup(&client).expect(0);
        std::os::unix::fs::lchown(sandbox.at(".env"), Some(SOMEONE), None).unwrap();
        assert_refused(backup(&client), &[".env belongs to uid 54321"]);
    }
    // What needs no settings works beside it.
    chmod(sandbox.at(""), 0o777);
    client.run(["completions", "bash"]).expect(0);
    chmod(sandbox.at(""), 0o700);
}

/// Credentials from a program, which leaves a mark with its variables.
fn credential_process(sandbox: &AgentSandbox) -> (PathBuf, PathBuf) {
    let (config, mark) = (sandbox.at("aws-config"), sandbox.at("mark"));
    let keys = sandbox.server.env().into_iter().collect::<std::collections::BTreeMap<_, _>>();
    let script = format!(
        "#!/bin/sh\nenv > '{}'\necho '{{\"Version\": 1, \"AccessKeyId\": \"{}\", \"SecretAccessKey\": \"{}\"}}'\n",
        mark.display(),
        keys["AWS_ACCESS_KEY_ID"],
        keys["AWS_SECRET_ACCESS_KEY"]
    );
    fs::write(sandbox.at("credentials.sh"), script).unwrap();
    chmod(sandbox.at("credentials.sh"), 0o755);
    let text = format!("[default]\ncredential_process = {}\n", sandbox.at("credentials.sh").display());
    fs::write(&config, text).unwrap();
    (config, mark)
}

#[test]
fn an_environment_file_sets_documented_variables_alone() {
    let (sandbox, client) = place_with_env();
    let (config, mark) = credential_process(&sandbox);
    let settings = fs::read_to_string(sandbox.at(".env")).unwrap();
    let others = [
        format!("AWS_CONFIG_FILE='{}'\n", config.display()),
        format!("AWS_SHARED_CREDENTIALS_FILE='{}'\n", config.display()),
        "LD_PRELOAD=/tmp/evil.so\n".to_owned(),
        "PATH=/tmp\n".to_owned(),
        "INTELLISTOR_KEYFILE=typo\n".to_owned(),
    ];
    for other in &others {
        let name = other.split('=').next().unwrap();
        let without_keys: String =
            settings.lines().filter(|l| !l.contains("ACCESS_KEY")).map(|l| format!("{l}\n")).collect();
        fs::write(sandbox.at(".env"), format!("{without_keys}{other}")).unwrap();
        assert_refused(backup(&client), &[name, ".env"]);
        fs::write(sandbox.at("my.env"), format!("{without_keys}{other}")).unwrap();
        fs::remove_file(sandbox.at(".env")).unwrap();
        assert_refused(
            client.run(["--env-file", "my.env", "backup", "--policy", "policy.yaml"]),
            &[name, "my.env"],
        );
        assert!(!mark.exists(), "{name} had a program started");
    }
}

#[test]
fn programs_that_are_started_get_no_key() {
    let (sandbox, _) = place_with_env();
    let (config, mark) = credential_process(&sandbox);
    let settings =
        [&sandbox.client.env_file(&["INTELLISTOR_KEY"]), "INTELLISTOR_RUN_AS_PASSWORD=hush-hush\n"].concat();
    fs::write(sandbox.at(".env"), &settings).unwrap();
    let key = settings.split('\'').nth(1).unwrap();
    let endpoint = sandbox.server.env().into_iter().find(|(name, _)| *name == "AWS_ENDPOINT_URL").unwrap().1;
    let client = Client::new(&sandbox.at(""))
        .var("AWS_CONFIG_FILE", &config)
        .var("AWS_REGION", "us-east-1")
        .var("AWS_ENDPOINT_URL", endpoint);
    for client in [&client, &client.clone().var("INTELLISTOR_KEY", key)] {
        backup(client).expect(0);
        let seen = fs::read_to_string(&mark).unwrap();
        assert!(seen.contains("AWS_REGION="), "the program did run: {seen}");
        assert!(
            !seen.contains(key) && !seen.contains("INTELLISTOR_KEY=") && !seen.contains("hush"),
            "{seen}"
        );
    }
}

#[test]
fn the_scheduler_gets_no_secret() {
    if Path::new("/run/systemd/system").is_dir() {
        return eprintln!("SKIPPED: systemd runs here, and a test does not write into it");
    }
    let sandbox = AgentSandbox::new("confia");
    fs::create_dir(sandbox.at("bin")).unwrap();
    fs::write(sandbox.at("bin/crontab"), "#!/bin/sh\nenv >> \"$(dirname \"$0\")/seen\"\n").unwrap();
    chmod(sandbox.at("bin/crontab"), 0o755);
    let path = format!("{}:{}", sandbox.at("bin").display(), std::env::var("PATH").unwrap());
    sandbox.agent.clone().var("PATH", path).run(["list-schedules"]).expect(0);
    let seen = fs::read_to_string(sandbox.at("bin/seen")).unwrap();
    assert!(seen.contains("LC_ALL=C"), "it did run: {seen}");
    assert!(!seen.contains("AWS_") && !seen.contains("INTELLISTOR_"), "{seen}");
}

#[test]
fn a_schedule_of_what_others_can_write_is_refused() {
    let (sandbox, _) = place_with_env();
    fs::create_dir(sandbox.at("bin")).unwrap();
    fs::write(
        sandbox.at("bin/crontab"),
        "#!/bin/sh\ntouch \"$(dirname \"$0\")/asked\"\n[ \"$1\" != - ] || cat >/dev/null\n",
    )
    .unwrap();
    chmod(sandbox.at("bin/crontab"), 0o755);
    fs::create_dir(sandbox.at("program")).unwrap();
    fs::hard_link(built("intellistor-agent"), sandbox.at("program/agent"))
        .or_else(|_| fs::copy(built("intellistor-agent"), sandbox.at("program/agent")).map(drop))
        .unwrap();
    let path = format!("{}:{}", sandbox.at("bin").display(), std::env::var("PATH").unwrap());
    let apply = || {
        let mut command = Command::new(sandbox.at("program/agent"));
        command.args([
            "apply-schedule",
            "--policy-id",
            "confia",
            "--policy-path",
            "policy.yaml",
            "--env-file",
            ".env",
            // Its bucket is on no server.
            "--no-check",
        ]);
        command
            .current_dir(sandbox.at(""))
            .env_clear()
            .env("PATH", &path)
            .env("INTELLISTOR_HOME", sandbox.at("home"));
        finish({
            command.stdin(Stdio::null());
            command
        })
    };
    let is_kept_by_systemd = Path::new("/run/systemd/system").is_dir();
    let refused = |what: &str, why: &str| {
        assert_refused(apply(), &[what, why]);
        assert!(!sandbox.at("bin/asked").exists(), "nothing was scheduled");
    };
    for (file, what, mode) in [
        ("policy.yaml", "the policy", 0o644),
        ("program", "the agent", 0o755),
        (".env", "environment file", 0o600),
    ] {
        chmod(sandbox.at(file), 0o777);
        refused(what, "can be written by everyone");
        chmod(sandbox.at(file), mode);
        if is_root() {
            chown(sandbox.at(file), Some(SOMEONE), None).unwrap();
            refused(what, "belongs to uid 54321");
            chown(sandbox.at(file), Some(0), None).unwrap();
        }
    }
    if !is_kept_by_systemd {
        apply().expect(0);
    }
}

#[test]
fn a_home_that_others_can_write_is_refused_and_no_link_in_it_is_followed() {
    let sandbox = AgentSandbox::new("confia");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    let precious = sandbox.at("precious");
    fs::create_dir(&precious).unwrap();
    for planted in ["queue", "logs"] {
        let home = sandbox.at("home");
        fs::create_dir(&home).unwrap();
        symlink(&precious, home.join(planted)).unwrap();
        chmod(&home, 0o1777);
        assert_refused(sandbox.run(), &["the agent's folder", "can be written by everyone"]);
        chmod(&home, 0o700);
        if is_root() {
            std::os::unix::fs::lchown(home.join(planted), Some(SOMEONE), None).unwrap();
            assert_refused(sandbox.run(), &["belongs to uid 54321"]);
        }
        assert_eq!(fs::read_dir(&precious).unwrap().count(), 0, "nothing was written through the link");
        fs::remove_dir_all(home).unwrap();
    }
    sandbox.run().expect(0);
    assert_eq!((mode_of(sandbox.at("home")), mode_of(sandbox.queue())), (0o700, 0o700));
    chmod(sandbox.logs(), 0o777);
    assert_refused(sandbox.run(), &["can be written by everyone"]);
}

#[test]
fn policies_and_environment_files_of_others_are_refused_unattended_and_told_by_hand() {
    let (sandbox, client) = place_with_env();
    fs::rename(sandbox.at(".env"), sandbox.at("b.env")).unwrap();
    let run = |client: &Client, command: &str| {
        client.run([command, "--policy", "policy.yaml", "--env-file", "b.env"])
    };
    for (file, what, mode) in [("policy.yaml", "the policy", 0o644), ("b.env", "the environment file", 0o600)]
    {
        chmod(sandbox.at(file), 0o622);
        assert_refused(run(&client.agent(), "run"), &[what, file, "can be written by everyone"]);
        let message = run(&client, "backup").expect(0).stderr;
        assert!(
            message.contains("warning") && message.contains(what) && message.contains("written by everyone"),
            "{message}"
        );
        chmod(sandbox.at(file), mode);
    }
    run(&client.agent(), "run").expect(0);

    fs::create_dir(sandbox.at("policies")).unwrap();
    chmod(sandbox.at("policies"), 0o777);
    let serve = ["serve", "--policies", "policies", "--env-file", "b.env"];
    assert_refused(client.agent().run(serve), &["folder of policies", "can be written by everyone"]);
}

#[test]
fn a_key_that_others_can_write_is_a_warning() {
    let sandbox = AgentSandbox::new("confia");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    let key = sandbox.client.env_file(&["INTELLISTOR_KEY"]);
    fs::write(sandbox.at("key"), key.split('\'').nth(1).unwrap()).unwrap();
    let client = sandbox.client.clone().var("INTELLISTOR_KEY", "").var("INTELLISTOR_KEY_FILE", "key");
    chmod(sandbox.at("key"), 0o600);
    let quiet = backup(&client).expect(0).stderr;
    assert!(!quiet.contains("warning"), "{quiet}");
    chmod(sandbox.at("key"), 0o622);
    let message = backup(&client).expect(0).stderr;
    assert!(
        message.contains("the key file key") && message.contains("can be written by everyone"),
        "{message}"
    );
}

#[test]
fn what_a_file_store_holds_is_its_owners_alone() {
    let sandbox = AgentSandbox::new("confia");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    sandbox.write_policy(&format!("store: file://{}\n", sandbox.at("store").display()));
    sandbox.agent.run(["-q", "run", "--policy", "policy.yaml", "--out", "copy"]).expect(0);
    let mut waiting = vec![sandbox.at("store"), sandbox.at("copy")];
    let mut files = 0;
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            assert_eq!(mode_of(&path), 0o700, "{}", path.display());
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            assert_eq!(mode_of(&path) & 0o077, 0, "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 6, "archive, manifest, two logs, the copy: {files}");
}
