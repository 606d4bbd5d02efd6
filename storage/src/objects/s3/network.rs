//! The network between this machine and a store: proxies, and the authorities whose certificates are trusted.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` mean what they mean to curl, in either case. `AWS_CA_BUNDLE`
//! replaces the system's authorities, as it does for the AWS CLI; else `SSL_CERT_FILE` and `SSL_CERT_DIR` do, as for
//! OpenSSL.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use crate::objects::variables::Variables;

#[derive(Debug, Clone)]
pub(super) struct Network {
    proxies: Proxies,
    trust: TlsContext,
    /// The variable that names the trusted authorities, and its value.
    authorities: Option<String>,
}

impl Network {
    /// Reads the variables; `get` gives none that is empty. `is_plain` says that the endpoint has no TLS.
    ///
    /// # Errors
    /// A sentence about the variable that cannot be used.
    pub(super) fn read(get: impl Fn(&str) -> Option<String>, is_plain: bool) -> Result<Self, String> {
        let proxies = Proxies::read(&get, is_plain)?;
        let (trust, authorities) = trusted(&get)?;
        Ok(Self { proxies, trust, authorities })
    }

    /// A client that takes the proxy that a request's URL asks for.
    pub(super) fn client(&self) -> SharedHttpClient {
        let (proxies, direct) = (self.proxies.clone(), self.direct());
        let through = |proxy: &Option<Proxy>| proxy.as_ref().map(|proxy| self.through(proxy));
        let (http, https) = (through(&proxies.http), through(&proxies.https));
        if http.is_none() && https.is_none() {
            return direct;
        }
        http_client_fn(move |settings, components| {
            let connector = |client: &SharedHttpClient| client.http_connector(settings, components);
            SharedHttpConnector::new(Routed {
                proxies: proxies.clone(),
                direct: connector(&direct),
                http: http.as_ref().map(connector),
                https: https.as_ref().map(connector),
            })
        })
    }

    /// A client that takes no proxy.
    pub(super) fn direct(&self) -> SharedHttpClient {
        self.connecting(ProxyConfig::disabled())
    }

    fn through(&self, proxy: &Proxy) -> SharedHttpClient {
        // It was read before, so that this does not fail.
        self.connecting(ProxyConfig::all(proxy.url.as_str()).unwrap_or_else(|_| ProxyConfig::disabled()))
    }

    fn connecting(&self, proxy: ProxyConfig) -> SharedHttpClient {
        let trust = self.trust.clone();
        Builder::new().build_with_connector_fn(move |settings, components| {
            let provider = Provider::Rustls(CryptoMode::AwsLc);
            let mut connector = Connector::builder().tls_provider(provider).tls_context(trust.clone());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
            connector.proxy_config(proxy.clone()).build()
        })
    }

    /// The proxy that requests to a URL take, without its credentials, and the variable that names it.
    pub(super) fn proxy_of(&self, url: &str) -> Option<String> {
        let proxy = self.proxies.of(&url.parse().ok()?)?;
        Some(format!("{} (which {} names)", display_of(&proxy.url)?, proxy.variable))
    }

    /// The variable that names the trusted authorities, and its value.
    pub(super) fn authorities(&self) -> Option<&str> {
        self.authorities.as_deref()
    }
}

/// A URL without credentials and path.
pub(super) fn display_of(url: &str) -> Option<String> {
    let url: Uri = url.parse().ok()?;
    let host = url.host()?;
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}://{host}{port}", url.scheme_str()?))
}

#[derive(Debug)]
struct Routed {
    proxies: Proxies,
    direct: SharedHttpConnector,
    http: Option<SharedHttpConnector>,
    https: Option<SharedHttpConnector>,
}

impl HttpConnector for Routed {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let url = request.uri().parse().ok();
        let proxied = url.filter(|url| self.proxies.of(url).is_some()).and_then(|url: Uri| {
            if url.scheme_str() == Some("https") { self.https.as_ref() } else { self.http.as_ref() }
        });
        proxied.unwrap_or(&self.direct).call(request)
    }
}

