//! What to do about an error, and how long to wait before the next attempt.
//!
//! The store's own calls are repeated below ([`Retry`](intellistor_storage::objects::Retry)); here a whole pipeline
//! is started again from its last checkpoint. An attempt that committed something counts as the first again.

use std::time::Duration;

use intellistor_storage::objects::RetryPolicy;
use intellistor_storage::{QueueErrorKind, RetryClass, StoreErrorKind};

use crate::Error;

/// What an error means for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may pass: try again from the last checkpoint.
    Retry,
    /// A person has to mend something; then the next run goes on where this one stops.
    Pause,
    /// Nothing can go on from here: the job ends, and the next run begins anew.
    Fail,
    /// What was sent is gone: the job ends, and this run begins anew.
    Lost,
}

impl Verdict {
    pub(super) fn of(error: &Error) -> Self {
        use intellistor_storage::Error as Storage;
        match error {
            Error::Storage(Storage::Store(store)) => match store.kind {
                StoreErrorKind::UploadGone => Self::Lost,
                // Such as a part that is not the one that was recorded: looking again will tell.
                StoreErrorKind::Rejected => Self::Retry,
                kind if kind.retry_class() == RetryClass::Temporary => Self::Retry,
                _ => Self::Pause,
            },
            Error::Storage(Storage::Queue { kind: QueueErrorKind::Damaged, .. } | Storage::Replay { .. }) => {
                Self::Lost
            }
            Error::Storage(Storage::Queue { .. } | Storage::Io { .. }) => Self::Pause,
            Error::Policy(_) | Error::Interrupted => Self::Pause,
            // The job's process is as good as before; whether the defect is in the data will show.
            Error::Defect(_) => Self::Retry,
            _ => Self::Fail,
        }
    }

    /// What an error means when all attempts were used up.
    pub(super) fn after_the_last_attempt(error: &Error) -> Self {
        match Self::of(error) {
            Self::Retry => match error {
                // What fails in the same place again and again would do so for ever.
                Error::Defect(_) => Self::Fail,
                Error::Storage(intellistor_storage::Error::Store(store))
                    if store.kind == StoreErrorKind::Rejected =>
                {
                    Self::Fail
                }
                _ => Self::Pause,
            },
            verdict => verdict,
        }
    }
}

/// How often a job is tried in one run without getting any further: over a minute or two, where each attempt
/// has five of each call in it.
pub(super) const ATTEMPTS: RetryPolicy =
    RetryPolicy { attempts: 6, first_delay: Duration::from_secs(2), max_delay: Duration::from_secs(60) };
