//! The names that entries get here: their own or, where this system does not allow it, the most similar one.
//!
//! Windows refuses some names, reads others as devices, and takes `Nota.txt` and `nota.txt` for one file. No entry is
//! lost for that: it gets another name, with a warning. A folder keeps the name that it got, for all that
//! is in it. The first of several that the system takes for one keeps its name; the others get a number.

use std::collections::HashMap;
use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};

use super::error::TargetError;
use super::path::{HERE, System, components, fit, folded};
use crate::source::raw_name;

/// Gives each entry its path here.
#[derive(Debug)]
pub(super) struct Naming {
    system: System,
    /// Hash of a path as the system compares paths, and hash of the entry's path that has it. Filled only where two entries
    /// can mean one file.
    taken: HashMap<u64, u64>,
    /// The last name of a path that got another one, by the hash of the entry's path.
    renamed: HashMap<u64, Vec<u8>>,
    /// The last number that was given for a path that several entries map to.
    numbers: HashMap<u64, u64>,
    hasher: RandomState,
}

/// Where an entry goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// Its folders and its name; none for the root.
    pub(super) path: Vec<OsString>,
    /// `path: restored as ...` for each folder or file that was given another name just now.
    pub(super) notes: Vec<String>,
}

impl Naming {
    pub(super) fn new() -> Self {
        Self::of(HERE)
    }

    fn of(system: System) -> Self {
        Self {
            system,
            taken: HashMap::new(),
            renamed: HashMap::new(),
            numbers: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    /// Where the entry with this path goes.
    ///
    /// # Errors
    /// [`TargetError::Refused`] for a path that would leave the folder.
    pub(super) fn path_of(&mut self, raw: &[u8]) -> Result<Named, TargetError> {
        let mut named = Named::default();
        let (mut end, mut folder) = (0, 0);
        for component in components(raw)? {
            end += component.len() + usize::from(end > 0);
            let name = match self.system {
                System::Unix => component.to_vec(),
                System::Windows => {
                    let (name, key) = self.name(&raw[..end], component, folder);
                    folder = key;
                    if let Some(note) = self.note(&raw[..end], component, &name) {
                        named.notes.push(note);
                    }
                    name
                }
            };
            named.path.push(text(&name));
        }
        Ok(named)
    }

    /// The name of `component`, the last one of `prefix`, in a folder; and a key for both.
    fn name(&mut self, prefix: &[u8], component: &[u8], folder: u64) -> (Vec<u8>, u64) {
        let owner = self.hasher.hash_one(prefix);
        if let Some(name) = self.renamed.get(&owner) {
            return (name.clone(), self.key(folder, name));
        }
        let fit = fit(component, self.system);
        let is_name = std::str::from_utf8(component).is_ok() || cfg!(windows) && is_wide(component);
        let wanted =
            if is_name { fit.into_owned() } else { String::from_utf8_lossy(&fit).into_owned().into_bytes() };
        let first = self.key(folder, &wanted);
        let (mut name, mut key) = (wanted.clone(), first);
        while !self.take(key, owner) {
            // Counted, since any number of an archive's names may be one name here.
            let number = self.numbers.entry(first).or_insert(1);
            *number += 1;
            name = numbered(&wanted, *number);
            key = self.key(folder, &name);
        }
        (name, key)
    }

    /// Whether a path is, or was already, this owner's.
    fn take(&mut self, key: u64, owner: u64) -> bool {
        *self.taken.entry(key).or_insert(owner) == owner
    }

    fn key(&self, folder: u64, name: &[u8]) -> u64 {
        self.hasher.hash_one((folder, folded(&String::from_utf8_lossy(name), self.system)))
    }

    /// The warning for a changed name, once.
    fn note(&mut self, prefix: &[u8], component: &[u8], name: &[u8]) -> Option<String> {
        if component == name || self.renamed.insert(self.hasher.hash_one(prefix), name.to_vec()).is_some() {
            return None;
        }
        let why = if *fit(component, self.system) == *name || std::str::from_utf8(component).is_err() {
            "Windows does not allow that name"
        } else {
            "to Windows, its name is the same as that of another entry"
        };
        let (path, name) = (String::from_utf8_lossy(prefix), String::from_utf8_lossy(name));
        Some(format!("{path}: restored as {name}: {why}"))
    }
}

/// `a.txt`, `a (2).txt`, and so on.
fn numbered(name: &[u8], number: u64) -> Vec<u8> {
    let dot = name.iter().rposition(|b| *b == b'.').filter(|dot| *dot > 0).unwrap_or(name.len());
    [&name[..dot], format!(" ({number})").as_bytes(), &name[dot..]].concat()
}

/// Whether bytes are a name of this system without being text: UTF-16 that is not valid.
fn is_wide(name: &[u8]) -> bool {
    *raw_name::to_bytes(&raw_name::from_bytes(name)) == *name
}

fn text(name: &[u8]) -> OsString {
    raw_name::from_bytes(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(naming: &mut Naming, raw: &[u8]) -> (String, usize) {
        let named = naming.path_of(raw).unwrap();
        let path: Vec<_> = named.path.iter().map(|name| name.to_str().unwrap()).collect();
        (path.join("/"), named.notes.len())
    }

    #[test]
    fn on_unix_every_name_is_its_own() {
        let mut naming = Naming::of(System::Unix);
        for path in ["CON", "con", "a./b ", "A./b ", "a:b"] {
            assert_eq!(place(&mut naming, path.as_bytes()), (path.to_owned(), 0));
        }
        assert!(naming.path_of(b"../a").is_err() && naming.path_of(b"/a").is_err());
    }

    #[test]
    fn on_windows_each_entry_has_a_name_of_its_own() {
        let mut naming = Naming::of(System::Windows);
        for (path, expected, notes) in [
            ("Nota.txt", "Nota.txt", 0),
            ("nota.txt", "nota (2).txt", 1),
            ("NOTA.TXT", "NOTA (3).TXT", 1),
            ("nota (2).txt", "nota (2) (2).txt", 1),
            ("aux.txt", "aux_.txt", 1),
            ("a:", "a_", 1),
            ("a_", "a_ (2)", 1),
            ("Nota.txt", "Nota.txt", 0),
            ("nota.txt", "nota (2).txt", 0),
        ] {
            assert_eq!(place(&mut naming, path.as_bytes()), (expected.to_owned(), notes), "{path}");
        }
        assert_eq!(place(&mut naming, b"a\xe7.txt"), ("a\u{fffd}.txt".to_owned(), 1));
        assert_eq!(place(&mut naming, b"a\xe3.txt"), ("a\u{fffd} (2).txt".to_owned(), 1));
        assert_eq!(naming.path_of(b".").unwrap(), Named::default());
        assert!(naming.path_of(b"../a").is_err() && naming.path_of(b"/a").is_err());
    }

    #[test]
    fn what_is_in_a_folder_follows_it() {
        let mut naming = Naming::of(System::Windows);
        for (path, expected, notes) in [
            ("Fotos", "Fotos", 0),
            ("fotos", "fotos (2)", 1),
            ("fotos/a.", "fotos (2)/a_", 1),
            ("Fotos/a.", "Fotos/a_", 1),
            ("fotos/b", "fotos (2)/b", 0),
            ("nul/CON/x", "nul_/CON_/x", 2),
            ("nul/CON/y", "nul_/CON_/y", 0),
        ] {
            assert_eq!(place(&mut naming, path.as_bytes()), (expected.to_owned(), notes), "{path}");
        }
    }
}
