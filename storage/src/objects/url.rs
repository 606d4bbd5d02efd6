//! Where backups go, as a person writes it.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::{Error, Result};

/// `s3://bucket[/prefix]` or `file:///folder`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// An S3 bucket, at AWS or at any compatible endpoint.
    S3 {
        bucket: String,
        /// What every key begins with; no slash at either end, empty for none.
        prefix: String,
    },
    /// A folder on this machine, a network folder, a USB disk.
    Local(PathBuf),
}

impl StoreUrl {
    /// A folder as a store.
    pub fn local(folder: &Path) -> Self {
        Self::Local(folder.to_owned())
    }

    /// Reads a URL.
    ///
    /// # Errors
    /// [`Error::BadStoreUrl`] when it is neither form.
    pub fn parse(url: &str) -> Result<Self> {
        let bad = |reason: &str| Error::BadStoreUrl { url: url.to_owned(), reason: reason.to_owned() };
        if let Some(rest) = url.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let prefix = prefix.trim_matches('/');
            if bucket.is_empty() {
                return Err(bad("the bucket's name is missing"));
            }
            return Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        let Some(rest) = url.strip_prefix("file://") else {
            return Err(bad("it begins with neither s3:// nor file://"));
        };
        let Some(path) = rest.strip_prefix('/').filter(|path| !path.is_empty()) else {
            return Err(bad("a folder needs three slashes and an absolute path"));
        };
        let path = path.replace("%20", " ");
        // file:///C:/backups is C:/backups, while file:///mnt/nas is /mnt/nas.
        let is_drive = path.as_bytes().get(1) == Some(&b':');
        Ok(Self::Local(if is_drive { path.into() } else { format!("/{path}").into() }))
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::Local(folder) => {
                let folder = folder.to_string_lossy().replace('\\', "/").replace(' ', "%20");
                write!(f, "file:///{}", folder.trim_start_matches('/'))
            }
        }
    }
}

impl Serialize for StoreUrl {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StoreUrl {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back() {
        for url in ["s3://bucket", "s3://bucket/a/b", "file:///mnt/nas", "file:///C:/Meus%20backups"] {
            assert_eq!(StoreUrl::parse(url).unwrap().to_string(), url);
        }
        assert_eq!(StoreUrl::parse("file:///C:/x").unwrap(), StoreUrl::Local("C:/x".into()));
        assert_eq!(StoreUrl::parse("file:///x").unwrap(), StoreUrl::Local("/x".into()));
    }

    #[test]
    fn an_error_shows_both_forms() {
        for url in ["", "s3://", "s3:///p", "file://x", "file:///", "/mnt/nas", "https://x"] {
            let message = StoreUrl::parse(url).unwrap_err().to_string();
            assert!(message.contains("s3://bucket") && message.contains("file:///"), "{message}");
        }
    }
}
