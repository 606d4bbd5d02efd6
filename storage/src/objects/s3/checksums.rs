//! Which checksum is sent with a body. Not every compatible store accepts every kind, so this is detected.
//!
//! AWS checks SHA-256 and keeps it, which is best. A store that refuses it (400, 501) is asked again with Content-MD5, then
//! with none; what it takes is used from then on, and the log says so once. Without either, the request's signature
//! still covers the body's SHA-256, so that a store which checks signatures checks bodies, too.

use std::sync::atomic::{AtomicU8, Ordering};

use aws_sdk_s3::config::RequestChecksumCalculation;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use crate::error::{Error, Result};
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::hashed::Hashed;

/// What a store takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    /// `x-amz-checksum-sha256`.
    Sha256,
    /// `Content-MD5`.
    Md5,
    /// No header of its own.
    None,
}

impl Checksum {
    const ALL: [Self; 3] = [Self::Sha256, Self::Md5, Self::None];

    /// For a header.
    pub(super) fn sha256(self, digest: Option<[u8; 32]>) -> Option<String> {
        (self == Self::Sha256).then_some(digest?).map(|digest| STANDARD.encode(digest))
    }

    /// For a header. Hashing takes a few milliseconds for each MiB.
    pub(super) async fn md5(self, body: &Hashed) -> Option<String> {
        if self != Self::Md5 {
            return None;
        }
        let bytes = body.bytes().clone();
        let digest = tokio::task::spawn_blocking(move || Md5::digest(&bytes)).await;
        // It could only have panicked. The signature still covers the body.
        digest.ok().map(|digest| STANDARD.encode(digest))
    }
}

/// What the store was found to take; shared by all that use it.
#[derive(Debug)]
pub(super) struct Negotiated(AtomicU8);

impl Negotiated {
    /// `AWS_REQUEST_CHECKSUM_CALCULATION=when_required` means a store that knows of no SHA-256.
    pub(super) fn new(asked: Option<&RequestChecksumCalculation>) -> Self {
        let first = match asked {
            Some(RequestChecksumCalculation::WhenRequired) => Checksum::Md5,
            _ => Checksum::Sha256,
        };
        Self(AtomicU8::new(first as u8))
    }

    pub(super) fn current(&self) -> Checksum {
        Checksum::ALL
            .into_iter()
            .find(|c| *c as u8 == self.0.load(Ordering::Relaxed))
            .unwrap_or(Checksum::None)
    }

    /// Makes a call with what the store is known to take; if it refuses, with what it may take instead.
    pub(super) async fn call<T, F>(&self, call: impl Fn(Checksum) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let first = self.current();
        let refused = match call(first).await {
            Err(error) if may_be_for_a_checksum(&error) => error,
            outcome => return outcome.map_err(Error::from),
        };
        for next in Checksum::ALL.into_iter().filter(|next| *next as u8 > first as u8) {
            match call(next).await {
                Err(error) if may_be_for_a_checksum(&error) => {}
                Err(error) => return Err(error.into()),
                Ok(done) => {
                    self.settle(first, next, &refused);
                    return Ok(done);
                }
            }
        }
        Err(refused.into())
    }

    fn settle(&self, first: Checksum, next: Checksum, refused: &StoreError) {
        let settled = self.0.compare_exchange(first as u8, next as u8, Ordering::Relaxed, Ordering::Relaxed);
        if settled.is_err() {
            // Another call of the same time has found it out.
            return;
        }
        let instead = match next {
            Checksum::Sha256 | Checksum::Md5 => "Content-MD5 is sent instead",
            Checksum::None => "only the signatures of the requests protect them",
        };
        tracing::warn!(
            store = refused.store,
            reason = refused.reason,
            "the store accepts no SHA-256 checksums with objects: {instead}. Set \
             AWS_REQUEST_CHECKSUM_CALCULATION=when_required to send none and to silence this warning"
        );
    }
}

/// A refusal of the request as it is.
fn may_be_for_a_checksum(error: &StoreError) -> bool {
    matches!(error.kind, StoreErrorKind::Rejected | StoreErrorKind::Unsupported)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn refused(kind: StoreErrorKind) -> StoreError {
        StoreError::new(kind, "s3://b", "write", "k", "no such header")
    }

    async fn asked(
        negotiated: &Negotiated,
        takes: impl Fn(Checksum) -> Result<(), StoreError>,
    ) -> (Vec<Checksum>, Result<()>) {
        let asked = Mutex::new(Vec::new());
        let outcome = negotiated
            .call(|checksum| {
                asked.lock().unwrap().push(checksum);
                std::future::ready(takes(checksum))
            })
            .await;
        (asked.into_inner().unwrap(), outcome)
    }

    #[tokio::test]
    async fn what_a_store_takes_is_found_out_once() {
        use Checksum::{Md5, None, Sha256};
        let only = |taken: Checksum| {
            move |c| if c == taken { Ok(()) } else { Err(refused(StoreErrorKind::Unsupported)) }
        };
        let store = Negotiated::new(Option::None);
        assert_eq!(asked(&store, only(Sha256)).await.0, [Sha256]);
        assert_eq!(asked(&store, only(Md5)).await.0, [Sha256, Md5]);
        assert_eq!(asked(&store, only(Md5)).await.0, [Md5]);
        assert_eq!(asked(&store, only(None)).await.0, [Md5, None]);
        assert_eq!(asked(&store, only(None)).await.0, [None]);
        let required = Negotiated::new(Some(&RequestChecksumCalculation::WhenRequired));
        assert_eq!(asked(&required, only(None)).await.0, [Md5, None]);
    }

    #[tokio::test]
    async fn another_refusal_stays_and_changes_nothing() {
        let store = Negotiated::new(None);
        let (all, outcome) = asked(&store, |_| Err(refused(StoreErrorKind::Rejected))).await;
        assert!(outcome.unwrap_err().to_string().contains("no such header"));
        assert_eq!(all, Checksum::ALL);
        for kind in
            [StoreErrorKind::AccessDenied, StoreErrorKind::ChecksumMismatch, StoreErrorKind::Throttled]
        {
            let (all, _) = asked(&store, |_| Err(refused(kind))).await;
            assert_eq!(all, [Checksum::Sha256], "{kind}");
        }
    }
}
