//! `completions` and `manual`: made from the same definition as the command line itself.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Done, unwritable};

/// Print the completion script of a shell for this program
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client completions bash > /etc/bash_completion.d/backup-client
  backup-client completions powershell >> $PROFILE")]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Write the manual pages of this program
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  backup-client manual --out /usr/local/share/man/man1")]
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

pub(crate) fn manual(arguments: &Manual, mut program: Command) -> Result<Done, Failure> {
    program.build();
    let mut pages = Vec::new();
    write_pages(&arguments.out, program, &mut pages).map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot write the manual into {}", arguments.out.display()))
            .because(e)
            .hint("--out must name an existing folder that you may write to")
    })?;
    Done::document(&json!({ "created": pages }), Exit::Success)
}

/// A page for the program, and one for each of its commands.
fn write_pages(folder: &Path, command: Command, pages: &mut Vec<PathBuf>) -> io::Result<()> {
    let commands: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").cloned().collect();
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    let path = folder.join(format!("{name}.1"));
    fs::write(&path, page)?;
    pages.push(path);
    commands.into_iter().try_for_each(|command| write_pages(folder, command, pages))
}
