//! What a manifest says of itself in its first lines, before anything is verified.

use serde::Deserialize;

use super::reader::{PREAMBLE_BYTES, parse_preamble, refused};
use crate::archive::Header;
use crate::catalog::layout::BackupName;
use crate::error::Result;
use crate::objects::ObjectStore;

/// The first lines of most manifests.
const FIRST_BYTES: u64 = 4 << 10;

/// The beginning of a manifest. Whoever can write into the store can have made it: for lists and warnings, and nothing
/// else.
#[derive(Debug, Clone)]
pub struct Peeked {
    /// The archive's header, with the wrapped keys.
    pub header: Header,
    /// The name of the machine that made the backup.
    pub host: String,
    /// Its id.
    pub machine: Option<String>,
}

impl Peeked {
    /// Reads the first lines of a backup's manifest.
    ///
    /// # Errors
    /// Those of the store; [`Integrity`](crate::Error::Integrity) when they are not those of this backup's manifest.
    pub async fn fetch(store: &dyn ObjectStore, name: &BackupName) -> Result<Self> {
        let key = name.manifest_key();
        let first = store.get_range(&key, 0..FIRST_BYTES).await?;
        match Self::parse(&first, name) {
            Err(_) if first.len() as u64 == FIRST_BYTES => {
                Self::parse(&store.get_range(&key, 0..PREAMBLE_BYTES).await?, name)
            }
            parsed => parsed,
        }
    }

    fn parse(start: &[u8], name: &BackupName) -> Result<Self> {
        #[derive(Deserialize)]
        struct Origin {
            host: String,
            machine: Option<String>,
        }
        let (header, rest) = parse_preamble(start, name)?;
        let line = rest.split(|b| *b == b'\n').next().unwrap_or_default();
        let members = [b"{", line.trim_ascii_end().strip_suffix(b",").unwrap_or(line), b"}"].concat();
        let Origin { host, machine } = serde_json::from_slice(&members)
            .map_err(|e| refused(format!("it does not begin as a manifest does ({e})")))?;
        Ok(Self { header, host, machine })
    }
}
