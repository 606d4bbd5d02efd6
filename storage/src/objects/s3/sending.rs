//! How long a request may take, and a body whose digest is known.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::client::customize::CustomizableOperation;
use aws_sdk_s3::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_s3::config::{Builder, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

use crate::Hashed;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the request's begin to the answer's, without the body's own time.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// S3 puts the parts together before it answers, which "could take several minutes" (CompleteMultipartUpload).
const COMPLETION_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// The slowest body that is waited for, in bytes per second. Four parts at once pass a line of 256 kbit/s.
/// A connection that takes nothing at all is given up within seconds, by the SDK.
const SLOWEST: u64 = 8 << 10;

/// For a request whose body has so many bytes.
pub(super) fn timeouts(body: usize) -> TimeoutConfig {
    with_timeout(ANSWER_TIMEOUT + Duration::from_secs(body as u64 / SLOWEST))
}

fn with_timeout(timeout: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(timeout).build()
}

/// For the request that completes an upload.
pub(super) fn completing() -> Builder {
    Builder::new().timeout_config(with_timeout(COMPLETION_TIMEOUT))
}

/// For a request that sends `body`: time for its size, and no second hashing, for the signature has the same digest.
pub(super) fn sending<T, E, B>(
    request: CustomizableOperation<T, E, B>,
    body: &Hashed,
) -> CustomizableOperation<T, E, B> {
    request
        .config_override(Builder::new().timeout_config(timeouts(body.len())))
        .interceptor(SignedDigest(hex::encode(body.sha256())))
}

/// The SHA-256 of a body, in hex.
#[derive(Debug)]
struct SignedDigest(String);

impl Intercept for SignedDigest {
    fn name(&self) -> &'static str {
        "SignedDigest"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.0.clone()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_line_has_its_time() {
        let of = |body| timeouts(body).operation_attempt_timeout();
        assert_eq!(of(0), Some(ANSWER_TIMEOUT));
        let four_at_once = Duration::from_secs(4 * (8 << 20) * 8 / 256_000);
        assert!(of(8 << 20) > Some(four_at_once), "{four_at_once:?}");
    }
}
