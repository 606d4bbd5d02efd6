//! S3 and what speaks its language, through the AWS SDK.
//!
//! Every body goes with its SHA-256, which the service checks before it stores anything, unless the store takes no
//! such header (`checksums`). An upload's checksum is then of the composite kind: SHA-256 over the parts' digests, the
//! same value as the manifest's.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{Region, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload, CompletedPart};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use self::checksums::{Checksum, Negotiated};
use self::clock::StoreClock;
use self::errors::{Classified, classify, is_behind_the_end, service_kind, status};
use self::foreign::{NotS3, OnlyS3, is_s3};
use self::listings::Tokens;
use self::route::Route;
use self::sending::Outgoing;
use self::settings::Settings;
use super::{
    Composite, ObjectStore, Page, Part, PartReceipt, PutOptions, SharedStore, UnfinishedUpload, Upload,
};
use crate::error::{Error, Result};
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::hashed::Hashed;

mod addressing;
mod bounded;
mod checksums;
mod clock;
mod connection;
mod credentials;
mod download;
mod errors;
mod foreign;
mod listings;
mod network;
mod patience;
mod permissions;
mod route;
mod sending;
mod settings;

pub use addressing::{Addressing, S3Options};

/// The name of an object's metadata, `x-amz-meta-trace-id`.
const TRACE_ID: &str = "trace-id";

/// A bucket, and what every key in it begins with.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    prefix: String,
    clock: StoreClock,
    /// What new objects carry as metadata.
    trace_id: Option<String>,
    /// Whether an object was read here. Without `s3:ListBucket` a missing object is answered as one that must not be
    /// read is: 403. Where reading is permitted, that answer means missing.
    may_read: Arc<AtomicBool>,
    route: Arc<Route>,
    equal_parts: Arc<AtomicBool>,
    checksums: Arc<Negotiated>,
    tokens: Arc<Tokens>,
}

impl S3Store {
    /// Takes credentials, region, endpoint, proxies and certificates from where every AWS program takes them: `AWS_*`
    /// variables, profiles, instance roles, `HTTPS_PROXY` and its like, `AWS_CA_BUNDLE`, `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// `BadSetting` when a variable holds what cannot be used, `NoCredentials` when there are none.
    pub async fn from_environment(bucket: &str, prefix: &str, options: S3Options) -> Result<Self> {
        let settings = Settings::read(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let refused = |kind, reason: String| {
            let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
            StoreError::new(kind, format!("s3://{bucket}{prefix}"), "use the store", "", reason)
        };
        let settings = settings.map_err(|reason| refused(StoreErrorKind::BadSetting, reason))?;
        let shared = settings.load().await.map_err(|(kind, reason)| refused(kind, reason))?;
        let mut config = aws_sdk_s3::config::Builder::from(&shared);
        if options.addressing.is_path(settings.endpoint.is_some() || shared.endpoint_url().is_some()) {
            config = config.force_path_style(true);
        }
        let route = settings.route(shared.endpoint_url(), shared.region().map(Region::as_ref));
        let endpoint = settings.endpoint.as_deref().or(shared.endpoint_url());
        let equal = options.equal_parts || addressing::wants_equal_parts(endpoint);
        let equal_parts = Arc::new(AtomicBool::new(equal));
        Ok(Self { equal_parts, route: Arc::new(route), ..Self::new(config.build(), bucket, prefix) })
    }

    /// Uses a configuration as it is, except for retries, which are [`Retry`](super::Retry)'s, and timeouts.
    pub fn new(config: aws_sdk_s3::Config, bucket: &str, prefix: &str) -> Self {
        let checksums = Negotiated::new(config.request_checksum_calculation());
        let clock = StoreClock::default();
        let config = config
            .to_builder()
            // The SDK would add a CRC to bodies without SHA-256, which stores refuse that know of neither; and ask for
            // checksums of what it reads, which is sealed.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .interceptor(OnlyS3)
            .interceptor(clock.clone())
            .interceptor(bounded::BoundedAnswers)
            .retry_config(RetryConfig::disabled())
            .timeout_config(patience::limited(patience::ANSWER))
            .stalled_stream_protection(patience::stalls())
            .build();
        let route = Arc::new(Route { region: config.region().map(ToString::to_string), ..Route::default() });
        Self {
            client: Client::from_conf(config),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            clock,
            trace_id: None,
            may_read: Arc::default(),
            route,
            equal_parts: Arc::default(),
            checksums: Arc::new(checksums),
            tokens: Arc::default(),
        }
    }

    fn full_key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    fn metadata(&self) -> Option<HashMap<String, String>> {
        Some(HashMap::from([(TRACE_ID.to_owned(), self.trace_id.clone()?)]))
    }

    fn store_error<E>(
        &self,
        operation: &'static str,
        key: &str,
    ) -> impl FnOnce(SdkError<E, HttpResponse>) -> StoreError
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        let (store, key, route) = (self.url(), key.to_owned(), self.route.clone());
        let (bucket, full_key) = (self.bucket.clone(), self.full_key(&key));
        move |error| {
            let mut error = classify(&error, &route);
            if error.kind == StoreErrorKind::AccessDenied {
                error.reason = permissions::refused(operation, &bucket, &full_key, &error.reason);
            }
            classified(error, store, operation, &key)
        }
    }

