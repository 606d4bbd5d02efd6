//! A guide whose commands a test plays: its fenced `sh` blocks, run as a reader would paste them.
//!
//! A comment before a block, which readers do not see, says what becomes of it:
//! - `<!-- play: SCENARIO -->` runs it; with `, exit 3` its last command must end with that code;
//! - `<!-- not played: WHY -->` leaves it out;
//! - `<!-- output -->`, before a `text` block: what the block before it prints. Each of its lines must be part of a line that was
//!   printed; `…` is in place of anything.
//!
//! Every `sh` block needs one of the first two, so that a new one is not left out by mistake.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::built;

/// A block of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where it begins in the page, from 1.
    pub line: usize,
    /// `None` where it is not played.
    pub scenario: Option<String>,
    /// The exit code of its last command.
    pub exit: i32,
    pub commands: String,
    /// Lines that it prints, in part.
    pub output: Vec<String>,
}

impl Block {
    /// The commands without comments, which are translated.
    pub fn without_comments(&self) -> Vec<&str> {
        let bare = |line: &'_ str| -> usize {
            if line.starts_with('#') { 0 } else { line.find(" # ").unwrap_or(line.len()) }
        };
        let lines = self.commands.lines().map(|line| line[..bare(line)].trim_end());
        lines.filter(|line| !line.is_empty()).collect()
    }
}

/// The `sh` blocks of a page.
///
/// # Panics
/// When a block has no comment, or an unknown one.
pub fn blocks(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut comment = None;
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if let Some(said) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
            comment = Some(said.to_owned());
        } else if let Some(language) = line.strip_prefix("```") {
            let body: Vec<_> =
                lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            let place = format!("{}:{}", page.display(), at + 1);
            match (language, comment.take().as_deref()) {
                ("sh", Some(said)) => blocks.push(block(said, at + 1, &body, &place)),
                ("sh", None) => panic!("{place}: no comment says whether this block is played"),
                ("text", Some("output")) => {
                    let last = blocks.last_mut().unwrap_or_else(|| panic!("{place}: no commands before it"));
                    last.output.extend(body.into_iter().map(str::to_owned));
                }
                (_, None) => {}
                (language, Some(said)) => panic!("{place}: {said:?} before a block of {language:?}"),
            }
        } else if !line.trim().is_empty() {
            comment = None;
        }
    }
    blocks
}

fn block(said: &str, line: usize, body: &[&str], place: &str) -> Block {
    let (scenario, exit) = match said.split_once(": ") {
        Some(("not played", _)) => (None, 0),
        Some(("play", how)) => match how.split_once(", exit ") {
            Some((scenario, exit)) => (Some(scenario.to_owned()), exit.parse().unwrap()),
            None => (Some(how.to_owned()), 0),
        },
        _ => panic!("{place}: {said:?} is neither `play: ...` nor `not played: ...`"),
    };
    Block { line, scenario, exit, commands: body.join("\n"), output: Vec::new() }
}

/// Another machine than the one that made the backups: with another name, another machine id, and an empty home.
#[derive(Debug)]
pub struct OtherMachine {
    /// Its home, and the folder in which commands run.
    pub home: PathBuf,
    name: String,
    path: std::ffi::OsString,
    /// What the page says, and what it is here.
    words: Vec<(String, String)>,
}

