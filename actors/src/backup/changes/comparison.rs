//! Compares a walk with the entries of its base, step by step: a merge of two lists that have one order.

use std::collections::BTreeMap;

use intellistor_storage::Result;
use intellistor_storage::manifest::{Entry, EntryKind, ProblemKind};
use intellistor_storage::state::Compared;

use super::base_cursor::BaseCursor;
use super::decide::{Rules, decide, is_of_kind, lacks_access_list};
use super::reason::Reason;
use super::step::Step;
use super::walk_order::{WalkOrder, is_within};
use crate::source::{ScannedEntry, SourceKind, Walked};

/// The most entries in one step: what comes after it in the pipeline, and the progress, need not wait for more.
pub(super) const MOST_IN_RUN: u64 = 1 << 16;

/// Gives an entry of the base this backup's numbers of archives; the reason why it cannot be taken over, if there is one.
pub(super) type TakeOver = Box<dyn Fn(&mut Entry) -> Result<(), Reason>>;

/// Whether a file that was found has an access list of Windows.
pub(super) type HasList = Box<dyn FnMut(&ScannedEntry) -> bool>;

/// Whether the content of a file may be another although nothing about the file is.
pub(super) type MayBeWritten = Box<dyn FnMut(&ScannedEntry) -> bool>;

/// A walk that is being compared.
pub(super) struct Comparison<I> {
    base: BaseCursor<I>,
    take_over: TakeOver,
    rules: Rules,
    has_list: HasList,
    may_be_written: Option<MayBeWritten>,
    /// Unchanged entries that follow each other, and were not sent yet.
    run: Option<Run>,
    /// Folders around here that could not be listed, or not all of them, outermost first.
    unlisted: Vec<Vec<u8>>,
    counts: Compared,
    reasons: BTreeMap<Reason, u64>,
}

/// What [`Step::Unchanged`] says.
#[derive(Debug, Clone, Copy)]
struct Run {
    first: u64,
    count: u64,
    bytes: u64,
}

impl From<Run> for Step {
    fn from(Run { first, count, bytes }: Run) -> Self {
        Self::Unchanged { first, count, bytes }
    }
}

impl<I: Iterator<Item = Result<Entry>>> Comparison<I> {
    /// `entries` are the base's, in the order of its list; `base_files` is how many files and links are among them.
    ///
    /// # Errors
    /// Those of the entries.
    pub(super) fn new(
        entries: I,
        order: WalkOrder,
        take_over: TakeOver,
        rules: Rules,
        has_list: HasList,
        base_files: u64,
    ) -> Result<Self> {
        Ok(Self {
            base: BaseCursor::new(entries, order)?,
            take_over,
            rules,
            has_list,
            may_be_written: None,
            run: None,
            unlisted: Vec::new(),
            counts: Compared { base_files, ..Compared::default() },
            reasons: BTreeMap::new(),
        })
    }

    /// Asks of each file that would be taken over whether it may have been written to all the same.
    pub(super) fn asking(mut self, may_be_written: MayBeWritten) -> Self {
        self.may_be_written = Some(may_be_written);
        self
    }

    /// Compares the next step of the walk, and gives `out` what is to be done in the order of the walk. What is unchanged
    /// comes once its run ends.
    ///
    /// # Errors
    /// Those of the entries.
    pub(super) fn step(&mut self, walked: Walked, mut out: impl FnMut(Step)) -> Result<()> {
        let scanned = match walked {
            Walked::Entry(scanned) => scanned,
            Walked::InCloud(scanned) => return self.in_cloud(&scanned, out),
            Walked::LeftOut { relative_path, problem } => {
                self.end_run(&mut out);
                if problem.kind == ProblemKind::Skipped {
                    self.left_out(relative_path)?;
                }
                out(Step::Problem(problem));
                return Ok(());
            }
        };
        let (counts, unlisted) = (&mut self.counts, &mut self.unlisted);
        let found = self.base.find(&scanned.relative_path, |entry| pass_over(entry, unlisted, counts))?;
        let Some((index, mut entry)) = found else {
            self.count_read(&scanned, Reason::New);
            self.end_run(&mut out);
            out(Step::Read { scanned, reason: Reason::New, before: None });
            return Ok(());
        };
        let usable = (self.take_over)(&mut entry);
        let mut decided = decide(&scanned.metadata, &entry, self.rules).and(usable);
        if decided.is_ok() && lacks_access_list(&scanned.metadata, &entry) && (self.has_list)(&scanned) {
            decided = Err(Reason::Attributes);
        }
        if decided.is_ok() && self.may_be_written.as_mut().is_some_and(|asked| asked(&scanned)) {
            decided = Err(Reason::InUse);
        }
        match decided {
            Ok(()) => {
                self.counts.unchanged += u64::from(scanned.metadata.kind.is_file_or_link());
                let is_file = scanned.metadata.kind == SourceKind::File;
                if is_file && (scanned.metadata.links > 1 || entry.kind == EntryKind::Hardlink) {
                    self.end_run(&mut out);
                    out(Step::Known { scanned, entry: Box::new(as_file(entry)) });
                } else {
                    let has_content = scanned.metadata.kind.has_content();
                    self.unchanged(index, if has_content { entry.size } else { 0 }, out);
                }
            }
            Err(reason) => {
                tracing::debug!(path = %String::from_utf8_lossy(&scanned.relative_path), reason = reason.name(), "read again");
                self.count_read(&scanned, reason);
                self.end_run(&mut out);
                let before = is_of_kind(scanned.metadata.kind, entry.kind).then(|| Box::new(as_file(entry)));
                out(Step::Read { scanned, reason, before });
            }
        }
        Ok(())
    }

