//! What tells that a file has changed since the base.

use serde::{Deserialize, Serialize};

/// What tells that a file has changed since the base, as a policy says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DetectChanges {
    /// Size, time of modification, mode and owner, and what programs cannot put back: time of change and inode; on
    /// Windows its change time, which NTFS sets for another access list, too, and file id.
    #[default]
    Ctime,
    /// Size, time of modification, mode and owner: for file systems that make up the others anew each time. A file whose
    /// content changed while size and time were put back is not noticed, nor are extended attributes or access lists
    /// alone.
    Mtime,
    /// Every file is read. What the base has of its content is not stored again.
    Content,
}
