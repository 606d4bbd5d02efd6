//! Keys and passphrases: what an environment file says is what is used, weak ones seal nothing unasked, and a crash leaves
//! none behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::PathBuf;

use intellistor_storage::objects::Operation;
use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::collector::{Collector, Wire};
use intellistor_tests::program::{Client, Output};
use intellistor_tests::s3_server::Failure;
use intellistor_tests::secret_search::SecretSearch;
use intellistor_tests::tree;
use tempfile::TempDir;

/// A source, a policy that stores beside it, and no key.
struct Sandbox {
    dir: TempDir,
    client: Client,
}

impl Sandbox {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("source")).unwrap();
        fs::write(at("source/a.txt"), "conteúdo").unwrap();
        let policy = format!(
            "policy_id: segredo\npaths: ['{}']\nstore: '{}'\n",
            at("source").display(),
            intellistor::StoreUrl::local(&at("store"))
        );
        fs::write(at("policy.yaml"), policy).unwrap();
        let client = Client::new(dir.path()).var("INTELLISTOR_HOME", at("home"));
        Self { dir, client }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn backup(&self) -> Output {
        self.client.run(["backup", "--policy", "policy.yaml"])
    }

    /// Whether the backup restores with a passphrase from the environment, which no file can alter.
    fn restores_with(&self, passphrase: &str) -> Output {
        let out = tempfile::tempdir_in(self.dir.path()).unwrap();
        let client = Client::new(out.path()).var("INTELLISTOR_PASSPHRASE", passphrase);
        let policy = self.at("policy.yaml");
        let args = ["restore", "--policy", policy.to_str().unwrap(), "--latest", "--out", "out"];
        client.run(args)
    }
}

