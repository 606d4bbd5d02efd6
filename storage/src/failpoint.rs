//! Points at which a test makes the process die, or stop, to prove that a crash or a pause there loses nothing.
//!
//! In test builds (`cfg(test)` or the feature `testing`) the variable
//! `INTELLISTOR_FAILPOINT=<name>:<nth>:<marker file>` arms one point: at its nth hit the marker file is written, so
//! that the test can tell that the point fired, and the process kills itself as `kill -9` would. With `stop:` before the name
//! it stops itself, as `kill -STOP` would, until it is continued. This is the one
//! place below the command line that reads the environment. In every other build [`Failpoint::reached`] is empty.

/// A point between two steps of the ordering law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failpoint {
    /// The job is in the queue.
    JobRecorded,
    /// The store has begun the upload.
    UploadBegun,
    /// The queue knows the upload.
    UploadRecorded,
    /// Some steps of the scan are in the queue.
    ScanAdded,
    /// The whole scan is.
    ScanEnded,
    /// The store has taken a part.
    PartAcknowledged,
    /// What ended in the part is flushed, but the part itself is not in the database.
    PartListed,
    /// The part is in the database, but not yet flushed.
    PartWritten,
    /// The part is flushed.
    PartRecorded,
    /// All parts are.
    ArchiveCommitted,
    /// The upload is about to be completed.
    BeforeComplete,
    /// The archive is an object.
    ArchiveCompleted,
    /// The manifest is about to be put.
    BeforeManifest,
    /// The backup exists.
    ManifestPut,
    /// The run's log is in the outbox.
    LogQueued,
    /// The run's log is in the store.
    LogShipped,
    /// The job has ended and is flushed, but not closed.
    JobEnded,
    /// The job is in the history, but its ledger is still there.
    JobInHistory,
    /// The ledger is gone.
    JobClosed,
    /// It is said that a sweep deletes the backup.
    SweepBegun,
    /// No hold speaks for it: its manifest is about to be deleted.
    SweepDecided,
    /// The manifest is gone.
    SweepManifestErased,
    /// So are its sealed lists.
    SweepEntriesErased,
    /// The store was listed again, and what is left was read.
    SweepListedAgain,
    /// The archive is gone.
    SweepArchiveErased,
    /// So is all that was said about the backup, but that it was forgotten.
    SweepStatementsErased,
    /// Nothing of the backup is left.
    SweepEnded,
    /// A file is restored under its temporary name.
    RestoreWritten,
    /// A restored file has its name.
    RestoreNamed,
}

impl Failpoint {
    /// Every point of a backup, in the order in which a run of the agent reaches them.
    pub const ALL: [Self; 19] = [
        Self::JobRecorded,
        Self::UploadBegun,
        Self::UploadRecorded,
        Self::ScanAdded,
        Self::ScanEnded,
        Self::PartAcknowledged,
        Self::PartListed,
        Self::PartWritten,
        Self::PartRecorded,
        Self::ArchiveCommitted,
        Self::BeforeComplete,
        Self::ArchiveCompleted,
        Self::BeforeManifest,
        Self::ManifestPut,
        Self::LogQueued,
        Self::LogShipped,
        Self::JobEnded,
        Self::JobInHistory,
        Self::JobClosed,
    ];

    /// Every point of a sweep, in the order in which it reaches them.
    pub const SWEEP: [Self; 8] = [
        Self::SweepBegun,
        Self::SweepDecided,
        Self::SweepManifestErased,
        Self::SweepEntriesErased,
        Self::SweepListedAgain,
        Self::SweepArchiveErased,
        Self::SweepStatementsErased,
        Self::SweepEnded,
    ];

    /// Every point of a restore, in the order in which each file reaches them.
    pub const RESTORE: [Self; 2] = [Self::RestoreWritten, Self::RestoreNamed];

