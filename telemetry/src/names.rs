//! Every span, metric and attribute, by name and with its unit. `docs/TELEMETRY.md` is the same for a reader, and a test
//! compares both with what a collector receives.
//!
//! Where OpenTelemetry's semantic conventions have a name it is theirs; all others begin with `intellistor.`. Units are
//! those of UCUM: `By`, `s`, `{part}`. Macros of `tracing` want literals for attributes, so these stand here as a list.

/// Of instruments and tracers.
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
    /// Parts are on their way, from the first to the last.
    pub const UPLOAD: &str = "upload";
    /// One part, with all attempts, until the store has it.
    pub const UPLOAD_PART: &str = "upload_part";
    /// The archive is made to appear in the store.
    pub const COMPLETE: &str = "complete";
    /// The manifest is made and put.
    pub const MANIFEST: &str = "manifest";
    /// Logs go to the store.
    pub const SHIP_LOGS: &str = "ship_logs";
    /// A backup's manifest is fetched and verified.
    pub const FETCH_MANIFEST: &str = "fetch_manifest";
    /// What to fetch is planned.
    pub const PLAN: &str = "plan";
    /// Ranges of the archive are on their way.
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

    /// Those that may be without a parent; any other span is made only below one.
    pub const ROOTS: [&str; 5] = [RUN, BACKUP, RESTORE, VERIFY, DECRYPT];
    /// All of them.
    pub const ALL: [&str; 21] = [
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

/// A metric: its name, its unit, and what it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it tells.
    pub told: &'static str,
}

/// Metrics.
pub mod metric {
    use super::Metric;

    const fn metric(name: &'static str, unit: &'static str, told: &'static str) -> Metric {
        Metric { name, unit, told }
    }

    /// How long operations took.
    pub const DURATION: Metric =
        metric("intellistor.operation.duration", "s", "How long backups, restores and verifications took");
    /// Content.
    pub const CONTENT: Metric =
        metric("intellistor.content.size", "By", "Content backed up, restored or verified");
    /// Files.
    pub const FILES: Metric =
        metric("intellistor.files", "{file}", "Files backed up, or entries restored or verified");
    /// What is missing, or not as it was.
    pub const PROBLEMS: Metric = metric(
        "intellistor.problems",
        "{entry}",
        "Entries skipped, changed while read, damaged or not restored",
    );
    /// Parts.
    pub const PARTS: Metric = metric("intellistor.parts", "{part}", "Parts that the store acknowledged");
    /// Bytes to the store.
    pub const SENT: Metric =
        metric("intellistor.store.sent", "By", "Bytes of parts that the store acknowledged");
    /// Bytes from the store.
    pub const RECEIVED: Metric =
        metric("intellistor.store.received", "By", "Bytes of archives that the store delivered");
    /// How long parts took.
    pub const PART_DURATION: Metric =
        metric("intellistor.part.duration", "s", "How long a part took to the store, with all attempts");
    /// Retries.
    pub const RETRIES: Metric =
        metric("intellistor.store.retries", "{retry}", "Calls of the store that were repeated");
    /// The uploader's queue.
    pub const QUEUE: Metric =
        metric("intellistor.upload.queue", "{part}", "Parts sealed that the store has not acknowledged yet");
    /// What kept the processor busy.
    pub const BUSY: Metric = metric(
        "intellistor.stage.busy",
        "s",
        "Time that a stage worked and did not wait for the next one, over all its threads",
    );

    /// All of them.
    pub const ALL: [Metric; 11] =
        [DURATION, CONTENT, FILES, PROBLEMS, PARTS, SENT, RECEIVED, PART_DURATION, RETRIES, QUEUE, BUSY];
}
