//! Where requests go and through which proxy, for the text of an error.

use std::sync::Arc;

use super::network::Network;

/// A store that was given a configuration knows its region alone.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// `http://host:port`, where one is set.
    pub(super) endpoint: Option<String>,
    pub(super) region: Option<String>,
    pub(super) network: Option<Arc<Network>>,
}

impl Route {
    /// What requests are sent to: an address that a person can look at.
    pub(super) fn place(&self) -> String {
        match (&self.endpoint, &self.region) {
            (Some(endpoint), _) => endpoint.clone(),
            (None, Some(region)) => format!("AWS S3 in {region}"),
            (None, None) => "the endpoint".to_owned(),
        }
    }

    /// ` through the proxy ...`, where there is one.
    pub(super) fn through(&self) -> String {
        self.proxy().map_or_else(String::new, |proxy| format!(" through the proxy {proxy}"))
    }

    /// The proxy that is connected to, and who names it.
    pub(super) fn proxy(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref().unwrap_or("https://amazonaws.com");
        self.network.as_ref()?.proxy_of(endpoint)
    }

    /// Whose certificates are trusted.
    pub(super) fn trusted(&self) -> String {
        match self.network.as_ref().and_then(|network| network.authorities()) {
            Some(variable) => format!("the authorities of {variable}"),
            None => "the authorities of this system".to_owned(),
        }
    }

    /// Whether requests go without TLS.
    pub(super) fn is_plain(&self) -> bool {
        self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"))
    }
}