    fn broken(&self, operation: &'static str, key: &str, reason: String) -> StoreError {
        StoreError::new(StoreErrorKind::Unreachable, self.url(), operation, key, reason)
    }

    fn foreign(&self, operation: &'static str, key: &str, what: &NotS3) -> StoreError {
        classified(Classified::foreign(what), self.url(), operation, key)
    }

    /// Stores a body whose answer must have an `ETag`; gives that.
    fn stored(&self, operation: &'static str, key: &str, etag: Option<&str>) -> Result<String, StoreError> {
        let etag = quoted(etag);
        if etag.is_empty() {
            return Err(self.foreign(operation, key, &NotS3::without("ETag")));
        }
        Ok(etag)
    }

    async fn put_once(
        &self,
        key: &str,
        body: &Hashed,
        options: PutOptions,
        checksum: Checksum,
    ) -> Result<(), StoreError> {
        const OPERATION: &str = "write";
        let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(key));
        let request = request.set_checksum_sha256(checksum.sha256(Some(body.sha256())));
        let request = request.set_content_md5(checksum.md5(body).await);
        let request = request.set_if_none_match(options.if_absent.then(|| "*".to_owned()));
        let request = request.set_metadata(self.metadata()).content_length(body.len() as i64);
        let outgoing = Outgoing::new(body);
        let request = outgoing.request(request.body(outgoing.stream()).customize());
        let answer = outgoing.watch(request.send()).await.map_err(self.store_error(OPERATION, key))?;
        self.stored(OPERATION, key, answer.e_tag()).map(drop)
    }

    async fn begin_once(&self, key: &str, checksum: Checksum) -> Result<Upload, StoreError> {
        const OPERATION: &str = "begin an upload of";
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(self.full_key(key));
        // Of SHA-256, the composite type is the default. Not every store that takes the algorithm takes the type.
        let algorithm = (checksum == Checksum::Sha256).then_some(ChecksumAlgorithm::Sha256);
        let request = request.set_checksum_algorithm(algorithm).set_metadata(self.metadata());
        let answer = request.send().await.map_err(self.store_error(OPERATION, key))?;
        let id = answer.upload_id().filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| self.foreign(OPERATION, key, &NotS3::without("an upload id")))?;
        Ok(Upload { key: key.to_owned(), id: id.to_owned() })
    }

    async fn put_part_once(
        &self,
        upload: &Upload,
        part: &Part,
        checksum: Checksum,
    ) -> Result<PartReceipt, StoreError> {
        const OPERATION: &str = "write a part of";
        let request = self.client.upload_part().bucket(&self.bucket).key(self.full_key(&upload.key));
        let request = request.upload_id(&upload.id).part_number(part.number as i32);
        let request = request.content_length(part.body.len() as i64);
        let request = request.set_checksum_sha256(checksum.sha256(Some(part.body.sha256())));
        let request = request.set_content_md5(checksum.md5(&part.body).await);
        let outgoing = Outgoing::new(&part.body);
        let request = outgoing.request(request.body(outgoing.stream()).customize());
        let sent = outgoing.watch(request.send()).await;
        let answer = sent.map_err(self.store_error(OPERATION, &upload.key))?;
        Ok(PartReceipt {
            number: part.number,
            bytes: part.body.len() as u64,
            sha256: (checksum == Checksum::Sha256).then(|| part.body.sha256()),
            etag: self.stored(OPERATION, &upload.key, answer.e_tag())?,
        })
    }

    async fn complete_once(
        &self,
        upload: &Upload,
        parts: &[PartReceipt],
        options: PutOptions,
        checksum: Checksum,
    ) -> Result<(), StoreError> {
        let completed = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number as i32)
                .e_tag(&part.etag)
                .set_checksum_sha256(checksum.sha256(part.sha256))
                .build()
        });
        let completed = CompletedMultipartUpload::builder().set_parts(Some(completed.collect())).build();
        let request =
            self.client.complete_multipart_upload().bucket(&self.bucket).key(self.full_key(&upload.key));
        let request = request.upload_id(&upload.id).multipart_upload(completed);
        let request = request.set_if_none_match(options.if_absent.then(|| "*".to_owned()));
        let patient =
            aws_sdk_s3::config::Builder::new().timeout_config(patience::limited(patience::COMPLETION));
        let completed = request.customize().config_override(patient).send().await;
        completed.map_err(self.store_error("complete", &upload.key)).map(drop)
    }

    /// For a store that refuses a condition: a look has to do.
    async fn look_before(&self, operation: &'static str, key: &str) -> Result<()> {
        let found = self.head(key).await?;
        let reason = "there is such an object already";
        let exists = || StoreError::new(StoreErrorKind::AlreadyExists, self.url(), operation, key, reason);
        found.map_or(Ok(()), |_| Err(exists().into()))
    }

    /// What a refused HEAD means. Its answer has no body; that to the same question as a GET says why.
    async fn missing_or_refused(&self, key: &str, refused: StoreError, status: u16) -> Result<Option<u64>> {
        let request =
            self.client.get_object().bucket(&self.bucket).key(self.full_key(key)).range("bytes=0-0");
        let error = match request.send().await {
            Err(error) if !is_behind_the_end(&error) => self.store_error("look up", key)(error),
            // There is an object, of which no byte may be there: HEAD alone is refused.
            _ => {
                let kind = match service_kind("", status) {
                    StoreErrorKind::NotFound => return Err(refused.into()),
                    // A request that was bad a moment ago, and is good now.
                    StoreErrorKind::Rejected => StoreErrorKind::ServerFault,
                    kind => kind,
                };
                let words = format!("HTTP status {status}");
                let reason = match kind {
                    StoreErrorKind::AccessDenied => {
                        permissions::refused("look up", &self.bucket, &self.full_key(key), &words)
                    }
                    _ => words,
                };
                return Err(StoreError { kind, reason, ..refused }.into());
            }
        };
        match error.kind {
            StoreErrorKind::NotFound => Ok(None),
            StoreErrorKind::AccessDenied if self.may_read.load(Ordering::Relaxed) => Ok(None),
            _ => Err(error.into()),
        }
    }
}

