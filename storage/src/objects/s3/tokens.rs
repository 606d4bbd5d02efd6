//! Where listings continue.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Listings at the same time, about.
const REMEMBERED: usize = 8;

/// Prefix, last key, and the store's token for what comes after it. A store may ignore
/// `start-after`, and would begin each page from the first key again.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<VecDeque<[String; 3]>>);

impl Tokens {
    fn entries(&self) -> MutexGuard<'_, VecDeque<[String; 3]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken: a call that is repeated, since this one failed, does without.
    pub(super) fn take(&self, prefix: &str, last: &str) -> Option<String> {
        let mut entries = self.entries();
        let at = entries.iter().position(|[p, l, _]| p == prefix && l == last)?;
        entries.remove(at).map(|[.., token]| token)
    }

    pub(super) fn keep(&self, prefix: &str, last: &str, token: String) {
        let mut entries = self.entries();
        entries.truncate(REMEMBERED - 1);
        entries.push_front([prefix.to_owned(), last.to_owned(), token]);
    }
}
