//! This machine's files as they are: the walk over them, and what is read of each besides its content.

mod facts;
mod roots;
mod walk;

pub use facts::{Facts, Identity, SourceKind, data_map, facts_of, open_file, read_link, xattrs};
pub use roots::{Root, make_roots};
pub use walk::{Excludes, ScannedEntry, Walk, Walked};
