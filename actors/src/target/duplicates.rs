//! Makes files from other files that the restore has made.

use std::ffi::OsStr;
use std::io;

use cap_std::fs::Dir;
use intellistor_storage::manifest::Entry;

use super::Target;
use super::error::TargetError;
use super::temporary::{self, FileId};

impl Target {
    /// Makes a file of its own with the content of another one that this restore has made: the one that `entry` links to.
    /// Gives warnings, and its size.
    ///
    /// # Errors
    /// [`TargetError`]; also when the other file was not restored.
    pub fn duplicate(&mut self, entry: &Entry) -> Result<(Vec<String>, u64), TargetError> {
        let (dir, name, found) = self.restored_target(entry)?;
        self.copy(&dir, &name, found, entry)
    }

    pub(super) fn copy(
        &mut self,
        dir: &Dir,
        name: &OsStr,
        restored: FileId,
        entry: &Entry,
    ) -> Result<(Vec<String>, u64), TargetError> {
        let failed = |e| TargetError::from_io("copy the file that has its content", e);
        let mut source = temporary::open_existing(dir, name).map_err(failed)?;
        if FileId::of_file(&source).map_err(failed)? != restored {
            return Err(failed(io::Error::other("it was replaced meanwhile")));
        }
        let mut writer = self.file(entry)?.create()?;
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        loop {
            match io::Read::read(&mut source, &mut buffer).map_err(failed)? {
                0 => break,
                n => writer.write_at(at, &buffer[..n]).map_err(failed)?,
            }
            at = io::Seek::stream_position(&mut source).map_err(failed)?;
        }
        Ok((writer.finish(entry, at)?, at))
    }
}
