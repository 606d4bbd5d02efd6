//! Every name of a span, a metric and an attribute, with its unit. A name that is used has its constant here.

/// Spans. A job holds all others.
pub mod span {
    /// One run of a policy, from the first look at its paths to its last log line.
    pub const JOB: &str = "job";
    /// Walking the policy's paths.
    pub const SCAN: &str = "scan";
    /// Turning entries into tar.
    pub const ARCHIVE: &str = "archive";
    /// Sealing one segment.
    pub const SEAL: &str = "seal";
    /// Sending one part until the store has acknowledged it.
    pub const UPLOAD_PART: &str = "upload_part";
    /// Building and putting the manifest.
    pub const MANIFEST: &str = "manifest";
    /// Putting the run's log into the store.
    pub const SHIP_LOG: &str = "ship_log";
}

/// Metrics. The unit is that of the OpenTelemetry instrument.
pub mod metric {
    /// Content read, in `By`.
    pub const BYTES_READ: &str = "intellistor.bytes.read";
    /// Bytes that the store acknowledged, in `By`.
    pub const BYTES_STORED: &str = "intellistor.bytes.stored";
    /// Entries archived, in `{entry}`.
    pub const ENTRIES: &str = "intellistor.entries";
    /// Entries skipped or changed while read, in `{entry}`.
    pub const PROBLEMS: &str = "intellistor.problems";
    /// Parts that the store acknowledged, in `{part}`.
    pub const PARTS: &str = "intellistor.parts";
    /// Requests that were repeated, in `{retry}`.
    pub const RETRIES: &str = "intellistor.retries";
    /// Messages sent and not yet answered, for each stage, in `{message}`.
    pub const QUEUE_DEPTH: &str = "intellistor.queue.depth";
    /// Time of a run, in `s`.
    pub const JOB_DURATION: &str = "intellistor.job.duration";
    /// Time until the store acknowledged a part, in `s`.
    pub const PART_DURATION: &str = "intellistor.part.duration";
}

/// Attributes of spans, metrics and log lines.
pub mod attribute {
    /// The policy.
    pub const POLICY_ID: &str = "policy_id";
    /// The backup, a UUID.
    pub const BACKUP_ID: &str = "backup_id";
    /// The run, `YYYYMMDDThhmmssZ`.
    pub const TIMESTAMP: &str = "timestamp";
    /// The store's URL.
    pub const STORE: &str = "store";
    /// The number of a part, from 1.
    pub const PART: &str = "part";
    /// A stage of the pipeline.
    pub const STAGE: &str = "stage";
    /// A size, in bytes.
    pub const BYTES: &str = "bytes";
    /// `ok`, or the kind of the failure.
    pub const OUTCOME: &str = "outcome";
}
