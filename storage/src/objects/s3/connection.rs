//! What the absence of an answer means: no credentials, no name, no connection, no trust, no HTTP.

use std::error::Error as StdError;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use chrono::DateTime;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::causes::{causes, innermost, one_line};
use super::route::Route;
use crate::objects::error::StoreErrorKind;

/// The kind of an error that is no service's, and what to tell of it.
pub(super) fn classify<E>(error: &SdkError<E, HttpResponse>, route: &Route) -> (StoreErrorKind, String)
where
    E: StdError + ProvideErrorMetadata + 'static,
{
    let place = format!("{}{}", route.place(), route.through());
    let of_credentials = causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>());
    if let Some(of_credentials) = of_credentials {
        return credentials(of_credentials);
    }
    if let Some(tls) = causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>()) {
        return self::tls(tls, &place, route);
    }
    let says = |text: &str| causes(error).any(|cause| cause.to_string().contains(text));
    if says("proxy authorization required") {
        return (StoreErrorKind::Proxy, format!("{place} asks for credentials (HTTP status 407)"));
    }
    if says("tunnel error: unsuccessful") {
        return (
            StoreErrorKind::Unreachable,
            format!("cannot reach {place}: the proxy refuses to connect to it"),
        );
    }
    if says("dns error") {
        let reason = format!("cannot resolve a host name for {place}: {}", innermost(error));
        return (StoreErrorKind::Unreachable, reason);
    }
    if route.is_plain() && says("invalid HTTP version parsed") {
        let reason = format!(
            "what answers at {place} does not speak HTTP: if it expects TLS, write https:// instead of http://"
        );
        return (StoreErrorKind::BadEndpoint, reason);
    }
    match error {
        SdkError::TimeoutError(_) => (StoreErrorKind::Timeout, format!("no answer in time from {place}")),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            (StoreErrorKind::Timeout, format!("no connection in time to {place}"))
        }
        _ => {
            let is_refused = |cause: &io::Error| cause.kind() == io::ErrorKind::ConnectionRefused;
            let mut of_io = causes(error).filter_map(|cause| cause.downcast_ref::<io::Error>());
            let what = match (of_io.any(is_refused), route.proxy()) {
                // The proxy is all that this machine connects to.
                (true, Some(proxy)) => {
                    format!(
                        "connection refused by the proxy {proxy}, through which {} is reached",
                        route.place()
                    )
                }
                (true, None) => format!("connection refused by {place}"),
                (false, _) => format!("no answer from {place}"),
            };
            (StoreErrorKind::Unreachable, format!("{what}: {}", innermost(error)))
        }
    }
}

fn credentials(error: &CredentialsError) -> (StoreErrorKind, String) {
    let why = innermost(error);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            (StoreErrorKind::NoCredentials, format!("there are no longer any credentials: {why}"))
        }
        CredentialsError::ProviderTimedOut(_) => {
            (StoreErrorKind::Timeout, format!("the credentials did not arrive in time: {why}"))
        }
        // Credentials of a role are fetched over the same network.
        _ if causes(error).any(|cause| cause.is::<io::Error>()) => {
            (StoreErrorKind::Unreachable, format!("the credentials cannot be fetched: {why}"))
        }
        _ => (StoreErrorKind::Credentials, format!("the credentials cannot be fetched: {why}")),
    }
}

fn tls(error: &rustls::Error, place: &str, route: &Route) -> (StoreErrorKind, String) {
    match error {
        // An authority of the same name with another key is another authority.
        rustls::Error::InvalidCertificate(
            fault @ (CertificateError::UnknownIssuer | CertificateError::BadSignature),
        ) => {
            let trusted = route.trusted();
            let reason = format!("the certificate of {place} was not issued by any of {trusted} ({fault:?})");
            (StoreErrorKind::Certificate, reason)
        }
        rustls::Error::InvalidCertificate(fault) => {
            (StoreErrorKind::BadCertificate, format!("the certificate of {place} {}", certificate(fault)))
        }
        rustls::Error::InvalidMessage(_) => {
            let reason = format!(
                "what answers at {place} does not speak TLS: if it has none, write http:// instead of https://"
            );
            (StoreErrorKind::BadEndpoint, reason)
        }
        _ => (
            StoreErrorKind::Unreachable,
            format!("no TLS connection to {place}: {}", one_line(&error.to_string())),
        ),
    }
}

/// What is wrong with a certificate whose issuer is not the question.
fn certificate(fault: &CertificateError) -> String {
    let day = |time: &UnixTime| {
        let time =
            i64::try_from(time.as_secs()).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        time.map_or_else(String::new, |time| format!(" {}", time.format("%Y-%m-%d")))
    };
    match fault {
        CertificateError::Expired => "has expired".to_owned(),
        CertificateError::ExpiredContext { not_after, .. } => format!("expired on{}", day(not_after)),
        CertificateError::NotValidYet => "is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => format!("is not valid before{}", day(not_before)),
        CertificateError::NotValidForName => "is for another host name".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            format!("is for other host names: {}", one_line(&presented.join(", ")))
        }
        other if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "is that of an authority (CaUsedAsEndEntity), as self-signed ones often are, and not that of a server: it \
             has to be created with basicConstraints=CA:FALSE"
                .to_owned()
        }
        other => format!("is not accepted: {}", one_line(&other.to_string())),
    }
}