    #[cfg(any(test, feature = "testing"))]
    fn all() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().chain(Self::SWEEP).chain(Self::RESTORE)
    }

    /// Its name in `INTELLISTOR_FAILPOINT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JobRecorded => "job_recorded",
            Self::UploadBegun => "upload_begun",
            Self::UploadRecorded => "upload_recorded",
            Self::ScanAdded => "scan_added",
            Self::ScanEnded => "scan_ended",
            Self::PartAcknowledged => "part_acknowledged",
            Self::PartListed => "part_listed",
            Self::PartWritten => "part_written",
            Self::PartRecorded => "part_recorded",
            Self::ArchiveCommitted => "archive_committed",
            Self::BeforeComplete => "before_complete",
            Self::ArchiveCompleted => "archive_completed",
            Self::BeforeManifest => "before_manifest",
            Self::ManifestPut => "manifest_put",
            Self::LogQueued => "log_queued",
            Self::LogShipped => "log_shipped",
            Self::JobEnded => "job_ended",
            Self::JobInHistory => "job_in_history",
            Self::JobClosed => "job_closed",
            Self::SweepBegun => "sweep_begun",
            Self::SweepDecided => "sweep_decided",
            Self::SweepManifestErased => "sweep_manifest_erased",
            Self::SweepEntriesErased => "sweep_entries_erased",
            Self::SweepListedAgain => "sweep_listed_again",
            Self::SweepArchiveErased => "sweep_archive_erased",
            Self::SweepStatementsErased => "sweep_statements_erased",
            Self::SweepEnded => "sweep_ended",
            Self::RestoreWritten => "restore_written",
            Self::RestoreNamed => "restore_named",
        }
    }

    /// Says that the run is here. Does nothing unless a test has armed this point.
    ///
    /// # Panics
    /// In test builds, when `INTELLISTOR_FAILPOINT` names no point: a test that arms a point that no longer exists
    /// must not pass.
    #[inline]
    pub fn reached(self) {
        #[cfg(any(test, feature = "testing"))]
        armed::hit(self);
    }
}

#[cfg(any(test, feature = "testing"))]
mod armed {
    use std::fs::File;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Failpoint;

    pub(super) const VARIABLE: &str = "INTELLISTOR_FAILPOINT";

    #[derive(Debug)]
    pub(super) struct Armed {
        /// Whether it stops there, and does not die.
        pub(super) stops: bool,
        pub(super) point: Failpoint,
        pub(super) nth: u32,
        pub(super) marker: PathBuf,
    }

    pub(super) fn parse(text: &str) -> Armed {
        let (stops, armed) = text.strip_prefix("stop:").map_or((false, text), |rest| (true, rest));
        let mut fields = armed.splitn(3, ':');
        let mut field = || fields.next().unwrap_or_default();
        let (name, nth, marker) = (field(), field(), field());
        let point = Failpoint::all().find(|point| point.name() == name);
        let (Some(point), Ok(nth @ 1..), false) = (point, nth.parse(), marker.is_empty()) else {
            panic!("{VARIABLE}={text} names no failpoint; write [stop:]<name>:<nth>:<marker file>");
        };
        Armed { stops, point, nth, marker: marker.into() }
    }

    pub(super) fn hit(point: Failpoint) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        static HITS: AtomicU32 = AtomicU32::new(0);
        let armed = ARMED.get_or_init(|| std::env::var(VARIABLE).ok().map(|text| parse(&text)));
        if let Some(armed) = armed.as_ref().filter(|armed| armed.point == point)
            && HITS.fetch_add(1, Ordering::SeqCst) + 1 == armed.nth
        {
            File::create(&armed.marker)
                .and_then(|file| file.sync_all())
                .expect("the marker file can be written");
            if armed.stops { stop() } else { die() }
        }
    }

    /// Returns when the process is continued.
    fn stop() {
        #[cfg(unix)]
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
            .expect("the process can stop itself");
        // The signal may go to another thread, and until that one takes it this one runs on: it has been seen to put the manifest.
        #[cfg(unix)]
        std::thread::sleep(std::time::Duration::from_millis(500));
        #[cfg(not(unix))]
        panic!("only Unix can stop a process");
    }

    fn die() -> ! {
        #[cfg(unix)]
        // When the signal cannot be sent, the abort below is as good.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        std::process::abort()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_own_and_arms_its_point() {
        for point in Failpoint::all() {
            let armed = armed::parse(&format!("{}:3:/tmp/a:b", point.name()));
            assert_eq!((armed.stops, armed.point, armed.nth), (false, point, 3));
            let armed = armed::parse(&format!("stop:{}:1:/tmp/a:b", point.name()));
            assert_eq!((armed.stops, armed.point, armed.nth), (true, point, 1));
            assert_eq!(armed.marker, std::path::Path::new("/tmp/a:b"));
        }
    }

    #[test]
    fn what_names_no_point_panics() {
        for bad in [
            "",
            "job_recorded",
            "job_recorded:0:m",
            "job_recorded:1:",
            "no_such_point:1:m",
            "job_recorded:x:m",
        ] {
            assert!(std::panic::catch_unwind(|| armed::parse(bad)).is_err(), "{bad}");
        }
    }
}
