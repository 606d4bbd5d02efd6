//! Small files of JSON on this machine.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Replaces a file's content at once: whoever reads it sees the old or the new. It need not survive a crash.
pub(crate) fn replace(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, serde_json::to_vec(value)?)?;
    fs::rename(&beside, path)
}

/// What a file says; `None` where there is none, or it says something else.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}
