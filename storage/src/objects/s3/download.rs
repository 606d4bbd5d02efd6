//! Reads a range, over as many connections as that takes.

use std::ops::Range;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};

use super::causes::innermost;
use super::errors::is_behind_the_end;
use super::foreign::NotS3;
use super::store::S3Store;
use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};

/// How often a range is continued at once; more connections that break are an error, with a pause before the next.
const CONTINUED: u32 = 8;

/// How a connection ended.
enum End {
    Whole,
    /// Before all that was announced had arrived.
    Cut(String),
}

impl S3Store {
    pub(super) async fn download(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let (mut body, mut etag) = (BytesMut::new(), None);
        let mut connections = 0;
        loop {
            connections += 1;
            let before = body.len();
            match self.piece(key, &range, &mut body, &mut etag).await? {
                End::Whole => return Ok(body.freeze()),
                End::Cut(reason) if body.len() > before && connections <= CONTINUED => {
                    tracing::debug!(
                        key,
                        reason,
                        arrived = body.len(),
                        "a connection broke; continuing on a new one"
                    );
                }
                End::Cut(reason) => return Err(self.broken("read", key, reason).into()),
            }
        }
    }

    /// Reads what of the range is not in `body` yet.
    async fn piece(
        &self,
        key: &str,
        range: &Range<u64>,
        body: &mut BytesMut,
        etag: &mut Option<String>,
    ) -> Result<End> {
        let first = range.start + body.len() as u64;
        if first >= range.end {
            return Ok(End::Whole);
        }
        let wanted = range.end - first;
        let request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key));
        let answer = request.range(format!("bytes={first}-{}", range.end - 1)).send().await;
        let mut answer = match answer {
            Err(error) if is_behind_the_end(&error) => return Ok(End::Whole),
            Err(error) => {
                return Err(self.unreadable(key, self.store_error("read", key)(error)).await.into());
            }
            Ok(answer) => answer,
        };
        if answer.e_tag().is_none() && answer.last_modified().is_none() {
            return Err(self.foreign("read", key, &NotS3::without("ETag and Last-Modified")).into());
        }
        self.may_read.store(true, Ordering::Relaxed);
        let announced = answer.content_length().and_then(|n| u64::try_from(n).ok());
        let begins = answer.content_range().map_or(Some(0), first_of);
        if begins.is_some_and(|begins| begins != first) || announced.is_some_and(|n| n > wanted) {
            return Err(self.no_ranges(key).into());
        }
        let same = etag.get_or_insert_with(|| answer.e_tag().unwrap_or_default().to_owned());
        if answer.e_tag().unwrap_or_default() != same {
            return Err(self.broken("read", key, "it changed while it was read".to_owned()).into());
        }
        let before = body.len() as u64;
        body.reserve(announced.unwrap_or(0) as usize);
        loop {
            match answer.body.try_next().await {
                Err(error) => return Ok(End::Cut(innermost(&error))),
                Ok(Some(bytes)) if body.len() as u64 + bytes.len() as u64 - before > wanted => {
                    return Err(self.no_ranges(key).into());
                }
                Ok(Some(bytes)) => {
                    body.extend_from_slice(&bytes);
                    if let Some(throttle) = &self.throttle {
                        throttle.download(bytes.len() as u64).await;
                    }
                }
                Ok(None) => break,
            }
        }
        let arrived = body.len() as u64 - before;
        Ok(match announced {
            Some(announced) if announced != arrived => {
                End::Cut(format!("{arrived} of {announced} bytes arrived"))
            }
            _ => End::Whole,
        })
    }

    /// Of an object in an archive class, HEAD says whether a readable copy is being made.
    async fn unreadable(&self, key: &str, mut refused: StoreError) -> StoreError {
        if refused.kind == StoreErrorKind::ColdStorage
            && let Ok(Some(found)) = self.look_up(key).await
            && found.restore().is_some_and(|state| state.contains("ongoing-request=\"true\""))
        {
            refused.reason += "; a readable copy was requested, and is not ready yet";
        }
        refused
    }

    fn no_ranges(&self, key: &str) -> StoreError {
        let reason = "the store, or a proxy in front of it, ignores byte ranges";
        StoreError::new(StoreErrorKind::Unsupported, self.address(), "read", key, reason)
    }
}

/// Of `bytes 3-9/10`.
fn first_of(content_range: &str) -> Option<u64> {
    content_range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
