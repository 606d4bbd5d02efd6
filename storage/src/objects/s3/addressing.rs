//! Where the bucket's name appears in the URL of a request.

use std::str::FromStr;

/// `https://endpoint/bucket/key`, or `https://bucket.endpoint/key`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addressing {
    /// In the path where an endpoint is set, since compatible servers rarely have a name for each bucket; in the host
    /// at AWS.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// In the host, as Alibaba OSS demands.
    Virtual,
}

/// How S3 is spoken to, where it is not AWS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct S3Options {
    pub addressing: Addressing,
    /// Whether all parts of an upload but the last must be equally large. It is known of Cloudflare R2; of another store
    /// it is learnt when an upload of unequal parts was refused, which was then sent in vain.
    pub equal_parts: bool,
}

/// Whether an endpoint is known to want equal parts.
pub(super) fn wants_equal_parts(endpoint: Option<&str>) -> bool {
    let host = endpoint.and_then(|url| url.split("://").nth(1)?.split(['/', ':']).next());
    host.is_some_and(|host| host.to_ascii_lowercase().ends_with(".r2.cloudflarestorage.com"))
}

impl Addressing {
    pub(super) fn is_path(self, has_endpoint: bool) -> bool {
        match self {
            Self::Auto => has_endpoint,
            Self::Path => true,
            Self::Virtual => false,
        }
    }
}

impl FromStr for Addressing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "path" => Ok(Self::Path),
            "virtual" => Ok(Self::Virtual),
            _ => Err(format!("{text:?} is none of auto, path and virtual")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r2_is_known() {
        for (url, wants) in [
            ("https://0a1b.r2.cloudflarestorage.com", true),
            ("https://0a1b.eu.R2.cloudflarestorage.com:443/", true),
            ("https://r2.cloudflarestorage.com.example/", false),
            ("http://127.0.0.1:9000", false),
        ] {
            assert_eq!(wants_equal_parts(Some(url)), wants, "{url}");
        }
        assert!(!wants_equal_parts(None));
    }

    #[test]
    fn virtual_hosts_are_a_choice_also_where_an_endpoint_is_set() {
        let all = [Addressing::Auto, Addressing::Path, Addressing::Virtual];
        assert_eq!(all.map(|addressing| addressing.is_path(true)), [true, true, false]);
        assert_eq!(all.map(|addressing| addressing.is_path(false)), [false, true, false]);
    }
}