#[test]
fn a_passphrase_in_an_environment_file_is_used_as_it_is_written_or_refused() {
    // The text after the variable's name, the passphrase that its writer means, and whether it is read or refused.
    let lines = [
        (r#""D:\net\pasta""#, r"D:\net\pasta", false),
        (r"two\ words\ here", r"two\ words\ here", false),
        (r#"it"s"me,ana.maria"#, r#"it"s"me,ana.maria"#, false),
        ("pass #word #and more", "pass #word #and more", false),
        ("pa$HOME/x$y$$z!!", "pa$HOME/x$y$$z!!", false),
        ("\"pa${HOME}ss-phrase\"", "pa${HOME}ss-phrase", false),
        ("'pa$x \\n \"#\" end'", "pa$x \\n \"#\" end", true),
        ("\"plain in double\"", "plain in double", true),
        ("bare-and;literal&<>|*~`", "bare-and;literal&<>|*~`", true),
        ("maçã-verde-número-3   ", "maçã-verde-número-3", true),
        ("'trailing blanks   '", "trailing blanks   ", true),
        ("'it'\"'\"'s me, ana'", "it's me, ana", false),
    ];
    for (written, known, is_read) in lines {
        let sandbox = Sandbox::new();
        fs::write(sandbox.at(".env"), format!("# the key\nINTELLISTOR_PASSPHRASE={written}\r\n")).unwrap();
        let output = sandbox.backup();
        assert_eq!(output.code, if is_read { 0 } else { 2 }, "{written}: {}", output.stderr);
        if is_read {
            sandbox.restores_with(known).expect(0);
        } else {
            let refused = output.stderr;
            assert!(refused.contains(".env, line 2 (INTELLISTOR_PASSPHRASE)"), "{refused}");
            assert!(refused.contains("single quotes") && !refused.contains(known), "{refused}");
        }
    }
}

#[test]
fn files_that_powershell_and_notepad_wrote_are_read() {
    let utf16 = |text: &str| -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    };
    let marked = |text: &str| ["\u{feff}", text].concat().into_bytes();
    let key = intellistor::UserKey::generate().to_base64().unwrap();
    for encode in [&utf16 as &dyn Fn(&str) -> Vec<u8>, &marked] {
        let sandbox = Sandbox::new();
        fs::write(sandbox.at(".env"), encode("INTELLISTOR_PASSPHRASE='maçã verde, três'\r\n")).unwrap();
        sandbox.backup().expect(0);
        sandbox.restores_with("maçã verde, três").expect(0);
        let sandbox = Sandbox::new();
        fs::write(sandbox.at("key"), encode(&format!("{}\r\n", key.as_str()))).unwrap();
        fs::write(sandbox.at(".env"), encode("INTELLISTOR_KEY_FILE=key\r\n")).unwrap();
        sandbox.backup().expect(0);
    }
    let sandbox = Sandbox::new();
    for (name, setting) in [(".env", ""), ("key", "INTELLISTOR_KEY_FILE=key\n")] {
        fs::write(sandbox.at(".env"), setting).unwrap();
        let cut = &utf16("INTELLISTOR_PASSPHRASE='x'\r\n")[2..];
        fs::write(sandbox.at(name), cut).unwrap();
        let refused = sandbox.backup().expect(2);
        assert!(refused.stderr.contains("Save it as UTF-8"), "{}", refused.stderr);
    }
}

#[test]
fn a_weak_passphrase_seals_nothing_unasked_and_opens_what_it_sealed() {
    let sandbox = Sandbox::new();
    let weak = sandbox.client.clone().var("INTELLISTOR_PASSPHRASE", "mordomia");
    let search = SecretSearch::new(["mordomia"]);
    for (client, command) in [(weak.clone(), "backup"), (weak.agent(), "run")] {
        let refused = client.run([command, "--policy", "policy.yaml"]).expect(2);
        assert!(refused.stderr.contains("--weak-passphrase"), "{}", refused.stderr);
        search.assert_absent(refused.stderr.as_bytes(), "the refusal");
        let allowed = client.run([command, "--policy", "policy.yaml", "--weak-passphrase"]).expect(0);
        search.assert_absent(&[allowed.stderr.as_bytes(), &allowed.stdout].concat(), "the output");
    }
    sandbox.restores_with("mordomia").expect(0);
    sandbox.restores_with("mordomias").expect(2);
    weak.run(["verify", "--policy", "policy.yaml", "--latest"]).expect(0);
}

#[cfg(unix)]
#[test]
fn a_crash_dumps_no_memory() {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.at("policies")).unwrap();
    // Whoever starts it allows dumps of any size.
    let mut command = Command::new("sh");
    let serve = sandbox.client.agent().command(["serve", "--policies", "policies"]);
    command
        .args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""])
        .arg(serve.get_program())
        .args(serve.get_args())
        .env_clear()
        .envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .current_dir(sandbox.dir.path())
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().contains("serving"));
    if cfg!(target_os = "linux") {
        let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{limits}");
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::ABORT).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(rustix::process::Signal::ABORT.as_raw()));
    assert!(!status.core_dumped(), "its memory was dumped");
}

/// The secret that the store's requests are signed with.
fn store_secret(sandbox: &AgentSandbox) -> String {
    let found = sandbox.server.env().into_iter().find(|(name, _)| *name == "AWS_SECRET_ACCESS_KEY");
    found.unwrap().1
}

