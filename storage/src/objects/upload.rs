//! Multipart uploads and their parts.

use serde::{Deserialize, Serialize};

use crate::objects::hashed::Hashed;

/// A multipart upload that was begun and neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The key under which the object will appear.
    pub key: String,
    /// The store's name for the upload.
    pub id: String,
}

/// An upload that a listing found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// What `abort_upload` takes.
    pub upload: Upload,
    /// When it was begun, in Unix milliseconds, where the store tells.
    pub began_ms: Option<i64>,
}

/// One part of an upload, to be stored.
#[derive(Debug, Clone)]
pub struct Part {
    /// 1-based and gap-free.
    pub number: u32,
    /// Where the part begins in the finished object, in bytes.
    pub offset: u64,
    /// The bytes. A store at the other end of a wire refuses them when they arrive with another SHA-256.
    pub body: Hashed,
}

/// A part that a store holds durably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartReceipt {
    /// The part's number.
    pub number: u32,
    /// Its size in bytes.
    pub bytes: u64,
    /// SHA-256 of its bytes, where the store keeps it.
    #[serde(default, with = "crate::text::hex_option", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<[u8; 32]>,
    /// The store's own mark, needed to complete the upload.
    pub etag: String,
}

/// The order that `list_uploads` promises.
pub(crate) fn in_order(mut uploads: Vec<UnfinishedUpload>) -> Vec<UnfinishedUpload> {
    uploads.sort_by(|a, b| (&a.upload.key, &a.upload.id).cmp(&(&b.upload.key, &b.upload.id)));
    uploads
}
