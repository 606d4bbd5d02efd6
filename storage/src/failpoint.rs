//! stub
#![allow(missing_docs)]
#[derive(Debug, Clone, Copy)]
pub enum Failpoint { UploadBegun, UploadRecorded, ScanEnded, PartAcknowledged, ArchiveCommitted, BeforeComplete, ArchiveCompleted, BeforeManifest, ManifestPut, LogQueued, LogShipped, JobEnded }
impl Failpoint { pub fn reached(self) {} }
