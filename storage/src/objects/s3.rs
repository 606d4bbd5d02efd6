//! S3 and what speaks its language, through the AWS SDK.
//!
//! Every body goes with its SHA-256, which the service checks before it stores anything. An upload's checksum
//! is of the composite kind: SHA-256 over the parts' digests, the same value as the manifest's.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::Region;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, ChecksumType, CompletedMultipartUpload, CompletedPart,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use self::errors::{classify, innermost, status};
use self::route::Route;
use self::sending::Outgoing;
use self::settings::Settings;
use super::{
    Composite, ObjectInfo, ObjectStore, Page, Part, PartReceipt, PutOptions, SharedStore, UnfinishedUpload,
    Upload,
};
use crate::{Hashed, Result, StoreError, StoreErrorKind};

mod connection;
mod credentials;
mod errors;
mod network;
mod patience;
mod permissions;
mod route;
mod sending;
mod settings;

/// The name of an object's metadata, `x-amz-meta-trace-id`.
const TRACE_ID: &str = "trace-id";

/// A bucket, and what every key in it begins with.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    prefix: String,
    /// What new objects carry as metadata.
    trace_id: Option<String>,
    /// Whether an object was read here. Without `s3:ListBucket` a missing object is answered as one that must not be
    /// read is: 403. Where reading is permitted, that answer means missing.
    may_read: Arc<AtomicBool>,
    route: Arc<Route>,
}

impl S3Store {
    /// Takes credentials, region, endpoint, proxies and certificates from where every AWS program takes them: `AWS_*`
    /// variables, profiles, instance roles, `HTTPS_PROXY` and its like, `AWS_CA_BUNDLE`, `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// `BadSetting` when a variable holds what cannot be used, `NoCredentials` when there are none.
    pub async fn from_environment(bucket: &str, prefix: &str) -> Result<Self> {
        let settings = Settings::read(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let refused = |kind, reason: String| {
            let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
            StoreError::new(kind, format!("s3://{bucket}{prefix}"), "use the store", "", reason)
        };
        let settings = settings.map_err(|reason| refused(StoreErrorKind::BadSetting, reason))?;
        let shared = settings.load().await.map_err(|(kind, reason)| refused(kind, reason))?;
        let mut config = aws_sdk_s3::config::Builder::from(&shared);
        if settings.endpoint.is_some() || shared.endpoint_url().is_some() {
            // Compatible servers rarely have a name for each bucket.
            config = config.force_path_style(true);
        }
        let route = settings.route(shared.endpoint_url(), shared.region().map(Region::as_ref));
        Ok(Self { route: Arc::new(route), ..Self::new(config.build(), bucket, prefix) })
    }

    /// Uses a configuration as it is, except for retries, which are [`Retry`](super::Retry)'s, and timeouts.
    pub fn new(config: aws_sdk_s3::Config, bucket: &str, prefix: &str) -> Self {
        let config = config
            .to_builder()
            .retry_config(RetryConfig::disabled())
            .timeout_config(patience::limited(patience::ANSWER))
            .stalled_stream_protection(patience::stalls())
            .build();
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        let route = Arc::new(Route { region: config.region().map(ToString::to_string), ..Route::default() });
        let client = Client::from_conf(config);
        Self { client, bucket, prefix, trace_id: None, may_read: Arc::default(), route }
    }

    fn full_key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    fn metadata(&self) -> Option<HashMap<String, String>> {
        Some(HashMap::from([(TRACE_ID.to_owned(), self.trace_id.clone()?)]))
    }

    fn told<E>(
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
            let (kind, mut reason) = classify(&error, &route);
            if kind == StoreErrorKind::AccessDenied {
                reason = permissions::refused(operation, &bucket, &full_key, &reason);
            }
            StoreError::new(kind, store, operation, key, reason)
        }
    }

    /// What a refused HEAD means. Its answer has no body; that to the same question as a GET says why.
    async fn missing_or_refused(&self, key: &str, refused: StoreError) -> Result<Option<u64>> {
        let request =
            self.client.get_object().bucket(&self.bucket).key(self.full_key(key)).range("bytes=0-0");
        let error = match request.send().await {
            Err(error) if status(&error) != Some(416) => self.told("look up", key)(error),
            // There is an object, of which no byte may be there: HEAD alone is refused.
            _ => return Err(refused.into()),
        };
        match error.kind {
            StoreErrorKind::NotFound => Ok(None),
            StoreErrorKind::AccessDenied if self.may_read.load(Ordering::Relaxed) => Ok(None),
            _ => Err(error.into()),
        }
    }

