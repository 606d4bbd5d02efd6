//! What a person can do about an error, where this crate writes it down: in a run's log, in a job's last error, in warnings.
//!
//! Errors say what happened. What helps is an option, a variable or a command of the program that uses this crate, so the
//! program says it, once for the process, as it gives `tracing` its subscriber. Without it errors stay as they are.

use std::sync::OnceLock;

use crate::error::Error;

/// The next step, in a sentence without a full stop; `None` where the error says it all.
pub type Advice = fn(&Error) -> Option<String>;

static ADVICE: OnceLock<Advice> = OnceLock::new();

/// The first call counts.
pub fn set(advice: Advice) {
    let _ = ADVICE.set(advice);
}

/// What to do about an error.
pub(crate) fn of(error: &Error) -> Option<String> {
    ADVICE.get().and_then(|advice| advice(error))
}

/// The error, and what to do about it.
pub(crate) fn with_advice(error: &Error) -> String {
    match of(error) {
        Some(advice) => format!("{error}. {advice}"),
        None => error.to_string(),
    }
}
