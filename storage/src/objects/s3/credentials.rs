//! Credentials, looked for once when a store is opened: a lack of them is reported at once.

use std::sync::{Mutex, PoisonError};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::future;
use aws_sdk_s3::config::{Credentials, ProvideCredentials, Region, SharedCredentialsProvider};

use super::causes::{causes, innermost};
use crate::objects::error::StoreErrorKind;

/// Looks where every AWS program looks.
///
/// # Errors
/// `NoCredentials`; `Credentials` when a profile is not usable. What may pass is left to the requests, which are retried.
pub(super) async fn find(
    conf: ProviderConfig,
    metadata: imds::Client,
    region: Region,
    looked_for: &str,
) -> Result<SharedCredentialsProvider, (StoreErrorKind, String)> {
    let chain = DefaultCredentialsChain::builder().configure(conf).region(region).imds_client(metadata);
    let chain = chain.build().await;
    let first = match chain.provide_credentials().await {
        Ok(found) => Some(found),
        Err(CredentialsError::CredentialsNotLoaded(_)) => {
            return Err((StoreErrorKind::NoCredentials, looked_for.to_owned()));
        }
        // Asked last: there were none anywhere else.
        Err(error) if is_switched_off(&error) => {
            let reason = format!("{looked_for}, which is switched off here (HTTP status 403)");
            return Err((StoreErrorKind::NoCredentials, reason));
        }
        Err(error @ CredentialsError::InvalidConfiguration(_)) => {
            let reason =
                format!("the configuration of the credentials cannot be used: {}", innermost(&error));
            return Err((StoreErrorKind::Credentials, reason));
        }
        Err(_) => None,
    };
    Ok(SharedCredentialsProvider::new(Found { first: Mutex::new(first), chain }))
}

/// The credentials that variables hold, or those of the profile that they name. Nothing else is asked: what a process has for
/// one store must not be sent to another.
///
/// # Errors
/// `NoCredentials`.
pub(super) fn given(
    get: impl Fn(&str) -> Option<String>,
    conf: &ProviderConfig,
) -> Result<SharedCredentialsProvider, (StoreErrorKind, String)> {
    match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), get("AWS_PROFILE")) {
        (Some(id), Some(secret), _) => {
            let given =
                Credentials::new(id, secret, get("AWS_SESSION_TOKEN"), None, "variables of this store");
            Ok(SharedCredentialsProvider::new(given))
        }
        (None, None, Some(name)) => {
            let profile =
                ProfileFileCredentialsProvider::builder().configure(conf).profile_name(name).build();
            Ok(SharedCredentialsProvider::new(profile))
        }
        (id, secret, _) => {
            let half = match (id, secret) {
                (Some(_), None) => " (AWS_ACCESS_KEY_ID is there, AWS_SECRET_ACCESS_KEY is not)",
                (None, Some(_)) => " (AWS_SECRET_ACCESS_KEY is there, AWS_ACCESS_KEY_ID is not)",
                _ => "",
            };
            let reason = format!(
                "the settings that are this store's alone have no credentials: neither AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY{half}, nor AWS_PROFILE. Those of the environment may be another store's, and were \
                 not used"
            );
            Err((StoreErrorKind::NoCredentials, reason))
        }
    }
}

/// Whether the metadata service gives nothing to anybody. The SDK has no type for it that can be named.
fn is_switched_off(error: &CredentialsError) -> bool {
    causes(error).any(|cause| cause.to_string().contains("IMDS is disabled"))
}

/// What a person reads where nothing was found.
pub(super) fn looked_for(get: impl Fn(&str) -> Option<String>) -> String {
    let half = match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
        (Some(_), None) => " (AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not)",
        (None, Some(_)) => " (AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not)",
        _ => "",
    };
    let profile = get("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
    let file = |variable, usual: &str| get(variable).unwrap_or_else(|| usual.to_owned());
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials");
    let config = file("AWS_CONFIG_FILE", "~/.aws/config");
    let metadata = match get("AWS_EC2_METADATA_DISABLED") {
        Some(off) if off.eq_ignore_ascii_case("true") => {
            "the role of an instance was not looked up, because of AWS_EC2_METADATA_DISABLED=true"
        }
        _ => "no role of an instance at the metadata service",
    };
    format!(
        "there are no credentials: none in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY{half}, in the profile \
         {profile:?} of {credentials} and {config}, or through AWS_WEB_IDENTITY_TOKEN_FILE or \
         AWS_CONTAINER_CREDENTIALS_FULL_URI, and {metadata}"
    )
}

/// Gives what was found at first, and then asks again: credentials of a role expire.
#[derive(Debug)]
struct Found {
    first: Mutex<Option<Credentials>>,
    chain: DefaultCredentialsChain,
}

impl ProvideCredentials for Found {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        match self.first.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(found) => future::ProvideCredentials::ready(Ok(found)),
            None => self.chain.provide_credentials(),
        }
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.chain.fallback_on_interrupt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_given_for_one_store_is_all_that_is_used() {
        let given = |variables: &'static [(&str, &str)]| {
            let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
            super::given(get, &ProviderConfig::without_region())
        };
        let found = given(&[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "hush")]);
        let found = found.unwrap().provide_credentials().await.unwrap();
        assert_eq!((found.access_key_id(), found.session_token()), ("AKIA", None));
        assert!(given(&[("AWS_PROFILE", "p")]).is_ok());
        for (lacking, says) in [
            (&[][..], "nor AWS_PROFILE"),
            (&[("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_PROFILE", "p")], "AWS_SECRET_ACCESS_KEY is not"),
            (&[("AWS_SECRET_ACCESS_KEY", "hush")], "AWS_ACCESS_KEY_ID is not"),
        ] {
            let (kind, reason) = given(lacking).unwrap_err();
            assert_eq!(kind, StoreErrorKind::NoCredentials);
            assert!(reason.contains(says) && !reason.contains("hush"), "{reason}");
        }
    }

    #[test]
    fn half_a_pair_of_keys_is_said() {
        let message = looked_for(|name| (name == "AWS_ACCESS_KEY_ID").then(|| "AKIA".to_owned()));
        assert!(message.contains("AWS_SECRET_ACCESS_KEY is not"), "{message}");
        assert!(!message.contains("AKIA"), "{message}");
    }
}
