//! What S3's answers mean; [`connection`](super::connection) has what their absence means.

use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use chrono::DateTime;

use super::causes::{causes, one_line};
use super::clock::date_ms;
use super::connection;
use super::foreign::{NotS3, is_s3};
use super::route::Route;
use crate::objects::error::{IN_REGION, RetryAdvice, StoreErrorKind};
use crate::objects::object::unix_ms;

/// What an error is to those above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Classified {
    pub(super) kind: StoreErrorKind,
    pub(super) reason: String,
    pub(super) retry: RetryAdvice,
}

impl Classified {
    /// Nothing is known of the store, whatever the answer said.
    pub(super) fn foreign(what: &NotS3) -> Self {
        Self { kind: StoreErrorKind::Unreachable, reason: what.to_string(), retry: RetryAdvice::Brief }
    }
}

/// The status of a refusal.
pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    match error {
        SdkError::ServiceError(answer) => Some(answer.raw().status().as_u16()),
        _ => None,
    }
}

/// Whether a range begins behind the object's end.
pub(super) fn is_behind_the_end<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    let is_told = error.code().is_some_and(|code| !code.is_empty())
        || error.raw_response().is_some_and(|raw| is_s3(raw.headers()));
    status(error) == Some(416) && is_told
}

pub(super) fn classify<E>(error: &SdkError<E, HttpResponse>, route: &Route) -> Classified
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    let foreign = causes(error).find_map(|cause| cause.downcast_ref::<NotS3>());
    let (kind, reason) = match error {
        _ if let Some(foreign) = foreign => return Classified::foreign(foreign),
        SdkError::ServiceError(refused) => {
            let message = error.message().unwrap_or_default();
            match service(refused.raw(), error.code().unwrap_or_default(), message, route) {
                Ok(classified) => classified,
                Err(foreign) => return Classified::foreign(&foreign),
            }
        }
        _ => connection::classify(error, route),
    };
    Classified { kind, reason, retry: advice(kind, error.raw_response()) }
}

/// What a refusal means; an error where no store refused.
fn service(
    response: &HttpResponse,
    code: &str,
    message: &str,
    route: &Route,
) -> Result<(StoreErrorKind, String), NotS3> {
    let status = response.status().as_u16();
    // The SDK has a code of its own for an answer without a body.
    let code = if code == "NotFound" && has_no_body(response) { "" } else { code };
    let words = words(code, message, status);
    if let Some(reason) = other_region(response, code, &words, route) {
        return Ok((StoreErrorKind::WrongRegion, reason));
    }
    if status == 407 {
        let through = route.through();
        return Ok((
            StoreErrorKind::Proxy,
            format!("{}{through} asks for credentials (HTTP status 407)", route.place()),
        ));
    }
    if is_for_tls(response) {
        let reason = format!("{} expects TLS: write https:// instead of http://", route.place());
        return Ok((StoreErrorKind::BadEndpoint, reason));
    }
    // Without S3's code it is a store's only if its headers say so. A failure that passes, such as a load balancer's
    // 502, is one whoever reports it.
    let passes = matches!(status, 408 | 429 | 500 | 502..=504);
    if code.is_empty() && !passes && !is_s3(response.headers()) {
        return Err(NotS3::of(response));
    }
    if code.is_empty() && (200..300).contains(&status) {
        return Ok((StoreErrorKind::Unreachable, "its answer is not readable".to_owned()));
    }
    if let Some(kind) = object_lock(message) {
        return Ok((kind, words));
    }
    if code == "InvalidPart" && message.to_ascii_lowercase().contains("same length") {
        return Ok((StoreErrorKind::UnequalParts, words));
    }
    let kind = service_kind(code, status);
    let reason = match kind {
        StoreErrorKind::NoSuchStore => format!("the bucket does not exist ({code})"),
        StoreErrorKind::ColdStorage => {
            let class = element(response, "StorageClass").or_else(|| element(response, "AccessTier"));
            let class =
                class.map_or_else(|| "an archive class".to_owned(), |class| format!("storage class {class}"));
            format!("the object is in {class}, from which it cannot be read immediately ({code})")
        }
        StoreErrorKind::ClockSkew => match clock_difference(response) {
            Some(difference) => format!("this machine's clock is {difference} ({code})"),
            None => words,
        },
        _ => words,
    };
    Ok((kind, reason))
}