    fn broken(&self, operation: &'static str, key: &str, reason: String) -> StoreError {
        StoreError::new(StoreErrorKind::Unreachable, self.url(), operation, key, reason)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn url(&self) -> String {
        let Self { bucket, prefix, .. } = self;
        if prefix.is_empty() { format!("s3://{bucket}") } else { format!("s3://{bucket}/{prefix}") }
    }

    async fn put_with(&self, key: &str, body: Bytes, options: PutOptions) -> Result<()> {
        let body = Hashed::new(body);
        let request = self.client.put_object().bucket(&self.bucket).key(self.full_key(key));
        let request = request.checksum_sha256(STANDARD.encode(body.sha256()));
        let request = request.set_if_none_match(options.if_absent.then(|| "*".to_owned()));
        let request = request.set_metadata(self.metadata()).content_length(body.len() as i64);
        let outgoing = Outgoing::new(&body);
        let request = outgoing.request(request.body(outgoing.stream()).customize());
        outgoing.watch(request.send()).await.map_err(self.told("write", key))?;
        Ok(())
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key));
        let answer = request.range(format!("bytes={}-{}", range.start, range.end - 1)).send().await;
        let answer = match answer {
            // The range begins behind the object's end.
            Err(error) if status(&error) == Some(416) => return Ok(Bytes::new()),
            answer => answer.map_err(self.told("read", key))?,
        };
        let announced = answer.content_length().and_then(|n| u64::try_from(n).ok());
        let body = answer.body.collect().await;
        let body = body.map_err(|e| self.broken("read", key, innermost(&e)))?.into_bytes();
        match announced {
            Some(announced) if announced != body.len() as u64 => {
                Err(self.broken("read", key, format!("{} of {announced} bytes arrived", body.len())).into())
            }
            _ if body.len() as u64 > range.end - range.start => {
                Err(self.broken("read", key, "the store ignores byte ranges".to_owned()).into())
            }
            _ => {
                self.may_read.store(true, Ordering::Relaxed);
                Ok(body)
            }
        }
    }

    async fn head(&self, key: &str) -> Result<Option<u64>> {
        let answer = self.client.head_object().bucket(&self.bucket).key(self.full_key(key)).send().await;
        match answer {
            Ok(found) => {
                self.may_read.store(true, Ordering::Relaxed);
                Ok(Some(found.content_length().and_then(|n| u64::try_from(n).ok()).unwrap_or(0)))
            }
            // An answer to HEAD has no body, so a missing bucket cannot be told from a missing object here.
            Err(error) if status(&error) == Some(404) => Ok(None),
            Err(error) if matches!(status(&error), Some(300..=499)) => {
                self.missing_or_refused(key, self.told("look up", key)(error)).await
            }
            Err(error) => Err(self.told("look up", key)(error).into()),
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page> {
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(self.full_key(prefix));
        let request = request.set_start_after(after.map(|after| self.full_key(after)));
        let answer = request.send().await.map_err(self.told("list", prefix))?;
        let skip = self.full_key("").len();
        let objects = answer.contents().iter().filter_map(|object| {
            let key = object.key()?.get(skip..)?.to_owned();
            Some(ObjectInfo { key, bytes: object.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0) })
        });
        Ok(Page { objects: objects.collect(), more: answer.is_truncated().unwrap_or(false) })
    }

    async fn begin_upload(&self, key: &str) -> Result<Upload> {
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(self.full_key(key));
        let request =
            request.checksum_algorithm(ChecksumAlgorithm::Sha256).checksum_type(ChecksumType::Composite);
        let request = request.set_metadata(self.metadata());
        let answer = request.send().await.map_err(self.told("begin an upload of", key))?;
        let id = answer.upload_id().ok_or_else(|| {
            self.broken("begin an upload of", key, "the store gave no upload id".to_owned())
        })?;
        Ok(Upload { key: key.to_owned(), id: id.to_owned() })
    }

    async fn put_part(&self, upload: &Upload, part: &Part) -> Result<PartReceipt> {
        let request = self.client.upload_part().bucket(&self.bucket).key(self.full_key(&upload.key));
        let request = request.upload_id(&upload.id).part_number(part.number as i32);
        let request = request
            .content_length(part.body.len() as i64)
            .checksum_sha256(STANDARD.encode(part.body.sha256()));
        let outgoing = Outgoing::new(&part.body);
        let request = outgoing.request(request.body(outgoing.stream()).customize());
        let sent = outgoing.watch(request.send()).await;
        let answer = sent.map_err(self.told("write a part of", &upload.key))?;
        let etag = answer.e_tag().unwrap_or_default().to_owned();
        Ok(PartReceipt {
            number: part.number,
            bytes: part.body.len() as u64,
            sha256: Some(part.body.sha256()),
            etag,
        })
    }

    async fn list_parts(&self, upload: &Upload) -> Result<Vec<PartReceipt>> {
        let mut parts = Vec::new();
        let mut marker = None;
        loop {
            let request = self.client.list_parts().bucket(&self.bucket).key(self.full_key(&upload.key));
            let request = request.upload_id(&upload.id).set_part_number_marker(marker);
            let page = request.send().await.map_err(self.told("list the parts of", &upload.key))?;
            parts.extend(page.parts().iter().map(|part| PartReceipt {
                number: part.part_number().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
                bytes: part.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
                sha256: part.checksum_sha256().and_then(|text| STANDARD.decode(text).ok()?.try_into().ok()),
                etag: part.e_tag().unwrap_or_default().to_owned(),
            }));
            marker = page.next_part_number_marker().map(str::to_owned);
            if !page.is_truncated().unwrap_or(false) || marker.is_none() {
                // Not every compatible server sorts them.
                parts.sort_by_key(|part: &PartReceipt| part.number);
                return Ok(parts);
            }
        }
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], options: PutOptions) -> Result<()> {
        let completed = parts.iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number as i32)
                .e_tag(&part.etag)
                .set_checksum_sha256(part.sha256.map(|digest| STANDARD.encode(digest)))
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
        completed.map_err(self.told("complete", &upload.key))?;
        Ok(())
    }

    async fn composite(&self, key: &str) -> Result<Option<Composite>> {
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        let request = request.checksum_mode(ChecksumMode::Enabled);
        let answer = request.send().await.map_err(self.told("look up", key))?;
        Ok(answer.checksum_sha256().and_then(composite))
    }

    /// MinIO takes the prefix for a whole key: it finds the uploads of an object, and of a folder none.
    async fn list_uploads(&self, prefix: &str) -> Result<Vec<UnfinishedUpload>> {
        let (full, skip) = (self.full_key(prefix), self.full_key("").len());
        let (mut uploads, mut key_marker, mut id_marker) = (Vec::new(), None, None);
        loop {
            let request = self.client.list_multipart_uploads().bucket(&self.bucket).prefix(&full);
            let request = request.set_key_marker(key_marker).set_upload_id_marker(id_marker);
            let page = request.send().await.map_err(self.told("list the uploads under", prefix))?;
            uploads.extend(page.uploads().iter().filter_map(|upload| {
                let (key, id) = (upload.key()?.get(skip..)?.to_owned(), upload.upload_id()?.to_owned());
                let began_ms = upload.initiated().and_then(|time| time.to_millis().ok());
                Some(UnfinishedUpload { upload: Upload { key, id }, began_ms })
            }));
            key_marker = page.next_key_marker().map(str::to_owned);
            id_marker = page.next_upload_id_marker().map(str::to_owned);
            if !page.is_truncated().unwrap_or(false) || key_marker.is_none() {
                return Ok(super::in_order(uploads));
            }
        }
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let request =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(self.full_key(&upload.key));
        let told = self.told("abort the upload of", &upload.key);
        match request.upload_id(&upload.id).send().await.map_err(told) {
            Err(error) if error.kind != StoreErrorKind::UploadGone => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn labelled(&self, trace_id: &str) -> Option<SharedStore> {
        Some(Arc::new(Self { trace_id: Some(trace_id.to_owned()), ..self.clone() }))
    }
}

/// Reads `<base64 of the digest>-<number of parts>`. The checksum of an object that was put whole has no number.
fn composite(text: &str) -> Option<Composite> {
    let (digest, parts) = text.rsplit_once('-')?;
    Some(Composite { sha256: STANDARD.decode(digest).ok()?.try_into().ok()?, parts: parts.parse().ok()? })
}
