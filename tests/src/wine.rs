//! The programs for Windows, run under Wine against the S3 server that the ones of this system use.
//!
//! One `C:` drive serves all tests, since making one takes a quarter of a minute; each has a folder of its own there,
//! and a policy of its own in the agent's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::agent_sandbox::AgentSandbox;
use crate::program::{Output, finish};
use crate::running::Running;
use crate::tree::{self, Ignore};

/// Names the folder with the programs; `.ci/windows` builds them and sets it.
pub const BIN: &str = "INTELLISTOR_WINDOWS_BIN";
/// What the two systems do not have in common. Wine keeps attributes of its own in extended ones.
const NOT_IN_COMMON: [Ignore<'static>; 6] =
    [Ignore::Root, Ignore::Owners, Ignore::Modes, Ignore::Xattrs, Ignore::HardLinks, Ignore::Allocation];

/// A Windows machine and, beside it, one of this system, with the same store and the same key.
#[derive(Debug)]
pub struct Wine {
    /// The other machine.
    pub here: AgentSandbox,
    bin: PathBuf,
    prefix: PathBuf,
    policy_id: String,
    /// Keeps the machine up: the first program starts its services, which would keep its output open.
    _up: Option<Running>,
}

impl Wine {
    /// A machine with an empty folder `source`, and variables in `b.env`. Its drive is in `shared`, where the first test
    /// makes it.
    /// `None`, through [`cannot_run`](crate::cannot_run), where [`BIN`] is not set.
    pub fn new(shared: &Path, policy_id: &str) -> Option<Self> {
        let Some(bin) = std::env::var_os(BIN) else {
            crate::cannot_run(&format!(
                "{BIN} names no folder with the programs for Windows; see .ci/windows"
            ));
            return None;
        };
        let mut this = Self {
            here: AgentSandbox::new(policy_id),
            bin: bin.into(),
            prefix: shared.join("wine"),
            policy_id: policy_id.to_owned(),
            _up: None,
        };
        this.make_drive(shared);
        let root = this.at("");
        let _ = fs::remove_dir_all(&root);
        for kept in ["queue", "logs"] {
            let _ = fs::remove_dir_all(this.agent_folder().join(kept).join(policy_id));
        }
        fs::create_dir_all(this.at("source")).unwrap();
        // What is not the store's or the key's is this system's alone.
        fs::write(this.at("b.env"), this.here.client.env_file(&["AWS_", "INTELLISTOR_KEY"])).unwrap();
        File::create(this.at("up")).unwrap();
        this._up = Some(this.hold("up"));
        Some(this)
    }

    fn make_drive(&self, shared: &Path) {
        fs::create_dir_all(shared).unwrap();
        let lock = File::create(shared.join("wine.lock")).unwrap();
        lock.lock().unwrap();
        if self.prefix.join("made").exists() {
            return;
        }
        let _ = fs::remove_dir_all(&self.prefix);
        fs::create_dir(&self.prefix).unwrap();
        for line in [&["wineboot", "-i"][..], &["winecfg", "-v", "win10"]] {
            finish(self.wine(line)).expect(0);
        }
        File::create(self.prefix.join("made")).unwrap();
    }

    /// A path in the test's folder on `C:`, as this system has it.
    pub fn at(&self, name: &str) -> PathBuf {
        self.drive().join("tests").join(&self.policy_id).join(name)
    }

    /// The same, as Windows has it.
    pub fn named(&self, name: &str) -> String {
        format!(r"C:\tests\{}\{}", self.policy_id, name.replace('/', r"\"))
    }

    /// A drive of its own: the letter, in lower case, and a folder of this system.
    pub fn map_drive(&self, letter: char, folder: &Path) {
        let link = self.prefix.join(format!("dosdevices/{letter}:"));
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(folder, link).unwrap();
    }

    /// A line that is pasted into a console in a folder of the test. Wine reads it in the code page of a console.
    pub fn paste(&self, line: &str, folder: &Path) -> Output {
        let bytes = |c: char| match c {
            'ç' => 0x87,
            'ü' => 0x81,
            c => u8::try_from(c).ok().filter(u8::is_ascii).unwrap_or_else(|| panic!("{c} is not in it")),
        };
        let mut console = self.wine(&["cmd"]);
        console.current_dir(folder);
        let input = folder.join("pasted.txt");
        // At the end of its input a console ends with the code of the last line.
        fs::write(&input, line.chars().map(bytes).chain(*b"\r\nexit %ERRORLEVEL%\r\n").collect::<Vec<_>>())
            .unwrap();
        console.stdin(File::open(&input).unwrap());
        finish(console)
    }

    /// `C:\ProgramData\Intellistor\Agent`, as this system has it.
    pub fn agent_folder(&self) -> PathBuf {
        self.drive().join("ProgramData/Intellistor/Agent")
    }

    fn drive(&self) -> PathBuf {
        self.prefix.join("drive_c")
    }

    /// Something that Wine runs, in the test's folder.
    pub fn wine(&self, words: &[&str]) -> Command {
        let mut command = Command::new("wine");
        let folder = self.at("");
        let folder = if folder.is_dir() { &folder } else { &self.prefix };
        command.args(words).env_clear().current_dir(folder).stdin(Stdio::null());
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.prefix)
            .env("WINEPREFIX", &self.prefix)
            .env("WINEDEBUG", "-all")
            // Without these, Wine would ask whether to install .NET and a browser.
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            // Wine names files in the encoding of the locale.
            .env("LC_ALL", "C.UTF-8");
        command
    }

    /// One of the programs, by its name without `.exe`.
    pub fn program(&self, name: &str, words: &[&str]) -> Command {
        let program = self.bin.join(format!("{name}.exe"));
        let program = program.to_str().unwrap();
        self.wine(&[&[program], words].concat())
    }

    /// A program that has a file of the test's folder open, and does not share it, until this is dropped.
    pub fn hold(&self, name: &str) -> Running {
        let mut hold = self.program("hold", &[&self.named(name)]);
        hold.stdin(Stdio::piped());
        let hold = Running::start(hold);
        hold.wait_for("held");
        hold
    }

    /// `backup-client`, with the variables of `b.env`.
    pub fn client(&self, words: &[&str]) -> Output {
        finish(self.program("backup-client", &[&["-q", "--env-file", "b.env"], words].concat()))
    }

    /// As [`client`](Self::client), with `tests/windows/vssapi` in place of Wine's own `vssapi.dll`, which makes no snapshots.
    /// Its variables, without `FAKE_VSS_`, say how it fails.
    pub fn client_with_snapshots(&self, words: &[&str], faults: &[(&str, &str)]) -> Output {
        let mut client = self.program("backup-client", &[&["-q", "--env-file", "b.env"], words].concat());
        client.env("WINEDLLOVERRIDES", "mscoree,mshtml=;vssapi=n").env("FAKE_VSS_LOG", self.named("calls"));
        client.envs(faults.iter().map(|(name, value)| (format!("FAKE_VSS_{name}"), value)));
        finish(client)
    }

    /// A path of the test's folder in the snapshot of `C:`, which only [`client_with_snapshots`](Self::client_with_snapshots)
    /// can make.
    pub fn shadow(&self, name: &str) -> PathBuf {
        // The program takes it from nowhere else. Without the override, Wine prefers its own.
        let (fake, system) = (self.bin.join("vssapi.dll"), self.drive().join("windows/system32"));
        fs::copy(fake, system.join("vssapi.new")).unwrap();
        fs::rename(system.join("vssapi.new"), system.join("vssapi.dll")).unwrap();
        let devices = self.prefix.join("globalroot/Device");
        // `\\?\GLOBALROOT`, for Wine; every test that needs it makes the same.
        let _ = std::os::unix::fs::symlink("../globalroot", self.prefix.join("dosdevices/globalroot"));
        let volume = devices.join("HarddiskVolumeShadowCopy7");
        volume.join("tests").join(&self.policy_id).join(name)
    }

    /// `intellistor-agent`, with the variables of `b.env`.
    pub fn agent(&self, words: &[&str]) -> Output {
        finish(self.program("intellistor-agent", &[&["-q", "--env-file", "b.env"], words].concat()))
    }

    /// `intellistor-agent run`.
    pub fn run(&self) -> Output {
        self.agent(&["run", "--policy", "policy.yaml"])
    }

    /// `intellistor-agent run`, started; it says each part that it has recorded.
    pub fn start(&self) -> Running {
        let words = ["-v", "--env-file", "b.env", "run", "--policy", "policy.yaml"];
        Running::start(self.program("intellistor-agent", &words))
    }

    /// Writes a policy that names `source`.
    pub fn policy(&self) {
        let source = self.named("source");
        let words =
            ["policy-create", "--out", "policy.yaml", "--policy-id", &self.policy_id, "--paths", &source];
        self.client(&[&words[..], &["--force"]].concat()).expect(0);
    }

    /// Restores a backup into `out`, which need not exist.
    pub fn restore(&self, key: &str, out: &str) -> Output {
        self.client(&["restore", "--policy", "policy.yaml", "--key", key, "--out", out])
    }

    /// Restores a backup, and compares it with `source`.
    #[track_caller]
    pub fn assert_restores(&self, key: &str) {
        let _ = fs::remove_dir_all(self.at("restored"));
        self.restore(key, "restored").expect(0);
        assert_alike(&self.at("source"), &self.at("restored"), &[]);
    }
}

/// Two trees have the same names, bytes, and times to 100 ns.
#[track_caller]
pub fn assert_alike(expected: &Path, actual: &Path, ignoring: &[Ignore<'_>]) {
    let ignoring = [&NOT_IN_COMMON, ignoring].concat();
    let [expected, actual] = [expected, actual].map(|folder| {
        let mut tree = tree::snapshot(folder);
        for entry in tree.values_mut() {
            // What Windows keeps of a time.
            entry.mtime_ns -= entry.mtime_ns.rem_euclid(100);
        }
        tree
    });
    tree::assert_same(&expected, &actual, &ignoring);
}
