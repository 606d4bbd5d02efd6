//! What went wrong: a block that a person reads, a JSON document that a program reads.
//!
//! ```text
//! error: cannot back up policy mvp-default
//!   "/home/ana/Documents", which the policy names, does not exist. Correct `paths`, or mount or restore it
//! try: ...
//! ```

use std::fmt;

use intellistor::doctor::Finding;
use intellistor::{Error, PolicyError};
use intellistor_telemetry::Escaped;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::exit::Exit;
use crate::hints;

/// A command's error.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    what: String,
    cause: Option<String>,
    hint: Option<String>,
    members: Map<String, Value>,
    /// A person has read it already.
    shown: bool,
    /// Standard output has other content, so no document may follow.
    no_document: bool,
}

impl Failure {
    /// A failure in one sentence.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            cause: None,
            hint: None,
            members: Map::new(),
            shown: false,
            no_document: false,
        }
    }

    /// The arguments, the policy or the environment are wrong.
    pub(crate) fn configuration(what: impl Into<String>) -> Self {
        Self::new(Exit::Configuration, what)
    }

    /// The reader of standard output has gone: no message, no document.
    pub(crate) fn output_closed(exit: Exit) -> Self {
        Self::new(exit, "standard output was closed").already_shown().without_document()
    }

    /// Standard error has the message already.
    pub(crate) fn already_shown(self) -> Self {
        Self { shown: true, ..self }
    }

    /// Standard output has other content, so no document may follow.
    pub(crate) fn without_document(self) -> Self {
        Self { no_document: true, ..self }
    }

    pub(crate) fn because(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// More about the cause, on a line of its own.
    pub(crate) fn and(mut self, more: impl fmt::Display) -> Self {
        self.cause = Some(match self.cause {
            Some(cause) => format!("{cause}\n{more}"),
            None => more.to_string(),
        });
        self
    }

    /// What to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A member of the JSON document besides `error`.
    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Members of the JSON document besides `error`: those of `document`.
    pub(crate) fn with_members(mut self, document: &impl Serialize) -> Self {
        if let Ok(Value::Object(members)) = serde_json::to_value(document) {
            self.members.extend(members);
        }
        self
    }

    /// The engine's error, with what was being done and a hint at what to do.
    pub(crate) fn engine(what: impl Into<String>) -> impl FnOnce(Error) -> Self {
        let what = what.into();
        move |error| Self::new(error.category().into(), what).because(hints::with_hint(&error))
    }

    /// What failed and why, in one line.
    pub(crate) fn summary(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {cause}", self.what),
            None => self.what.clone(),
        }
    }

    /// The same, and what to do.
    pub(crate) fn summary_with_hint(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; {hint}", self.summary()),
            None => self.summary(),
        }
    }

    /// What failed and why, as a check of `doctor` says it.
    pub(crate) fn into_finding(self) -> Finding {
        let finding = Finding::failed(self.summary());
        match self.hint {
            Some(hint) => finding.advise(hint),
            None => finding,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn is_shown(&self) -> bool {
        self.shown
    }

    /// Whether the document goes to standard output.
    pub(crate) fn has_document(&self) -> bool {
        !self.no_document
    }

    /// The JSON document that a program reads.
    pub(crate) fn document(&self) -> Value {
        let mut error = json!({ "category": self.exit.name(), "message": self.summary() });
        if let Some(hint) = &self.hint {
            error["try"] = hint.as_str().into();
        }
        let mut document = Map::from_iter([("error".to_owned(), error)]);
        document.extend(self.members.clone());
        document.into()
    }
}

impl From<PolicyError> for Failure {
    fn from(error: PolicyError) -> Self {
        Self::configuration(hints::with_policy_hint(&error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", Indented(&self.what))?;
        if let Some(cause) = &self.cause {
            write!(f, "\n  {}", Indented(cause))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\ntry: {}", Indented(hint))?;
        }
        Ok(())
    }
}

/// Text with all lines but the first indented, so that a file's name cannot look like a line of ours.
struct Indented<'a>(&'a str);

impl fmt::Display for Indented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.0.lines().enumerate() {
            let indent = if i == 0 { "" } else { "\n  " };
            write!(f, "{indent}{}", Escaped(line))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_reads_what_why_and_what_next() {
        let failure =
            Failure::configuration("cannot start").because("x\nerror: forged\x1b[2J").hint("do this");
        let shown = failure.to_string();
        assert_eq!(shown, "error: cannot start\n  x\n  error: forged\\u{1b}[2J\ntry: do this");
    }

    #[test]
    fn a_program_reads_category_and_message() {
        let failure = Failure::new(Exit::Failed, "nothing matches").because("why").with("found", 0);
        let document =
            json!({ "error": { "category": "failed", "message": "nothing matches: why" }, "found": 0 });
        assert_eq!(failure.document(), document);
    }

    #[test]
    fn the_engines_categories_become_exit_codes() {
        let interrupted = Failure::engine("cannot back up")(Error::Interrupted);
        assert_eq!(interrupted.exit(), Exit::Interrupted);
        let policy = intellistor::Policy::new("a", [""; 0]).unwrap_err();
        assert_eq!(Failure::engine("cannot back up")(policy.into()).exit(), Exit::Configuration);
    }
}
