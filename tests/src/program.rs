//! The programs as child processes, in a clean environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The path of a built program: beside this test.
///
/// # Panics
/// When it was not built.
pub fn built(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let found = test.ancestors().skip(1).take(3).map(|folder| folder.join(&name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not beside {}; build it first: cargo build --release --workspace", test.display())
    })
}

/// How a program ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output as JSON; null when it is something else.
    pub json: Value,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Output {
    /// This, if the program ended with `code`.
    ///
    /// # Panics
    /// When it did not, with all it said.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        let stdout = String::from_utf8_lossy(&self.stdout);
        assert_eq!(self.code, code, "the exit code differs; it said:\n{}\n{stdout}", self.stderr);
        self
    }

    /// The warnings in its document, line by line.
    #[track_caller]
    pub fn warnings(&self) -> String {
        let of = |warning: &Value| warning.as_str().unwrap().to_owned();
        self.json["warnings"].as_array().unwrap().iter().map(of).collect::<Vec<_>>().join("\n")
    }

    /// The key of the backup that it made.
    #[track_caller]
    pub fn key_backup(&self) -> &str {
        self.json["s3"]["key_backup"].as_str().unwrap()
    }
}

/// One of the programs, with a current folder and variables of its own.
#[derive(Debug, Clone)]
pub struct Client {
    program: &'static str,
    folder: PathBuf,
    variables: BTreeMap<OsString, OsString>,
}

impl Client {
    /// `backup-client` with the current folder `folder`. Of this process's variables it has `PATH` alone.
    pub fn new(folder: &Path) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let variables = BTreeMap::from([("PATH".into(), path)]);
        Self { program: "backup-client", folder: folder.to_owned(), variables }
    }

    /// `intellistor-agent` in the same place, with the same variables.
    #[must_use]
    pub fn agent(&self) -> Self {
        Self { program: "intellistor-agent", ..self.clone() }
    }

    /// Sets a variable.
    #[must_use]
    pub fn var(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Sets several variables.
    #[must_use]
    pub fn vars(self, variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>) -> Self {
        variables.into_iter().fold(self, |client, (name, value)| client.var(name, value))
    }

    /// Those of its variables that begin so, as lines of an environment file.
    pub fn env_file(&self, prefixes: &[&str]) -> String {
        let text = |text: &OsString| text.to_str().unwrap().to_owned();
        let all = self.variables.iter().map(|(name, value)| (text(name), text(value)));
        let chosen = all.filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
        chosen.map(|(name, value)| format!("{name}='{value}'\n")).collect()
    }

    /// The command, for what `run` does not do; its standard input is empty.
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        self.clean(&built(self.program), args)
    }

    /// Runs it to its end.
    pub fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
        finish(self.command(args))
    }

    /// Runs it to its end, and tells the most memory that it had resident, in bytes.
    pub fn run_measured(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> (Output, u64) {
        // The system keeps the peak of a child for whoever waited for it.
        const MEASURE: &str = "import resource, subprocess, sys\n\
            code = subprocess.call(sys.argv[2:])\n\
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n\
            open(sys.argv[1], 'w').write(str(peak))\n\
            sys.exit(code)";
        let peak = tempfile::NamedTempFile::new().unwrap();
        let mut all =
            vec![OsString::from("-c"), MEASURE.into(), peak.path().into(), built(self.program).into()];
        all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        let output = finish(self.clean(Path::new("python3"), all));
        let kib: u64 = std::fs::read_to_string(peak.path()).unwrap().parse().unwrap_or_else(|e| {
            panic!("the peak was not measured: {e}; {}", output.stderr);
        });
        (output, kib * 1024)
    }

    fn clean(&self, program: &Path, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(program);
        command.args(args).env_clear().envs(&self.variables).current_dir(&self.folder).stdin(Stdio::null());
        command
    }
}

/// Runs a command to its end.
pub fn finish(mut command: Command) -> Output {
    let done = command.output().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
    Output {
        code: done.status.code().unwrap_or(-1),
        json: serde_json::from_slice(&done.stdout).unwrap_or_default(),
        stdout: done.stdout,
        stderr: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}
