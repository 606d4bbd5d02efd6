//! An entry's security descriptor: itself, or the id of the row that has it.
//!
//! Only the text of a manifest has ids. What reads entries gives each its descriptor, so that everything else, and a job's
//! ledger, has the bytes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::descriptor::SecurityDescriptor;
use super::row::SecurityId;

/// In JSON 32 hex digits, or `base64:` and the descriptor; in other formats 16 bytes, or the descriptor, which has 20 at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Security {
    Row(SecurityId),
    Descriptor(Arc<SecurityDescriptor>),
}

const INLINE: &str = "base64:";

impl Security {
    /// The descriptor. Entries that were read from a manifest have it.
    pub fn descriptor(&self) -> Option<&SecurityDescriptor> {
        match self {
            Self::Row(_) => None,
            Self::Descriptor(descriptor) => Some(descriptor),
        }
    }

    /// What it takes in memory besides itself, in bytes, were it shared with no other entry.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.descriptor().map_or(0, |descriptor| descriptor.as_bytes().len())
    }
}

impl From<SecurityDescriptor> for Security {
    fn from(descriptor: SecurityDescriptor) -> Self {
        Self::Descriptor(Arc::new(descriptor))
    }
}

impl From<Arc<SecurityDescriptor>> for Security {
    fn from(descriptor: Arc<SecurityDescriptor>) -> Self {
        Self::Descriptor(descriptor)
    }
}

impl Serialize for Security {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self, serializer.is_human_readable()) {
            (Self::Row(id), true) => id.serialize(serializer),
            (Self::Row(id), false) => serializer.serialize_bytes(&id.0),
            (Self::Descriptor(descriptor), true) => {
                serializer.serialize_str(&format!("{INLINE}{}", STANDARD.encode(descriptor.as_bytes())))
            }
            (Self::Descriptor(descriptor), false) => serializer.serialize_bytes(descriptor.as_bytes()),
        }
    }
}

impl<'de> Deserialize<'de> for Security {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |bytes| SecurityDescriptor::parse(bytes).map(Self::from).map_err(D::Error::custom);
        if !deserializer.is_human_readable() {
            let bytes: Vec<u8> = serde_bytes::deserialize(deserializer)?;
            return match bytes.as_slice().try_into() {
                Ok(id) => Ok(Self::Row(SecurityId(id))),
                Err(_) => parse(bytes),
            };
        }
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix(INLINE) {
            Some(inline) => parse(STANDARD.decode(inline).map_err(D::Error::custom)?),
            None => {
                let mut id = [0; 16];
                hex::decode_to_slice(&text, &mut id).map_err(D::Error::custom)?;
                Ok(Self::Row(SecurityId(id)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `D:NO_ACCESS_CONTROL`.
    fn descriptor() -> SecurityDescriptor {
        let bytes = hex::decode("0100048000000000000000000000000000000000").unwrap();
        SecurityDescriptor::parse(bytes).unwrap()
    }

    #[test]
    fn both_forms_read_back_in_text_and_in_bytes() {
        for security in [Security::from(descriptor()), Security::Row(SecurityId([7; 16]))] {
            let text = serde_json::to_string(&security).unwrap();
            assert_eq!(serde_json::from_str::<Security>(&text).unwrap(), security, "{text}");
            let bytes = rmp_serde::to_vec(&security).unwrap();
            assert_eq!(rmp_serde::from_slice::<Security>(&bytes).unwrap(), security);
        }
        for refused in ["\"\"", "\"base64:\"", "\"base64:?\"", "\"00\"", "7"] {
            assert!(serde_json::from_str::<Security>(refused).is_err(), "{refused}");
        }
    }
}
