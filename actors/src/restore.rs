//! The stages of a restore, in the order of the data.
//!
//! ```text
//! Planner       groups entries and frames   1 range waits: 512 entries of 1 MiB, 2 MiB sealed and 4 MiB opened frames
//!    │
//!    ▼ RangePlanned
//! Fetcher       8 requests in parallel      40 MiB of ranges, sealed and opened, from here to the disk: eight ranges that
//!    │                                      do not compress, and a third of the 128 MiB that a restore may use
//!    ▼ RangeFetched
//! FrameOpener   × cores                     1 frame each, besides the range's share
//!    │
//!    ▼ RangeOpened
//! Extractor     orders, makes folders       early ranges keep their share of the 40 MiB
//!    │          and links
//!    ▼ FilesPlaced
//! Writer        × cores, writes files       256 files with all writers, since each may hold the handle of a folder
//!    │
//!    ▼ Completion, back to the extractor
//! ```
//!
//! A range's share of the memory travels with it, and is free again when its last file is written.

pub mod extractor;
pub mod fetcher;
pub mod opener;
pub mod planner;
pub mod writer;
