//! Which volumes keep access lists.

use std::collections::HashMap;

use super::metadata::FileMetadata;
use super::source_path::SourcePath;

/// Volumes that were asked whether they keep access lists. Each is asked once.
#[derive(Debug, Default)]
pub struct ListKeepers(HashMap<u64, bool>);

impl ListKeepers {
    /// Whether a file has an access list of Windows. On other systems none has.
    pub fn has_list(&mut self, source: &SourcePath, metadata: &FileMetadata) -> bool {
        let Some(identity) = metadata.identity.filter(|_| metadata.windows.is_some()) else { return false };
        *self.0.entry(identity.device).or_insert_with(|| is_kept(source))
    }
}

#[cfg(windows)]
fn is_kept(source: &SourcePath) -> bool {
    super::windows::keeps_lists_at(source.as_path())
}

#[cfg(not(windows))]
fn is_kept(_: &SourcePath) -> bool {
    false
}
