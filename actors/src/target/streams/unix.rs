//! There are no streams here, but those of tests: extended attributes of their files.

use std::ffi::OsString;
use std::fs::File;
use std::io;

use intellistor_storage::ContentDigest;
use intellistor_storage::manifest::Entry;
use intellistor_storage::manifest::streams::simulated::{IS_ON, KEPT, MOST_BYTES, PREFIX};
use xattr::FileExt as _;

use super::Owner;
use crate::source::raw_name;
use crate::target::attributes::open_whole;
use crate::target::folder::Folder;
use crate::target::temporary::open_existing;
use crate::target::verdict::Cut;

/// Whether files in a folder can have streams.
pub(in crate::target) fn keeps_streams(root: &Folder) -> bool {
    IS_ON && open_whole(root).is_ok_and(|root| root.get_xattr(KEPT).is_ok_and(|kept| kept.is_some()))
}

/// Whether a stream is the one that was backed up.
pub(in crate::target) fn is_same(
    owner: &Owner,
    name: &[u8],
    entry: &Entry,
    _: &mut [u8],
    _: &dyn Fn() -> bool,
) -> Result<Option<bool>, Cut> {
    let value = open(owner).and_then(|file| file.get_xattr(attribute(name))).ok().flatten();
    Ok(value.map(|value| {
        entry.sha256.is_some_and(|sha256| value == long(&sha256) || sha256_of(&value) == sha256)
    }))
}

fn open(owner: &Owner) -> io::Result<File> {
    match &owner.name {
        Some(name) => open_existing(&owner.dir, name),
        None => open_whole(&owner.dir),
    }
}

fn attribute(name: &[u8]) -> OsString {
    raw_name::from_bytes(&[PREFIX.as_bytes(), name].concat())
}

/// Stands for what no attribute has room for.
fn long(sha256: &[u8; 32]) -> Vec<u8> {
    let hex: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").into_bytes()
}

fn sha256_of(content: &[u8]) -> [u8; 32] {
    let mut digest = ContentDigest::default();
    digest.data(content);
    digest.finish()
}

/// A stream in memory, until it is complete.
#[derive(Debug)]
pub(super) struct Stream {
    file: File,
    attribute: OsString,
    content: Vec<u8>,
}

impl Stream {
    pub(super) fn create(owner: &Owner, name: &[u8], only_new: bool) -> io::Result<Self> {
        let (file, attribute) = (open(owner)?, attribute(name));
        if only_new && file.get_xattr(&attribute)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(Self { file, attribute, content: Vec::new() })
    }

    pub(super) fn write_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.content.resize(at as usize, 0);
        self.content.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn complete(&mut self, size: u64) -> io::Result<()> {
        self.content.resize(size as usize, 0);
        if self.content.len() > MOST_BYTES {
            self.content = long(&sha256_of(&self.content));
        }
        self.file.set_xattr(&self.attribute, &self.content)
    }

    pub(super) fn put_back(self) -> Vec<String> {
        Vec::new()
    }

    pub(super) fn discard(self) {
        let _ = self.file.remove_xattr(&self.attribute);
    }
}
