//! The bucket of a store, and the client that speaks to it.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{
    Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::addressing::{self, S3Options};
use super::answers::Answers;
use super::checksums::Negotiated;
use super::clock::StoreClock;
use super::errors::{Classified, classify};
use super::foreign::NotS3;
use super::route::Route;
use super::settings::Settings;
use super::tokens::Tokens;
use super::unlisted::Unlisted;
use super::{permissions, timeouts};
use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::throttle::Throttle;
use crate::objects::url::StoreUrl;
use crate::objects::variables::Variables;

/// A bucket, and what every key in it begins with.
#[derive(Debug, Clone)]
pub struct S3Store {
    pub(super) client: Client,
    pub(super) bucket: String,
    pub(super) prefix: String,
    pub(super) clock: StoreClock,
    /// Whether an object was read here. Without `s3:ListBucket` a missing object is answered as one that must not be
    /// read is: 403. Where reading is permitted, that answer means missing.
    pub(super) may_read: Arc<AtomicBool>,
    pub(super) route: Arc<Route>,
    pub(super) equal_parts: Arc<AtomicBool>,
    pub(super) checksums: Arc<Negotiated>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) unlisted: Arc<Unlisted>,
    /// Those that requests are signed with, where the store was opened from variables.
    pub(super) credentials: Option<SharedCredentialsProvider>,
    pub(super) throttle: Option<Arc<Throttle>>,
}

impl S3Store {
    /// Takes credentials, region, endpoint, proxies and certificates from where every AWS program takes them: `AWS_*`
    /// variables, profiles, instance roles, `HTTPS_PROXY` and its like, `AWS_CA_BUNDLE`, `SSL_CERT_FILE`.
    ///
    /// # Errors
    /// `BadSetting` when a variable holds what cannot be used, `NoCredentials` when there are none.
    pub async fn from_environment(bucket: &str, prefix: &str, options: S3Options) -> Result<Self> {
        let settings = Settings::read(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let settings = settings.map_err(unusable(bucket, prefix))?;
        let shared = settings.load().await.map_err(refused(bucket, prefix))?;
        Ok(Self::configured(bucket, prefix, options, &settings, &shared))
    }

    /// Takes the same from variables that are this store's alone. Of the process's own only the files of profiles are looked
    /// at, and those only where `AWS_PROFILE` is among the variables: what another store is reached with never comes here.
    ///
    /// # Errors
    /// As for [`from_environment`](Self::from_environment).
    pub async fn from_variables(
        bucket: &str,
        prefix: &str,
        options: S3Options,
        variables: &Variables,
    ) -> Result<Self> {
        let get = |name: &str| variables.get(name);
        let settings = Settings::read(get).map_err(unusable(bucket, prefix))?;
        let shared = settings.load_from(get).await.map_err(refused(bucket, prefix))?;
        Ok(Self::configured(bucket, prefix, options, &settings, &shared))
    }

    fn configured(
        bucket: &str,
        prefix: &str,
        options: S3Options,
        settings: &Settings,
        shared: &SdkConfig,
    ) -> Self {
        let mut config = aws_sdk_s3::config::Builder::from(shared);
        if options.addressing.is_path(settings.endpoint.is_some() || shared.endpoint_url().is_some()) {
            config = config.force_path_style(true);
        }
        let route = settings.route(shared.endpoint_url(), shared.region().map(Region::as_ref));
        let endpoint = settings.endpoint.as_deref().or(shared.endpoint_url());
        let equal = options.equal_parts || addressing::wants_equal_parts(endpoint);
        let equal_parts = Arc::new(AtomicBool::new(equal));
        let credentials = shared.credentials_provider();
        Self { equal_parts, route: Arc::new(route), credentials, ..Self::new(config.build(), bucket, prefix) }
    }

    /// Uses a configuration as it is, except for retries, which are [`Retry`](crate::objects::Retry)'s, and timeouts.
    pub fn new(config: aws_sdk_s3::Config, bucket: &str, prefix: &str) -> Self {
        let checksums = Negotiated::new(config.request_checksum_calculation());
        let clock = StoreClock::default();
        let config = config
            .to_builder()
            // The SDK would add a CRC to bodies without SHA-256, which stores refuse that know of neither; and ask for
            // checksums of what it reads, which is sealed.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .interceptor(Answers(clock.clone()))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts::limited(timeouts::ANSWER))
            .stalled_stream_protection(timeouts::stalls())
            .build();
        let route = Arc::new(Route { region: config.region().map(ToString::to_string), ..Route::default() });
        Self {
            client: Client::from_conf(config),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            clock,
            may_read: Arc::default(),
            route,
            equal_parts: Arc::default(),
            checksums: Arc::new(checksums),
            tokens: Arc::default(),
            unlisted: Arc::default(),
            credentials: None,
            throttle: None,
        }
    }

    /// Limits how fast bodies go and come.
    #[must_use]
    pub fn with_throttle(self, throttle: Option<Arc<Throttle>>) -> Self {
        Self { throttle, ..self }
    }

    pub(super) fn full_key(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}/{key}", self.prefix) }
    }

    /// As a URL.
    pub(super) fn address(&self) -> String {
        address(&self.bucket, &self.prefix)
    }

    pub(super) fn store_error<E>(
        &self,
        operation: &'static str,
        key: &str,
    ) -> impl FnOnce(SdkError<E, HttpResponse>) -> StoreError
    where
        E: StdError + ProvideErrorMetadata + 'static,
    {
        let (store, key, route) = (self.address(), key.to_owned(), self.route.clone());
        let (bucket, full_key) = (self.bucket.clone(), self.full_key(&key));
        move |error| {
            let mut error = classify(&error, &route);
            if error.kind == StoreErrorKind::AccessDenied {
                error.reason = permissions::refused(operation, &bucket, &full_key, &error.reason);
            }
            classified(error, store, operation, &key)
        }
    }

    pub(super) fn broken(&self, operation: &'static str, key: &str, reason: String) -> StoreError {
        StoreError::new(StoreErrorKind::Unreachable, self.address(), operation, key, reason)
    }

    pub(super) fn foreign(&self, operation: &'static str, key: &str, what: &NotS3) -> StoreError {
        classified(Classified::foreign(what), self.address(), operation, key)
    }
}

fn unusable(bucket: &str, prefix: &str) -> impl FnOnce(String) -> StoreError {
    let refused = refused(bucket, prefix);
    move |reason| refused((StoreErrorKind::BadSetting, reason))
}

fn refused(bucket: &str, prefix: &str) -> impl FnOnce((StoreErrorKind, String)) -> StoreError + use<> {
    let address = address(bucket, prefix);
    move |(kind, reason)| StoreError::new(kind, address, "use the store", "", reason)
}

fn address(bucket: &str, prefix: &str) -> String {
    StoreUrl::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() }.to_string()
}

fn classified(error: Classified, store: String, operation: &'static str, key: &str) -> StoreError {
    let Classified { kind, reason, retry } = error;
    StoreError { retry, ..StoreError::new(kind, store, operation, key, reason) }
}
