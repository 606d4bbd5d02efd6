//! One actor per stage, each in a file of its own.
//!
//! ```text
//! backup    Scanner ─FilesScanned→ ReadAhead ─FilesOpened→ Archiver ─FrameArchived→ Compressor × cores ─FrameCompressed→ Encryptor
//!           ─SegmentSealed→ Uploader → store ─PartUploaded→ Sequencer, which commits them in order
//!
//! a job     first Scanner ─FilesScanned→ ScanRecorder, then ScanReader in the scanner's place
//!
//! restore   Planner ─RunPlanned→ Fetcher ─RunFetched→ Opener × cores ─RunOpened→ Extractor
//!           ─FilesPlaced→ Writer × cores → files
//! ```
//!
//! **Backpressure law.** A stage answers a message when it has taken responsibility for it, and sends
//! through a [`Link`](link::Link), which allows a fixed number of unanswered messages. What is in memory
//! is therefore the sum of the windows times the message sizes, whatever the data set; each stage's doc
//! states its numbers.
//!
//! **Failure law.** The pipeline is the unit of restart. A stage that fails reports once to
//! [`Failures`](link::Failures) and answers `Err(Stopped)` from then on; so do its neighbours, and the
//! pipeline ends with the first report.

pub mod backup;
pub mod globs;
pub mod link;
pub mod log_shipper;
pub mod progress;
pub mod restore;
mod shown;
pub mod source;
mod stage_span;
pub mod target;
pub mod threaded;
#[cfg(any(windows, test))]
mod verbatim;
