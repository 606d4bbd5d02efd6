//! A job's life: one enum, one transition function, no other writer.
//!
//! ```text
//!            Started        Scanned          ArchiveCommitted      ArchiveCompleted
//!   Queued ─────────→ Scanning ───→ Transferring ─────────→ Sealing ─────────→ Publishing
//!      ↑                 │              │   ↑                  │                   │
//!      └──── Resumed ────┘     PartsLost└───┴──── PartsLost ───┘                   │ ManifestPut
//!                                                                                  ↓
//!   any of the five ── GaveUp, Cancelled ────────────────────────────→ ShippingLogs(ending)
//!                                                 ↑── AttentionNeeded (with warnings) ──┤
//!                                                                                  │ LogsSettled
//!                                                                                  ↓
//!                                                                            Ended(ending)
//! ```
//! | state | what is being done |
//! | --- | --- |
//! | `Queued` | nothing yet |
//! | `Scanning` | the folders are walked; a scan that was cut short is made again |
//! | `Transferring` | parts are made, sent and committed |
//! | `Sealing` | every part is committed; the upload is completed and compared |
//! | `Publishing` | the archive is there; the manifest is put |
//! | `ShippingLogs` | the outcome is decided; the run's log goes out, or into the outbox |
//! | `Ended` | nothing is left to do |
//!
//! `Resumed` comes first in every later run of a job: all but `Scanning` continue where they were. `PartsLost` says that
//! the store has lost parts, which are then built again.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a job ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The backup holds all that it should.
    Completed,
    /// The backup exists; some entries were skipped or changed while they were read.
    CompletedWithWarnings,
    /// There is no backup.
    Failed,
    /// There is no backup, because somebody said so.
    Cancelled,
}

impl Ending {
    /// Its name in JSON, logs and traces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedWithWarnings => "completed_with_warnings",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Recorded, nothing done.
    Queued,
    /// The folders are walked.
    Scanning,
    /// Parts are made, sent and committed.
    Transferring,
    /// The upload is completed and compared.
    Sealing,
    /// The manifest is put.
    Publishing,
    /// The outcome is decided, the log goes out.
    ShippingLogs(Ending),
    /// Nothing is left to do.
    Ended(Ending),
}

/// What has happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobEvent {
    /// The run has begun to work.
    Started,
    /// The whole scan is in the queue.
    Scanned,
    /// Every part is in the store and in the queue.
    ArchiveCommitted,
    /// The archive is an object whose size and parts were compared.
    ArchiveCompleted,
    /// The manifest is in the store: the backup exists.
    ManifestPut {
        /// Whether entries were skipped or changed.
        warnings: bool,
    },
    /// The backup is complete, and what follows it needs a person.
    AttentionNeeded,
    /// The run will not succeed.
    GaveUp,
    /// Somebody ended the job.
    Cancelled,
    /// The store no longer has parts that it had acknowledged.
    PartsLost,
    /// The log is in the store or in the outbox.
    LogsSettled,
    /// A later run resumes the job.
    Resumed,
}

/// An event that a job's state does not allow: a bug in whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {} cannot take the event {event}. This is a bug; please report it", from.name())]
pub struct IllegalTransition {
    pub from: JobState,
    pub event: JobEvent,
}

