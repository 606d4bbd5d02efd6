//! Entries that wait for the content of another one, which was read before or is not selected.

use std::collections::HashMap;

use intellistor_storage::manifest::Entry;

/// Memory for them.
const MOST_BYTES: u64 = 16 << 20;
/// Files that are written at once with one content; each takes a handle.
const MOST_AT_ONCE: usize = 32;

/// Entries that wait, by the path of the file that has their content.
#[derive(Default)]
pub(super) struct Deferred {
    waiting: HashMap<Vec<u8>, Vec<Wanted>>,
    /// The file that each copy among them waits for.
    copies: HashMap<Vec<u8>, Vec<u8>>,
    bytes: u64,
}

/// A file to be made of some content, and further names of it.
pub(super) struct Wanted {
    /// At least one; the first is the file.
    pub(super) entries: Vec<Entry>,
    /// Whether the first has its own attributes, and not those of the file that has the content.
    has_attributes: bool,
    pub(super) restored: bool,
}

impl Wanted {
    /// The file to make of the content of another one.
    pub(super) fn first(&self, file: &Entry) -> Entry {
        let Entry { relative_path, path_bytes, .. } = self.entries[0].clone();
        let attributes = if self.has_attributes { &self.entries[0] } else { file };
        Entry {
            relative_path,
            path_bytes,
            kind: file.kind,
            size: file.size,
            link_target: None,
            link_target_bytes: None,
            ..attributes.clone()
        }
    }
}

impl Deferred {
    /// Whether the archive has to be read for some.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Defers a hard link, or a copy. Gives it back when there is no room for it.
    pub(super) fn add(&mut self, link: Entry, is_copy: bool) -> Result<(), Box<Entry>> {
        let file = link.raw_link_target().unwrap_or_default().to_vec();
        let copy = if is_copy { link.raw_path() } else { &[] };
        let bytes = link.memory_bytes() + (file.len() + copy.len()) as u64;
        if self.bytes + bytes > MOST_BYTES {
            return Err(Box::new(link));
        }
        self.bytes += bytes;
        if is_copy {
            self.copies.insert(copy.to_vec(), file.clone());
        }
        let waiting = self.waiting.entry(file).or_default();
        // Names of one file stay names of one file.
        match waiting.first_mut().filter(|first| !is_copy && !first.has_attributes) {
            Some(first) => first.entries.push(link),
            None => {
                let wanted = Wanted { entries: vec![link], has_attributes: is_copy, restored: false };
                if is_copy { waiting.push(wanted) } else { waiting.insert(0, wanted) }
            }
        }
        Ok(())
    }

    /// Defers a hard link to a copy that is deferred. `false` when there is no such copy.
    pub(super) fn add_name(&mut self, link: &Entry) -> bool {
        let Some(copy) = link.raw_link_target() else { return false };
        let waiting = self.copies.get(copy).and_then(|file| self.waiting.get_mut(file));
        let wanted = waiting.and_then(|all| {
            all.iter_mut().find(|wanted| wanted.has_attributes && wanted.entries[0].raw_path() == copy)
        });
        let has_room = self.bytes + link.memory_bytes() <= MOST_BYTES;
        let Some(wanted) = wanted.filter(|_| has_room) else { return false };
        self.bytes += link.memory_bytes();
        wanted.entries.push(link.clone());
        true
    }

    /// What one reading of the archive can make.
    pub(super) fn begin_pass(&mut self) -> Pass {
        let mut pass = HashMap::new();
        self.waiting.retain(|file, waiting| {
            let now = waiting.drain(..waiting.len().min(MOST_AT_ONCE)).collect::<Vec<_>>();
            pass.insert(file.clone(), now);
            !waiting.is_empty()
        });
        Pass(pass)
    }

    /// What waited for a copy waits for the file that has the copy's content. It gets the copy's attributes.
    pub(super) fn wait_for_content_of(&mut self, waited: Vec<Wanted>, copy: &Entry) {
        for mut wanted in waited.into_iter().filter(|wanted| !wanted.restored) {
            if !wanted.has_attributes {
                let Entry { relative_path, path_bytes, .. } = wanted.entries[0].clone();
                wanted.entries[0] = Entry { relative_path, path_bytes, ..copy.clone() };
                wanted.has_attributes = true;
            }
            let file = copy.raw_link_target().unwrap_or_default().to_vec();
            self.waiting.entry(file).or_default().push(wanted);
        }
    }
}

/// Entries that one reading of the archive can make, by the path of the file that has their content.
pub(super) struct Pass(HashMap<Vec<u8>, Vec<Wanted>>);

impl Pass {
    pub(super) fn waiting_for(&mut self, file: &[u8]) -> Option<&mut [Wanted]> {
        self.0.get_mut(file).map(Vec::as_mut_slice)
    }

    /// What waits for a file that has no content of its own.
    pub(super) fn take(&mut self, file: &[u8]) -> Vec<Wanted> {
        self.0.remove(file).unwrap_or_default()
    }

    /// Entries whose content was not found.
    pub(super) fn into_lost(self) -> impl Iterator<Item = Entry> {
        let waiting = self.0.into_values().flatten().filter(|wanted| !wanted.restored);
        waiting.flat_map(|wanted| wanted.entries)
    }
}
