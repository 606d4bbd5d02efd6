//! One request, from the socket to the answer, with the failures that a test asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use intellistor_storage::objects::Operation;
use s3s::service::S3Service;

use super::traffic::{Dialect, Failure, Traffic};

/// The connection ends without an answer.
#[derive(Debug)]
pub(super) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

/// The number of the part that a request puts.
fn part_number(uri: &Uri) -> Option<u32> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("partNumber="))?.parse().ok()
}

pub(super) async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    traffic: Arc<Traffic>,
) -> Result<Response<s3s::Body>, Cut> {
    let operation = operation(&request);
    let failure = operation.and_then(|operation| traffic.next_failure(operation));
    if failure == Some(Failure::Cut) {
        return Err(Cut);
    }
    let (head, body) = request.into_parts();
    // A client that disconnects during its request gets no answer.
    let mut body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    if let Some(operation) = operation {
        traffic.pass(operation, part_number(&head.uri)).await;
    }
    match failure {
        Some(Failure::SlowDown) => {
            return Ok(refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "SlowDown",
                "Please reduce your request rate.",
            ));
        }
        Some(Failure::ServerFault) => {
            return Ok(refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "Please try again."));
        }
        Some(Failure::AccessDenied) => {
            return Ok(denied());
        }
        Some(Failure::SlowDownFor(seconds)) => {
            let mut slow =
                refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "Please reduce your request rate.");
            slow.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            return Ok(slow);
        }
        Some(Failure::Refused(status, code)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            return Ok(refusal(status, code, "refused on purpose"));
        }
        Some(Failure::Page(status)) => return Ok(page(StatusCode::from_u16(status).expect("a status"))),
        Some(Failure::Altered) => body = altered(&body),
        Some(Failure::AnswerLost | Failure::Cut | Failure::HalfBody) | None => {}
    }
    if let Some(refused) = refused_header(&head.headers, &traffic) {
        let message = format!("Unsupported header '{refused}' received for this API call.");
        return Ok(refusal(StatusCode::BAD_REQUEST, "InvalidArgument", &message));
    }
    if operation.is_some_and(|operation| traffic.denies(operation)) {
        return Ok(denied());
    }
    if matches!(operation, Some(Operation::Put | Operation::BeginUpload)) {
        let attributes = attributes(&head.headers);
        traffic.change(|state| state.attributes = attributes);
    }
    let is_get = head.method == Method::GET;
    let mut answer = match service.call(Request::from_parts(head, s3s::Body::from(body))).await {
        Ok(answer) => answer,
        Err(error) => panic!("the test server failed: {error:?}"),
    };
    if failure == Some(Failure::AnswerLost) {
        return Err(Cut);
    }
    let is_missing = answer.status() == StatusCode::NOT_FOUND;
    if is_missing
        && matches!(operation, Some(Operation::GetRange | Operation::Head))
        && traffic.denies(Operation::List)
    {
        return Ok(denied());
    }
    if failure == Some(Failure::HalfBody) {
        return half(answer).await;
    }
    if operation == Some(Operation::PutPart) && traffic.speaks(Dialect::BareETags) {
        let etag = answer.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok());
        if let Some(bare) = etag.map(|etag| etag.trim_matches('"').parse().expect("a value")) {
            answer.headers_mut().insert(header::ETAG, bare);
        }
    }
    if is_get {
        let bytes = answer.body().size_hint().lower();
        traffic.change(|state| state.bytes_served += bytes);
    }
    Ok(answer)
}

fn operation(request: &Request<Incoming>) -> Option<Operation> {
    let query = request.uri().query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    Some(match *request.method() {
        Method::PUT if has("partNumber") => Operation::PutPart,
        Method::PUT => Operation::Put,
        Method::POST if has("uploads") => Operation::BeginUpload,
        Method::POST if has("uploadId") => Operation::CompleteUpload,
        Method::DELETE if has("uploadId") => Operation::AbortUpload,
        Method::DELETE => Operation::Delete,
        Method::GET if has("uploads") => Operation::ListUploads,
        Method::GET if has("uploadId") => Operation::ListParts,
        Method::GET if has("list-type") => Operation::List,
        Method::GET => Operation::GetRange,
        Method::HEAD => Operation::Head,
        _ => return None,
    })
}

fn denied() -> Response<s3s::Body> {
    refusal(StatusCode::FORBIDDEN, "AccessDenied", "Access Denied")
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response<s3s::Body> {
    let body =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let mut response = Response::new(s3s::Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

fn page(status: StatusCode) -> Response<s3s::Body> {
    let body =
        "<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please log in.<br></body></html>";
    let mut response = Response::new(s3s::Body::from(body.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    if status.is_redirection() {
        headers
            .insert(header::LOCATION, HeaderValue::from_static("http://portal.example/login?token=hidden"));
    }
    response
}

/// The name of a header that this dialect does not have.
/// What a request asks to be kept beside an object.
fn attributes(headers: &HeaderMap) -> BTreeMap<String, String> {
    const PREFIXES: [&str; 3] = ["x-amz-object-lock-", "x-amz-storage-class", "x-amz-meta-"];
    let asked =
        headers.iter().filter(|(name, _)| PREFIXES.iter().any(|prefix| name.as_str().starts_with(prefix)));
    asked.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned())).collect()
}

fn refused_header(headers: &HeaderMap, traffic: &Traffic) -> Option<String> {
    let (no_checksums, no_md5) =
        (traffic.speaks(Dialect::NoChecksums), traffic.speaks(Dialect::NoContentMd5));
    let refused = headers.keys().map(HeaderName::as_str).find(|name| {
        let is_checksum = name.starts_with("x-amz-checksum-")
            || name.starts_with("x-amz-sdk-checksum-")
            || *name == "x-amz-trailer";
        no_checksums && is_checksum || no_md5 && *name == "content-md5"
    });
    refused.map(str::to_owned)
}

/// The first half of an answer's body, after which the connection breaks.
async fn half(answer: Response<s3s::Body>) -> Result<Response<s3s::Body>, Cut> {
    let (head, body) = answer.into_parts();
    let mut body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    body.truncate(body.len() / 2);
    let pieces = futures::stream::unfold(Some(body), |body| async move {
        match body {
            Some(body) if !body.is_empty() => Some((Ok(Frame::data(body)), Some(Bytes::new()))),
            Some(_) => {
                // What came before is sent meanwhile.
                tokio::task::yield_now().await;
                Some((Err(Cut), None))
            }
            None => None,
        }
    });
    Ok(Response::from_parts(head, s3s::Body::http_body_unsync(StreamBody::new(pieces))))
}

fn altered(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    bytes.into()
}
