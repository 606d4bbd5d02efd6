//! Both programs, from their arguments to their exit codes.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use intellistor::CancellationToken;
use intellistor_telemetry::console::Verbosity;
use intellistor_telemetry::otlp::{self, Export, Settings};

use crate::arguments::{AgentArguments, AgentCommand, ClientArguments, ClientCommand, Common};
use crate::commands::agent::schedule;
use crate::commands::doctor::Examiner;
use crate::environment::{self, Environment, Start};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{self, Done};
use crate::screen::Screen;
use crate::session::Session;
use crate::{commands, hints, home, interrupt, memory, open_files};

/// Runs `backup-client`. `main` must call this first: it changes the process's environment, which no other thread may read
/// at the same time.
pub fn backup_client(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_program::<ClientArguments>(arguments)
}

/// Runs `intellistor-agent`; the same applies.
pub fn intellistor_agent(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    run_program::<AgentArguments>(arguments)
}

/// A program: its arguments, and what it does with them.
trait Program: Parser {
    /// Whether its runs leave logs; `backup-client` leaves none.
    const LEAVES_LOGS: bool;

    /// Who starts it: a person or a scheduler.
    const START: Start;

    /// The program, as a collector knows it.
    const SERVICE: &str;

    /// Whether the command is traced: to list or to show must not wait for a collector.
    fn is_traced(&self) -> bool;

    /// Whether the command reads settings: completions, which a shell loads at its start, must work beside any `.env`.
    fn reads_settings(&self) -> bool;

    fn common(&self) -> &Common;

    /// The policy file of a run, which `status` must know of also where it failed before it read its settings.
    fn policy_to_run(&self) -> Option<&Path> {
        None
    }

    async fn run(self, session: &Session) -> Result<Done, Failure>;
}

impl Program for ClientArguments {
    const LEAVES_LOGS: bool = false;
    const START: Start = Start::ByHand;
    const SERVICE: &str = "backup-client";

    fn is_traced(&self) -> bool {
        use ClientCommand::{Backup, Decrypt, Restore, Verify};
        matches!(self.command, Backup(_) | Restore(_) | Verify(_) | Decrypt(_))
    }

    fn reads_settings(&self) -> bool {
        !matches!(self.command, ClientCommand::Completions(_) | ClientCommand::Manual(_))
    }

    fn common(&self) -> &Common {
        &self.common
    }

    async fn run(self, session: &Session) -> Result<Done, Failure> {
        match self.command {
            ClientCommand::PolicyCreate(command) => commands::policy_create::run(&command, session),
            ClientCommand::KeyCreate(command) => commands::key_create::run(&command, session),
            ClientCommand::Backup(command) => commands::backup::run(&command, session).await,
            ClientCommand::Restore(command) => commands::restore::run(&command, session).await,
            ClientCommand::List(command) => commands::list::run(&command, session).await,
            ClientCommand::Find(command) => commands::find::run(&command, session).await,
            ClientCommand::Diff(command) => commands::diff::run(&command, session).await,
            ClientCommand::Stats(command) => commands::stats::run(&command, session).await,
            ClientCommand::Show(command) => commands::show::run(command, session).await,
            ClientCommand::Verify(command) => commands::verify::run(&command, session).await,
            ClientCommand::Forget(command) => commands::forget::run(&command, session).await,
            ClientCommand::Prune(command) => commands::prune::run(&command, session).await,
            ClientCommand::Unforget(command) => commands::unforget::run(&command, session).await,
            ClientCommand::Hold(command) => commands::hold::run(&command, session).await,
            ClientCommand::Release(command) => commands::release::run(&command, session).await,
            ClientCommand::Copy(command) => commands::copy::run(&command, session).await,
            ClientCommand::Completions(command) => commands::help::completions(&command, Self::command()),
            ClientCommand::Manual(command) => commands::help::manual(&command, Self::command()),
            ClientCommand::Decrypt(command) => commands::decrypt::run(&command, session).await,
            ClientCommand::Doctor(command) => {
                commands::doctor::run(&command, session, Examiner::Client).await
            }
        }
    }
}

impl Program for AgentArguments {
    const LEAVES_LOGS: bool = true;
    const START: Start = Start::Unattended;
    const SERVICE: &str = "intellistor-agent";

    fn is_traced(&self) -> bool {
        matches!(self.command, AgentCommand::Run(_) | AgentCommand::Serve(_))
    }

