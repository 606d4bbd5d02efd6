//! A store whose calls wait for their turn, and what each process has learnt from it.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Debug;
use std::hash::{Hash as _, Hasher as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::channel::oneshot;
use intellistor_storage::Result;
use intellistor_storage::objects::{Attributes, MemoryStore, ObjectStore, Page, PutOptions};

/// What a process does not see. Each takes out one thing that the laws rest on, and the checker has to notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blindness {
    /// Time passes: that it took long to put a manifest is not noticed.
    Clock,
    /// Objects whose keys end so look as if they were not there.
    Object(&'static str),
}

/// The calls that wait, by process, and the hash of all that each process has learnt.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<Vec<Seat>>>);

#[derive(Debug, Default)]
struct Seat {
    waiting: VecDeque<(oneshot::Sender<()>, String)>,
    history: u64,
    answered_ms: Option<i64>,
}

impl Turns {
    pub(super) fn new(processes: usize) -> Self {
        Self(Arc::new(Mutex::new((0..processes).map(|_| Seat::default()).collect())))
    }

    fn seats(&self) -> MutexGuard<'_, Vec<Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_waiting(&self, process: usize) -> bool {
        !self.seats()[process].waiting.is_empty()
    }

    /// What decides about all that a process will do.
    pub(super) fn state(&self, process: usize) -> (u64, Option<i64>, usize) {
        let seat = &self.seats()[process];
        (seat.history, seat.answered_ms, seat.waiting.len())
    }

    /// Lets the call of a process that has waited longest take place when the process is polled next; what it is.
    pub(super) fn release(&self, process: usize) -> String {
        let (turn, call) = self.seats()[process].waiting.pop_front().expect("a call waits");
        // One that was dropped takes no turn.
        let _ = turn.send(());
        call
    }

    /// The process has crashed: its calls are gone, and all that it knew but `kept`.
    pub(super) fn crash(&self, process: usize, kept: impl std::hash::Hash) {
        let mut hasher = DefaultHasher::new();
        ("crashed", kept).hash(&mut hasher);
        self.seats()[process] = Seat { history: hasher.finish(), ..Seat::default() };
    }

    async fn wait(&self, process: usize, call: String) {
        let (turn, taken) = oneshot::channel();
        self.seats()[process].waiting.push_back((turn, call));
        taken.await.expect("whoever schedules keeps the turns");
    }

    fn learn(&self, process: usize, now_ms: Option<i64>, answer: impl std::hash::Hash) {
        let seat = &mut self.seats()[process];
        let mut hasher = DefaultHasher::new();
        (seat.history, answer).hash(&mut hasher);
        seat.history = hasher.finish();
        seat.answered_ms = now_ms;
    }

    /// The time as a process knows it. That it has asked is part of what it has learnt; a time that it never asks for is not.
    fn ask(&self, process: usize) -> Option<i64> {
        let seat = &mut self.seats()[process];
        let mut hasher = DefaultHasher::new();
        (seat.history, "time", seat.answered_ms).hash(&mut hasher);
        seat.history = hasher.finish();
        seat.answered_ms
    }
}

/// A process's way to the store. Its clock is that of the store's last answer: what it learns of a stop, it learns late.
#[derive(Debug)]
pub(super) struct TurnStore {
    pub(super) store: MemoryStore,
    pub(super) turns: Turns,
    pub(super) process: usize,
    pub(super) blindness: Option<Blindness>,
}

impl TurnStore {
    async fn wait(&self, call: &str, key: &str) {
        self.turns.wait(self.process, format!("{call} {key}")).await;
    }

    fn answer<T: Debug>(&self, answer: Result<T>) -> Result<T> {
        self.turns.learn(self.process, self.store.now_ms(), format!("{answer:?}"));
        answer
    }

    fn is_hidden(&self, key: &str) -> bool {
        matches!(self.blindness, Some(Blindness::Object(end)) if key.ends_with(end))
    }
}

/// The bytes of an object without what is random in it.
pub(super) fn meaning(key: &str, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    match serde_json::from_slice::<serde_json::Value>(bytes) {
        // One backup has one manifest here, but for the seals of its keys.
        _ if key.ends_with("manifest.json") => bytes.len().hash(&mut hasher),
        Ok(serde_json::Value::Object(mut members)) => {
            for random in ["hmac_sha256", "id", "header"] {
                members.remove(random);
            }
            if let Some(unforgets) = members.get_mut("unforgets") {
                *unforgets = true.into();
            }
            serde_json::to_string(&members).unwrap_or_default().hash(&mut hasher);
        }
        _ => bytes.hash(&mut hasher),
    }
    hasher.finish()
}

#[async_trait]
impl ObjectStore for TurnStore {
    intellistor_storage::forward!(store: url folders capabilities prepare check_object_lock begin_with put_part list_parts
        last_part_ms complete_with composite list_uploads abort_upload retain set_legal_hold);

    fn now_ms(&self) -> Option<i64> {
        match self.blindness {
            Some(Blindness::Clock) => Some(0),
            _ => self.turns.ask(self.process),
        }
    }

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        self.wait("put", key).await;
        self.answer(self.store.put_with(key, body, options).await)
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.wait("get", key).await;
        let key = if self.is_hidden(key) { "hidden" } else { key };
        let answer = self.store.get_range(key, range).await;
        let learnt = answer.as_ref().map(|bytes| meaning(key, bytes)).map_err(|error| format!("{error:?}"));
        self.turns.learn(self.process, self.store.now_ms(), learnt);
        answer
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        self.wait("head", key).await;
        let key = if self.is_hidden(key) { "hidden" } else { key };
        self.answer(self.store.head(key).await)
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        self.wait("list", prefix).await;
        let mut page = self.answer(self.store.list(prefix, after).await)?;
        page.objects.retain(|object| !self.is_hidden(&object.key));
        Ok(page)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.wait("delete", key).await;
        self.answer(self.store.delete(key).await)
    }

    async fn erase(&self, key: &str) -> Result<()> {
        self.wait("erase", key).await;
        self.answer(self.store.erase(key).await)
    }

    async fn attributes(&self, key: &str) -> Result<Option<Attributes>> {
        self.wait("attributes", key).await;
        self.answer(self.store.attributes(key).await)
    }
}
