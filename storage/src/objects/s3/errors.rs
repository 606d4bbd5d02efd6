//! What S3's answers mean; [`connection`](super::connection) has what their absence means.

use std::error::Error as StdError;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use chrono::{DateTime, Utc};

use super::connection;
use super::route::Route;
use crate::StoreErrorKind;

pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// The kind of an error, and what to tell of it.
pub(super) fn classify<E>(error: &SdkError<E, HttpResponse>, route: &Route) -> (StoreErrorKind, String)
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    match error {
        SdkError::ServiceError(refused) => {
            let message = error.message().unwrap_or_default();
            service(refused.raw(), error.code().unwrap_or_default(), message, route)
        }
        _ => connection::classify(error, route),
    }
}

fn service(response: &HttpResponse, code: &str, message: &str, route: &Route) -> (StoreErrorKind, String) {
    let status = response.status().as_u16();
    let words = words(code, message, status);
    if let Some(reason) = other_region(response, code, &words, route) {
        return (StoreErrorKind::WrongRegion, reason);
    }
    if status == 407 {
        let through = route.through();
        return (
            StoreErrorKind::Proxy,
            format!("{}{through} asks for credentials (HTTP status 407)", route.place()),
        );
    }
    if is_for_tls(response) {
        let reason = format!("{} expects TLS: write https:// instead of http://", route.place());
        return (StoreErrorKind::BadEndpoint, reason);
    }
    let kind = service_kind(code, status);
    let reason = match kind {
        StoreErrorKind::NoSuchStore => format!("the bucket does not exist ({code})"),
        StoreErrorKind::ColdStorage => {
            let class = element(response, "StorageClass").or_else(|| element(response, "AccessTier"));
            let class =
                class.map_or_else(|| "an archive class".to_owned(), |class| format!("storage class {class}"));
            format!("the object lies in {class}, from which it cannot be read at once ({code})")
        }
        StoreErrorKind::ClockSkew => match clock_difference(response) {
            Some(difference) => format!("this machine's clock is {difference} ({code})"),
            None => words,
        },
        _ => words,
    };
    (kind, reason)
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

/// What to do where the bucket is in another region than the request was signed for.
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
    let region = response.headers().get("x-amz-bucket-region").map(str::to_owned);
    let region = region.or_else(|| element(response, "Region")).filter(|region| {
        let is_plain = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        !region.is_empty() && region.len() <= 40 && region.bytes().all(is_plain)
    });
    match region {
        Some(region) if Some(&region) != route.region.as_ref() => Some(format!(
            "the bucket is in region {region}{}: set AWS_REGION={region}",
            route.region.as_ref().map(|ours| format!(", not in {ours}")).unwrap_or_default()
        )),
        None if code == "PermanentRedirect" => {
            Some(format!("the bucket is in another region ({words}): set AWS_REGION to that region"))
        }
        _ => None,
    }
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
    let theirs = DateTime::parse_from_rfc2822(response.headers().get("date")?).ok()?;
    let minutes = (Utc::now() - theirs.to_utc()).num_minutes();
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

fn service_kind(code: &str, status: u16) -> StoreErrorKind {
    match (code, status) {
        ("NoSuchBucket", _) => StoreErrorKind::NoSuchStore,
        ("NoSuchUpload", _) => StoreErrorKind::UploadGone,
        ("NoSuchKey", _) => StoreErrorKind::NotFound,
        // Only `PutOptions::if_absent` sets a condition.
        ("PreconditionFailed", _) | (_, 412) => StoreErrorKind::AlreadyExists,
        // Another conditional call of the same key was not finished; the next one knows its outcome.
        ("ConditionalRequestConflict", _) => StoreErrorKind::ServerFault,
        ("InvalidObjectState", _) => StoreErrorKind::ColdStorage,
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
    connection::causes(error).last().map(|cause| one_line(&cause.to_string())).unwrap_or_default()
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
