//! Two manifests, entry by entry, side by side.
//!
//! **In:** two verified manifests. **Out:** for each path whether the first, the second or both have it, in the order of a walk
//! within each root. **Guarantee:** two entries of each are in memory, however many there are. A list that is in another order is
//! an error: paths would seem to be gone that are not.
//!
//! Roots are compared with each other that have the same path on the machine; where both backups have one root alone, these are,
//! whatever their paths: the folder was moved. The others are gone, or new, as a whole.

use std::cmp::Ordering;
use std::sync::Arc;

use intellistor_actors::backup::changes::compare_below_root;
use intellistor_storage::Error as Storage;
use intellistor_storage::manifest::{BaseEntries, Entry, RootRecord, VerifiedManifest};

use crate::error::Result;

/// What one path is in both backups.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one exists at a time, and most are `Both`")]
pub(crate) enum Pair {
    /// The first alone has it; with its index in the list.
    Removed(u64, Entry),
    /// The second alone has it.
    Added(u64, Entry),
    /// Both have it.
    Both(Entry, Entry),
}

/// The part of a manifest's entries that is below one root.
#[derive(Debug, Clone)]
struct Section {
    root: RootRecord,
    /// Index of its first entry.
    first: u64,
    count: u64,
}

/// Both manifests, and which of their roots are compared.
pub(crate) struct Sections {
    older: Arc<VerifiedManifest>,
    newer: Arc<VerifiedManifest>,
    pairs: Vec<(Option<Section>, Option<Section>)>,
}

impl Sections {
    /// # Errors
    /// Those of the entries.
    pub(crate) fn new(older: Arc<VerifiedManifest>, newer: Arc<VerifiedManifest>) -> Result<Self> {
        let before = sections(&older)?;
        let mut after = sections(&newer)?;
        if let ([one], [other]) = (before.as_slice(), after.as_slice()) {
            let pairs = vec![(Some(one.clone()), Some(other.clone()))];
            return Ok(Self { older, newer, pairs });
        }
        let mut pairs = Vec::new();
        for section in before {
            let same = after.iter().position(|other| other.root.path == section.root.path);
            let other = same.map(|at| after.remove(at));
            pairs.push((Some(section), other));
        }
        pairs.extend(after.into_iter().map(|section| (None, Some(section))));
        Ok(Self { older, newer, pairs })
    }
}

/// The sections of a manifest, in the order of its list. With several roots, that takes a pass over it.
fn sections(manifest: &Arc<VerifiedManifest>) -> Result<Vec<Section>> {
    let roots = &manifest.head().roots;
    if let [root] = roots.as_slice()
        && root.prefix.is_empty()
    {
        let count = manifest.head().totals.entries;
        return Ok(vec![Section { root: root.clone(), first: 0, count }]);
    }
    let mut sections: Vec<Section> = Vec::new();
    for (index, entry) in (0..).zip(BaseEntries::of(manifest.clone())) {
        let entry = entry?;
        let path = entry.raw_path();
        let name = path.split(|byte| *byte == b'/').next().unwrap_or(path);
        match sections.last_mut() {
            Some(section) if section.root.prefix.as_bytes() == name => section.count += 1,
            _ => {
                let root = roots.iter().find(|root| root.prefix.as_bytes() == name).cloned();
                let prefix = String::from_utf8_lossy(name).into_owned();
                let root = root.unwrap_or(RootRecord { path: prefix.clone(), prefix, files: None });
                sections.push(Section { root, first: index, count: 1 });
            }
        }
    }
    Ok(sections)
}

/// Gives `each` every path of both.
///
/// # Errors
/// Those of the entries, and of `each`; [`Integrity`](Storage::Integrity) where a list is not in the order of a walk.
pub(crate) fn merge(sections: &Sections, mut each: impl FnMut(Pair) -> Result<()>) -> Result<()> {
    for (before, after) in &sections.pairs {
        let mut older = Cursor::new(&sections.older, before.as_ref())?;
        let mut newer = Cursor::new(&sections.newer, after.as_ref())?;
        loop {
            let order = match (&older.current, &newer.current) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => compare_below_root(older.below(&one.1), newer.below(&other.1)),
            };
            let removed = if order.is_le() { older.take()? } else { None };
            let added = if order.is_ge() { newer.take()? } else { None };
            match (removed, added) {
                (Some((_, before)), Some((_, after))) => each(Pair::Both(before, after))?,
                (Some((index, entry)), None) => each(Pair::Removed(index, entry))?,
                (None, Some((index, entry))) => each(Pair::Added(index, entry))?,
                (None, None) => {}
            }
        }
    }
    Ok(())
}

type Indexed = (u64, Entry);

/// The entries of a section, each path once.
struct Cursor<'s> {
    manifest: &'s VerifiedManifest,
    prefix: &'s [u8],
    entries: Option<BaseEntries>,
    /// Entries that were not read yet.
    left: u64,
    index: u64,
    current: Option<Indexed>,
    following: Option<Indexed>,
}

impl<'s> Cursor<'s> {
    fn new(manifest: &'s Arc<VerifiedManifest>, section: Option<&'s Section>) -> Result<Self> {
        let (first, left) = section.map_or((0, 0), |section| (section.first, section.count));
        let entries = section.map(|section| {
            let mut entries = BaseEntries::of(manifest.clone());
            entries.skip_to(section.first);
            entries
        });
        let prefix = section.map_or(&b""[..], |section| section.root.prefix.as_bytes());
        let mut cursor =
            Self { manifest, prefix, entries, left, index: first, current: None, following: None };
        cursor.following = cursor.read()?;
        cursor.advance()?;
        Ok(cursor)
    }

    /// The path below the root; empty for the root itself.
    fn below<'e>(&self, entry: &'e Entry) -> &'e [u8] {
        let path = entry.raw_path();
        let below = path.strip_prefix(self.prefix).unwrap_or(path);
        match below.strip_prefix(b"/") {
            Some(below) if !self.prefix.is_empty() => below,
            _ if below == b"." => b"",
            _ => below,
        }
    }

    fn take(&mut self) -> Result<Option<Indexed>> {
        let taken = self.current.take();
        self.advance()?;
        Ok(taken)
    }

    /// Makes the next entry the current one. Of several with one path the last counts, as in a tar archive.
    fn advance(&mut self) -> Result<()> {
        self.current = self.following.take();
        while self.current.is_some() {
            let next = self.read()?;
            let order = match (&self.current, &next) {
                (Some((_, current)), Some((_, next))) => {
                    compare_below_root(self.below(current), self.below(next))
                }
                _ => Ordering::Less,
            };
            match order {
                Ordering::Less => {
                    self.following = next;
                    break;
                }
                Ordering::Equal => self.current = next,
                Ordering::Greater => {
                    let key = self.manifest.head().name.manifest_key();
                    let why =
                        "its entries are in another order than that of a walk, so it cannot be compared";
                    return Err(Storage::integrity(key, why).into());
                }
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<Indexed>> {
        let Some(entries) = self.entries.as_mut().filter(|_| self.left > 0) else { return Ok(None) };
        let Some(entry) = entries.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        self.left -= 1;
        Ok(Some((index, entry?)))
    }
}