#[cfg(unix)]
#[test]
fn no_secret_is_in_anything_that_a_run_writes() {
    const POLICY: &str = "evidence";
    const PASSPHRASE: &str = "correct horse battery staple";
    let mut sandbox = AgentSandbox::new(POLICY);
    sandbox.write_policy("resume: { fresh_after: 2h }\n");
    fs::write(sandbox.source().join("a.txt"), "content").unwrap();
    tree::write_noise(&sandbox.source().join("b.bin"), 9, 20 << 20);
    let key = intellistor::UserKey::generate().to_base64().unwrap();
    let search = SecretSearch::new([key.as_str(), PASSPHRASE, &store_secret(&sandbox)]);
    let bare = sandbox.agent.clone().var("INTELLISTOR_KEY", "");
    let with_key = bare.clone().var("INTELLISTOR_KEY", key.as_str());
    let with_passphrase = bare.clone().var("INTELLISTOR_PASSPHRASE", PASSPHRASE);
    let mut said = 0;
    // The second seals with another key than the first, which is a warning.
    for (agent, code) in [(with_key, 0), (with_passphrase, 3)] {
        sandbox.agent = agent.clone();
        // One that dies, one that is refused, one that succeeds, one that asks.
        let marker = sandbox.at("fired");
        let _ = fs::remove_file(&marker);
        let dying =
            agent.clone().var("INTELLISTOR_FAILPOINT", format!("part_recorded:1:{}", marker.display()));
        let mut outputs = vec![dying.run(["-vvv", "run", "--policy", "policy.yaml"])];
        assert!(marker.exists());
        search.assert_absent_below(&sandbox.queue());
        sandbox.server.traffic().fail_next(1000, Operation::PutPart, Failure::AccessDenied);
        outputs.push(agent.run(["-vvv", "run", "--policy", "policy.yaml"]).expect(1));
        sandbox.server.traffic().fail_no_more();
        outputs.push(agent.run(["-vvv", "run", "--policy", "policy.yaml"]).expect(code));
        outputs.push(agent.run(["-vvv", "status", "--json"]).expect(0));
        outputs.push(agent.run(["-vvv", "logs", "show", "--policy-id", POLICY]).expect(0));
        for output in outputs {
            said += output.stderr.len();
            let text = [output.stderr.as_bytes(), b"\n", &output.stdout].concat();
            search.assert_absent(&text, "the agent's output");
        }
    }
    assert!(said > 10_000, "-vvv said only {said} bytes");
    let mut written = search.assert_absent_below(&sandbox.at("home"));
    written.extend(search.assert_absent_below(&sandbox.at("s3")));
    let has = |name: &str| written.iter().any(|path| path.ends_with(name));
    assert!(has("manifest.json") && has("last.log") && has("db"), "{written:?}");
}

#[cfg(unix)]
#[test]
fn no_secret_is_sent_to_a_collector() {
    const PASSPHRASE: &str = "correct horse battery staple";
    const REFUSED: &str = "another/secret/0123456789";
    let collector = Collector::start(Wire::Grpc);
    let mut sandbox = AgentSandbox::filled("traced", 12);
    sandbox.agent = sandbox.agent.clone().vars(collector.env());
    let key = sandbox.agent.env_file(&["INTELLISTOR_KEY"]);
    let key = key.trim().split_once('=').unwrap().1.trim_matches('\'').to_owned();
    sandbox.server.traffic().fail_next(2, Operation::PutPart, Failure::Cut);
    sandbox.run().expect(0);
    let sealed = sandbox.client.clone().vars(collector.env());
    let sealed = sealed.var("INTELLISTOR_KEY", "").var("INTELLISTOR_PASSPHRASE", PASSPHRASE);
    let backup = ["backup", "--policy", "policy.yaml"];
    // Another key than that of the backup before is a warning, which names ids alone.
    sealed.run(backup).expect(3);
    // With another secret the store refuses, and errors have most to say.
    sealed.clone().var("AWS_SECRET_ACCESS_KEY", REFUSED).run(backup).expect(1);
    let sent = collector.bytes();
    let has = |text: &str| sent.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has("upload_part") && has("backup") && has("Credentials"));
    let search = SecretSearch::new([PASSPHRASE, &store_secret(&sandbox), &key, REFUSED, "relatório 1.txt"]);
    search.assert_absent(&sent, "what the collector received");

    // The same search finds a secret that is sent.
    let attributes = format!("planted={}", key.replace('=', "%3D"));
    sealed.var("OTEL_RESOURCE_ATTRIBUTES", attributes).run(backup).expect(0);
    assert!(search.find(&collector.bytes()).is_some(), "a planted secret was not found");
}
