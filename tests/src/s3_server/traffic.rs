//! What the server was asked and did, in order; how it is to misbehave; and a way to wait for either.

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use intellistor_storage::objects::Operation;
use tokio::sync::watch;

use super::uploads::{SeenUpload, UploadState, Uploads};

/// Something that the server stored or ended, named by its key in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    Begun { key: String, id: String },
    PartStored { id: String, number: u32 },
    Completed { key: String, id: String },
    Aborted { key: String, id: String },
    Put { key: String },
}

/// What the server does instead of what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It answers 503 `SlowDown`.
    SlowDown,
    /// It answers 500 `InternalError`.
    ServerFault,
    /// It answers 403 `AccessDenied`.
    AccessDenied,
    /// It cuts the connection under the request.
    Cut,
    /// It does what it was asked, and cuts the connection instead of answering.
    AnswerLost,
    /// It receives a body of which a bit has flipped.
    Altered,
    /// It answers 503 `SlowDown`, and asks for a pause of so many seconds.
    SlowDownFor(u32),
    /// It answers with an error of S3's, whatever the status.
    Refused(u16, &'static str),
    /// Something else answers, as a network's login page does; with 3xx it leads there.
    Page(u16),
    /// It does what it was asked, and cuts the connection halfway through the answer's body.
    HalfBody,
}

/// What the server does unlike S3, as compatible stores do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// It refuses requests with a checksum of S3's kinds.
    NoChecksums,
    /// It takes `If-None-Match` for nothing.
    IgnoresConditions,
    /// It refuses `If-None-Match`.
    NoConditions,
    /// It refuses `Content-MD5`.
    NoContentMd5,
    /// It ignores `Range`.
    NoRanges,
    /// It answers UploadPart with an ETag without quotes.
    BareETags,
    /// It lists from the first key, whatever it is to start after.
    NoStartAfter,
    /// A listing's first page is empty, and leads on.
    EmptyFirstPage,
    /// A listing's pages are empty and lead on, each by another token.
    EndlessPages,
    /// A listing's first page follows itself.
    SamePage,
    /// All parts but the last must be of one size, as at R2.
    EqualParts,
}

/// What waits to be carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Gate {
    #[default]
    Open,
    Only(Operation),
    PartsFrom(u32),
    All,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) uploads: Uploads,
    pub(super) log: Vec<Done>,
    pub(super) bytes_served: u64,
    failures: Vec<(Operation, Failure, u32)>,
    denied: Vec<Operation>,
    everywhere: Option<Failure>,
    dialects: Vec<Dialect>,
    gate: Gate,
    held: usize,
    busy: usize,
    /// Headers of the latest request that puts an object or begins an upload.
    pub(super) attributes: BTreeMap<String, String>,
    /// Of objects that were made of parts, by bucket and key.
    pub(super) composites: HashMap<(String, String), String>,
}

/// See the module. It belongs to the server and counts over all clients: child processes, one after another.
#[derive(Debug, Default)]
pub struct Traffic {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

impl Traffic {
    /// All that the server did, in order.
    pub fn log(&self) -> Vec<Done> {
        self.state().log.clone()
    }

    /// Every upload that was ever begun, in that order.
    pub fn uploads(&self) -> Vec<SeenUpload> {
        self.state().uploads.seen()
    }

    /// How often each part number of an upload was stored.
    pub fn parts_of(&self, upload_id: &str) -> BTreeMap<u32, u32> {
        self.count_parts(|id| id == upload_id)
    }

    /// How often each part number was stored, over all uploads.
    pub fn parts(&self) -> BTreeMap<u32, u32> {
        self.count_parts(|_| true)
    }

    /// Bytes of bodies in answers to GET.
    pub fn bytes_served(&self) -> u64 {
        self.state().bytes_served
    }

    /// Lets the next `n` calls of `operation` go wrong, after those that are to go wrong already.
    pub fn fail_next(&self, n: u32, operation: Operation, failure: Failure) {
        self.change(|state| state.failures.push((operation, failure, n)));
    }

    /// Lets every call go wrong.
    pub fn fail_always(&self, failure: Failure) {
        self.change(|state| state.everywhere = Some(failure));
    }

    /// From now on the server does what S3 would not.
    pub fn speak(&self, dialect: Dialect) {
        self.change(|state| state.dialects.push(dialect));
    }

    pub(super) fn speaks(&self, dialect: Dialect) -> bool {
        self.state().dialects.contains(&dialect)
    }

    /// How many calls of `operation` are still to go wrong.
    pub fn failures_left(&self, operation: Operation) -> u32 {
        self.state().failures.iter().filter(|(o, ..)| *o == operation).map(|(.., n)| n).sum()
    }

    /// Nothing goes wrong any more.
    pub fn fail_no_more(&self) {
        self.change(|state| {
            state.failures.clear();
            state.everywhere = None;
        });
    }

    /// What the latest request that puts an object or begins an upload asked to be kept beside it, by header.
    pub fn attributes(&self) -> BTreeMap<String, String> {
        self.state().attributes.clone()
    }

