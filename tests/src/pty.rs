//! Programs on a terminal of their own.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Python's `pty`: it copies between its own standard streams and the terminal, and exits as the program did. It writes the answer
/// once the program asks.
const SPAWN: &str = "import os, pty, sys\n\
    question, answer = sys.argv[1].encode(), sys.argv[2].encode()\n\
    seen = [b'']\n\
    def read(fd):\n\
    \x20   data = os.read(fd, 65536)\n\
    \x20   seen[0] += data\n\
    \x20   if question and question in seen[0]:\n\
    \x20       os.write(fd, answer + b'\\n')\n\
    \x20       seen[0] = b''\n\
    \x20   return data\n\
    status = pty.spawn(sys.argv[3:], read)\n\
    sys.exit(os.waitstatus_to_exitcode(status))";

/// What a program wrote to its terminal: both outputs, in the order in which a person saw them.
#[derive(Debug)]
pub struct Seen {
    pub code: i32,
    /// With the terminal's control sequences; line ends are `\n`.
    pub text: String,
}

impl Seen {
    /// The lines without control sequences, and without the progress line.
    pub fn lines(&self) -> Vec<String> {
        let mut plain = String::new();
        let mut chars = self.text.chars();
        while let Some(c) = chars.next() {
            if c == '\u{1b}' {
                // `[`, parameters, and a letter that ends them.
                let _ = chars.by_ref().find(char::is_ascii_alphabetic);
            } else {
                plain.push(c);
            }
        }
        // What a carriage return overwrites is not on the screen.
        plain.lines().map(|line| line.rsplit('\r').next().unwrap_or_default().to_owned()).collect()
    }
}

/// Runs a command on a terminal.
pub fn run(command: &Command) -> Seen {
    answering(command, "", "")
}

/// As [`run`], and writes `answer` when `question` is on the screen.
///
/// # Panics
/// Where there is no Python.
pub fn answering(command: &Command, question: &str, answer: &str) -> Seen {
    let mut python = Command::new("python3");
    python.args(["-c", SPAWN, question, answer]).arg(command.get_program()).args(command.get_args());
    python.env_clear().env("TERM", "xterm");
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            python.env(name, value);
        }
    }
    python.current_dir(command.get_current_dir().unwrap_or(std::path::Path::new(".")));
    // An end of its input would be an end of the terminal's.
    let mut child =
        python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let _ = input.flush();
    let done = child.wait_with_output().unwrap();
    drop(input);
    let text = String::from_utf8_lossy(&done.stdout).replace("\r\n", "\n");
    Seen { code: done.status.code().unwrap_or(-1), text: text + &String::from_utf8_lossy(&done.stderr) }
}
