//! Every span, metric and attribute, by name and with its unit. `docs/TELEMETRY.md` is the same for a reader, and a test
//! compares both with what a collector receives.
//!
//! Where OpenTelemetry's semantic conventions have a name it is theirs; all others begin with `intellistor.`. Units are
//! those of UCUM: `By`, `s`, `{part}`. The macros of `tracing` need literals for attributes, so these are a list.

/// The scope of instruments and tracers.
pub const SCOPE: &str = "intellistor";

/// Spans.
pub mod span {
    /// The agent works on a job: the root of its trace.
    pub const RUN: &str = "run";
    /// A backup by `backup-client`: a root.
    pub const BACKUP: &str = "backup";
    /// A restore: a root.
    pub const RESTORE: &str = "restore";
    /// A verification: a root.
    pub const VERIFY: &str = "verify";
    /// An archive is written as `tar.gz`: a root.
    pub const DECRYPT: &str = "decrypt";
    /// The source is walked.
    pub const SCAN: &str = "scan";
    /// Files are read into tar frames.
    pub const ARCHIVE: &str = "archive";
    /// Frames are compressed, and sealed into segments.
    pub const SEAL: &str = "seal";
    /// Parts are uploaded, from the first to the last.
    pub const UPLOAD: &str = "upload";
    /// One part, with all attempts, until the store acknowledges it.
    pub const UPLOAD_PART: &str = "upload_part";
    /// The multipart upload is completed: the archive appears in the store.
    pub const COMPLETE: &str = "complete";
    /// The manifest is made and put.
    pub const MANIFEST: &str = "manifest";
    /// The policy's retention is applied: backups are forgotten.
    pub const RETENTION: &str = "retention";
    /// What was forgotten long enough ago is deleted.
    pub const SWEEP: &str = "sweep";
    /// Logs are sent to the store.
    pub const SHIP_LOGS: &str = "ship_logs";
    /// A backup's manifest is fetched and verified.
    pub const FETCH_MANIFEST: &str = "fetch_manifest";
    /// What to fetch is planned.
    pub const PLAN: &str = "plan";
    /// Ranges of the archive are fetched.
    pub const FETCH: &str = "fetch";
    /// One range, with all attempts.
    pub const FETCH_RANGE: &str = "fetch_range";
    /// Frames are opened and inflated.
    pub const OPEN: &str = "open";
    /// Files are written.
    pub const EXTRACT: &str = "extract";
    /// The whole archive is read, from its first byte to its last.
    pub const READ_ARCHIVE: &str = "read_archive";
    /// One attempt of one call of the store.
    pub const STORE_CALL: &str = "store_call";

    /// Spans that may have no parent; any other span is made only below one.
    pub const ROOTS: [&str; 5] = [RUN, BACKUP, RESTORE, VERIFY, DECRYPT];
    pub const ALL: [&str; 23] = [
        RUN,
        BACKUP,
        RESTORE,
        VERIFY,
        DECRYPT,
        SCAN,
        ARCHIVE,
        SEAL,
        UPLOAD,
        UPLOAD_PART,
        COMPLETE,
        MANIFEST,
        RETENTION,
        SWEEP,
        SHIP_LOGS,
        FETCH_MANIFEST,
        PLAN,
        FETCH,
        FETCH_RANGE,
        OPEN,
        EXTRACT,
        READ_ARCHIVE,
        STORE_CALL,
    ];
}

