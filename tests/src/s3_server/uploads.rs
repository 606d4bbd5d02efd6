//! The table of multipart uploads, and what S3 says of them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::dto::{CompletedPart, ETag};
use s3s::{S3Result, s3_error};
use sha2::{Digest, Sha256};

/// Every part but the last has at least as many bytes.
const LEAST_BYTES: u64 = 5 << 20;

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadState {
    /// It waits for parts.
    Open,
    /// Its object appeared.
    Completed,
    /// The client gave it up.
    Aborted,
    /// The server lost it, as the test asked.
    Forgotten,
}

/// An upload that was ever begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenUpload {
    /// The server's name for it.
    pub id: String,
    /// The object's key in its bucket.
    pub key: String,
    /// What became of it.
    pub state: UploadState,
}

#[derive(Debug)]
pub(super) struct StoredUpload {
    pub(super) seen: SeenUpload,
    pub(super) bucket: String,
    pub(super) began: SystemTime,
    pub(super) parts: BTreeMap<i32, StoredPart>,
}

#[derive(Debug, Clone)]
pub(super) struct StoredPart {
    pub(super) bytes: u64,
    pub(super) etag: ETag,
    /// Base64, if the part came with it.
    pub(super) sha256: Option<String>,
    pub(super) stored: SystemTime,
}

impl StoredUpload {
    pub(super) fn end(&mut self, state: UploadState) {
        self.seen.state = state;
        self.parts.clear();
    }

    /// The checksum of the object that the first `count` parts make: that of their checksums, and their number. None where
    /// a part came without one. Parts that were sent and are not asked for count for nothing.
    pub(super) fn composite(&self, count: usize) -> Option<String> {
        let mut digest = Sha256::new();
        for part in self.parts.values().take(count) {
            digest.update(STANDARD.decode(part.sha256.as_ref()?).ok()?);
        }
        Some(format!("{}-{count}", STANDARD.encode(digest.finalize())))
    }

    /// Whether these parts make the object.
    pub(super) fn verify(&self, parts: &[CompletedPart], equal: bool) -> S3Result<()> {
        if parts.is_empty() {
            return Err(s3_error!(MalformedXML, "You must specify at least one part"));
        }
        if !parts.is_sorted_by(|a, b| a.part_number < b.part_number) {
            return Err(s3_error!(InvalidPartOrder));
        }
        for (i, part) in parts.iter().enumerate() {
            let number = part.part_number.unwrap_or(0);
            let held = self.parts.get(&number).filter(|_| number == i as i32 + 1);
            let held = held.filter(|held| {
                part.e_tag.as_ref() == Some(&held.etag) && part.checksum_sha256 == held.sha256
            });
            let held = held.ok_or_else(|| s3_error!(InvalidPart, "part {number} is not as it was stored"))?;
            if i + 1 < parts.len() && held.bytes < LEAST_BYTES {
                return Err(s3_error!(EntityTooSmall, "part {number} has {} bytes", held.bytes));
            }
        }
        let sizes = parts.iter().filter_map(|part| Some(self.parts.get(&part.part_number?)?.bytes));
        let sizes: Vec<_> = sizes.collect();
        let differs = |(i, bytes): (usize, &u64)| {
            if i + 1 < sizes.len() { *bytes != sizes[0] } else { *bytes > sizes[0] }
        };
        if equal && sizes.iter().enumerate().any(differs) {
            return Err(s3_error!(InvalidPart, "All non-trailing parts must have the same length."));
        }
        Ok(())
    }
}

/// Every upload, in the order of their beginnings.
#[derive(Debug, Default)]
pub(super) struct Uploads(Vec<StoredUpload>);

impl Uploads {
    pub(super) fn begin(&mut self, id: String, bucket: String, key: String) {
        let seen = SeenUpload { id, key, state: UploadState::Open };
        self.0.push(StoredUpload { seen, bucket, began: SystemTime::now(), parts: BTreeMap::new() });
    }

    pub(super) fn seen(&self) -> Vec<SeenUpload> {
        self.0.iter().map(|upload| upload.seen.clone()).collect()
    }

    /// An upload that is open under that key.
    pub(super) fn open(&mut self, bucket: &str, key: &str, id: &str) -> S3Result<&mut StoredUpload> {
        let found = self.0.iter_mut().find(|upload| {
            let seen = &upload.seen;
            seen.state == UploadState::Open && seen.id == id && seen.key == key && upload.bucket == bucket
        });
        found.ok_or_else(|| s3_error!(NoSuchUpload, "The specified upload does not exist"))
    }

    /// An upload that is open, by its id alone.
    pub(super) fn any(&mut self, id: &str) -> Option<&mut StoredUpload> {
        self.0.iter_mut().find(|upload| upload.seen.state == UploadState::Open && upload.seen.id == id)
    }

    /// The open uploads of a bucket, in the order of keys and ids, that come after a marker. Without the
    /// marker's id, all of its key are passed over.
    pub(super) fn listed(
        &self,
        bucket: &str,
        prefix: &str,
        after: (&str, Option<&str>),
    ) -> Vec<&StoredUpload> {
        let open = self.0.iter().filter(|upload| {
            let SeenUpload { id, key, state } = &upload.seen;
            let after =
                key.as_str() > after.0 || key == after.0 && after.1.is_some_and(|past| id.as_str() > past);
            *state == UploadState::Open && upload.bucket == bucket && key.starts_with(prefix) && after
        });
        let mut open: Vec<_> = open.collect();
        open.sort_by_key(|upload| (&upload.seen.key, &upload.seen.id));
        open
    }
}
