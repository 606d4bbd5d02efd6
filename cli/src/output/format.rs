//! The form of a result on standard output: JSON for programs, a table for people.

use clap::{Args, ValueEnum};

use crate::environment::Environment;
use crate::failure::Failure;

/// What decides where a command does not.
const FORMAT: &str = "INTELLISTOR_FORMAT";

/// For commands whose result people read, too.
#[derive(Debug, Default, Args)]
pub(crate) struct FormatArgument {
    /// The form of the result: JSON for programs, or a table for people, with local times. Without it, INTELLISTOR_FORMAT
    /// decides; without both it is JSON, and for `status` on a terminal a table
    #[arg(long, value_name = "FORMAT")]
    format: Option<OutputFormat>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    #[default]
    Json,
    Table,
}

impl FormatArgument {
    /// The chosen format, if the command line or the environment chooses one.
    ///
    /// # Errors
    /// When the variable has no such value.
    pub(crate) fn chosen(&self, environment: &Environment) -> Result<Option<OutputFormat>, Failure> {
        if self.format.is_some() {
            return Ok(self.format);
        }
        match environment.get(FORMAT)?.as_deref().map(String::as_str) {
            None => Ok(None),
            Some("json") => Ok(Some(OutputFormat::Json)),
            Some("table") => Ok(Some(OutputFormat::Table)),
            Some(text) => {
                Err(Failure::configuration(format!("{FORMAT} is {text:?}, which is neither json nor table")))
            }
        }
    }

    /// As [`chosen`](Self::chosen), with the default.
    ///
    /// # Errors
    /// As [`chosen`](Self::chosen).
    pub(crate) fn of(&self, environment: &Environment) -> Result<OutputFormat, Failure> {
        Ok(self.chosen(environment)?.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_environment() {
        let of = |format, value: &str| {
            FormatArgument { format }.of(&Environment::of(&[(FORMAT, value)])).map_err(|e| e.to_string())
        };
        assert_eq!(of(None, ""), Ok(OutputFormat::Json));
        assert_eq!(of(None, "table"), Ok(OutputFormat::Table));
        assert_eq!(of(Some(OutputFormat::Json), "table"), Ok(OutputFormat::Json));
        assert!(of(None, "Table").unwrap_err().contains(FORMAT));
    }
}
