//! This machine's files as they are: the walk over them, and what is read of each besides its content.

mod attributes;
#[cfg(unix)]
mod beneath;
mod excludes;
mod facts;
mod handle;
mod holes;
mod names;
pub(crate) mod raw_name;
mod roots;
mod source_path;
mod walk;
#[cfg(windows)]
mod windows;

pub use attributes::xattrs_of;
#[cfg(unix)]
pub use beneath::{Beneath, is_replaced};
pub use excludes::{Excludes, KeptOut};
pub use facts::{Facts, Identity, SourceKind, facts_of};
pub use handle::{goes_on_behind, is_worth_another_try, read_soon, read_whole};
pub use holes::data_map;
pub use roots::{Overlap, Root, find_overlap, make_roots};
pub use source_path::SourcePath;
pub use walk::{ScannedEntry, Walk, Walked};
#[cfg(windows)]
pub use windows::{Beneath, is_replaced};
