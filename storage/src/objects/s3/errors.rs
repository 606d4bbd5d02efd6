//! What S3's answers, and their absence, mean.

use std::error::Error as StdError;
use std::fmt::Debug;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use crate::StoreErrorKind;

/// The HTTP status of a raw response.
pub(super) trait HttpStatus {
    fn http_status(&self) -> u16;
}

impl HttpStatus for aws_sdk_s3::config::http::HttpResponse {
    fn http_status(&self) -> u16 {
        self.status().as_u16()
    }
}

pub(super) fn status<E, R: HttpStatus>(error: &SdkError<E, R>) -> Option<u16> {
    error.raw_response().map(HttpStatus::http_status)
}

/// The kind of an error, and what to tell of it.
pub(super) fn classify<E, R>(error: &SdkError<E, R>) -> (StoreErrorKind, String)
where
    E: StdError + ProvideErrorMetadata + 'static,
    R: Debug + HttpStatus + 'static,
{
    match error {
        SdkError::ServiceError(_) => {
            let (status, code) = (status(error).unwrap_or(0), error.code().unwrap_or_default());
            let words = [code, error.message().unwrap_or_default()];
            let words: Vec<_> = words.into_iter().filter(|w| !w.is_empty()).map(one_line).collect();
            let reason = if words.is_empty() { format!("HTTP status {status}") } else { words.join(": ") };
            (service_kind(code, status), reason)
        }
        SdkError::TimeoutError(_) => (StoreErrorKind::Timeout, "no answer in time".to_owned()),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (StoreErrorKind::Timeout, "no connection in time".to_owned())
        }
        // Credentials are looked up while a request is made ready to go.
        SdkError::DispatchFailure(failure) if failure.is_io() => {
            (StoreErrorKind::Unreachable, innermost(error))
        }
        SdkError::ResponseError(_) => (StoreErrorKind::Unreachable, innermost(error)),
        _ => {
            let reason = innermost(error);
            let words = format!("{error:?}").to_lowercase();
            let kind = if words.contains("credential") {
                StoreErrorKind::Credentials
            } else {
                StoreErrorKind::Unreachable
            };
            (kind, reason)
        }
    }
}

fn service_kind(code: &str, status: u16) -> StoreErrorKind {
    match (code, status) {
        ("NoSuchBucket", _) => StoreErrorKind::NoSuchStore,
        ("NoSuchUpload", _) => StoreErrorKind::UploadGone,
        ("NoSuchKey", _) => StoreErrorKind::NotFound,
        // Only `PutOptions::if_absent` sets a condition.
        ("PreconditionFailed", _) | (_, 412) => StoreErrorKind::AlreadyExists,
        // Another conditional call of the same key was not finished; the next one knows its outcome.
        ("ConditionalRequestConflict", _) => StoreErrorKind::ServerFault,
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "InvalidClientTokenId"
            | "AuthorizationHeaderMalformed"
            | "NotSignedUp",
            _,
        )
        | (_, 401) => StoreErrorKind::Credentials,
        ("BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "XAmzContentChecksumMismatch", _) => {
            StoreErrorKind::ChecksumMismatch
        }
        // Not every compatible server has every operation; asking again does not help.
        ("NotImplemented", _) | (_, 501) => StoreErrorKind::Rejected,
        ("QuotaExceeded" | "XMinioStorageFull", _) | (_, 507) => StoreErrorKind::Full,
        (
            "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "ServiceUnavailable",
            _,
        )
        | (_, 429 | 503) => StoreErrorKind::Throttled,
        ("RequestTimeout", _) | (_, 408) => StoreErrorKind::Timeout,
        (_, 403) => StoreErrorKind::AccessDenied,
        (_, 404) => StoreErrorKind::NotFound,
        (_, 500..) => StoreErrorKind::ServerFault,
        _ => StoreErrorKind::Rejected,
    }
}

/// The cause at the bottom of an error, which is the one that says something.
pub(super) fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    one_line(&cause.to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
