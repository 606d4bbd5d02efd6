//! Finds what is to be backed up.
//!
//! - **In:** [`Scan`], once. **Out:** [`FilesScanned`], batches of [`BATCH`] in the order of the archive.
//! - **Bound:** [`WINDOW`] batches are ahead of the archiver, which is enough to hide the latency of a slow disk's
//!   listing behind the reading of a thousand files; at some 300 bytes an entry that is a fraction of a MiB. The
//!   names of the folders above the current one are held too.
//! - **Blocks:** on the disk, and on the archiver; it has a thread of its own.
//! - **Survives a crash:** nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use actix::prelude::*;

use crate::link::{Failures, Link};
use crate::messages::{FilesScanned, Reply, Scan};
use crate::progress::Progress;
use crate::source::{Excludes, Root, SourceKind, Walk, Walked};

/// Entries in a batch.
pub const BATCH: usize = 256;
/// Batches ahead of the archiver.
pub const WINDOW: usize = 4;

/// What the scanner needs.
#[derive(Debug)]
pub struct ScannerConfig {
    /// Where to begin.
    pub roots: Vec<Root>,
    /// What to leave out.
    pub excludes: Excludes,
    /// The archiver.
    pub next: Recipient<FilesScanned>,
    /// Where to report.
    pub failures: Failures,
}

/// See the module.
#[derive(Debug)]
pub struct Scanner {
    roots: Vec<Root>,
    excludes: Excludes,
    next: Link<FilesScanned>,
    failures: Failures,
}

impl Scanner {
    /// A scanner that waits for [`Scan`].
    pub fn new(config: ScannerConfig) -> Self {
        let ScannerConfig { roots, excludes, next, failures } = config;
        Self { roots, excludes, next: Link::new(next, WINDOW), failures }
    }

    fn scan(&mut self) -> Reply {
        let mut walk = Walk::new(self.roots.clone(), self.excludes.clone());
        loop {
            let walked: Vec<_> = walk.by_ref().take(BATCH).collect();
            let last = walked.len() < BATCH;
            self.next.send(FilesScanned { walked, last })?;
            if last {
                return self.next.flush();
            }
        }
    }
}

impl Actor for Scanner {
    type Context = SyncContext<Self>;
}

impl Handler<Scan> for Scanner {
    type Result = Reply;

    fn handle(&mut self, Scan: Scan, _: &mut Self::Context) -> Reply {
        let failures = self.failures.clone();
        failures.guard("scanner", || Ok(self.scan()))
    }
}

/// Counts what a scan will find, so that a time left can be told; stops when `stop` is set.
pub fn count(roots: Vec<Root>, excludes: Excludes, progress: &Progress, stop: &AtomicBool) {
    for walked in Walk::new(roots, excludes) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if let Walked::Entry(entry) = walked {
            progress.total_entries.add(1);
            if entry.facts.kind == SourceKind::File {
                progress.total_bytes.add(entry.facts.size);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Answers only when told to.
    struct Slow {
        heard: mpsc::Sender<usize>,
        go: mpsc::Receiver<()>,
    }

    impl Actor for Slow {
        type Context = SyncContext<Self>;
    }

    impl Handler<FilesScanned> for Slow {
        type Result = Reply;

        fn handle(&mut self, batch: FilesScanned, _: &mut Self::Context) -> Reply {
            self.heard.send(batch.walked.len()).unwrap();
            self.go.recv().unwrap();
            Ok(())
        }
    }

    #[test]
    fn every_entry_arrives_in_batches_that_end_with_the_last() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..BATCH * 2 {
            std::fs::write(dir.path().join(i.to_string()), b"").unwrap();
        }
        let (heard, batches) = mpsc::channel();
        let (release, go) = mpsc::channel();
        let roots = crate::source::make_roots(&[dir.path().into()]);
        let reply = System::new().block_on(async {
            let slow = std::sync::Mutex::new(Some(Slow { heard, go }));
            let slow = SyncArbiter::start(1, move || slow.lock().unwrap().take().unwrap());
            let (failures, _failed) = Failures::channel();
            let config = ScannerConfig {
                roots,
                excludes: Excludes::new(&[]).unwrap(),
                next: slow.recipient(),
                failures,
            };
            let config = std::sync::Mutex::new(Some(config));
            let scanner =
                SyncArbiter::start(1, move || Scanner::new(config.lock().unwrap().take().unwrap()));
            (0..3).for_each(|_| release.send(()).unwrap());
            scanner.send(Scan).await.unwrap()
        });
        assert_eq!(reply, Ok(()));
        assert_eq!(batches.try_iter().collect::<Vec<_>>(), [BATCH, BATCH, 1]);
    }
}