    /// From now on these calls are answered 403 `AccessDenied`, as S3 does where the permission is missing, and only
    /// these. Without [`List`](Operation::List), the same is said of objects that do not exist.
    pub fn deny(&self, operations: impl IntoIterator<Item = Operation>) {
        self.change(|state| state.denied = operations.into_iter().collect());
    }

    /// Whether such calls are refused.
    pub(super) fn denies(&self, operation: Operation) -> bool {
        self.state().denied.contains(&operation)
    }

    /// Loses an open upload and its parts.
    ///
    /// # Panics
    /// When there is no such upload.
    pub fn forget_upload(&self, id: &str) {
        self.change(|state| state.uploads.any(id).expect("the upload is open").end(UploadState::Forgotten));
    }

    /// Makes an open upload, and its parts, as if they had come that long ago.
    ///
    /// # Panics
    /// When there is no such upload.
    pub fn age_upload(&self, id: &str, begun: Duration, parts: Duration) {
        self.change(|state| {
            let upload = state.uploads.any(id).expect("the upload is open");
            upload.began -= begun;
            upload.parts.values_mut().for_each(|part| part.stored -= parts);
        });
    }

    /// Loses a part of an open upload.
    ///
    /// # Panics
    /// When there is no such part.
    pub fn drop_part(&self, id: &str, number: u32) {
        self.change(|state| {
            let upload = state.uploads.any(id).expect("the upload is open");
            upload.parts.remove(&(number as i32)).expect("the part is stored");
        });
    }

    /// From now on parts are received, but neither stored nor answered. One whose client goes away is
    /// never stored.
    pub fn hold_parts(&self) {
        self.hold(Operation::PutPart);
    }

    /// As [`hold_parts`](Self::hold_parts), for the parts of this number and those after it.
    pub fn hold_parts_from(&self, number: u32) {
        self.change(|state| state.gate = Gate::PartsFrom(number));
    }

    /// As [`hold_parts`](Self::hold_parts), for another operation.
    pub fn hold(&self, operation: Operation) {
        self.change(|state| state.gate = Gate::Only(operation));
    }

    /// From now on nothing is done or answered.
    pub fn hang(&self) {
        self.change(|state| state.gate = Gate::All);
    }

    /// Carries out and answers what was held back.
    pub fn release(&self) {
        self.change(|state| state.gate = Gate::Open);
    }

    /// Whether no connection is open, and nothing is being carried out.
    pub(super) fn is_at_rest(&self) -> bool {
        self.state().busy == 0
    }

    /// How many requests are being held back.
    pub fn held(&self) -> usize {
        self.state().held
    }

    /// Waits until `so` holds; it is asked again whenever anything here has changed.
    pub async fn until(&self, mut so: impl FnMut(&Self) -> bool) {
        let mut changes = self.changed.subscribe();
        while !so(self) {
            changes.changed().await.expect("the sender is ours");
        }
    }

    /// As [`until`](Self::until), for tests that are not async.
    pub fn wait_until(&self, so: impl FnMut(&Self) -> bool) {
        futures::executor::block_on(self.until(so));
    }

    fn count_parts(&self, of: impl Fn(&str) -> bool) -> BTreeMap<u32, u32> {
        let mut parts = BTreeMap::new();
        for done in &self.state().log {
            if let Done::PartStored { id, number } = done
                && of(id)
            {
                *parts.entry(*number).or_default() += 1;
            }
        }
        parts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.state());
        self.changed.send_replace(());
        outcome
    }

    /// What is to go wrong with this call.
    pub(super) fn next_failure(&self, operation: Operation) -> Option<Failure> {
        self.change(|state| {
            let planned = state.failures.iter_mut().find(|(o, _, n)| *o == operation && *n > 0);
            let Some((_, failure, n)) = planned else { return state.everywhere };
            *n -= 1;
            Some(*failure)
        })
    }

    /// Waits for as long as such calls are held back; `part` is the number of the part that is put.
    pub(super) async fn pass(&self, operation: Operation, part: Option<u32>) {
        let holds = |traffic: &Self| match traffic.state().gate {
            Gate::Open => false,
            Gate::Only(held) => operation == held,
            Gate::PartsFrom(first) => part.is_some_and(|number| number >= first),
            Gate::All => true,
        };
        if holds(self) {
            // Also when the client goes away, which drops this future.
            let _held = Counted::new(self, |state| &mut state.held);
            self.until(|traffic| !holds(traffic)).await;
        }
    }
}

/// Counts for as long as it lives.
pub(super) struct Counted<T: Deref<Target = Traffic>>(T, fn(&mut State) -> &mut usize);

impl<T: Deref<Target = Traffic>> Counted<T> {
    fn new(traffic: T, of: fn(&mut State) -> &mut usize) -> Self {
        traffic.change(|state| *of(state) += 1);
        Self(traffic, of)
    }

    /// Something is being done: a connection is open, a request is carried out.
    pub(super) fn busy(traffic: T) -> Self {
        Self::new(traffic, |state| &mut state.busy)
    }
}

impl<T: Deref<Target = Traffic>> Drop for Counted<T> {
    fn drop(&mut self) {
        self.0.change(|state| *self.1(state) -= 1);
    }
}
