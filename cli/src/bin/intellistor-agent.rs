//! `intellistor-agent`: backups that are resumed, scheduled and logged. `intellistor_cli` has its parts.

use std::process::ExitCode;

fn main() -> ExitCode {
    intellistor_cli::intellistor_agent(std::env::args_os())
}
