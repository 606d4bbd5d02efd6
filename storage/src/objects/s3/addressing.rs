//! Where a bucket's name stands in a request's address.

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
