//! How a bucket is reached, as people read it. Holds no secret.

use aws_sdk_s3::config::ProvideCredentials as _;

use super::checksums::Checksum;
use super::store::S3Store;

/// Characters of an access key id that are shown at each end: enough to find it in a list.
const SHOWN: usize = 4;

/// How a bucket is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `https://host:port`, or `AWS S3 in <region>`.
    pub endpoint: String,
    pub region: Option<String>,
    /// Without its credentials, and which variable names it.
    pub proxy: Option<String>,
    /// Whose certificates are trusted; `None` where requests go without TLS.
    pub authorities: Option<String>,
}

/// The credentials that requests are signed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// The access key id, shortened.
    pub id: String,
    /// Whether it ends: that of a role, or of a login.
    pub is_temporary: bool,
    /// The access key id in full, to find out where it came from.
    full: String,
}

impl AccessKey {
    /// Whether this is its id.
    pub fn has_id(&self, id: &str) -> bool {
        self.full == id
    }
}

impl S3Store {
    /// How the bucket is reached.
    pub fn description(&self) -> Description {
        let route = &self.route;
        Description {
            endpoint: route.place(),
            region: route.region.clone(),
            proxy: route.proxy(),
            authorities: (!route.is_plain()).then(|| route.trusted()),
        }
    }

    /// The credentials that requests are signed with; `None` where they cannot be fetched now.
    pub async fn access_key(&self) -> Option<AccessKey> {
        let found = self.credentials.as_ref()?.provide_credentials().await.ok()?;
        let full = found.access_key_id().to_owned();
        Some(AccessKey { id: shortened(&full), is_temporary: found.session_token().is_some(), full })
    }

    /// What goes with a body so that the store can check it, as far as the store was asked.
    pub fn checksum(&self) -> &'static str {
        match self.checksums.current() {
            Checksum::Sha256 => "SHA-256",
            Checksum::Md5 => "Content-MD5",
            Checksum::None => "none beside the signature",
        }
    }
}

fn shortened(id: &str) -> String {
    let all: Vec<char> = id.chars().collect();
    if all.len() <= 3 * SHOWN {
        return "...".to_owned();
    }
    let (first, last) = (&all[..SHOWN], &all[all.len() - SHOWN..]);
    format!("{}...{}", first.iter().collect::<String>(), last.iter().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_an_access_key_is_not_shown() {
        assert_eq!(shortened("AKIAIOSFODNN7EXAMPLE"), "AKIA...MPLE");
        assert_eq!(shortened("minioadmin"), "...");
    }
}
