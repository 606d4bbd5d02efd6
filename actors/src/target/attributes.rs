//! The attributes of a file, as far as this system and this user can apply them.

#[cfg(windows)]
mod reparse_point;
#[cfg(unix)]
mod unix;
mod values;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{open_whole, set_mode, sync, unlock};
#[cfg(windows)]
pub(super) use values::is_exclusive_at_first;
pub(super) use values::{Attributes, first_mode};
#[cfg(windows)]
pub(super) use windows::security::{BACKUP_SEMANTICS, Lifted, OPEN_REPARSE_POINT};
#[cfg(windows)]
pub(super) use windows::{NORMAL, basic_info, open_whole, set_basic_info, set_mode, sync, unlock};
