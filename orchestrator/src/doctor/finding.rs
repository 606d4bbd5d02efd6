//! What a check says, and the report of all.

use std::time::Duration;

use intellistor_storage::{Error as StorageError, RetryClass, StoreErrorKind};
use serde::{Deserialize, Serialize};

use crate::advice;
use crate::error::Error;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    Ok,
    /// A run works, and something needs a person's eye.
    Warning,
    /// A run does not work.
    Failed,
    /// It was not made.
    Skipped,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub(super) state: CheckState,
    detail: String,
    advice: Option<String>,
    temporary: bool,
}

impl Finding {
    fn new(state: CheckState, detail: impl Into<String>) -> Self {
        Self { state, detail: detail.into(), advice: None, temporary: false }
    }

    /// It works; `detail` has the figures.
    pub fn ok(detail: impl Into<String>) -> Self {
        Self::new(CheckState::Ok, detail)
    }

    /// It works, and something needs attention.
    pub fn warning(detail: impl Into<String>) -> Self {
        Self::new(CheckState::Warning, detail)
    }

    /// It does not work.
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::new(CheckState::Failed, detail)
    }

    /// It was not tried, and why.
    pub fn skipped(detail: impl Into<String>) -> Self {
        Self::new(CheckState::Skipped, detail)
    }

    /// What to do.
    #[must_use]
    pub fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// It may work later without anyone's doing: a network that is down, a disk that is not mounted now.
    #[must_use]
    pub fn for_now(self) -> Self {
        Self { temporary: true, ..self }
    }

    pub(super) fn no_answer(limit: Duration) -> Self {
        Self::failed(format!("no result within {} s", limit.as_secs()))
            .advise("Check the network, the store, and the disks that the paths are on")
            .for_now()
    }

    /// The engine's error, which would stop a run.
    pub(super) fn of(error: &Error) -> Self {
        let is_temporary = match error {
            Error::Storage(StorageError::Store(error)) => {
                error.kind.retry_class() == RetryClass::Temporary
                    || error.kind == StoreErrorKind::OtherStore
                    || error.kind == StoreErrorKind::NoSuchStore && error.store.starts_with("file:")
            }
            Error::Storage(error) => error.retry_class() == RetryClass::Temporary,
            _ => false,
        };
        let advice = advice::of(error);
        Self { advice, temporary: is_temporary, ..Self::failed(error.to_string()) }
    }

    /// As [`of`](Self::of), without what all errors of a store begin with: which one it is.
    pub(super) fn of_storage(error: StorageError) -> Self {
        let words = match &error {
            StorageError::Store(error) => Some(error.reason.clone()),
            _ => None,
        };
        let finding = Self::of(&Error::from(error));
        match words {
            Some(detail) => Self { detail, ..finding },
            None => finding,
        }
    }

    /// The same, where a run works all the same.
    pub(super) fn into_warning(self) -> Self {
        Self { state: CheckState::Warning, ..self }
    }

    /// What follows from it, after what was seen.
    pub(super) fn and(self, consequence: &str) -> Self {
        Self { detail: format!("{}: {consequence}", self.detail), ..self }
    }

    pub(super) fn row(self, id: &'static str, name: &str) -> CheckRow {
        let Self { state, detail, advice, temporary } = self;
        CheckRow { id: id.to_owned(), name: name.to_owned(), state, detail, advice, temporary }
    }
}

/// A check as it is printed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRow {
    /// Names the check among the others; `name` has the same for people.
    #[serde(skip)]
    pub(super) id: String,
    pub name: String,
    pub state: CheckState,
    /// What was seen.
    pub detail: String,
    /// What to do.
    pub advice: Option<String>,
    /// Whether what failed may work later without anyone's doing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub temporary: bool,
}

impl CheckRow {
    /// What is found of a check that needs this one: the reason is that of the first in the chain.
    pub(super) fn skips(&self) -> Finding {
        match self.state {
            CheckState::Skipped => Finding::skipped(self.detail.clone()),
            _ => Finding::skipped(format!("it needs {}, which failed", self.name)),
        }
    }
}

/// All checks, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    pub checks: Vec<CheckRow>,
    /// Whether all that a run needs works.
    pub ok: bool,
}

impl DoctorReport {
    pub(super) fn new(checks: Vec<CheckRow>) -> Self {
        let ok = checks.iter().all(|row| row.state != CheckState::Failed);
        Self { checks, ok }
    }

    /// Without the checks that ended well or were not made.
    #[must_use]
    pub fn problems(mut self) -> Self {
        self.checks.retain(|row| matches!(row.state, CheckState::Failed | CheckState::Warning));
        self
    }

    /// The checks that ended so.
    pub fn in_state(&self, state: CheckState) -> impl Iterator<Item = &CheckRow> {
        self.checks.iter().filter(move |row| row.state == state)
    }

    /// The failures that stay until a person acts.
    pub fn lasting_failures(&self) -> impl Iterator<Item = &CheckRow> {
        self.in_state(CheckState::Failed).filter(|row| !row.temporary)
    }
}