    /// Gives `out` what is left when the walk has ended, and returns how it compares with the base.
    ///
    /// # Errors
    /// Those of the entries.
    pub(super) fn finish(&mut self, mut out: impl FnMut(Step)) -> Result<Compared> {
        self.end_run(&mut out);
        let (counts, unlisted) = (&mut self.counts, &mut self.unlisted);
        self.base.finish(|entry| pass_over(entry, unlisted, counts))?;
        let Compared { unchanged, new, deleted, not_reached, .. } = self.counts;
        let again = self.reasons.iter().filter(|(reason, _)| **reason != Reason::New);
        let again: Vec<_> = again.map(|(reason, count)| format!("{} {count}", reason.name())).collect();
        let read_again = if again.is_empty() { "none".to_owned() } else { again.join(", ") };
        tracing::info!(unchanged, new, deleted, not_reached, read_again, "compared with the previous backup");
        Ok(self.counts)
    }

    /// What is not fetched is taken over where nothing says that it is not as the base has it: a file that was backed up and that the
    /// cloud has taken from this machine since. Anything else is not in this backup, and not gone either.
    fn in_cloud(&mut self, scanned: &ScannedEntry, mut out: impl FnMut(Step)) -> Result<()> {
        let path = &scanned.relative_path;
        let (counts, unlisted) = (&mut self.counts, &mut self.unlisted);
        let found = self.base.find(path, |entry| pass_over(entry, unlisted, counts))?;
        if scanned.metadata.kind == SourceKind::File
            && let Some((index, mut entry)) = found.clone()
            && decide(&scanned.metadata, &entry, self.rules).and((self.take_over)(&mut entry)).is_ok()
            && entry.kind == EntryKind::File
        {
            self.counts.unchanged += 1;
            self.unchanged(index, entry.size, out);
            return Ok(());
        }
        self.counts.not_reached += u64::from(found.is_some_and(|(_, entry)| entry.kind.is_file_or_link()));
        self.unlisted.retain(|folder| is_within(path, folder));
        self.unlisted.push(path.clone());
        self.end_run(&mut out);
        out(Step::in_cloud(scanned));
        Ok(())
    }

    /// What is below a path is not in the walk, and not known to be gone.
    fn left_out(&mut self, path: Vec<u8>) -> Result<()> {
        let (counts, unlisted) = (&mut self.counts, &mut self.unlisted);
        if let Some((_, entry)) = self.base.find(&path, |entry| pass_over(entry, unlisted, counts))? {
            counts.not_reached += u64::from(entry.kind.is_file_or_link());
        }
        unlisted.retain(|folder| is_within(&path, folder));
        unlisted.push(path);
        Ok(())
    }

    fn unchanged(&mut self, index: u64, bytes: u64, mut out: impl FnMut(Step)) {
        match &mut self.run {
            Some(run) if run.first + run.count == index && run.count < MOST_IN_RUN => {
                run.count += 1;
                run.bytes = run.bytes.saturating_add(bytes);
            }
            _ => {
                self.end_run(&mut out);
                self.run = Some(Run { first: index, count: 1, bytes });
            }
        }
    }

    fn end_run(&mut self, out: &mut impl FnMut(Step)) {
        if let Some(run) = self.run.take() {
            out(run.into());
        }
    }

    fn count_read(&mut self, scanned: &ScannedEntry, reason: Reason) {
        if scanned.metadata.kind.is_file_or_link() {
            let count =
                if reason == Reason::New { &mut self.counts.new } else { &mut self.counts.read_again };
            *count += 1;
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}

/// Counts an entry of the base that is not in the walk.
fn pass_over(entry: &Entry, unlisted: &mut Vec<Vec<u8>>, counts: &mut Compared) {
    unlisted.retain(|folder| is_within(entry.raw_path(), folder));
    if entry.kind.is_file_or_link() {
        let count = if unlisted.is_empty() { &mut counts.deleted } else { &mut counts.not_reached };
        *count += 1;
    }
}

/// Another name of a file, as a file of its own: it has the same content, and the name that it points to may be gone.
fn as_file(entry: Entry) -> Entry {
    match entry.kind {
        EntryKind::Hardlink => {
            Entry { kind: EntryKind::File, link_target: None, link_target_bytes: None, ..entry }
        }
        _ => entry,
    }
}

#[cfg(test)]
mod tests;