    fn reads_settings(&self) -> bool {
        !matches!(self.command, AgentCommand::Completions(_) | AgentCommand::Manual(_))
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn policy_to_run(&self) -> Option<&Path> {
        match &self.command {
            AgentCommand::Run(run) => Some(run.policy_file()),
            _ => None,
        }
    }

    async fn run(self, session: &Session) -> Result<Done, Failure> {
        match self.command {
            AgentCommand::Run(command) => commands::agent::run::run(&command, session).await,
            AgentCommand::Status(command) => commands::agent::status::run(&command, session).await,
            AgentCommand::Doctor(command) => commands::doctor::run(&command, session, Examiner::Agent).await,
            AgentCommand::Logs(command) => commands::agent::logs::run(command, session).await,
            AgentCommand::Completions(command) => commands::help::completions(&command, Self::command()),
            AgentCommand::Manual(command) => commands::help::manual(&command, Self::command()),
            AgentCommand::Cancel(command) => commands::agent::cancel::run(&command, session).await,
            AgentCommand::ApplySchedule(command) => schedule::apply::run(&command, session).await,
            AgentCommand::TestSchedule(command) => schedule::test::run(&command, session).await,
            AgentCommand::RemoveSchedule(command) => schedule::remove::run(&command, session).await,
            AgentCommand::Serve(command) => commands::agent::serve::run(command, session).await,
            AgentCommand::ListSchedules(command) => schedule::list::run(&command, session).await,
        }
    }
}

fn run_program<P: Program>(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    intellistor::advice::set(hints::hint);
    intellistor::privilege::keep_memory_private();
    memory::give_back_large_blocks();
    open_files::raise();
    match P::try_parse_from(arguments) {
        Ok(program) => {
            let screen = Screen::new(program.common().quiet, program.common().log_format.into());
            output::finish(start(program, &screen), &screen)
        }
        Err(refused) => explain(&refused),
    }
}

/// Help, version and usage go where clap sends them; wrong usage also gives the JSON document.
fn explain(refused: &clap::Error) -> ExitCode {
    // Where standard error is gone there is nowhere to say so.
    let _ = refused.print();
    if matches!(refused.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Exit::Success.into();
    }
    let text = refused.to_string();
    let message = match refused.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            "no command was given; --help lists the commands"
        }
        _ => text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: "),
    };
    output::finish(Err(Failure::configuration(message).already_shown()), &Screen::default())
}

fn start<P: Program>(program: P, screen: &Screen) -> Result<Done, Failure> {
    if program.is_traced() {
        open_files::check()?;
    }
    let Common { env_file, verbose, quiet, log_format } = program.common();
    let environment = if program.reads_settings() {
        let loaded = environment::load(env_file.as_deref(), P::START, screen);
        loaded.inspect_err(|failure| record_unread(&program, failure))?
    } else {
        Environment::of_process_alone()
    };
    let verbosity = Verbosity::from_flags(*quiet, *verbose);
    let (log, rust_log) = (screen.clone(), environment.get("RUST_LOG")?);
    let rust_log = rust_log.as_deref().map(String::as_str);
    let export = if program.is_traced() { export::<P>(&environment, screen) } else { None };
    let (format, writer) = ((*log_format).into(), move || log.clone());
    intellistor_telemetry::init(verbosity, format, rust_log, writer, P::LEAVES_LOGS, export)
        .map_err(|e| Failure::configuration(e.to_string()))?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failed, format!("cannot start the program's threads: {e}")))?;
    let cancel = CancellationToken::new();
    let env_file = env_file.clone();
    let session = Session {
        environment,
        is_of_one_store: false,
        env_file,
        screen: screen.clone(),
        start: P::START,
        cancel: cancel.clone(),
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            // A command that has ended is not interrupted by a signal that came at the same moment.
            biased;
            outcome = program.run(&session) => outcome,
            () = interrupt::watch(cancel, screen.clone()) => {
                Err(Failure::new(Exit::Interrupted, "interrupted; cleaning up was cut short"))
            }
        }
    });
    // Tasks that still run end with the process.
    runtime.shutdown_background();
    if let Some(export) = export {
        export.finish();
    }
    outcome
}

/// Without its settings a run knows no home but the system's.
fn record_unread<P: Program>(program: &P, failure: &Failure) {
    if let Some(policy) = program.policy_to_run()
        && let Ok(agent) = home::agent(&Environment::of_process_alone())
    {
        commands::agent::run::record_unread(&agent, policy, failure);
    }
}

/// Traces and metrics, where the standard variables ask for them. A failure of theirs is a warning and fails no run.
fn export<P: Program>(environment: &Environment, screen: &Screen) -> Option<Export> {
    let settings = Settings::from_variables(|name| {
        // None of the standard's values is anything but Unicode.
        environment.get(name).ok().flatten().map(|value| value.as_str().to_owned())
    });
    let screen = screen.clone();
    match settings {
        Ok(settings) => otlp::start(&settings?, P::SERVICE, env!("CARGO_PKG_VERSION"), move |warning| {
            screen.warn(warning)
        }),
        Err(error) => {
            screen.warn(format_args!("traces and metrics are off: {error}"));
            None
        }
    }
}
