//! `completions` and `manual`: made from the same definition as the command line itself.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::manual;
use crate::output::{Done, unwritable};

/// Print the completion script of a shell for this program
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client completions bash > /etc/bash_completion.d/backup-client
  intellistor-agent completions bash > ~/.bash_completion
  backup-client completions powershell >> $PROFILE")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual pages of this program
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client manual --out /usr/local/share/man/man1
  intellistor-agent manual --out /usr/local/share/man/man1")]
pub(crate) struct Manual {
    /// The folder to write them into; it must exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn completions(arguments: &Completions, mut program: Command) -> Result<Done, Failure> {
    let name = program.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut program, name.as_str(), &mut script);
    if arguments.shell == Shell::Bash {
        script = with_one_name(&name, &script);
    }
    io::stdout().lock().write_all(&script).map_err(|e| unwritable(&e))?;
    Ok(Done::Written(Exit::Success))
}

/// In a script for bash, clap 4.6 writes a hyphen of the program's name in two ways: where a command is recognized, and where
/// its words are listed. So it completes nothing behind a command (clap-rs/clap#6421). Where both are alike, this changes
/// nothing.
fn with_one_name(program: &str, script: &[u8]) -> Vec<u8> {
    let (recognized, listed) = (program.replace('-', "__"), program.replace('-', "__subcmd__"));
    String::from_utf8_lossy(script).replace(&listed, &recognized).into_bytes()
}

pub(crate) fn manual(arguments: &Manual, program: Command) -> Result<Done, Failure> {
    let mut created = Vec::new();
    for page in manual::pages(program) {
        let path = arguments.out.join(format!("{}.1", page.name));
        fs::write(&path, page.text).map_err(|e| {
            Failure::new(Exit::Failed, format!("cannot write the manual page {}", path.display()))
                .because(e)
                .hint("--out must name an existing folder that you may write to")
        })?;
        created.push(path);
    }
    Done::document(&json!({ "created": created }), Exit::Success)
}
