//! How a file is opened: <https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-createfilew>.

/// Folders can be opened as well, and privileges for backups count.
pub(super) const BACKUP_SEMANTICS: u32 = 0x0200_0000;
/// A link is opened itself, not what it leads to.
pub(super) const OPEN_REPARSE_POINT: u32 = 0x0020_0000;
/// Nothing is fetched from where it was moved to.
pub(super) const OPEN_NO_RECALL: u32 = 0x0010_0000;