/// A refusal for Object Lock, which no code of S3's tells: the object is under it, or the bucket has none.
fn object_lock(message: &str) -> Option<StoreErrorKind> {
    let message = message.to_ascii_lowercase();
    if message.contains("protected by object lock") || message.contains("worm protected") {
        Some(StoreErrorKind::Locked)
    } else if message.contains("missing object lock") || message.contains("missing objectlock") {
        Some(StoreErrorKind::Unsupported)
    } else {
        None
    }
}

fn has_no_body(raw: &HttpResponse) -> bool {
    raw.body().bytes().is_none_or(<[u8]>::is_empty)
}

fn advice(kind: StoreErrorKind, raw: Option<&HttpResponse>) -> RetryAdvice {
    if kind == StoreErrorKind::ClockSkew {
        return RetryAdvice::Brief;
    }
    let asked = raw.and_then(|raw| retry_after(raw.headers().get("retry-after")?, SystemTime::now()));
    asked.map_or(RetryAdvice::Patient, RetryAdvice::After)
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = SystemTime::from(DateTime::parse_from_rfc2822(text).ok()?);
    at.duration_since(now).ok()
}

/// Code and message, once where they say the same.
fn words(code: &str, message: &str, status: u16) -> String {
    let (code, message) = (one_line(code), one_line(message));
    match (code.is_empty(), message.is_empty() || message == code) {
        (true, true) => format!("HTTP status {status}"),
        (true, false) => message,
        (false, true) => code,
        (false, false) => format!("{code}: {message}"),
    }
}

/// Says that the bucket is in another region than the request was signed for, where it is.
fn other_region(response: &HttpResponse, code: &str, words: &str, route: &Route) -> Option<String> {
    let is_about_region = match (code, response.status().as_u16()) {
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) => {
            true
        }
        // An answer to HEAD has no body.
        ("", 301 | 400) => response.headers().contains_key("x-amz-bucket-region"),
        _ => false,
    };
    if !is_about_region {
        return None;
    }
    match bucket_region(response) {
        Some(region) if Some(&region) != route.region.as_ref() => Some(format!(
            "{IN_REGION}{region}{}",
            route.region.as_ref().map(|ours| format!(", not in {ours}")).unwrap_or_default()
        )),
        None if code == "PermanentRedirect" => Some(format!("the bucket is in another region ({words})")),
        _ => None,
    }
}

/// The region that a refusal names, if it looks like one.
fn bucket_region(response: &HttpResponse) -> Option<String> {
    let region = response.headers().get("x-amz-bucket-region").map(str::to_owned);
    region.or_else(|| element(response, "Region")).filter(|region| {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        !region.is_empty() && region.len() <= 40 && region.bytes().all(is_plain)
    })
}

/// Whether a server that speaks TLS alone has answered a request without.
fn is_for_tls(response: &HttpResponse) -> bool {
    let body = response.body().bytes().unwrap_or_default();
    let body = String::from_utf8_lossy(&body[..body.len().min(4096)]).to_ascii_lowercase();
    response.status().as_u16() == 400
        && (body.contains("http request to an https server")
            || body.contains("plain http request was sent to https port")
            || body.contains("speaking plain http to an ssl-enabled server port"))
}

/// How far this machine's clock is from the store's, by the time of its answer.
fn clock_difference(response: &HttpResponse) -> Option<String> {
    let minutes = (unix_ms(SystemTime::now())? - date_ms(response.headers())?) / 60_000;
    let size = match minutes.abs() {
        minutes @ 0..120 => format!("{minutes} minutes"),
        minutes @ 120..2880 => format!("{} hours", minutes / 60),
        minutes => format!("{} days", minutes / 1440),
    };
    Some(format!("{size} {} the store's", if minutes < 0 { "behind" } else { "ahead of" }))
}

