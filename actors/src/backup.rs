//! The stages of a backup, in the order of the data.
//!
//! ```text
//! Scanner       walks the roots             4 batches of 256 entries and 64 KiB of paths: reading that many files takes
//!    │                                      longer than a slow disk's listing of the next ones
//!    ▼ FilesScanned
//! Changes       compares with the base       4 batches, as the scanner
//!    │
//!    ▼ FilesCompared
//! ReadAhead     opens small files           4 batches of 32 entries, each an open file at most: enough requests for a disk
//!    │                                      to sort, few enough handles
//!    ▼ FilesOpened
//! Archiver      reads, writes tar           2 frames of 1 MiB for each core and 2 more, so that no compressor waits
//!    │
//!    ▼ FrameArchived
//! Compressor    × cores, at most 8          1 frame each, which it holds until the encryptor has it
//!    │
//!    ▼ FrameCompressed
//! Encryptor     orders, seals segments      1 segment waits for the uploader, 1 is being built
//!    │
//!    ▼ SegmentSealed
//! Uploader      sends parts in parallel     36 MiB of parts, fewer on a slow line: four parts of the first size hide the
//!    │                                      latency of one request behind three others
//!    ▼ PartUploaded
//! Sequencer     commits parts in order      records alone; a part keeps its share of the 36 MiB until it is committed
//! ```
//!
//! A job first records the walk (`Scanner`, [`ScanRecorder`](scan_recorder)); the backup then begins with a
//! [`ScanReader`](scan_reader) in the scanner's place, at the step at which an earlier run's committed parts end.

pub mod archiver;
pub mod changes;
pub mod chunker;
pub mod compressor;
pub mod content_counter;
pub mod encryptor;
pub mod links;
pub mod read_ahead;
pub mod scan_reader;
pub mod scan_recorder;
pub mod scanner;
pub mod sequencer;
pub mod uploader;
