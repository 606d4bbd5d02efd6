//! `backup-client`, from its arguments to its exit code.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use intellistor::CancellationToken;
use intellistor_telemetry::console::{self, Verbosity};

use crate::arguments::{Arguments, Command};
use crate::environment::{self, Environment};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Done};
use crate::screen::Screen;
use crate::session::Session;
use crate::{commands, interrupt, memory};

/// Runs the program. `main` has to call this before anything else: it changes the process's environment,
/// which no other thread may look at meanwhile.
pub fn backup_client(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    memory::give_back_large_blocks();
    match Arguments::try_parse_from(arguments) {
        Ok(arguments) => {
            let screen = Screen::new(arguments.quiet);
            output::finish(start(arguments, &screen), &screen)
        }
        Err(refused) => explain(&refused),
    }
}

/// Help and version go where clap sends them; so does the usage, but then programs get their document too.
fn explain(refused: &clap::Error) -> ExitCode {
    // There is nowhere left to tell that this could not be told.
    let _ = refused.print();
    if matches!(refused.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Exit::Success.into();
    }
    let told = refused.to_string();
    let message = match refused.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "no command was given",
        _ => told.split("\n\n").next().unwrap_or_default().trim_start_matches("error: "),
    };
    output::finish(Err(Failure::configuration(message).told_already()), &Screen::default())
}

fn start(arguments: Arguments, screen: &Screen) -> Result<Done, Failure> {
    environment::load(arguments.env_file.as_deref(), screen)?;
    let environment = Environment::of_process();
    let verbosity = Verbosity::from_flags(arguments.quiet, arguments.verbose);
    let log = screen.clone();
    console::init(verbosity, environment.get("RUST_LOG")?.as_deref().map(String::as_str), move || {
        log.clone()
    })
    .map_err(|e| Failure::configuration(e.to_string()))?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot start: {e}")))?;
    let cancel = CancellationToken::new();
    let session =
        Session { environment, env_file: arguments.env_file, screen: screen.clone(), cancel: cancel.clone() };
    let outcome = runtime.block_on(async {
        tokio::select! {
            // A command that has ended is not interrupted by a signal that came at the same moment.
            biased;
            outcome = run(arguments.command, &session) => outcome,
            () = interrupt::watch(cancel, screen.clone()) => {
                Err(Failure::new(Exit::Interrupted, "interrupted; cleaning up was cut short"))
            }
        }
    });
    // What still runs is not waited for: it ends with the process.
    runtime.shutdown_background();
    outcome
}

async fn run(command: Command, session: &Session) -> Result<Done, Failure> {
    match command {
        Command::PolicyCreate(command) => commands::policy_create::run(&command, session),
        Command::KeyCreate(command) => commands::key_create::run(&command, session),
        Command::Backup(command) => commands::backup::run(&command, session).await,
        Command::Restore(command) => commands::restore::run(&command, session).await,
        Command::List(command) => commands::list::run(&command, session).await,
        Command::Show(command) => commands::show::run(command, session).await,
        Command::Verify(command) => commands::verify::run(&command, session).await,
        Command::Decrypt(command) => commands::decrypt::run(&command, session).await,
    }
}
