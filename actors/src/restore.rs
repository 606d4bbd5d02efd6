//! The stages of a restore, in the order of the data.
//!
//! ```text
//! Planner       groups entries and frames   1 range waits: 512 entries of 1 MiB, 4 MiB sealed and 4 MiB opened frames
//!    │
//!    ▼ RangePlanned
//! Fetcher       8 requests in parallel      24 MiB of ranges, sealed and opened, from here to the disk, and a window of 48
//!    │                                      frames of 1 MiB for later entries; 40 MiB and 16 frames from one archive: see
//!    │                                      `memory`. With some 40 MiB of code, buffers and threads: below 128 MiB
//!    ▼ RangeFetched
//! FrameOpener   × cores                     1 frame each, besides the range's share
//!    │
//!    ▼ RangeOpened
//! Extractor     orders, makes folders       early ranges keep their share of the memory; has the window
//!    │          and links
//!    ▼ FilesPlaced
//! Writer        × cores, writes files       256 files with all writers, since each may hold the handle of a folder
//!    │
//!    ▼ Completion, back to the extractor
//! ```
//!
//! A frame's share of the memory travels with it, and is free again when no later entry needs it and the last file that does
//! is written. An entry's content may be in any archives of the backup, in any order. Where content is only read, as for
//! `verify`, a [`content_stage`] takes the place of extractor and writers.

mod content;
pub mod content_stage;
pub mod extractor;
pub mod fetcher;
mod frame_view;
pub mod memory;
pub mod opener;
pub mod planner;
mod range_order;
pub mod tar_sink;
pub mod writer;
