//! The HMAC of a manifest, over all bytes before its last member.

use hmac::Mac as _;

use super::format::{TRAILER_BYTES, TRAILER_END, TRAILER_START};
use super::refused::refused;
use crate::error::Result;
use crate::keys::data_key::DataKey;

/// Checks the HMAC over a document that passes once; what it covers is known only at the end.
pub(super) struct MacCheck {
    mac: hmac::Hmac<sha2::Sha256>,
    /// The last bytes so far, which may be the trailer.
    tail: Vec<u8>,
}

impl MacCheck {
    pub(super) fn new(data_key: &DataKey, backup_id: &str) -> Self {
        Self { mac: data_key.manifest_mac(backup_id), tail: Vec::new() }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        if let Some(covered) = self.tail.len().checked_sub(TRAILER_BYTES) {
            self.mac.update(&self.tail[..covered]);
            self.tail.drain(..covered);
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        let altered = || refused("it was altered, cut short, or made with another key".to_owned());
        let trailer = std::str::from_utf8(&self.tail).map_err(|_| altered())?;
        let tag = trailer.strip_prefix(TRAILER_START).and_then(|t| t.strip_suffix(TRAILER_END));
        let tag = hex::decode(tag.ok_or_else(altered)?).map_err(|_| altered())?;
        self.mac.verify_slice(&tag).map_err(|_| altered())
    }
}
