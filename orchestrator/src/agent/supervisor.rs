//! What to do about an error, and how long to wait before the next attempt.
//!
//! The store's own calls are repeated below ([`Retry`](intellistor_storage::objects::Retry)); here a whole pipeline
//! is started again from its last checkpoint. An attempt that committed something counts as the first again.

use std::time::Duration;

use intellistor_storage::objects::RetryPolicy;
use intellistor_storage::{QueueErrorKind, RetryAdvice, RetryClass, StoreErrorKind};

use crate::error::Error;

/// What an error means for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may pass: try again from the last checkpoint.
    Retry,
    /// A person has to fix something; then the next run resumes the job.
    Pause,
    /// Nothing can be resumed: the job ends, and the next run starts a new one.
    Fail,
    /// What was sent is gone, or another has continued it: the job ends, and this run starts a new one.
    Lost,
}

impl Verdict {
    pub(super) fn of(error: &Error) -> Self {
        use intellistor_storage::Error as Storage;
        match error {
            Error::Storage(Storage::Store(store)) => match store.kind {
                // Begun anew, the parts are equal.
                StoreErrorKind::UploadGone | StoreErrorKind::UnequalParts => Self::Lost,
                // Such as a part that is not the one that was recorded: looking again will tell.
                StoreErrorKind::Rejected => Self::Retry,
                // What answers is no store, or the clock is wrong: a person has to act.
                _ if store.retry == RetryAdvice::Brief => Self::Pause,
                kind if kind.retry_class() == RetryClass::Temporary => Self::Retry,
                _ => Self::Pause,
            },
            Error::Storage(Storage::Queue { kind: QueueErrorKind::Damaged, .. } | Storage::Replay { .. }) => {
                Self::Lost
            }
            Error::Storage(Storage::Queue { .. } | Storage::Io { .. }) => Self::Pause,
            Error::Policy(_) | Error::Interrupted => Self::Pause,
            Error::Overtaken { .. } => Self::Lost,
            error if error.is_refusal() => Self::Pause,
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
/// has those of each call in it: half an hour in the worst case, of a store that answered and then stays away.
pub(super) const ATTEMPTS: RetryPolicy =
    RetryPolicy { attempts: 6, first_delay: Duration::from_secs(2), max_delay: Duration::from_secs(60) };

#[cfg(test)]
mod tests {
    use super::Verdict::{Fail, Lost, Pause, Retry};
    use super::*;
    use crate::policy::PolicyError;
    use intellistor_storage::Error as Storage;
    use intellistor_storage::StoreError;
    use intellistor_storage::state::job::{Ending, JobEvent, JobState};

    fn store(kind: StoreErrorKind) -> Error {
        Error::Storage(StoreError::new(kind, "", "use", "", "").into())
    }

    fn brief(kind: StoreErrorKind) -> Error {
        let error = StoreError::new(kind, "", "use", "", "");
        Error::Storage(StoreError { retry: RetryAdvice::Brief, ..error }.into())
    }

    fn queue(kind: QueueErrorKind) -> Error {
        let (path, reason) = Default::default();
        Error::Storage(Storage::Queue { action: "read", path, reason, kind })
    }

    fn refused() -> Error {
        let (policy_id, store, host, since, this_host) = Default::default();
        Error::Storage(Storage::NotOwner { policy_id, store, host, since, this_host })
    }

    /// Every error, what it means at first, and what when all attempts were used up.
    #[test]
    fn each_error_has_its_verdict() {
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let illegal = JobState::Ended(Ending::Failed).next(&JobEvent::Started).unwrap_err();
        let text = String::new;
        let table = [
            (store(StoreErrorKind::Unreachable), Retry, Pause),
            (store(StoreErrorKind::Timeout), Retry, Pause),
            (store(StoreErrorKind::Throttled), Retry, Pause),
            (store(StoreErrorKind::ServerFault), Retry, Pause),
            (store(StoreErrorKind::ChecksumMismatch), Retry, Pause),
            (brief(StoreErrorKind::Unreachable), Pause, Pause),
            (brief(StoreErrorKind::ClockSkew), Pause, Pause),
            (store(StoreErrorKind::Unsupported), Pause, Pause),
            (store(StoreErrorKind::NotFound), Pause, Pause),
            (store(StoreErrorKind::NoSuchStore), Pause, Pause),
            (store(StoreErrorKind::OtherStore), Pause, Pause),
            (store(StoreErrorKind::Credentials), Pause, Pause),
            (store(StoreErrorKind::AccessDenied), Pause, Pause),
            (store(StoreErrorKind::Full), Pause, Pause),
            (store(StoreErrorKind::UploadGone), Lost, Lost),
            (store(StoreErrorKind::UnequalParts), Lost, Lost),
            (store(StoreErrorKind::Rejected), Retry, Fail),
            (queue(QueueErrorKind::Full), Pause, Pause),
            (queue(QueueErrorKind::Short), Pause, Pause),
            (queue(QueueErrorKind::Io), Pause, Pause),
            (queue(QueueErrorKind::Damaged), Lost, Lost),
            (Error::Storage(Storage::Replay { expected: 1, found: 2 }), Lost, Lost),
            (Error::Storage(Storage::io("read", "/x")(full)), Pause, Pause),
            (Error::Storage(Storage::TooLarge(text())), Fail, Fail),
            (Error::Storage(Storage::integrity("x", "y")), Fail, Fail),
            (Error::Storage(Storage::IllegalTransition(illegal)), Fail, Fail),
            (Error::Storage(Storage::WrongKey { sealed_with: text(), configured: text() }), Fail, Fail),
            (refused(), Pause, Pause),
            (Error::Policy(PolicyError::NoPaths), Pause, Pause),
            (Error::Interrupted, Pause, Pause),
            (Error::Defect(text()), Retry, Fail),
            (Error::NotAsSent(text()), Fail, Fail),
            (Error::Overtaken { key: text(), store: text() }, Lost, Lost),
        ];
        for (error, first, last) in table {
            assert_eq!(Verdict::of(&error), first, "{error:?}");
            assert_eq!(Verdict::after_the_last_attempt(&error), last, "{error:?}");
        }
    }
}
