//! The endpoint: its name resolves, it answers, its certificate is trusted, the proxy lets requests through.

use std::time::Instant;

use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::{Error as StorageError, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let Some(Ok(opened)) = &examination.opened else { return Finding::skipped("the store is not open") };
    let Some(s3) = opened.s3.clone() else { return Finding::skipped("the store is a folder") };
    let prefix = BackupName::policy_prefix(examination.policy_id());
    let began = Instant::now();
    let first = opened.store.list(&prefix, None).await;
    let took = began.elapsed().as_millis();
    let about = s3.description();
    let mut way = match &about.proxy {
        Some(proxy) => format!(" through the proxy {proxy}"),
        None => String::new(),
    };
    way += &match &about.authorities {
        Some(authorities) => format!(", its certificate trusted by {authorities}"),
        None => ", without TLS".to_owned(),
    };
    let unanswered = match &first {
        Err(StorageError::Store(error)) if !is_answer(error.kind) => Some(error.clone().into()),
        _ => None,
    };
    examination.first = Some(first);
    match unanswered {
        Some(error) => Finding::of_storage(error),
        None => Finding::ok(format!("{} answered in {took} ms{way}", about.endpoint)),
    }
}

/// Whether an S3 store has answered, whatever it said.
fn is_answer(kind: StoreErrorKind) -> bool {
    use StoreErrorKind as Kind;
    !matches!(
        kind,
        Kind::Unreachable
            | Kind::Timeout
            | Kind::Throttled
            | Kind::ServerFault
            | Kind::BadSetting
            | Kind::BadEndpoint
            | Kind::Certificate
            | Kind::BadCertificate
            | Kind::Proxy
    )
}
