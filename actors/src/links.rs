//! Files with several names: their content is archived under the first, and the others point to it.

use std::collections::HashMap;

use intellistor_storage::Result;
use intellistor_storage::manifest::{Entry, EntryKind};

use crate::source::{Facts, Identity, ScannedEntry, SourceKind, Walked};

/// What was archived of files that have names still to come.
#[derive(Debug, Default)]
pub struct LinkTable(HashMap<Identity, Linked>);

#[derive(Debug)]
struct Linked {
    first: Entry,
    names_left: u64,
}

/// One of the names of a file, in a walk.
struct Name {
    identity: Identity,
    /// How many names the file has.
    links: u64,
    /// The how manieth name in the walk it is, from 1.
    nth: u64,
}

impl LinkTable {
    /// Keeps what was archived of a file, if further names may come.
    pub fn add(&mut self, facts: &Facts, first: &Entry) {
        if facts.links > 1
            && let Some(identity) = facts.identity
        {
            self.0.insert(identity, Linked { first: first.clone(), names_left: facts.links - 1 });
        }
    }

    /// The entry that holds the content of a name with these facts, if that was archived under another name and
    /// nobody has written to it since.
    pub fn take(&mut self, facts: &Facts) -> Option<Entry> {
        let identity = facts.identity.filter(|_| facts.links > 1)?;
        let linked = self.0.get_mut(&identity)?;
        if (linked.first.size, linked.first.mtime_ns) != (facts.size, facts.mtime_ns) {
            // Or another file that got the same number: it has to be read.
            self.0.remove(&identity);
            return None;
        }
        linked.names_left -= 1;
        if linked.names_left == 0 {
            self.0.remove(&identity).map(|linked| linked.first)
        } else {
            Some(linked.first.clone())
        }
    }

    /// The table as it was when an earlier run had archived everything before `next` in the walk: from what it
    /// scanned, and from the entries that it committed.
    ///
    /// # Errors
    /// Those of the two sources.
    pub fn rebuild(
        scanned: impl Iterator<Item = Result<Vec<Walked>>>,
        next: u64,
        committed: impl Iterator<Item = Result<Vec<Entry>>>,
    ) -> Result<Self> {
        // Every name is remembered, and not only a file's first: that may have been skipped.
        let mut names: HashMap<Vec<u8>, Name> = HashMap::new();
        let mut seen: HashMap<Identity, u64> = HashMap::new();
        let mut index = 0;
        'scan: for batch in scanned {
            for step in batch? {
                if index == next {
                    break 'scan;
                }
                index += 1;
                let Walked::Entry(ScannedEntry { relative_path, facts, .. }) = step else { continue };
                let Some(identity) = facts.identity.filter(|_| facts.links > 1) else { continue };
                if facts.kind != SourceKind::File {
                    continue;
                }
                let seen = seen.entry(identity).or_default();
                *seen += 1;
                names.insert(relative_path, Name { identity, links: facts.links, nth: *seen });
            }
        }
        let left = |name: &Name| name.links.saturating_sub(1 + seen[&name.identity] - name.nth);
        names.retain(|_, name| left(name) > 0);
        let mut table = Self::default();
        for entries in committed {
            for entry in entries? {
                if entry.kind != EntryKind::File {
                    continue;
                }
                if let Some(name) = names.get(entry.raw_path()) {
                    let names_left = left(name);
                    table.0.insert(name.identity, Linked { first: entry, names_left });
                }
            }
        }
        Ok(table)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
