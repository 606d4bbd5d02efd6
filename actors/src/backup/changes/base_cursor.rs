//! Passes over the entries of a base, in step with a walk.

use std::cmp::Ordering;

use intellistor_storage::Result;
use intellistor_storage::manifest::Entry;

use super::walk_order::WalkOrder;

/// An entry and its index in the base's list.
pub(super) type Indexed = (u64, Entry);

/// The entries of a base, each path once, in the order of the walk. Two of them are in memory.
#[derive(Debug)]
pub(super) struct BaseCursor<I> {
    entries: I,
    order: WalkOrder,
    /// Index of what `entries` gives next.
    index: u64,
    /// Whether what is left of them is not used.
    ended: bool,
    /// The entry that comes next.
    current: Option<Indexed>,
    /// What comes after it.
    following: Option<Indexed>,
}

impl<I: Iterator<Item = Result<Entry>>> BaseCursor<I> {
    /// # Errors
    /// Those of the entries.
    pub(super) fn new(entries: I, order: WalkOrder) -> Result<Self> {
        let mut cursor = Self { entries, order, index: 0, ended: false, current: None, following: None };
        cursor.following = cursor.read()?;
        cursor.advance()?;
        Ok(cursor)
    }

    /// The entry under a path of the walk. What comes before it, and is not in the walk, is given to `passed`.
    ///
    /// # Errors
    /// Those of the entries.
    pub(super) fn find(&mut self, path: &[u8], mut passed: impl FnMut(&Entry)) -> Result<Option<Indexed>> {
        while let Some((_, entry)) = &self.current {
            match self.order.compare(entry.raw_path(), path) {
                Ordering::Less => passed(entry),
                Ordering::Equal => {
                    let found = self.current.take();
                    self.advance()?;
                    return Ok(found);
                }
                Ordering::Greater => break,
            }
            self.advance()?;
        }
        Ok(None)
    }

    /// Gives `passed` what is left when the walk has ended.
    ///
    /// # Errors
    /// Those of the entries.
    pub(super) fn finish(&mut self, mut passed: impl FnMut(&Entry)) -> Result<()> {
        while let Some((_, entry)) = &self.current {
            passed(entry);
            self.advance()?;
        }
        Ok(())
    }

    /// Makes the next entry the current one. Of several with one path the last counts, as in a tar archive.
    fn advance(&mut self) -> Result<()> {
        self.current = self.following.take();
        while self.current.is_some() {
            let next = self.read()?;
            match self.order_of(next.as_ref()) {
                Ordering::Equal => self.current = next,
                Ordering::Less => {
                    self.following = next;
                    break;
                }
                Ordering::Greater => {
                    // Only a walk in another order makes such a list: what is left of it is read again.
                    tracing::warn!(
                        "the previous backup is in another order; some of its files are read again"
                    );
                    self.ended = true;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether the current entry comes before the next one; it does where there is none.
    fn order_of(&self, next: Option<&Indexed>) -> Ordering {
        let pair = self.current.as_ref().zip(next);
        let order = pair.map(|((_, a), (_, b))| self.order.compare(a.raw_path(), b.raw_path()));
        order.unwrap_or(Ordering::Less)
    }

    fn read(&mut self) -> Result<Option<Indexed>> {
        if self.ended {
            return Ok(None);
        }
        let index = self.index;
        let entry = self.entries.next().transpose()?;
        self.index += u64::from(entry.is_some());
        Ok(entry.map(|entry| (index, entry)))
    }
}
