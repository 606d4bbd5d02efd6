//! Listings that end: of objects, of the parts of an upload, of uploads.
//!
//! A page that brings nothing new and does not lead on would be asked for without end. Such a listing is an error, not an
//! empty one: what is missing from it might be taken for deleted.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::etag::quoted;
use super::store::S3Store;
use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::object::{ObjectInfo, Page};
use crate::objects::upload::{PartReceipt, UnfinishedUpload, Upload, in_order};

/// Pages in a row that may bring nothing new. S3 gives empty ones where much was deleted.
const FRUITLESS: u32 = 1_000;
impl S3Store {
    pub(super) async fn objects(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let (full, own) = (self.full_key(prefix), self.full_key(""));
        let mut token = after.and_then(|after| self.tokens.take(prefix, after));
        for _ in 0..FRUITLESS {
            let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&full);
            let request = request.set_start_after(after.map(|after| self.full_key(after)));
            let request = request.set_continuation_token(token.clone());
            let answer = request.send().await.map_err(self.store_error("list", prefix))?;
            let found = answer.contents().iter().filter_map(|object| {
                let key = object.key().filter(|key| key.starts_with(&full))?.strip_prefix(&own)?;
                let bytes = object.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                let modified_ms = object.last_modified().and_then(|time| time.to_millis().ok());
                Some(ObjectInfo { key: key.to_owned(), bytes, modified_ms })
            });
            let mut objects: Vec<_> =
                found.filter(|object| after.is_none_or(|after| object.key.as_str() > after)).collect();
            objects.sort_by(|a, b| a.key.cmp(&b.key));
            let next = answer.next_continuation_token().filter(|next| !next.is_empty());
            if !answer.is_truncated().unwrap_or(next.is_some()) {
                return Ok(Page { objects, more: false });
            }
            if let Some(last) = objects.last() {
                if let Some(next) = next {
                    self.tokens.keep(prefix, &last.key, next.to_owned());
                }
                return Ok(Page { objects, more: true });
            }
            match next {
                Some(next) if token.as_deref() != Some(next) => token = Some(next.to_owned()),
                _ => break,
            }
        }
        Err(self.goes_nowhere("list", prefix).into())
    }

    /// The parts of an upload, and when each arrived.
    pub(super) async fn parts(&self, upload: &Upload) -> Result<Vec<(PartReceipt, Option<i64>)>> {
        const OPERATION: &str = "list the parts of";
        let (mut parts, mut marker) = (Vec::new(), 0);
        loop {
            let request = self.client.list_parts().bucket(&self.bucket).key(self.full_key(&upload.key));
            let request = request.upload_id(&upload.id);
            let request = request.set_part_number_marker((marker > 0).then(|| marker.to_string()));
            let page = request.send().await.map_err(self.store_error(OPERATION, &upload.key))?;
            let found = page.parts().iter().map(|part| {
                let receipt = PartReceipt {
                    number: part.part_number().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
                    bytes: part.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                    sha256: part
                        .checksum_sha256()
                        .and_then(|text| STANDARD.decode(text).ok()?.try_into().ok()),
                    etag: quoted(part.e_tag()),
                };
                (receipt, part.last_modified().and_then(|time| time.to_millis().ok()))
            });
            parts.extend(found.filter(|(part, _)| part.number > marker));
            let next = page.next_part_number_marker().and_then(|next| next.parse().ok());
            if !page.is_truncated().unwrap_or(next.is_some_and(|next| next > marker)) {
                // Not every compatible server sorts them.
                parts.sort_by_key(|(part, _): &(PartReceipt, _)| part.number);
                return Ok(parts);
            }
            let last = parts.iter().map(|(part, _)| part.number).max();
            marker = match next.filter(|next| *next > 0).or(last) {
                Some(next) if next > marker => next,
                _ => return Err(self.goes_nowhere(OPERATION, &upload.key).into()),
            };
        }
    }

    pub(super) async fn uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        const OPERATION: &str = "list the uploads under";
        let (full, own) = (self.full_key(prefix), self.full_key(""));
        let (mut uploads, mut seen) = (Vec::new(), BTreeSet::new());
        let mut marker: Option<(String, Option<String>)> = None;
        let mut fruitless = 0;
        while fruitless < FRUITLESS {
            let (key, id) = marker.clone().map_or((None, None), |(key, id)| (Some(key), id));
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(&full);
            let request = request.set_key_marker(key).set_upload_id_marker(id);
            let page = request.send().await.map_err(self.store_error(OPERATION, prefix))?;
            fruitless += 1;
            for upload in page.uploads() {
                let (Some(key), Some(id)) = (upload.key(), upload.upload_id()) else { continue };
                let Some(key) =
                    Some(key).filter(|key| key.starts_with(&full)).and_then(|k| k.strip_prefix(&own))
                else {
                    continue;
                };
                if seen.insert((key.to_owned(), id.to_owned())) {
                    fruitless = 0;
                    let began_ms = upload.initiated().and_then(|time| time.to_millis().ok());
                    let upload = Upload { key: key.to_owned(), id: id.to_owned() };
                    uploads.push(UnfinishedUpload { upload, began_ms });
                }
            }
            let given = page.next_key_marker().filter(|key| !key.is_empty());
            if !page.is_truncated().unwrap_or(given.is_some()) {
                return Ok(in_order(uploads));
            }
            let next = match (given, page.uploads().last()) {
                (Some(key), _) => Some((key.to_owned(), page.next_upload_id_marker().map(str::to_owned))),
                (None, Some(last)) => {
                    last.key().map(|key| (key.to_owned(), last.upload_id().map(str::to_owned)))
                }
                (None, None) => None,
            };
            if next.is_none() || next == marker {
                break;
            }
            marker = next;
        }
        Err(self.goes_nowhere(OPERATION, prefix).into())
    }

    pub(super) fn goes_nowhere(&self, operation: &'static str, key: &str) -> StoreError {
        let reason = "its listing does not advance: it says that more follows, and gives nothing new";
        StoreError::new(StoreErrorKind::Unsupported, self.address(), operation, key, reason)
    }
}
