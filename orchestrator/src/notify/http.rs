//! One request, over the proxies and authorities that stores take.
//!
//! Redirects are not followed: what is posted, and the token with it, goes where the policy says or nowhere.

use std::sync::Arc;

use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::{Agent, Proxy};

use super::sender::Sender;
use crate::policy::shown_url;

const USER_AGENT: &str = concat!("intellistor/", env!("CARGO_PKG_VERSION"));

/// What is posted.
pub(super) struct Post<'a> {
    /// Checked by [`check_url`](crate::policy::check_url).
    pub(super) url: &'a str,
    pub(super) content_type: &'static str,
    /// Sent as `Authorization: Bearer`.
    pub(super) token: Option<&'a str>,
    pub(super) body: &'a [u8],
}

/// Posts, and wants an answer of success. An error shows no more of the URL than its host.
pub(super) fn post(sender: &Sender, post: &Post<'_>) -> Result<(), String> {
    let outbound = sender.outbound()?;
    let roots: Vec<_> = outbound.authorities().map(|der| Certificate::from_der(der).to_owned()).collect();
    let proxy = outbound.proxy_of(post.url).map(Proxy::new).transpose();
    let proxy = proxy.map_err(|_| "the proxy that the environment names cannot be used".to_owned())?;
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build();
    let agent: Agent = Agent::config_builder()
        .tls_config(tls)
        .proxy(proxy)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .timeout_global(Some(sender.timeout))
        .user_agent(USER_AGENT)
        .build()
        .into();
    let mut request = agent.post(post.url).content_type(post.content_type);
    if let Some(token) = post.token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let answer = request.send(post.body).map_err(|error| error_text(&error, sender))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    if status.is_redirection() {
        let to = answer.headers().get("location").and_then(|to| to.to_str().ok()).map(shown_url);
        let to = to.unwrap_or_else(|| "another address".to_owned());
        return Err(format!(
            "the server answered {status}, a redirect to {to}, which is not followed. Write the final URL"
        ));
    }
    Err(format!("the server answered {status}"))
}

/// What can be said without repeating a URL.
fn error_text(error: &ureq::Error, sender: &Sender) -> String {
    use ureq::Error;
    match error {
        Error::Timeout(_) => format!("no answer within {} s", sender.timeout.as_secs()),
        Error::HostNotFound => {
            "its host's name is not known. Check the URL and this machine's DNS".to_owned()
        }
        Error::Io(error) => error.to_string(),
        Error::Rustls(error) => format!("TLS: {error}"),
        Error::ConnectionFailed => "the connection failed".to_owned(),
        Error::ConnectProxyFailed(_) | Error::InvalidProxyUrl => {
            "the proxy did not let the request through".to_owned()
        }
        Error::Http(_) | Error::BadUri(_) => "its URL or token cannot be sent".to_owned(),
        // Others have texts of their own, without anything of the request.
        Error::Tls(text) => format!("TLS: {text}"),
        other => format!("the request failed ({})", kind(other)),
    }
}

/// The variant's name.
fn kind(error: &ureq::Error) -> String {
    format!("{error:?}").split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}
