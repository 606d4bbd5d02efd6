//! A line of a manifest's list `"security"`: a descriptor that any number of entries name by its id.
//!
//! ```text
//! {"id":"<32 hex digits>","sddl":"O:BAG:SYD:PAI(A;;FA;;;SY)","bytes":"<base64>"}
//! ```
//! `bytes` are in the canonical form, and `id` is the first 16 bytes of the SHA-256 of that form. `sddl` is for people who look
//! at a manifest. It is not read: what is listed and what is restored both come from `bytes`.

use std::fmt;

use serde::de::IgnoredAny;
use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::descriptor::SecurityDescriptor;
use super::malformed::MalformedDescriptor;

/// What entries name a descriptor by: the first 16 bytes of the SHA-256 of its canonical form. In text it is 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SecurityId(#[serde(with = "crate::text::hex_array")] pub [u8; 16]);

impl fmt::Display for SecurityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl SecurityDescriptor {
    /// What a manifest names it by: the same for all that have the same canonical form.
    #[must_use]
    pub fn id(&self) -> SecurityId {
        let digest = Sha256::digest(self.normalized().as_bytes());
        SecurityId(*digest.first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

/// A descriptor in its canonical form, with its id.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Line")]
pub struct SecurityRow {
    id: SecurityId,
    descriptor: SecurityDescriptor,
}

/// Why a line is not a descriptor with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSecurityRow {
    /// Occurs when its bytes are no descriptor.
    #[error("the security descriptor {id} cannot be read: {fault}")]
    Malformed { id: SecurityId, fault: MalformedDescriptor },
    /// Occurs when its bytes are another descriptor, or its id was changed.
    #[error("the security descriptor {id} has the bytes of {found}")]
    OtherBytes {
        id: SecurityId,
        /// The id that the bytes have.
        found: SecurityId,
    },
}

/// What a line says, unchecked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: SecurityId,
    #[serde(default, rename = "sddl")]
    _sddl: IgnoredAny,
    #[serde(with = "crate::text::base64_bytes")]
    bytes: Vec<u8>,
}

impl SecurityRow {
    /// The row of a descriptor in any form.
    #[must_use]
    pub fn new(descriptor: &SecurityDescriptor) -> Self {
        Self { id: descriptor.id(), descriptor: descriptor.normalized() }
    }

    /// The row that names `bytes` by `id`.
    ///
    /// # Errors
    /// When the bytes are no descriptor, or one with another id.
    pub fn check(id: SecurityId, bytes: Vec<u8>) -> Result<Self, BadSecurityRow> {
        let descriptor =
            SecurityDescriptor::parse(bytes).map_err(|fault| BadSecurityRow::Malformed { id, fault })?;
        let row = Self::new(&descriptor);
        if row.id != id {
            return Err(BadSecurityRow::OtherBytes { id, found: row.id });
        }
        Ok(row)
    }

    #[must_use]
    pub fn id(&self) -> SecurityId {
        self.id
    }

    #[must_use]
    pub fn descriptor(&self) -> &SecurityDescriptor {
        &self.descriptor
    }

    #[must_use]
    pub fn into_descriptor(self) -> SecurityDescriptor {
        self.descriptor
    }
}

impl TryFrom<Line> for SecurityRow {
    type Error = BadSecurityRow;

    fn try_from(line: Line) -> Result<Self, BadSecurityRow> {
        Self::check(line.id, line.bytes)
    }
}

impl Serialize for SecurityRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(transparent)]
        struct Base64<'a>(#[serde(with = "crate::text::base64_bytes")] &'a [u8]);

        let mut line = serializer.serialize_struct("SecurityRow", 3)?;
        line.serialize_field("id", &self.id)?;
        line.serialize_field("sddl", &self.descriptor.sddl())?;
        line.serialize_field("bytes", &Base64(self.descriptor.as_bytes()))?;
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `O:BAG:SYD:NO_ACCESS_CONTROL`, its parts not in the canonical order.
    const BYTES: &str = "0100048020000000 1400000000000000 00000000 \
                         010100000000000512000000 01020000000000052000000020020000";

    fn descriptor() -> SecurityDescriptor {
        SecurityDescriptor::parse(hex::decode(BYTES.replace(' ', "")).unwrap()).unwrap()
    }

    fn line() -> serde_json::Value {
        serde_json::to_value(SecurityRow::new(&descriptor())).unwrap()
    }

    fn read(line: &serde_json::Value) -> Result<SecurityRow, String> {
        serde_json::from_str(&line.to_string()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_line_is_that_of_the_format() {
        let row = SecurityRow::new(&descriptor());
        let expected = "{\"id\":\"ID\",\"sddl\":\"O:BAG:SYD:NO_ACCESS_CONTROL\",\
                        \"bytes\":\"AQAEgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAA\"}";
        assert_eq!(serde_json::to_string(&row).unwrap(), expected.replace("ID", &row.id().to_string()));
        assert_eq!(read(&line()).unwrap(), row);
        assert_eq!(row.into_descriptor(), descriptor().normalized());
    }

    /// Pinned: entries of every manifest name their descriptors by it.
    #[test]
    fn an_id_is_that_of_the_format() {
        assert_eq!(descriptor().id().to_string(), "2b3391f154e1ad55e7e6e1ef4948d969");
    }

    #[test]
    fn the_text_is_not_trusted() {
        let mut line = line();
        line["sddl"] = "O:SYG:SYD:".into();
        let row = read(&line).unwrap();
        assert_eq!(row.descriptor().sddl(), "O:BAG:SYD:NO_ACCESS_CONTROL");
        line.as_object_mut().unwrap().remove("sddl");
        assert_eq!(read(&line).unwrap(), row);
    }

    #[test]
    fn other_bytes_than_those_of_its_id_are_refused() {
        let id = SecurityId([7; 16]);
        let bytes = descriptor().into_bytes();
        let found = descriptor().id();
        assert_eq!(SecurityRow::check(id, bytes.clone()), Err(BadSecurityRow::OtherBytes { id, found }));
        let fault = MalformedDescriptor::Cut;
        assert_eq!(
            SecurityRow::check(found, bytes[..7].to_vec()),
            Err(BadSecurityRow::Malformed { id: found, fault })
        );
        assert_eq!(SecurityRow::check(found, bytes), Ok(SecurityRow::new(&descriptor())));

        for (member, value) in
            [("id", id.to_string()), ("bytes", "AQAE".to_owned()), ("bytes", "?".to_owned())]
        {
            let mut line = line();
            line[member] = value.into();
            assert!(read(&line).is_err(), "{member}");
        }
        let mut short = line();
        short["id"] = "00".into();
        assert!(read(&short).is_err());
        let mut more = line();
        more["more"] = 1.into();
        assert!(read(&more).is_err());
    }
}
