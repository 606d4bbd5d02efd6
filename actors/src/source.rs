//! This machine's files as they are: the walk over them, and what is read of each besides its content.

mod attributes;
mod facts;
mod handle;
mod holes;
mod names;
pub(crate) mod raw_name;
mod reach;
mod roots;
mod walk;
#[cfg(windows)]
mod windows;

pub use attributes::{read_link, xattrs, xattrs_of};
pub use facts::{Facts, Identity, SourceKind, facts_at, facts_of};
pub use handle::{is_worth_another_try, open_file, read_soon};
pub use holes::data_map;
pub use roots::{Root, make_roots};
pub use walk::{Excludes, ScannedEntry, Walk, Walked};
