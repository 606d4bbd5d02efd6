use super::*;
use crate::source::make_roots;
use crate::threaded::Threaded;
use std::cell::{Cell, RefCell};
use std::fs;
use std::path::Path;
use std::rc::Rc;
use tempfile::TempDir;

/// What a probe saw.
#[derive(Debug, Default)]
struct Seen {
    /// Relative paths of each batch, and whether it was the last.
    batches: RefCell<Vec<(Vec<String>, bool)>>,
    unanswered: Cell<usize>,
    most_unanswered: Cell<usize>,
}

impl Seen {
    fn sizes(&self) -> Vec<usize> {
        self.batches.borrow().iter().map(|(paths, _)| paths.len()).collect()
    }

    fn paths(&self) -> Vec<String> {
        self.batches.borrow().iter().flat_map(|(paths, _)| paths.clone()).collect()
    }
}

/// Records batches, and answers when `pace` says so.
struct Probe<P> {
    seen: Rc<Seen>,
    pace: P,
}

/// How a probe answers.
trait Pace: Unpin + 'static {
    fn reply(&self, seen: &Rc<Seen>) -> ResponseFuture<Reply>;
}

impl<P: Pace> Actor for Probe<P> {
    type Context = Context<Self>;
}

impl<P: Pace> Handler<FilesScanned> for Probe<P> {
    type Result = ResponseFuture<Reply>;

    fn handle(&mut self, batch: FilesScanned, _: &mut Self::Context) -> Self::Result {
        let path = |walked: &Walked| match walked {
            Walked::Entry(entry) | Walked::InCloud(entry) => {
                String::from_utf8_lossy(&entry.relative_path).into_owned()
            }
            Walked::LeftOut { problem, .. } => format!("! {}", problem.relative_path),
        };
        let seen = &self.seen;
        seen.batches.borrow_mut().push((batch.walked.iter().map(path).collect(), batch.last));
        seen.unanswered.set(seen.unanswered.get() + 1);
        seen.most_unanswered.set(seen.most_unanswered.get().max(seen.unanswered.get()));
        let (seen, reply) = (self.seen.clone(), self.pace.reply(&self.seen));
        Box::pin(async move {
            let reply = reply.await;
            seen.unanswered.set(seen.unanswered.get() - 1);
            reply
        })
    }
}

/// Answers at once.
struct AtOnce;

impl Pace for AtOnce {
    fn reply(&self, _: &Rc<Seen>) -> ResponseFuture<Reply> {
        Box::pin(async { Ok(()) })
    }
}

/// Answers the oldest only when no more can come: the window is full, or the last batch is here.
struct AsLateAsPossible;

impl Pace for AsLateAsPossible {
    fn reply(&self, seen: &Rc<Seen>) -> ResponseFuture<Reply> {
        let seen = seen.clone();
        Box::pin(async move {
            while seen.unanswered.get() < WINDOW
                && !seen.batches.borrow().last().is_some_and(|(_, last)| *last)
            {
                tokio::task::yield_now().await;
            }
            // A scanner that did not wait would fill the mailbox meanwhile.
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            Ok(())
        })
    }
}

/// Comes down at once.
struct Down;

impl Pace for Down {
    fn reply(&self, _: &Rc<Seen>) -> ResponseFuture<Reply> {
        Box::pin(async { Err(Stopped) })
    }
}

fn scan(root: &Path, pace: impl Pace, failures: &Failures) -> (Reply, Rc<Seen>) {
    System::new().block_on(async {
        let seen = Rc::new(Seen::default());
        let probe = Probe { seen: seen.clone(), pace }.start();
        let (roots, next, failures) = (make_roots(&[root.into()]), probe.recipient(), failures.clone());
        let excludes = Excludes::new(&[]).unwrap();
        let scanner = Threaded::start(failures, move || Scanner::new(roots, excludes, next));
        (scanner.send(Scan).await.unwrap(), seen)
    })
}

fn files(names: impl IntoIterator<Item = String>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        fs::write(dir.path().join(name), b"12345").unwrap();
    }
    dir
}

#[test]
fn every_entry_arrives_in_order_and_the_last_batch_says_so() {
    let dir = files((0..BATCH * 2).map(|i| format!("{i:04}")));
    let (reply, seen) = scan(dir.path(), AtOnce, &Failures::channel().0);
    assert_eq!((reply, seen.sizes()), (Ok(()), vec![BATCH, BATCH, 1]));
    let lasts: Vec<_> = seen.batches.borrow().iter().map(|(_, last)| *last).collect();
    assert_eq!(lasts, [false, false, true]);
    let expected: Vec<_> =
        std::iter::once(".".to_owned()).chain((0..BATCH * 2).map(|i| format!("{i:04}"))).collect();
    assert_eq!(seen.paths(), expected);
}

#[test]
fn a_walk_that_fills_its_batches_still_ends() {
    let dir = files((1..BATCH).map(|i| i.to_string()));
    let (reply, seen) = scan(dir.path(), AtOnce, &Failures::channel().0);
    assert_eq!((reply, seen.sizes()), (Ok(()), vec![BATCH, 0]));
    assert!(seen.batches.borrow()[1].1);
}

#[test]
fn long_paths_make_small_batches() {
    let dir = files([]);
    let mut deep = dir.path().to_path_buf();
    for _ in 0..14 {
        deep.push("x".repeat(250));
    }
    fs::create_dir_all(&deep).unwrap();
    for i in 0..60 {
        fs::write(deep.join(i.to_string()), b"").unwrap();
    }
    let (reply, seen) = scan(dir.path(), AtOnce, &Failures::channel().0);
    assert_eq!(reply, Ok(()));
    assert_eq!(seen.sizes().iter().sum::<usize>(), 1 + 14 + 60);
    assert!(seen.sizes().len() > 4 && seen.sizes().iter().all(|&n| n < 30), "{:?}", seen.sizes());
}

#[test]
fn a_slow_archiver_holds_the_scanner_back() {
    let dir = files((0..BATCH * 7).map(|i| i.to_string()));
    let (reply, seen) = scan(dir.path(), AsLateAsPossible, &Failures::channel().0);
    assert_eq!((reply, seen.sizes().len()), (Ok(()), 8));
    // One more than the window: the one that waits for room in it.
    let most = seen.most_unanswered.get();
    assert!((WINDOW..=WINDOW + 1).contains(&most), "{most}");
}

#[test]
fn it_stops_when_the_archiver_does() {
    let dir = files((0..BATCH * 7).map(|i| i.to_string()));
    let (reply, seen) = scan(dir.path(), Down, &Failures::channel().0);
    assert_eq!(reply, Err(Stopped));
    assert!(seen.sizes().len() <= WINDOW + 1, "{:?}", seen.sizes());
    let failures = Failures::channel().0;
    failures.stop();
    let (reply, seen) = scan(dir.path(), AtOnce, &failures);
    assert_eq!((reply, seen.sizes()), (Err(Stopped), vec![]));
}

#[test]
fn what_is_left_out_is_reported_among_the_entries() {
    let (reply, seen) = scan(Path::new("/none/such"), AtOnce, &Failures::channel().0);
    assert_eq!((reply, seen.paths()), (Ok(()), vec!["! .".to_owned()]));
}
