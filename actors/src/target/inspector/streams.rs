//! Compares alternate data streams with what is there.

use std::sync::Arc;

use intellistor_storage::manifest::{Entry, streams};

use super::{Finding, Inspector, OwnerStays};
use crate::target::occupied::Overwrite;
use crate::target::streams::{Owner, is_same};
use crate::target::verdict::{Cut, Verdict};

impl Inspector {
    /// A stream that has no place here, or that stays, loses its extents.
    pub(super) fn inspect_stream(&mut self, entry: &mut Entry, cut: &dyn Fn() -> bool) -> Result<(), Cut> {
        if self.keeps_streams == Some(false) {
            entry.extents.clear();
            return Ok(());
        }
        let Some((owner, name)) = streams::split(entry.raw_path()) else { return Ok(()) };
        let stays = self.owner.as_ref().filter(|(path, _)| path == owner).map(|(_, stays)| *stays);
        let verdict = match (stays, self.overwrite) {
            (Some(OwnerStays::Left), _) => Some(Verdict::Leave),
            (Some(OwnerStays::Same | OwnerStays::Folder), Overwrite::IfDifferent) => {
                let (owner, name) = (owner.to_vec(), name.to_vec());
                let is_same = self.same_stream(&owner, &name, entry, cut)? == Ok(Some(true));
                is_same.then_some(Verdict::KeepStream)
            }
            _ => None,
        };
        if let Some(verdict) = verdict {
            entry.extents.clear();
            self.verdicts.add(entry.raw_path(), verdict);
        }
        Ok(())
    }

    /// Whether a stream is there, and the one that was backed up. The inner error says what is in the way.
    fn same_stream(
        &mut self,
        owner: &[u8],
        name: &[u8],
        entry: &Entry,
        cut: &dyn Fn() -> bool,
    ) -> Result<Result<Option<bool>, String>, Cut> {
        let (dir, file) = match self.locate(owner) {
            Ok(Some((dir, file, found))) if found.is_dir() => {
                let opened = if file.is_empty() { Ok(dir) } else { dir.open(&file).map(Arc::new) };
                (opened, None)
            }
            Ok(Some((dir, file, found))) if found.is_file() => (Ok(dir), Some(file)),
            Ok(_) => return Ok(Ok(None)),
            Err(reason) => return Ok(Err(reason)),
        };
        let Ok(dir) = dir else { return Ok(Ok(None)) };
        let owner = Owner { dir, name: file };
        Ok(Ok(is_same(&owner, name, entry, &mut self.buffer, cut)?))
    }

    pub(super) fn find_stream(&mut self, entry: &Entry, cut: &dyn Fn() -> bool) -> Result<Finding, Cut> {
        if self.keeps_streams == Some(false) {
            return Ok(Finding::Unsupported);
        }
        let (owner, name) = match streams::split(entry.raw_path()) {
            Some((owner, name)) => (owner.to_vec(), name.to_vec()),
            None => {
                return Ok(Finding::InTheWay("its path is not that of an alternate data stream".to_owned()));
            }
        };
        Ok(match self.same_stream(&owner, &name, entry, cut)? {
            Ok(None) => Finding::Missing,
            Ok(Some(true)) => Finding::Same,
            Ok(Some(false)) => Finding::Different { is_newer: false },
            Err(reason) => Finding::InTheWay(reason),
        })
    }
}