/// Attributes of spans and metrics: name, and unit or kind.
pub const ATTRIBUTES: [(&str, &str); 18] = [
    ("intellistor.operation", "name of a root span"),
    ("intellistor.policy.id", "text"),
    ("intellistor.backup.id", "text"),
    ("intellistor.run.timestamp", "YYYYMMDDThhmmssZ"),
    ("intellistor.run.resumed", "boolean"),
    ("intellistor.run.state", "name of a job's state"),
    ("intellistor.run.died", "boolean"),
    ("intellistor.outcome", "completed, completed_with_warnings, failed or interrupted"),
    ("intellistor.parts.sent", "{part}"),
    ("intellistor.parts.reused", "{part}"),
    ("intellistor.part.number", "from 1"),
    ("intellistor.part.size", "By"),
    ("intellistor.range.size", "By"),
    ("intellistor.stage", "name of a span"),
    ("intellistor.stage.busy", "s"),
    ("intellistor.store.operation", "name of a call"),
    ("intellistor.store.attempt", "from 1"),
    ("error.type", "kind of error"),
];

/// Attributes of the resource, beside those that `OTEL_RESOURCE_ATTRIBUTES` gives.
pub const RESOURCE: [&str; 8] = [
    "service.name",
    "service.version",
    "host.name",
    "os.type",
    "process.pid",
    "telemetry.sdk.name",
    "telemetry.sdk.language",
    "telemetry.sdk.version",
];

/// Metrics.
pub mod metric {
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Metric {
        pub name: &'static str,
        /// As UCUM writes it.
        pub unit: &'static str,
        pub description: &'static str,
    }

    const fn metric(name: &'static str, unit: &'static str, description: &'static str) -> Metric {
        Metric { name, unit, description }
    }

    pub const DURATION: Metric =
        metric("intellistor.operation.duration", "s", "How long backups, restores and verifications took");
    pub const CONTENT: Metric =
        metric("intellistor.content.size", "By", "Content backed up, restored or verified");
    pub const FILES: Metric =
        metric("intellistor.files", "{file}", "Files backed up, or entries restored or verified");
    pub const PROBLEMS: Metric = metric(
        "intellistor.problems",
        "{entry}",
        "Entries skipped, changed while read, damaged or not restored",
    );
    pub const UNCHANGED: Metric = metric(
        "intellistor.files.unchanged",
        "{file}",
        "Files of backups that were taken over from the base",
    );
    pub const CHANGED: Metric = metric(
        "intellistor.files.changed",
        "{file}",
        "Files of backups that are new, changed or moved since the base",
    );
    pub const REFERENCED: Metric = metric(
        "intellistor.content.referenced",
        "By",
        "Content of backups that is in the archives of earlier ones",
    );
    pub const FORGOTTEN: Metric = metric(
        "intellistor.backups.forgotten",
        "{backup}",
        "Backups that the agent forgot, since no rule of their policy kept them",
    );
    pub const SWEPT: Metric =
        metric("intellistor.backups.swept", "{backup}", "Forgotten backups that the agent deleted");
    pub const PARTS: Metric = metric("intellistor.parts", "{part}", "Parts that the store acknowledged");
    pub const SENT: Metric =
        metric("intellistor.store.sent", "By", "Bytes of parts that the store acknowledged");
    pub const RECEIVED: Metric =
        metric("intellistor.store.received", "By", "Bytes of archives that the store delivered");
    pub const PART_DURATION: Metric =
        metric("intellistor.part.duration", "s", "How long a part took to the store, with all attempts");
    pub const RETRIES: Metric =
        metric("intellistor.store.retries", "{retry}", "Calls of the store that were repeated");
    pub const QUEUE: Metric =
        metric("intellistor.upload.queue", "{part}", "Parts sealed that the store has not acknowledged yet");
    pub const BUSY: Metric = metric(
        "intellistor.stage.busy",
        "s",
        "Time that a stage worked and did not wait for the next one, over all its threads",
    );

    pub const ALL: [Metric; 16] = [
        DURATION,
        CONTENT,
        FILES,
        PROBLEMS,
        UNCHANGED,
        CHANGED,
        REFERENCED,
        FORGOTTEN,
        SWEPT,
        PARTS,
        SENT,
        RECEIVED,
        PART_DURATION,
        RETRIES,
        QUEUE,
        BUSY,
    ];
}