/// The text of an element of an error's XML.
fn element(response: &HttpResponse, name: &str) -> Option<String> {
    let body = String::from_utf8_lossy(response.body().bytes()?);
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(one_line(text)).filter(|text| !text.is_empty() && text.len() <= 80)
}

/// Of S3's code, or without one of the status.
pub(super) fn service_kind(code: &str, status: u16) -> StoreErrorKind {
    match (code, status) {
        ("NoSuchBucket", _) => StoreErrorKind::NoSuchStore,
        ("NoSuchUpload", _) => StoreErrorKind::UploadGone,
        ("NoSuchKey", _) => StoreErrorKind::NotFound,
        // Only `PutOptions::if_absent` sets a condition.
        ("PreconditionFailed", _) | (_, 412) => StoreErrorKind::AlreadyExists,
        // S3 reports some failures after it has begun an answer with status 200. Another call of the same key that
        // was not finished: the next one knows its outcome.
        ("InternalError" | "ConditionalRequestConflict" | "OperationAborted", _) => {
            StoreErrorKind::ServerFault
        }
        ("InvalidObjectState", _) => StoreErrorKind::ColdStorage,
        // The signature has the time at which the request was made ready, perhaps before a sleep.
        ("RequestTimeTooSkewed" | "RequestExpired", _) => StoreErrorKind::ClockSkew,
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
        ("NotImplemented" | "MethodNotAllowed", _) | (_, 405 | 501) => StoreErrorKind::Unsupported,
        ("QuotaExceeded" | "XMinioStorageFull", _) | (_, 507) => StoreErrorKind::Full,
        (
            "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "ServiceUnavailable",
            _,
        )
        | (_, 429 | 503) => StoreErrorKind::Throttled,
        ("RequestTimeout" | "IncompleteBody", _) | (_, 408) => StoreErrorKind::Timeout,
        (_, 403) => StoreErrorKind::AccessDenied,
        (_, 404) => StoreErrorKind::NotFound,
        (_, 500..) => StoreErrorKind::ServerFault,
        _ => StoreErrorKind::Rejected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_time_or_a_date() {
        let noon = DateTime::parse_from_rfc2822("Thu, 26 Nov 2026 12:00:00 GMT").unwrap().into();
        for (text, seconds) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Thu, 26 Nov 2026 12:00:30 GMT", Some(30)),
            ("Thu, 26 Nov 2026 11:59:59 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(text, noon), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_code_counts_whatever_the_status() {
        use StoreErrorKind::{ClockSkew, NotFound, Rejected, ServerFault, Throttled, Timeout, Unsupported};
        for (code, status, kind) in [
            ("InternalError", 200, ServerFault),
            ("SlowDown", 200, Throttled),
            ("IncompleteBody", 400, Timeout),
            ("RequestTimeTooSkewed", 403, ClockSkew),
            ("NotImplemented", 400, Unsupported),
            ("Whatever", 501, Unsupported),
            ("InvalidPart", 400, Rejected),
            ("Whatever", 502, ServerFault),
            ("", 404, NotFound),
        ] {
            assert_eq!(service_kind(code, status), kind, "{code} {status}");
        }
    }

    #[test]
    fn object_lock_is_known_by_the_message() {
        for (message, kind) in [
            ("Access Denied because object protected by object lock.", Some(StoreErrorKind::Locked)),
            ("Object is WORM protected and cannot be overwritten", Some(StoreErrorKind::Locked)),
            ("Bucket is missing Object Lock Configuration", Some(StoreErrorKind::Unsupported)),
            ("Bucket is missing ObjectLockConfiguration", Some(StoreErrorKind::Unsupported)),
            ("Content-MD5 OR x-amz-checksum- HTTP header is required with Object Lock parameters", None),
            ("Access Denied", None),
        ] {
            assert_eq!(object_lock(message), kind, "{message}");
        }
    }
}
