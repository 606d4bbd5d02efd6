//! What the usual variables say about a store: endpoint, region, network. They are the interface of every program that uses
//! an AWS SDK, and the SDK itself reads more of them (profiles, roles), so they are read here and not handed down by `cli`.
//! The rest of this crate reads none, but for the variable that arms a failpoint in tests.

use std::sync::Arc;
use std::time::Duration;

use aws_config::imds;
use aws_config::meta::region::ProvideRegion as _;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_s3::config::{Region, RequestChecksumCalculation};

use super::credentials;
use super::network::{Network, display_of};
use super::route::Route;
use crate::objects::error::StoreErrorKind;

/// An instance's metadata service is a neighbour: it answers at once, or is not there.
const METADATA: Duration = Duration::from_secs(1);
const DEFAULT_REGION: Region = Region::from_static("us-east-1");
const CHECKSUMS: &str = "AWS_REQUEST_CHECKSUM_CALCULATION";

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) endpoint: Option<String>,
    region: Option<String>,
    network: Arc<Network>,
    is_metadata_off: bool,
    /// What is said where there are no credentials.
    looked_for: String,
}

impl Settings {
    /// Reads variables; `get` gives none that is empty.
    ///
    /// # Errors
    /// A sentence about the variable that cannot be used.
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let is_true = |name: &str| get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoint = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
            .into_iter()
            .filter(|_| !is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"))
            .find_map(|name| get(name).map(|value| (name, value.trim().to_owned())));
        if let Some((name, url)) = &endpoint {
            check_endpoint(url)
                .map_err(|reason| format!("{name}={url:?} is not the URL of an endpoint: {reason}"))?;
        }
        let endpoint = endpoint.map(|(_, url)| url);
        let is_plain = endpoint.as_deref().and_then(display_of).is_some_and(|url| url.starts_with("http:"));
        Ok(Self {
            region: get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION")),
            network: Arc::new(Network::read(&get, is_plain)?),
            is_metadata_off: is_true("AWS_EC2_METADATA_DISABLED"),
            looked_for: credentials::looked_for(&get),
            endpoint,
        })
    }

    /// The configuration of every client: it asks profiles and the instance for what is still open.
    ///
    /// # Errors
    /// Those of the credentials.
    pub(super) async fn load(&self) -> Result<SdkConfig, (StoreErrorKind, String)> {
        // The metadata service is never behind a proxy.
        let metadata = ProviderConfig::without_region().with_http_client(self.network.direct());
        let metadata = imds::Client::builder()
            .configure(&metadata)
            .max_attempts(1)
            .connect_timeout(METADATA)
            .read_timeout(METADATA)
            .build();
        let client = self.network.client();
        let region = self.region(&metadata).await;
        let conf = ProviderConfig::without_region().with_http_client(client.clone());
        let conf = conf.with_region(Some(region.clone()));
        let credentials = credentials::find(conf, metadata, region.clone(), &self.looked_for).await?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(endpoint) = &self.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let shared = loader.http_client(client).region(region).credentials_provider(credentials).load().await;
        match shared.endpoint_url().map(check_endpoint) {
            Some(Err(reason)) => {
                let url = shared.endpoint_url().unwrap_or_default();
                Err((
                    StoreErrorKind::BadSetting,
                    format!("the profile's endpoint_url {url:?} is not the URL of an endpoint: {reason}"),
                ))
            }
            _ => Ok(shared),
        }
    }

