//! What a queue keeps, record by record.

use std::fmt;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::archive::segment::SegmentRecord;
use crate::catalog::layout::BackupName;
use crate::manifest::entry::Entry;
use crate::manifest::head::{RootRecord, SnapshotRecord};
use crate::objects::upload::{PartReceipt, Upload};
use crate::state::job::JobState;

/// One attempt to make one backup.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What names the backup, and the run's log.
    pub name: BackupName,
    /// The archive's header; in it the data key, wrapped.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// The store's URL.
    pub store: String,
    /// Where a copy goes.
    pub copy_to: Option<PathBuf>,
    /// Of what decides about the archive's bytes in the policy.
    #[serde(with = "serde_bytes")]
    pub policy_digest: [u8; 32],
    /// The upload, once it has begun.
    pub upload: Option<Upload>,
    /// Only [`Ledger::advance`](super::ledger::Ledger::advance) changes it.
    pub state: JobState,
    /// When it began, in milliseconds since 1970 UTC.
    pub began_ms: i64,
    /// When it ended.
    pub ended_ms: Option<i64>,
    /// How many runs have worked on it.
    pub runs: u32,
    /// What the scan found.
    pub scanned: Option<Scanned>,
    /// Why the last run stopped, if it did.
    pub last_error: Option<String>,
    /// The trace of the last run that had one.
    pub trace_id: Option<String>,
    /// The root of that trace.
    #[serde(default)]
    pub run_span: Option<RunSpan>,
    /// The report of its backup once it is published, whose type this crate does not know: see
    /// [`Ledger::set_summary`](super::ledger::Ledger::set_summary).
    pub summary: Option<serde_json::Value>,
    /// What the scan found besides.
    #[serde(default)]
    pub findings: Findings,
    /// What it is based on, once that is chosen. It stays the same however often the job is resumed.
    #[serde(default)]
    pub base: Option<JobBase>,
    /// The [`ContentKey`](crate::keys::ContentKey) of its sketches, sealed under its data key.
    #[serde(default, with = "serde_bytes")]
    pub content_key: Option<Vec<u8>>,
    /// Where the recorded walk read the policy's folders; empty where it read all of them in their own place.
    #[serde(default)]
    pub views: Vec<RootView>,
}

/// Where a walk read one of the policy's folders. Snapshots are gone when the run ends, so that a later run finds the
/// files of the recorded walk elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootView {
    /// As the policy names it.
    pub path: PathBuf,
    /// Without links: in a snapshot of its volume, or where `path` leads.
    pub read_at: PathBuf,
}

impl Job {
    /// One that no run has worked on yet: its first run begins now, at `began_ms`.
    pub fn new(name: BackupName, header: Vec<u8>, store: String, began_ms: i64) -> Self {
        Self {
            name,
            header,
            store,
            copy_to: None,
            policy_digest: [0; 32],
            upload: None,
            state: JobState::Queued,
            began_ms,
            ended_ms: None,
            runs: 1,
            scanned: None,
            last_error: None,
            trace_id: None,
            run_span: None,
            summary: None,
            findings: Findings::default(),
            base: None,
            content_key: None,
            views: Vec::new(),
        }
    }

    /// The report of its backup; `None` also where it has another form than `T`.
    pub fn summary<T: DeserializeOwned>(&self) -> Option<T> {
        match self.summary.as_ref()? {
            // Jobs of builds before this form hold the report as text, and their folders are compared with today's.
            serde_json::Value::String(text) => serde_json::from_str(text).ok(),
            report => T::deserialize(report).ok(),
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, state, runs, .. } = self;
        write!(f, "Job({}/{}, {state:?}, {runs} runs)", name.policy_id, name.timestamp)
    }
}

/// What a job is based on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobBase {
    /// The backup; `None` for a full one.
    pub backup: Option<BaseReference>,
    /// What needs attention, found when it was chosen.
    pub alerts: Vec<String>,
    /// What is worth knowing, and no reason to worry.
    pub notes: Vec<String>,
}

/// A backup whose entries are taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseReference {
    pub name: BackupName,
    /// SHA-256 of its `manifest.json`.
    #[serde(with = "serde_bytes")]
    pub manifest_sha256: [u8; 32],
    /// As those of [`Base`](crate::manifest::Base).
    pub numbers: Vec<Option<u32>>,
}

/// The span of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunSpan {
    /// Its id, in hex.
    pub span_id: String,
    /// When the run began, in milliseconds since 1970 UTC.
    pub began_ms: i64,
    /// Whether the run itself could end it; one that died could not.
    pub ended: bool,
}

/// What a person should know of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The policy's folders.
    pub roots: Vec<RootRecord>,
    /// What is worth knowing, and no reason to worry.
    pub notes: Vec<String>,
    /// What needs attention.
    pub alarms: Vec<String>,
    /// How the walk compares with the base, where there was one.
    #[serde(default)]
    pub compared: Option<Compared>,
    /// Where files were read in snapshots, and where not.
    #[serde(default)]
    pub snapshots: Vec<SnapshotRecord>,
    /// What else needs attention, and is no reason for retention to rest.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Alternate data streams that the walk has found, and the policy does not keep.
    #[serde(default)]
    pub streams_left_out: u64,
}

/// How a walk compares with its base. Files and links are counted, and no folders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compared {
    /// In the base.
    pub base_files: u64,
    /// In both, and taken over.
    pub unchanged: u64,
    /// In both, and read again.
    pub read_again: u64,
    /// In the walk alone.
    pub new: u64,
    /// In the base alone.
    pub deleted: u64,
    /// In the base, below a folder that could not be listed, or not looked at: they are not in the new backup.
    pub not_reached: u64,
}

/// What a scan found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned {
    /// Steps of the walk: entries, and what could not be looked at.
    pub steps: u64,
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes of content, each hard-linked file once.
    pub bytes: u64,
}

/// A part that the store holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Its segment, as the manifest will have it.
    pub segment: SegmentRecord,
    /// What the store answered.
    pub receipt: PartReceipt,
    /// Whether it closes the archive.
    pub last: bool,
}

/// Where in the walk a part ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Index of the entry to resume with.
    pub entry: u64,
    /// What is in the archive of that entry already.
    #[serde(rename = "half_sent")]
    pub partial_entry: Option<PartialEntry>,
}

/// An entry that is in the archive in part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialEntry {
    /// Where its header begins in the tar stream, in bytes.
    pub tar_offset: u64,
    /// The header: name, kind, size, times, owner, attributes.
    #[serde(with = "serde_bytes")]
    pub header: Vec<u8>,
    /// Bytes of content that the header announces, without what fills up the last block.
    pub stored_bytes: u64,
    /// Device and number of the file.
    pub identity: Option<(u64, u64)>,
    /// SHA-256 of what was read of it, holes as zeros.
    #[serde(with = "serde_bytes")]
    pub read_sha256: [u8; 32],
    /// How much that was, in bytes.
    pub read_bytes: u64,
    /// Whether it is a member of ours, a piece or a chunk list: it is completed with zeros, and compared with nothing.
    #[serde(default)]
    pub internal: bool,
    /// The large file whose chunk list it is: its content is complete.
    #[serde(default)]
    pub finished: Option<Box<Entry>>,
}

/// A log that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingLog {
    /// Of the run.
    pub timestamp: String,
    /// On this machine.
    pub file: PathBuf,
    /// In the store.
    pub key: String,
}
