//! What a failure means for a job, and how often a failed run is tried again.
//!
//! Single requests are retried below ([`Retry`](intellistor_storage::objects::Retry)); here a whole pipeline is started
//! again from its last checkpoint. After an attempt that committed something, attempts are counted from one again.

use std::time::Duration;

use intellistor_storage::objects::RetryPolicy;
use intellistor_storage::{Error as StorageError, QueueErrorKind, RetryAdvice, RetryClass, StoreErrorKind};

use crate::error::Error;

/// What a failure means for the job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureAction {
    /// It may pass: retry from the last checkpoint.
    Retry,
    /// Someone has to fix something; the next run resumes the job.
    Pause,
    /// Nothing can be resumed: the job ends, and the next run begins a new one.
    Fail,
    /// What was sent or what it is based on is gone, or another machine continued it: the job ends, and this run begins a new one.
    Restart,
}

impl FailureAction {
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::Storage(StorageError::Store(store)) => match store.kind {
                // In a new upload the parts are equal.
                StoreErrorKind::UploadGone | StoreErrorKind::UnequalParts => Self::Restart,
                // Such as a part that is not the recorded one: the next attempt compares them.
                StoreErrorKind::Rejected => Self::Retry,
                // What answers is no store, or the clock is wrong: it takes someone to act.
                _ if store.retry == RetryAdvice::Brief => Self::Pause,
                kind if kind.retry_class() == RetryClass::Temporary => Self::Retry,
                _ => Self::Pause,
            },
            Error::Storage(
                StorageError::Queue { kind: QueueErrorKind::Damaged, .. } | StorageError::Replay { .. },
            ) => Self::Restart,
            Error::Storage(StorageError::Queue { .. } | StorageError::Io { .. }) => Self::Pause,
            Error::Policy(_) | Error::Interrupted | Error::Hook { .. } => Self::Pause,
            // The files of a half-sent archive are still there; so are writers and drives that a person has to look at.
            Error::NoSnapshot(_) | Error::NotInSnapshot { .. } => Self::Pause,
            // Once the store or the permission is mended, the archive that was sent is as good as before.
            Error::StoreLacks { .. } | Error::NotLocked { .. } => Self::Pause,
            Error::Overtaken { .. }
            | Error::BaseLost { .. }
            | Error::DependencyLost { .. }
            | Error::Forgotten { .. } => Self::Restart,
            error if error.is_refusal() => Self::Pause,
            // The process is as good as before; the next attempt shows whether the defect is in the data.
            Error::Defect(_) => Self::Retry,
            _ => Self::Fail,
        }
    }

    /// What a failure means once all attempts are used up.
    pub(super) fn after_last_attempt(error: &Error) -> Self {
        match (Self::of(error), error) {
            // What fails in the same place again and again would do so for ever.
            (Self::Retry, Error::Defect(_)) => Self::Fail,
            (Self::Retry, Error::Storage(StorageError::Store(store)))
                if store.kind == StoreErrorKind::Rejected =>
            {
                Self::Fail
            }
            (Self::Retry, _) => Self::Pause,
            (action, _) => action,
        }
    }
}

/// Attempts of a job in one run without progress. The pauses take a minute or two; with the retries of each request it
/// is half an hour in the worst case, of a store that answered and then stays away.
pub(super) const ATTEMPTS: RetryPolicy =
    RetryPolicy { attempts: 6, first_delay: Duration::from_secs(2), max_delay: Duration::from_secs(60) };

#[cfg(test)]
mod tests {
    use super::FailureAction::{Fail, Pause, Restart, Retry};
    use super::*;
    use crate::policy::PolicyError;
    use crate::snapshots::{LiveReason, SnapshotError};
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

    /// Every error, what it means at first, and what once all attempts are used up.
    #[test]
    fn each_error_has_its_action() {
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
            (store(StoreErrorKind::UploadGone), Restart, Restart),
            (store(StoreErrorKind::UnequalParts), Restart, Restart),
            (store(StoreErrorKind::Rejected), Retry, Fail),
            (queue(QueueErrorKind::Full), Pause, Pause),
            (queue(QueueErrorKind::Short), Pause, Pause),
            (queue(QueueErrorKind::Io), Pause, Pause),
            (queue(QueueErrorKind::Damaged), Restart, Restart),
            (Error::Storage(Storage::Replay { expected: 1, found: 2 }), Restart, Restart),
            (Error::Storage(Storage::io("read", "/x")(full)), Pause, Pause),
            (Error::Storage(Storage::TooLarge(text())), Fail, Fail),
            (Error::Storage(Storage::integrity("x", "y")), Fail, Fail),
            (Error::Storage(Storage::IllegalTransition(illegal)), Fail, Fail),
            (Error::Storage(Storage::WrongKey { sealed_with: text(), configured: text() }), Fail, Fail),
            (refused(), Pause, Pause),
            (Error::Policy(PolicyError::NoPaths), Pause, Pause),
            (Error::StoreLacks { store: text(), field: "lock", reason: text() }, Pause, Pause),
            (Error::NotLocked { key: text(), store: text(), refusal: None }, Pause, Pause),
            (Error::Interrupted, Pause, Pause),
            (Error::Hook { hook: "before", program: text(), reason: text() }, Pause, Pause),
            (Error::NoSnapshot(Box::new(SnapshotError::NoVolume)), Pause, Pause),
            (Error::NotInSnapshot { path: text(), reason: LiveReason::Network }, Pause, Pause),
            (Error::Defect(text()), Retry, Fail),
            (Error::NotAsSent(text()), Fail, Fail),
            (Error::Overtaken { key: text(), store: text() }, Restart, Restart),
            (Error::BaseLost { key: text(), why: text() }, Restart, Restart),
            (Error::DependencyLost { key: text(), what: text() }, Restart, Restart),
        ];
        for (error, first, last) in table {
            assert_eq!(FailureAction::of(&error), first, "{error:?}");
            assert_eq!(FailureAction::after_last_attempt(&error), last, "{error:?}");
        }
    }
}
