//! Reads this machine's files: the walk over them, and the metadata of each.
//!
//! Paths are opened from a handle of their root, and no link is followed, whatever happens to the folders meanwhile.

mod attributes;
#[cfg(unix)]
mod beneath;
mod excludes;
mod extended;
mod handle;
mod holes;
mod list_keepers;
mod live_files;
mod metadata;
mod names;
pub(crate) mod raw_name;
mod reparse;
pub(crate) mod reparse_data;
mod root_counts;
mod roots;
mod source_path;
mod stat;
mod streams;
mod system_files;
mod walk;
#[cfg(windows)]
pub(crate) mod windows;

pub use attributes::xattrs_of;
#[cfg(unix)]
pub use beneath::{Beneath, is_replaced};
pub use excludes::{ExcludedFolder, Excludes};
pub use extended::{Extended, extended_of};
pub use handle::{has_content_beyond, is_transient, read_soon, read_whole};
pub use holes::data_map;
pub use list_keepers::ListKeepers;
pub use live_files::LiveFiles;
pub use metadata::{FileId, FileMetadata, SourceKind, Stored};
pub(crate) use reparse::IN_CLOUD;
pub use reparse::is_in_cloud;
pub use root_counts::RootCounts;
pub use roots::{Overlap, Root, find_overlap, make_roots, resolve};
pub use source_path::SourcePath;
pub use stat::metadata_of;
pub use system_files::{BadRule, OF_EVERY_VOLUME, SystemFiles};
pub use walk::{ScannedEntry, Walk, Walked};
#[cfg(windows)]
pub use windows::{Beneath, is_replaced};
