//! Which store the policy has, and the credentials for it.

use intellistor_storage::{Error as StorageError, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;
use super::subject::StoreSettings;

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let Some(policy) = &examination.policy else { return Finding::skipped("there is no policy") };
    let settings = match (examination.subject.store)(policy) {
        Ok(settings) => settings,
        Err(finding) => return finding,
    };
    let (url, source) =
        (settings.url.clone(), if policy.store.is_some() { "the policy" } else { "AWS_S3_BUCKET" });
    let opened = url.open_once(settings.options.clone()).await;
    examination.settings = Some(settings);
    match opened {
        // The next check says so.
        Err(StorageError::Store(error)) if is_of_credentials(error.kind) => {
            examination.opened = Some(Err(error.into()));
        }
        Err(error) => return Finding::of_storage(error),
        Ok(opened) => examination.opened = Some(Ok(opened)),
    }
    Finding::ok(format!("{url}, from {source}"))
}

fn is_of_credentials(kind: StoreErrorKind) -> bool {
    matches!(kind, StoreErrorKind::NoCredentials | StoreErrorKind::Credentials)
}

pub(super) async fn check_credentials(examination: &mut Examination) -> Finding {
    let opened = match examination.opened.take() {
        Some(Ok(opened)) => opened,
        Some(Err(error)) => return Finding::of_storage(error),
        None => return Finding::skipped("the store is not open"),
    };
    let s3 = opened.s3.clone();
    examination.opened = Some(Ok(opened));
    let Some(s3) = s3 else { return Finding::skipped("the store is a folder") };
    let Some(access) = s3.access_key().await else {
        return Finding::failed("the credentials cannot be fetched")
            .advise("Check the profile, or the role of this instance or container")
            .for_now();
    };
    let Some(StoreSettings { access_key_id, profile, .. }) = &examination.settings else {
        return Finding::skipped("the store is not open");
    };
    let source = match (access_key_id, profile) {
        (Some(id), _) if access.has_id(id) => "from AWS_ACCESS_KEY_ID".to_owned(),
        (_, Some(profile)) => format!("from the profile {profile:?}"),
        _ => "from the AWS SDK's files, or a role".to_owned(),
    };
    let ends = if access.is_temporary { "; they are temporary, and have to be renewed" } else { "" };
    Finding::ok(format!("access key {} {source}{ends}", access.id))
}
