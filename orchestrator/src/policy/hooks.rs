//! `hooks`: commands that the agent runs before and after a backup.
//!
//! A command is a list of arguments, of which the first is the program. No shell reads it, so that nothing in it is quoted,
//! expanded or joined.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::duration::duration_text;
use super::error::PolicyError;
use super::fields;

/// A dump of a large database takes its time; one that hangs must not take the night.
const TIMEOUT: Duration = Duration::from_secs(3600);
const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);

/// A program and its arguments.
pub type Command = Vec<String>;

/// Commands that the agent runs around a backup, each list in its order.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// Before files are read. One that fails stops the run.
    #[serde(default, deserialize_with = "commands")]
    pub before: Vec<Command>,
    /// After the backup was made.
    #[serde(default, deserialize_with = "commands")]
    pub after: Vec<Command>,
    /// After a run that made no backup.
    #[serde(default, deserialize_with = "commands")]
    pub on_failure: Vec<Command>,
    /// For each command. One that takes longer is ended, and has failed.
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    pub timeout: Duration,
}

impl Default for Hooks {
    /// None, with an hour for each.
    fn default() -> Self {
        Self { before: Vec::new(), after: Vec::new(), on_failure: Vec::new(), timeout: TIMEOUT }
    }
}

impl Hooks {
    /// Checks fields that were set by hand.
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        let Self { before, after, on_failure, timeout } = self;
        let mut commands = before.iter().chain(after).chain(on_failure).peekable();
        if commands.peek().is_none() {
            return Err(PolicyError::NoHook);
        }
        commands.try_for_each(|command| check_command(command))?;
        check_timeout(*timeout)
    }
}

/// The block, with at least one command.
pub(super) fn hooks<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Hooks>, D::Error> {
    let hooks = Option::<Hooks>::deserialize(from)?.unwrap_or_default();
    hooks.check().map_err(D::Error::custom)?;
    Ok(Some(hooks))
}

fn default_timeout() -> Duration {
    TIMEOUT
}

fn timeout<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let timeout = fields::duration(from)?.unwrap_or(TIMEOUT);
    check_timeout(timeout).map_err(D::Error::custom)?;
    Ok(timeout)
}

fn check_timeout(timeout: Duration) -> Result<(), PolicyError> {
    if TIMEOUTS.contains(&timeout) { Ok(()) } else { Err(PolicyError::HookTimeoutRange { timeout }) }
}

fn check_command(command: &[String]) -> Result<(), PolicyError> {
    let bad = |reason| PolicyError::BadHook { command: command.join(" "), reason };
    let Some(program) = command.first().filter(|program| !program.trim().is_empty()) else {
        return Err(bad("it names no program"));
    };
    if command.iter().any(|argument| argument.contains('\0')) {
        return Err(bad("it contains a NUL character"));
    }
    if program.contains(char::is_whitespace) && command.len() == 1 && !Path::new(program).is_absolute() {
        return Err(bad(
            "no shell reads it. Write each argument by itself, as in [pg_dump, --file=/srv/dump/shop.sql, shop]",
        ));
    }
    if program.starts_with('~') {
        return Err(bad("`~` is not expanded: write the whole path of the program"));
    }
    if program.contains(['/', '\\']) && !is_absolute(program) {
        return Err(bad(
            "a scheduled run has another current directory: write the whole path of the program",
        ));
    }
    Ok(())
}

/// Also of the other system: a policy may be written on one and used on another.
fn is_absolute(program: &str) -> bool {
    let drive = program.as_bytes().get(..3);
    let has_drive =
        drive.is_some_and(|d| d[0].is_ascii_alphabetic() && d[1] == b':' && matches!(d[2], b'/' | b'\\'));
    program.starts_with('/') || program.starts_with(r"\\") || has_drive
}

/// One command, or a list of commands. No value is none.
fn commands<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Command>, D::Error> {
    from.deserialize_any(Commands)
}

struct Commands;

impl<'de> Visitor<'de> for Commands {
    type Value = Vec<Command>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command as a list of arguments, as in [pg_dump, --file=/srv/dump/shop.sql, shop], or a list of such lists")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    /// A program without arguments.
    fn visit_str<E: Error>(self, program: &str) -> Result<Self::Value, E> {
        let command = vec![program.to_owned()];
        check_command(&command).map_err(E::custom)?;
        Ok(vec![command])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let (mut commands, mut single) = (Vec::new(), Command::new());
        while let Some(item) = items.next_element_seed(Item)? {
            match item {
                Found::Argument(argument) if commands.is_empty() => single.push(argument),
                Found::Command(command) if single.is_empty() => {
                    check_command(&command).map_err(A::Error::custom)?;
                    commands.push(command);
                }
                Found::Argument(text) => {
                    let reason = "it is beside commands in brackets: put it into brackets, too";
                    return Err(A::Error::custom(PolicyError::BadHook { command: text, reason }));
                }
                Found::Command(command) => {
                    let reason =
                        "it is beside arguments without brackets: put each command into brackets of its own";
                    return Err(A::Error::custom(PolicyError::BadHook {
                        command: command.join(" "),
                        reason,
                    }));
                }
            }
        }
        if !single.is_empty() {
            check_command(&single).map_err(A::Error::custom)?;
            commands.push(single);
        }
        Ok(commands)
    }
}

enum Found {
    Argument(String),
    Command(Command),
}

struct Item;

impl<'de> DeserializeSeed<'de> for Item {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item {
    type Value = Found;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an argument (a number in quotes, as in '5'), or a command as a list of arguments")
    }

    fn visit_str<E: Error>(self, argument: &str) -> Result<Found, E> {
        Ok(Found::Argument(argument.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Found, A::Error> {
        let mut command = Command::new();
        while let Some(argument) = items.next_element::<String>()? {
            command.push(argument);
        }
        Ok(Found::Command(command))
    }
}

/// As it is written in a policy.
pub(super) fn hooks_text(hooks: &Hooks, quoted: impl Fn(&str) -> String) -> String {
    let Hooks { before, after, on_failure, timeout } = hooks;
    let command = |command: &Command| {
        let arguments: Vec<_> = command.iter().map(|argument| quoted(argument)).collect();
        format!("[{}]", arguments.join(", "))
    };
    let list = |name: &str, commands: &[Command]| {
        let written: Vec<_> = commands.iter().map(command).collect();
        (!commands.is_empty()).then(|| format!("{name}: [{}]", written.join(", ")))
    };
    let fields = [
        list("before", before),
        list("after", after),
        list("on_failure", on_failure),
        (*timeout != TIMEOUT).then(|| format!("timeout: {}", duration_text(*timeout))),
    ];
    format!("{{ {} }}", fields.into_iter().flatten().collect::<Vec<_>>().join(", "))
}