    /// The configuration of a client of which nothing is asked but these variables, and the profile that they name.
    ///
    /// # Errors
    /// Those of the credentials, and of a variable that cannot be used.
    pub(super) async fn load_from(
        &self,
        get: impl Fn(&str) -> Option<String>,
    ) -> Result<SdkConfig, (StoreErrorKind, String)> {
        let client = self.network.client();
        let profile = get("AWS_PROFILE");
        let region = match (&self.region, &profile) {
            (Some(region), _) => Some(Region::new(region.clone())),
            (None, Some(name)) => {
                ProfileFileRegionProvider::builder().profile_name(name).build().region().await
            }
            (None, None) => None,
        };
        let region = region.unwrap_or(DEFAULT_REGION);
        let conf = ProviderConfig::without_region().with_http_client(client.clone());
        let credentials = credentials::given(&get, &conf.with_region(Some(region.clone())))?;
        let is_true = |name: &str| get(name).map(|value| value.eq_ignore_ascii_case("true"));
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(client)
            .region(region)
            .credentials_provider(credentials);
        if let Some(text) = get(CHECKSUMS) {
            let when = text.parse::<RequestChecksumCalculation>().map_err(|error| {
                (StoreErrorKind::BadSetting, format!("{CHECKSUMS}={text:?} cannot be used: {error}"))
            })?;
            config = config.request_checksum_calculation(when);
        }
        config.set_endpoint_url(self.endpoint.clone());
        config.set_use_fips(is_true("AWS_USE_FIPS_ENDPOINT"));
        config.set_use_dual_stack(is_true("AWS_USE_DUALSTACK_ENDPOINT"));
        Ok(config.build())
    }

    /// What errors say of the way of a request.
    pub(super) fn route(&self, endpoint: Option<&str>, region: Option<&str>) -> Route {
        Route {
            endpoint: self.endpoint.as_deref().or(endpoint).map(|url| display_of(url).unwrap_or_default()),
            region: region.map(str::to_owned),
            network: Some(self.network.clone()),
        }
    }

    async fn region(&self, metadata: &imds::Client) -> Region {
        if let Some(region) = &self.region {
            return Region::new(region.clone());
        }
        if let Some(region) = ProfileFileRegionProvider::new().region().await {
            return region;
        }
        // An endpoint of one's own is not in the instance's region.
        if self.endpoint.is_none()
            && !self.is_metadata_off
            && let Ok(region) = metadata.get("/latest/meta-data/placement/region").await
        {
            return Region::new(String::from(region));
        }
        DEFAULT_REGION
    }
}

/// Whether requests can be sent to a URL; else what is wrong with it.
fn check_endpoint(url: &str) -> Result<(), &'static str> {
    const FORMS: &str = "write https://host, https://host:port or, without TLS, http://host:port";
    let parsed = url.parse::<http::Uri>().map_err(|_| FORMS)?;
    let is_http = matches!(parsed.scheme_str(), Some("http" | "https"));
    if is_http && parsed.host().is_some_and(|host| !host.is_empty()) && parsed.query().is_none() {
        Ok(())
    } else {
        Err(FORMS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, String> {
        Settings::read(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string()))
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_named() {
        for url in [
            "localhost:9000",
            "minio",
            "ftp://x",
            "http://",
            "https://a b",
            "http://h/?x=1",
            "//h",
            "http:/h",
        ] {
            let message = read(&[("AWS_ENDPOINT_URL", url)]).unwrap_err();
            assert!(
                message.starts_with(&format!("AWS_ENDPOINT_URL={url:?} is not the URL of an endpoint")),
                "{message}"
            );
            assert!(message.contains("https://host:port"), "{message}");
        }
        for url in [
            "http://127.0.0.1:9000",
            "https://[::1]:1/",
            "https://s3.example.com/prefix",
            "HTTPS://S3.example.com",
        ] {
            assert_eq!(read(&[("AWS_ENDPOINT_URL", url)]).unwrap().endpoint.as_deref(), Some(url));
        }
    }

    #[test]
    fn the_endpoint_for_s3_wins_and_both_can_be_ignored() {
        let both = [("AWS_ENDPOINT_URL", "no url"), ("AWS_ENDPOINT_URL_S3", "http://s3:1")];
        assert_eq!(read(&both).unwrap().endpoint.as_deref(), Some("http://s3:1"));
        let ignored = [("AWS_ENDPOINT_URL", "no url"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
        assert_eq!(read(&ignored).unwrap().endpoint, None);
    }

    #[test]
    fn either_variable_names_the_region() {
        assert_eq!(
            read(&[("AWS_DEFAULT_REGION", "sa-east-1")]).unwrap().region.as_deref(),
            Some("sa-east-1")
        );
        let both = [("AWS_DEFAULT_REGION", "sa-east-1"), ("AWS_REGION", "eu-west-1")];
        assert_eq!(read(&both).unwrap().region.as_deref(), Some("eu-west-1"));
    }
}
