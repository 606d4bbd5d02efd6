//! One request, from the socket to the answer, with what is to go wrong on its way.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use intellistor_storage::objects::Operation;
use s3s::service::S3Service;

use super::traffic::{Failure, Traffic};

/// The connection ends without an answer.
#[derive(Debug)]
pub(super) struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut on purpose")
    }
}

impl std::error::Error for Cut {}

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
    // A client that goes away amid its request gets no answer.
    let mut body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    if let Some(operation) = operation {
        traffic.pass(operation).await;
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
        Some(Failure::Altered) => body = altered(&body),
        Some(Failure::AnswerLost | Failure::Cut) | None => {}
    }
    if operation.is_some_and(|operation| traffic.denies(operation)) {
        return Ok(denied());
    }
    let is_get = head.method == Method::GET;
    let answer = match service.call(Request::from_parts(head, s3s::Body::from(body))).await {
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
    response
}

fn altered(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    bytes.into()
}