impl OtherMachine {
    /// Keeps all that it needs below `folder`.
    pub fn new(folder: &Path, name: &str) -> Self {
        let home = folder.join(name);
        fs::create_dir(&home).unwrap();
        fs::write(folder.join(format!("{name}.machine-id")), "f1d0e5c4b3a29180f1d0e5c4b3a29180\n").unwrap();
        let programs = built("backup-client").parent().unwrap().to_owned();
        let system = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs).chain(std::env::split_paths(&system));
        let path = std::env::join_paths(path).unwrap();
        Self { home, name: name.to_owned(), path, words: Vec::new() }
    }

    /// What is `here` where the page says `there`.
    pub fn reads(&mut self, there: &str, here: impl Into<String>) {
        self.words.push((there.to_owned(), here.into()));
    }

    fn read(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (there, here)| text.replace(there, here))
    }

    /// Runs a block, and compares its exit code and what it prints with what the page says.
    ///
    /// # Panics
    /// When they differ.
    #[track_caller]
    pub fn play(&self, block: &Block) -> String {
        let commands = self.read(&block.commands);
        let done = self.shell(&commands).output().unwrap();
        let printed =
            format!("{}\n{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        let place = format!("line {} of the page", block.line);
        assert_eq!(
            done.status.code(),
            Some(block.exit),
            "{place}: the exit code differs; {commands}\nprinted:\n{printed}"
        );
        for line in &block.output {
            let expected = self.read(line);
            assert!(
                printed.lines().any(|line| is_part(&expected, line)),
                "{place}: no line like {expected:?} in what {commands}\nprinted:\n{printed}"
            );
        }
        printed
    }

    /// A shell on this machine.
    fn shell(&self, commands: &str) -> Command {
        // A name and a machine id of its own, for this process and its children alone.
        const ENTER: &str = "hostname \"$1\" && { [ ! -e /etc/machine-id ] || mount --bind \"$2\" /etc/machine-id; } \
            && exec bash -eu -o pipefail -c \"$3\"";
        let mut shell = Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            shell.arg("--map-root-user");
        }
        let machine_id = self.home.with_file_name(format!("{}.machine-id", self.name));
        shell.args(["--uts", "--mount", "sh", "-c", ENTER, "sh", &self.name]).arg(machine_id).arg(commands);
        shell.env_clear().env("PATH", &self.path).env("HOME", &self.home).env("LANG", "C.UTF-8");
        // What belongs to root would be this machine's.
        shell.env("INTELLISTOR_HOME", self.home.join("agent"));
        shell.current_dir(&self.home).stdin(Stdio::null());
        shell
    }

    /// Whether this system lets a test be another machine.
    pub fn is_possible() -> bool {
        let folder = tempfile::tempdir().unwrap();
        let done = Self::new(folder.path(), "probe").shell("hostname").output();
        done.is_ok_and(|done| done.stdout == b"probe\n")
    }
}

/// Whether the pieces between `…` are in the line, one after the other.
fn is_part(expected: &str, line: &str) -> bool {
    let mut rest = Some(line);
    for piece in expected.trim().split('…') {
        rest = rest.and_then(|rest| rest.split_once(piece)).map(|(_, after)| after);
    }
    rest.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_say_what_becomes_of_them() {
        let page = tempfile::NamedTempFile::new().unwrap();
        let text = "# Page\n<!-- play: first, exit 3 -->\n```sh\nls   # lists\n# more\n```\n\n<!-- output -->\n```text\n a…b\n```\n\
            ```yaml\nx: 1\n```\n<!-- not played: needs AWS -->\n```sh\naws\n```\n";
        fs::write(page.path(), text).unwrap();
        let found = blocks(page.path());
        assert_eq!(found[0].scenario.as_deref(), Some("first"));
        assert_eq!(
            (found[0].exit, found[0].line, found[0].output.as_slice()),
            (3, 3, &[" a…b".to_owned()][..])
        );
        assert_eq!(found[0].without_comments(), ["ls"]);
        assert_eq!((&found[1].scenario, found.len()), (&None, 2));
        fs::write(page.path(), "text\n```sh\nls\n```\n").unwrap();
        assert!(std::panic::catch_unwind(|| blocks(page.path())).is_err());
    }

    #[test]
    fn an_ellipsis_is_in_place_of_anything() {
        assert!(is_part("a…c", "x a b c"));
        assert!(!is_part("c…a", "x a b c"));
        assert!(!is_part("d", "x a b c"));
    }
}
