//! `backup-client`: policies, backups and restores. `intellistor_cli` has its parts.

use std::process::ExitCode;

fn main() -> ExitCode {
    intellistor_cli::backup_client(std::env::args_os())
}