/// A proxy, and which variable names it.
#[derive(Clone)]
struct Proxy {
    /// With its credentials.
    url: String,
    variable: &'static str,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.variable)
    }
}

#[derive(Debug, Clone, Default)]
struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    /// `NO_PROXY`, entry by entry.
    except: Vec<String>,
}

impl Proxies {
    fn read(get: impl Fn(&str) -> Option<String>, is_plain: bool) -> Result<Self, String> {
        let named = |variables: [&'static str; 4]| {
            let found = variables.into_iter().find_map(|variable| get(variable).map(|url| (variable, url)));
            found.map(|(variable, url)| Proxy::read(variable, url.trim()))
        };
        let http = named(["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]);
        let https = named(["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]);
        // The endpoint needs one of the two; what only the other would need is no obstacle.
        let (http, https) = if is_plain {
            (http.transpose()?, https.and_then(Result::ok))
        } else {
            (http.and_then(Result::ok), https.transpose()?)
        };
        let except = get("NO_PROXY").or_else(|| get("no_proxy")).unwrap_or_default();
        let except = except.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self { http, https, except: except.map(str::to_owned).collect() })
    }

    /// The proxy that requests to a URL take.
    fn of(&self, url: &Uri) -> Option<&Proxy> {
        let is_https = url.scheme_str() == Some("https");
        let proxy = if is_https { self.https.as_ref()? } else { self.http.as_ref()? };
        let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        // A container's and an instance's metadata are this machine's own.
        let is_local = host.starts_with("169.254.") || host.eq_ignore_ascii_case("fd00:ec2::254");
        (!is_local && !self.excepts(url, port)).then_some(proxy)
    }

    /// Whether `NO_PROXY` names the host: by its name or a name above, by its address or its network, each with a port or
    /// without.
    fn excepts(&self, url: &Uri, port: u16) -> bool {
        // To the matcher the asterisk means any name, and an address is none.
        if self.except.iter().any(|entry| entry == "*") {
            return true;
        }
        let entries = self.except.iter().filter_map(|entry| {
            let (name, only) = with_port(entry);
            let name = name.strip_prefix("*.").unwrap_or(name);
            only.is_none_or(|only| only == port).then_some(name)
        });
        let entries = entries.collect::<Vec<_>>().join(",");
        let rules = Matcher::builder().all("http://proxy").no(entries).build();
        rules.intercept(url).is_none()
    }
}

/// An entry of `NO_PROXY`, and the port that it is limited to.
fn with_port(entry: &str) -> (&str, Option<u16>) {
    if entry.parse::<IpAddr>().is_ok() {
        return (entry, None);
    }
    let split = entry.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
    let (name, port) = split.map_or((entry, None), |(name, port)| (name, Some(port)));
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

impl Proxy {
    fn read(variable: &'static str, url: &str) -> Result<Self, String> {
        // What a proxy's URL holds besides may be a password: it is not repeated.
        let forms = "write http://host:port or http://user:password@host:port";
        let refused = |what: &str| format!("{variable} does not name a usable proxy: {what}");
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let parsed = url.parse::<Uri>().map_err(|_| refused(&format!("it is not a URL; {forms}")))?;
        match parsed.scheme_str() {
            Some("http" | "https") if parsed.host().is_some_and(|host| !host.is_empty()) => {
                Ok(Self { url, variable })
            }
            Some(scheme) if scheme.starts_with("socks") => {
                Err(refused(&format!("only HTTP proxies are supported, not SOCKS; {forms}")))
            }
            _ => Err(refused(forms)),
        }
    }
}

/// How requests that are not a store's leave this machine: through the same proxies, to servers that the same authorities
/// vouch for.
#[derive(Debug, Clone)]
pub struct Outbound {
    proxies: Proxies,
    authorities: Vec<CertificateDer<'static>>,
}

impl Outbound {
    /// Reads the variables that stores read.
    ///
    /// # Errors
    /// A sentence about the variable that cannot be used.
    pub fn read(variables: &Variables) -> Result<Self, String> {
        let get = |name: &str| variables.get(name);
        let authorities = match named_authorities(get)? {
            Some((certificates, _)) => certificates,
            None => rustls_native_certs::load_native_certs().certs,
        };
        Ok(Self { proxies: Proxies::read(get, false)?, authorities })
    }

    /// The proxy that requests to a URL take, with its credentials.
    pub fn proxy_of(&self, url: &str) -> Option<&str> {
        self.proxies.of(&url.parse().ok()?).map(|proxy| proxy.url.as_str())
    }

    /// The certificates of trusted authorities, in DER.
    pub fn authorities(&self) -> impl Iterator<Item = &[u8]> {
        self.authorities.iter().map(AsRef::as_ref)
    }
}

/// The authorities that the variables name, else those of the system.
fn trusted(get: impl Fn(&str) -> Option<String>) -> Result<(TlsContext, Option<String>), String> {
    let Some((certificates, named)) = named_authorities(get)? else {
        return Ok((TlsContext::default(), None));
    };
    let mut pem = String::new();
    for certificate in certificates {
        let encoded = STANDARD.encode(certificate);
        // Writing into a string does not fail.
        let _ = write!(pem, "-----BEGIN CERTIFICATE-----\n{encoded}\n-----END CERTIFICATE-----\n");
    }
    let context = TlsContext::builder().with_trust_store(TrustStore::empty().with_pem_certificate(pem));
    let context = context.build().map_err(|error| format!("{named} cannot be used: {error}"))?;
    Ok((context, Some(named)))
}

/// The authorities that the variables name, if any does, and which of them did.
fn named_authorities(
    get: impl Fn(&str) -> Option<String>,
) -> Result<Option<(Vec<CertificateDer<'static>>, String)>, String> {
    let (mut named, mut found) = (Vec::new(), rustls_native_certs::CertificateResult::default());
    if let Some(file) = get("AWS_CA_BUNDLE") {
        found = rustls_native_certs::load_certs_from_paths(Some(Path::new(&file)), None);
        named.push(format!("AWS_CA_BUNDLE={file}"));
    } else {
        let mut add = |file: Option<&Path>, folder: Option<&Path>| {
            let more = rustls_native_certs::load_certs_from_paths(file, folder);
            found.certs.extend(more.certs);
            found.errors.extend(more.errors);
        };
        if let Some(file) = get("SSL_CERT_FILE") {
            add(Some(Path::new(&file)), None);
            named.push(format!("SSL_CERT_FILE={file}"));
        }
        if let Some(folders) = get("SSL_CERT_DIR") {
            std::env::split_paths(&folders).for_each(|folder| add(None, Some(&folder)));
            named.push(format!("SSL_CERT_DIR={folders}"));
        }
    }
    if named.is_empty() {
        return Ok(None);
    }
    let named = named.join(" and ");
    // A bundle may hold, among others, what is no authority to rustls.
    let usable = |certificate: &CertificateDer<'_>| {
        RootCertStore::empty().add(certificate.clone().into_owned()).is_ok()
    };
    let mut certificates = found.certs;
    certificates.retain(usable);
    if certificates.is_empty() {
        let why = match found.errors.first() {
            Some(error) => error.to_string(),
            None => "it contains no certificate (PEM: -----BEGIN CERTIFICATE-----)".to_owned(),
        };
        return Err(format!("{named} names no trusted authority: {why}"));
    }
    Ok(Some((certificates, named)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)], is_plain: bool) -> Result<Network, String> {
        let get = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Network::read(get, is_plain)
    }

    fn proxy_of(variables: &[(&str, &str)], url: &str) -> Option<String> {
        read(variables, url.starts_with("http:")).unwrap().proxy_of(url)
    }

    #[test]
    fn each_scheme_has_its_variable_and_one_is_for_both() {
        let all = [("HTTPS_PROXY", "http://a:1"), ("http_proxy", "b:2"), ("ALL_PROXY", "http://c:3")];
        assert_eq!(proxy_of(&all, "https://s3").unwrap(), "http://a:1 (which HTTPS_PROXY names)");
        assert_eq!(proxy_of(&all, "http://s3").unwrap(), "http://b:2 (which http_proxy names)");
        assert_eq!(proxy_of(&all[1..], "https://s3").unwrap(), "http://c:3 (which ALL_PROXY names)");
        assert_eq!(proxy_of(&all[..1], "http://s3"), None);
        assert_eq!(proxy_of(&[], "https://s3"), None);
    }

    #[test]
    fn a_proxys_password_is_not_shown() {
        let proxy = [("HTTPS_PROXY", "http://ana:hush@proxy:3128/")];
        assert_eq!(proxy_of(&proxy, "https://s3").unwrap(), "http://proxy:3128 (which HTTPS_PROXY names)");
        assert!(!format!("{:?}", read(&proxy, false).unwrap()).contains("hush"));
        let message = read(&[("HTTPS_PROXY", "http://ana:hu sh@proxy")], false).unwrap_err();
        assert!(message.starts_with("HTTPS_PROXY ") && !message.contains("hu sh"), "{message}");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_refused_where_it_is_needed() {
        for bad in ["socks5h://127.0.0.1:1080", "ftp://x", "http://", "http://a b"] {
            let message = read(&[("ALL_PROXY", bad)], false).unwrap_err();
            assert!(message.contains("ALL_PROXY") && message.contains("http://host:port"), "{message}");
            assert!(read(&[("HTTPS_PROXY", bad)], true).is_ok(), "{bad} is for https alone");
            assert!(read(&[("ALL_PROXY", bad), ("HTTPS_PROXY", "http://p:1")], false).is_ok(), "{bad}");
        }
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_networks_and_ports() {
        for (entries, url, is_direct) in [
            ("minio.lan", "https://minio.lan:9000", true),
            ("minio.lan", "https://bucket.minio.lan", true),
            ("minio.lan", "https://notminio.lan", false),
            (".lan", "https://minio.lan", true),
            ("*.lan", "https://minio.lan", true),
            ("other, MINIO.lan", "https://minio.lan", true),
            ("other minio.lan", "https://minio.lan", true),
            ("10.0.0.7", "https://10.0.0.7:9000", true),
            ("10.0.0.7", "https://10.0.0.8:9000", false),
            ("10.0.0.0/8", "https://10.200.0.8", true),
            ("10.0.0.0/8", "https://11.0.0.8", false),
            ("::1", "https://[::1]:9000", true),
            ("fd00::/8", "https://[fd12::1]", true),
            ("127.0.0.1:9000", "https://127.0.0.1:9000", true),
            ("127.0.0.1:9000", "https://127.0.0.1:9001", false),
            ("minio.lan:443", "https://minio.lan", true),
            ("[::1]:9000", "https://[::1]:9000", true),
            ("*", "https://anything", true),
            ("*", "https://10.0.0.7", true),
            ("", "https://anything", false),
        ] {
            let variables = [("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", entries)];
            assert_eq!(proxy_of(&variables, url).is_none(), is_direct, "NO_PROXY={entries} {url}");
        }
    }

    #[test]
    fn metadata_services_are_never_behind_a_proxy() {
        let proxy = [("HTTP_PROXY", "http://p:1")];
        for url in ["http://169.254.169.254/latest", "http://169.254.170.2/x", "http://[fd00:ec2::254]/"] {
            assert_eq!(proxy_of(&proxy, url), None, "{url}");
        }
    }

    #[test]
    fn a_bundle_without_a_certificate_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let empty = dir.path().join("empty.pem");
        std::fs::write(&empty, "no certificate").unwrap();
        for (variable, path) in
            [("AWS_CA_BUNDLE", &empty), ("SSL_CERT_FILE", &dir.path().join("missing.pem"))]
        {
            let path = path.to_str().unwrap();
            let message = read(&[(variable, path)], false).unwrap_err();
            assert!(message.starts_with(&format!("{variable}={path}")), "{message}");
        }
    }
}