impl JobState {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalTransition`] for every pair that the diagram does not show.
    pub fn next(&self, event: &JobEvent) -> Result<Self, IllegalTransition> {
        use JobState::*;
        Ok(match (*self, *event) {
            (Queued, JobEvent::Started) => Scanning,
            (Scanning, JobEvent::Scanned) => Transferring,
            (Transferring, JobEvent::ArchiveCommitted) => Sealing,
            (Sealing, JobEvent::ArchiveCompleted) => Publishing,
            (Publishing, JobEvent::ManifestPut { warnings: false }) => ShippingLogs(Ending::Completed),
            (Publishing, JobEvent::ManifestPut { warnings: true }) => {
                ShippingLogs(Ending::CompletedWithWarnings)
            }
            (Transferring | Sealing, JobEvent::PartsLost) => Transferring,
            (Queued | Scanning | Transferring | Sealing | Publishing, JobEvent::GaveUp) => {
                ShippingLogs(Ending::Failed)
            }
            (Queued | Scanning | Transferring | Sealing | Publishing, JobEvent::Cancelled) => {
                ShippingLogs(Ending::Cancelled)
            }
            (ShippingLogs(Ending::Completed | Ending::CompletedWithWarnings), JobEvent::AttentionNeeded) => {
                ShippingLogs(Ending::CompletedWithWarnings)
            }
            (ShippingLogs(ending), JobEvent::LogsSettled) => Ended(ending),
            (Queued | Scanning, JobEvent::Resumed) => Queued,
            (Transferring | Sealing | Publishing | ShippingLogs(_), JobEvent::Resumed) => *self,
            (from, event) => return Err(IllegalTransition { from, event }),
        })
    }

    /// Its name in JSON, logs and traces; an ended job has that of its ending.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Scanning => "scanning",
            Self::Transferring => "transferring",
            Self::Sealing => "sealing",
            Self::Publishing => "publishing",
            Self::ShippingLogs(_) => "shipping_logs",
            Self::Ended(ending) => ending.name(),
        }
    }

    /// Whether nothing is left to do.
    pub fn is_ended(&self) -> bool {
        matches!(self, Self::Ended(_))
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl JobEvent {
    /// Its name in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Scanned => "scanned",
            Self::ArchiveCommitted => "archive_committed",
            Self::ArchiveCompleted => "archive_completed",
            Self::ManifestPut { .. } => "manifest_put",
            Self::AttentionNeeded => "attention_needed",
            Self::GaveUp => "gave_up",
            Self::Cancelled => "cancelled",
            Self::PartsLost => "parts_lost",
            Self::LogsSettled => "logs_settled",
            Self::Resumed => "resumed",
        }
    }
}

impl fmt::Display for JobEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Ending::*;
    use super::JobState::*;
    use super::*;

    const STATES: [JobState; 13] = [
        Queued,
        Scanning,
        Transferring,
        Sealing,
        Publishing,
        ShippingLogs(Completed),
        ShippingLogs(CompletedWithWarnings),
        ShippingLogs(Failed),
        ShippingLogs(Cancelled),
        Ended(Completed),
        Ended(CompletedWithWarnings),
        Ended(Failed),
        Ended(Cancelled),
    ];

    /// Every event, and what follows in each of `STATES`; `None` is illegal.
    #[rustfmt::skip]
    fn table() -> [(JobEvent, [Option<JobState>; 13]); 12] {
        const __: Option<JobState> = None;
        let [q, s, t, e, p] = [Queued, Scanning, Transferring, Sealing, Publishing].map(Some);
        let [l0, l1, l2, l3] = [Completed, CompletedWithWarnings, Failed, Cancelled].map(|e| Some(ShippingLogs(e)));
        let [e0, e1, e2, e3] = [Completed, CompletedWithWarnings, Failed, Cancelled].map(|e| Some(Ended(e)));
        [ //                                         queued scan transfer seal publish  shipping logs ..   ended ..
            (JobEvent::Started,                         [s,  __, __, __, __, __, __, __, __, __, __, __, __]),
            (JobEvent::Scanned,                         [__, t,  __, __, __, __, __, __, __, __, __, __, __]),
            (JobEvent::ArchiveCommitted,                [__, __, e,  __, __, __, __, __, __, __, __, __, __]),
            (JobEvent::ArchiveCompleted,                [__, __, __, p,  __, __, __, __, __, __, __, __, __]),
            (JobEvent::ManifestPut { warnings: false }, [__, __, __, __, l0, __, __, __, __, __, __, __, __]),
            (JobEvent::ManifestPut { warnings: true },  [__, __, __, __, l1, __, __, __, __, __, __, __, __]),
            (JobEvent::AttentionNeeded,                 [__, __, __, __, __, l1, l1, __, __, __, __, __, __]),
            (JobEvent::GaveUp,                          [l2, l2, l2, l2, l2, __, __, __, __, __, __, __, __]),
            (JobEvent::Cancelled,                       [l3, l3, l3, l3, l3, __, __, __, __, __, __, __, __]),
            (JobEvent::PartsLost,                       [__, __, t,  t,  __, __, __, __, __, __, __, __, __]),
            (JobEvent::LogsSettled,                     [__, __, __, __, __, e0, e1, e2, e3, __, __, __, __]),
            (JobEvent::Resumed,                         [q,  q,  t,  e,  p,  l0, l1, l2, l3, __, __, __, __]),
        ]
    }

    #[test]
    fn every_pair_goes_where_the_table_says() {
        for (event, row) in table() {
            for (from, expected) in STATES.into_iter().zip(row) {
                assert_eq!(
                    from.next(&event),
                    expected.ok_or(IllegalTransition { from, event }),
                    "{from:?} {event}"
                );
            }
        }
    }

    #[test]
    fn an_illegal_event_is_told_by_name() {
        let message = Sealing.next(&JobEvent::ManifestPut { warnings: true }).unwrap_err().to_string();
        assert!(message.contains("sealing") && message.contains("manifest_put"), "{message}");
    }

    #[test]
    fn names_are_those_that_json_has() {
        let names = STATES.map(|state| state.name());
        assert_eq!(
            names[..6],
            ["queued", "scanning", "transferring", "sealing", "publishing", "shipping_logs"]
        );
        assert_eq!(names[9..], ["completed", "completed_with_warnings", "failed", "cancelled"]);
        for state in STATES {
            assert_eq!(state.is_ended(), matches!(state, Ended(_)));
            let json = serde_json::to_string(&state).unwrap();
            assert_eq!(serde_json::from_str::<JobState>(&json).unwrap(), state);
        }
    }
}
