//! What is counted for a collector. Each function costs nothing while metrics are off.

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter, UpDownCounter};

use crate::names::metric::{self, Metric};

static INSTRUMENTS: OnceLock<Instruments> = OnceLock::new();

/// In seconds, from a small part on a fast line to a night.
const BOUNDARIES: [f64; 16] = [
    0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0, 3600.0, 10_800.0, 36_000.0,
];

struct Instruments {
    duration: Histogram<f64>,
    content: Counter<u64>,
    files: Counter<u64>,
    problems: Counter<u64>,
    unchanged: Counter<u64>,
    changed: Counter<u64>,
    referenced: Counter<u64>,
    forgotten: Counter<u64>,
    swept: Counter<u64>,
    parts: Counter<u64>,
    sent: Counter<u64>,
    received: Counter<u64>,
    part_duration: Histogram<f64>,
    retries: Counter<u64>,
    queue: UpDownCounter<i64>,
    busy: Counter<f64>,
}

impl Instruments {
    fn new(meter: &Meter) -> Self {
        let count = |Metric { name, unit, description }| {
            meter.u64_counter(name).with_unit(unit).with_description(description).build()
        };
        let time = |Metric { name, unit, description }| {
            let times = meter.f64_histogram(name).with_unit(unit).with_description(description);
            times.with_boundaries(BOUNDARIES.to_vec()).build()
        };
        let (queue, busy) = (metric::QUEUE, metric::BUSY);
        Self {
            duration: time(metric::DURATION),
            content: count(metric::CONTENT),
            files: count(metric::FILES),
            problems: count(metric::PROBLEMS),
            unchanged: count(metric::UNCHANGED),
            changed: count(metric::CHANGED),
            referenced: count(metric::REFERENCED),
            forgotten: count(metric::FORGOTTEN),
            swept: count(metric::SWEPT),
            parts: count(metric::PARTS),
            sent: count(metric::SENT),
            received: count(metric::RECEIVED),
            part_duration: time(metric::PART_DURATION),
            retries: count(metric::RETRIES),
            queue: meter
                .i64_up_down_counter(queue.name)
                .with_unit(queue.unit)
                .with_description(queue.description)
                .build(),
            busy: meter
                .f64_counter(busy.name)
                .with_unit(busy.unit)
                .with_description(busy.description)
                .build(),
        }
    }
}

/// Counts from now on, with the first meter that is given.
pub(crate) fn start(meter: &Meter) {
    // A second exporter in one process would find the first one's.
    let _ = INSTRUMENTS.set(Instruments::new(meter));
}

/// A backup, restore, verification or decryption that has ended, whatever its outcome.
#[derive(Debug, Clone, Copy)]
pub struct FinishedOperation<'a> {
    /// Name of its root span.
    pub name: &'a str,
    pub policy_id: &'a str,
    /// As `intellistor.outcome` in [`ATTRIBUTES`](crate::names::ATTRIBUTES).
    pub outcome: &'a str,
    pub took: Duration,
    /// Of content.
    pub bytes: u64,
    pub files: u64,
    /// Entries that were skipped, changed while read, damaged or not restored.
    pub problems: u64,
}

pub fn operation_ended(operation: &FinishedOperation<'_>) {
    let Some(all) = INSTRUMENTS.get() else { return };
    let attributes = [
        KeyValue::new("intellistor.operation", operation.name.to_owned()),
        KeyValue::new("intellistor.policy.id", operation.policy_id.to_owned()),
    ];
    let [name, policy] = attributes.clone();
    let outcome = KeyValue::new("intellistor.outcome", operation.outcome.to_owned());
    all.duration.record(operation.took.as_secs_f64(), &[name, policy, outcome]);
    all.content.add(operation.bytes, &attributes);
    all.files.add(operation.files, &attributes);
    all.problems.add(operation.problems, &attributes);
}

/// How a backup differs from its base. Counted only once the backup exists.
pub fn backup_made(policy_id: &str, unchanged: u64, changed: u64, referenced_bytes: u64) {
    let Some(all) = INSTRUMENTS.get() else { return };
    let policy = [KeyValue::new("intellistor.policy.id", policy_id.to_owned())];
    all.unchanged.add(unchanged, &policy);
    all.changed.add(changed, &policy);
    all.referenced.add(referenced_bytes, &policy);
}

/// What a run of the agent has forgotten and deleted.
pub fn backups_retired(policy_id: &str, forgotten: u64, swept: u64) {
    let Some(all) = INSTRUMENTS.get() else { return };
    let policy = [KeyValue::new("intellistor.policy.id", policy_id.to_owned())];
    all.forgotten.add(forgotten, &policy);
    all.swept.add(swept, &policy);
}

/// The store acknowledged a part.
pub fn part_sent(bytes: u64, took: Duration) {
    let Some(all) = INSTRUMENTS.get() else { return };
    all.parts.add(1, &[]);
    all.sent.add(bytes, &[]);
    all.part_duration.record(took.as_secs_f64(), &[]);
}

/// The store has delivered bytes of an archive.
pub fn received(bytes: u64) {
    if let Some(all) = INSTRUMENTS.get() {
        all.received.add(bytes, &[]);
    }
}

/// A call of the store is retried.
pub(crate) fn retried(operation: String) {
    if let Some(all) = INSTRUMENTS.get() {
        all.retries.add(1, &[KeyValue::new("intellistor.store.operation", operation)]);
    }
}

/// `busy` is the time that the stage worked and did not wait.
pub fn stage_ended(stage: &'static str, busy: Duration) {
    if let Some(all) = INSTRUMENTS.get() {
        all.busy.add(busy.as_secs_f64(), &[KeyValue::new("intellistor.stage", stage)]);
    }
}

/// A sealed part that the store has not acknowledged yet; counted until it is dropped.
#[derive(Debug)]
pub struct Queued(());

impl Queued {
    pub fn new() -> Self {
        change_queue(1);
        Self(())
    }
}

impl Default for Queued {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        change_queue(-1);
    }
}

fn change_queue(by: i64) {
    if let Some(all) = INSTRUMENTS.get() {
        all.queue.add(by, &[]);
    }
}