fn classified(error: Classified, store: String, operation: &'static str, key: &str) -> StoreError {
    let Classified { kind, reason, retry, bucket_region } = error;
    StoreError { retry, bucket_region, ..StoreError::new(kind, store, operation, key, reason) }
}

/// One form for what stores write with quotes, without them, or as a weak tag.
fn quoted(etag: Option<&str>) -> String {
    let etag = etag.unwrap_or_default().trim();
    let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    if etag.is_empty() { String::new() } else { format!("\"{etag}\"") }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn url(&self) -> String {
        let Self { bucket, prefix, .. } = self;
        if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") }
    }

    async fn put_with(&self, key: &str, body: Bytes, options: PutOptions) -> Result<()> {
        let body = &Hashed::new(body);
        let put = async |options| self.checksums.call(|c| self.put_once(key, body, options, c)).await;
        match put(options).await {
            Err(Error::Store(refused)) if may_be_for_the_condition(&refused, options) => {
                self.look_before("write", key).await?;
                put(PutOptions::default()).await
            }
            outcome => outcome,
        }
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        self.download(key, range).await
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        const OPERATION: &str = "look up";
        let answer = self.client.head_object().bucket(&self.bucket).key(self.full_key(key)).send().await;
        match answer {
            Ok(found) if found.e_tag().is_none() && found.last_modified().is_none() => {
                Err(self.foreign(OPERATION, key, &NotS3::without("ETag and Last-Modified")).into())
            }
            Ok(found) => {
                self.may_read.store(true, Ordering::Relaxed);
                Ok(Some(found.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)))
            }
            // An answer to HEAD has no body, so a missing bucket cannot be told from a missing object here.
            Err(error)
                if status(&error) == Some(404)
                    && error.raw_response().is_some_and(|raw| is_s3(raw.headers())) =>
            {
                Ok(None)
            }
            Err(error) => match status(&error) {
                Some(status @ (300..=407 | 409..=428 | 430..=499)) => {
                    let refused = self.store_error(OPERATION, key)(error);
                    self.missing_or_refused(key, refused, status).await
                }
                _ => Err(self.store_error(OPERATION, key)(error).into()),
            },
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        self.objects(prefix, after).await
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload> {
        self.checksums.call(|checksum| self.begin_once(key, checksum)).await
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        self.checksums.call(|checksum| self.put_part_once(upload, part, checksum)).await
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        Ok(self.parts(upload).await?.into_iter().map(|(receipt, _)| receipt).collect())
    }

    async fn last_part_ms(&self, upload: &Upload) -> Result<Option<i64>> {
        Ok(self.parts(upload).await?.into_iter().filter_map(|(_, arrived)| arrived).max())
    }

    fn now_ms(&self) -> Option<i64> {
        self.clock.now_ms()
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], options: PutOptions) -> Result<()> {
        let complete =
            async |options| self.checksums.call(|c| self.complete_once(upload, parts, options, c)).await;
        let completed = match complete(options).await {
            Err(Error::Store(refused)) if may_be_for_the_condition(&refused, options) => {
                self.look_before("complete", &upload.key).await?;
                complete(PutOptions::default()).await
            }
            outcome => outcome,
        };
        if matches!(&completed, Err(Error::Store(error)) if error.kind == StoreErrorKind::UnequalParts) {
            self.equal_parts.store(true, Ordering::Relaxed);
        }
        completed
    }

    async fn composite(&self, key: &str) -> Result<Option<Composite>> {
        if self.checksums.current() != Checksum::Sha256 {
            return Ok(None);
        }
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(answer) => Ok(answer.checksum_sha256().and_then(composite)),
            // A store that does not know the question has no answer to it.
            Err(error)
                if matches!(status(&error), Some(400 | 405 | 501)) && self.head(key).await?.is_some() =>
            {
                Ok(None)
            }
            Err(error) => Err(self.store_error("look up", key)(error).into()),
        }
    }

    /// MinIO takes the prefix for a whole key: it finds the uploads of an object, and of a folder none.
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        self.uploads(prefix).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let request =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(self.full_key(&upload.key));
        let refused = self.store_error("abort the upload of", &upload.key);
        match request.upload_id(&upload.id).send().await.map_err(refused) {
            Err(error) if error.kind != StoreErrorKind::UploadGone => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn wants_equal_parts(&self) -> bool {
        self.equal_parts.load(Ordering::Relaxed)
    }

    fn labelled(&self, trace_id: &str) -> Option<SharedStore> {
        Some(Arc::new(Self { trace_id: Some(trace_id.to_owned()), ..self.clone() }))
    }
}

/// A refusal of the request as it stands. Asked again without the condition, the store gives its true reason.
fn may_be_for_the_condition(refused: &StoreError, options: PutOptions) -> bool {
    options.if_absent && matches!(refused.kind, StoreErrorKind::Rejected | StoreErrorKind::Unsupported)
}

/// Reads `<base64 of the digest>-<number of parts>`. The checksum of an object that was put whole has no number.
fn composite(text: &str) -> Option<Composite> {
    let (digest, parts) = text.rsplit_once('-')?;
    Some(Composite { sha256: STANDARD.decode(digest).ok()?.try_into().ok()?, parts: parts.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_the_same_in_every_form() {
        for etag in ["abc-1", "\"abc-1\"", "W/\"abc-1\"", " abc-1 "] {
            assert_eq!(quoted(Some(etag)), "\"abc-1\"");
        }
        assert_eq!((quoted(None), quoted(Some("\"\""))), (String::new(), String::new()));
    }
}
