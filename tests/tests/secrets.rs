//! Keys and passphrases: what an environment file says is what is used, weak ones seal nothing unasked, and a crash leaves
//! none behind.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs;
use std::path::PathBuf;

use intellistor_tests::program::{Client, Output};
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
    // The text after the variable's name, and the passphrase that its writer means.
    let lines = [
        (r#""D:\net\pasta""#, r"D:\net\pasta"),
        (r"two\ words\ here", r"two\ words\ here"),
        (r#"it"s"me,ana.maria"#, r#"it"s"me,ana.maria"#),
        ("pass #word #and more", "pass #word #and more"),
        ("pa$HOME/x$y$$z!!", "pa$HOME/x$y$$z!!"),
        ("\"pa${HOME}ss-phrase\"", "pa${HOME}ss-phrase"),
        ("'pa$x \\n \"#\" end'", "pa$x \\n \"#\" end"),
        ("\"plain in double\"", "plain in double"),
        ("bare-and;literal&<>|*~`", "bare-and;literal&<>|*~`"),
        ("maçã-verde-número-3   ", "maçã-verde-número-3"),
        ("'trailing blanks   '", "trailing blanks   "),
        ("'it'\"'\"'s me, ana'", "it's me, ana"),
    ];
    let mut refused = 0;
    for (written, known) in lines {
        let sandbox = Sandbox::new();
        fs::write(sandbox.at(".env"), format!("# the key\nINTELLISTOR_PASSPHRASE={written}\r\n")).unwrap();
        let output = sandbox.backup();
        if output.code == 2 {
            assert!(output.stderr.contains(".env, line 2 (INTELLISTOR_PASSPHRASE)"), "{}", output.stderr);
            assert!(
                output.stderr.contains("single quotes") && !output.stderr.contains(known),
                "{}",
                output.stderr
            );
            refused += 1;
            continue;
        }
        output.expect(0);
        sandbox.restores_with(known).expect(0);
    }
    assert!(refused < lines.len() - 4, "quoted as it should be, a passphrase is read");
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
    let weak = sandbox.client.clone().var("INTELLISTOR_PASSPHRASE", "segredo");
    for (client, command) in [(weak.clone(), "backup"), (weak.agent(), "run")] {
        let refused = client.run([command, "--policy", "policy.yaml"]).expect(2);
        assert!(refused.stderr.contains("--weak-passphrase"), "{}", refused.stderr);
        assert!(!refused.stderr.contains("segredo\""), "{}", refused.stderr);
        client.run([command, "--policy", "policy.yaml", "--weak-passphrase"]).expect(0);
    }
    sandbox.restores_with("segredo").expect(0);
    sandbox.restores_with("segredos").expect(2);
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
