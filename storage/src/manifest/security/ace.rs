//! Entries of access control lists (MS-DTYP 2.4.4), all numbers little-endian:
//!
//! ```text
//! ace         := type:u8 || flags:u8 || size:u16 || body
//! body        := mask:u32 || sid || data                                   most types
//!              | mask:u32 || object:u32 || guid? || guid? || sid || data   types of objects
//!              | anything                                                  other types
//! ```
//! `size` is that of all of it, and a multiple of 4. Bits 1 and 2 of `object` say which of the two GUIDs are there. `data` is
//! the condition of a conditional entry and the claim of a resource attribute; other types have none.

use super::malformed::AceFault;
use super::sid::Sid;

const HEADER_BYTES: usize = 4;
const GUID_BYTES: usize = 16;

/// An entry of an access control list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ace<'a> {
    /// All of it, header included.
    bytes: &'a [u8],
    body: Option<AceBody<'a>>,
}

/// The fields of an entry whose type is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AceBody<'a> {
    /// The rights that it is about.
    pub mask: u32,
    /// Of types of objects only.
    pub object: Option<ObjectTypes<'a>>,
    /// Whom it is about.
    pub sid: Sid<'a>,
    /// What follows the SID: a condition, a claim, or bytes without meaning.
    pub data: &'a [u8],
}

/// What part of an object of Active Directory an entry is about. Files have no such entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectTypes<'a> {
    /// As in the entry; bits other than 1 and 2 have no meaning.
    pub flags: u32,
    /// The GUID as in the entry, its first three fields little-endian.
    pub object: Option<&'a [u8; GUID_BYTES]>,
    pub inherited_object: Option<&'a [u8; GUID_BYTES]>,
}

impl ObjectTypes<'_> {
    const OBJECT: u32 = 1;
    const INHERITED_OBJECT: u32 = 2;
    pub(super) const KNOWN_FLAGS: u32 = Self::OBJECT | Self::INHERITED_OBJECT;
}

/// How a type's body is laid out.
enum Layout {
    Plain,
    Object,
    Unknown,
}

impl<'a> Ace<'a> {
    // `*_ACE_TYPE` of winnt.h.
    pub const ALLOWED: u8 = 0x00;
    pub const DENIED: u8 = 0x01;
    pub const AUDIT: u8 = 0x02;
    pub const ALARM: u8 = 0x03;
    pub const ALLOWED_OBJECT: u8 = 0x05;
    pub const DENIED_OBJECT: u8 = 0x06;
    pub const AUDIT_OBJECT: u8 = 0x07;
    pub const ALARM_OBJECT: u8 = 0x08;
    pub const ALLOWED_CALLBACK: u8 = 0x09;
    pub const DENIED_CALLBACK: u8 = 0x0A;
    pub const ALLOWED_CALLBACK_OBJECT: u8 = 0x0B;
    pub const DENIED_CALLBACK_OBJECT: u8 = 0x0C;
    pub const AUDIT_CALLBACK: u8 = 0x0D;
    pub const ALARM_CALLBACK: u8 = 0x0E;
    pub const AUDIT_CALLBACK_OBJECT: u8 = 0x0F;
    pub const ALARM_CALLBACK_OBJECT: u8 = 0x10;
    pub const MANDATORY_LABEL: u8 = 0x11;
    pub const RESOURCE_ATTRIBUTE: u8 = 0x12;
    pub const SCOPED_POLICY_ID: u8 = 0x13;
    pub const PROCESS_TRUST_LABEL: u8 = 0x14;
    pub const ACCESS_FILTER: u8 = 0x15;

    // `*_ACE` flags of winnt.h.
    pub const OBJECT_INHERIT: u8 = 0x01;
    pub const CONTAINER_INHERIT: u8 = 0x02;
    pub const NO_PROPAGATE: u8 = 0x04;
    pub const INHERIT_ONLY: u8 = 0x08;
    /// It comes from a folder above.
    pub const INHERITED: u8 = 0x10;
    pub const CRITICAL: u8 = 0x20;
    /// Successful access is audited; of an access filter, that it is protected by a trust label.
    pub const SUCCESSFUL_ACCESS: u8 = 0x40;
    pub const FAILED_ACCESS: u8 = 0x80;

    /// The entry that `bytes` begin with, and what follows it.
    pub(super) fn split_from(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), AceFault> {
        let &[kind, _, low, high, ..] = bytes else { return Err(AceFault::Cut) };
        let size = u16::from_le_bytes([low, high]);
        if usize::from(size) < HEADER_BYTES || size % 4 != 0 {
            return Err(AceFault::Size { size });
        }
        let (bytes, rest) = bytes.split_at_checked(size.into()).ok_or(AceFault::Size { size })?;
        Ok((Self { bytes, body: AceBody::parse(kind, &bytes[HEADER_BYTES..])? }, rest))
    }

    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// One of the constants above, or a type that is not known.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// How it is inherited, and what is audited.
    #[must_use]
    pub fn flags(&self) -> u8 {
        self.bytes[1]
    }

    /// Its fields, or `None` where the type is not known.
    #[must_use]
    pub fn body(&self) -> Option<AceBody<'a>> {
        self.body
    }

    fn layout(kind: u8) -> Layout {
        match kind {
            Self::ALLOWED_OBJECT
            | Self::DENIED_OBJECT
            | Self::AUDIT_OBJECT
            | Self::ALARM_OBJECT
            | Self::ALLOWED_CALLBACK_OBJECT
            | Self::DENIED_CALLBACK_OBJECT
            | Self::AUDIT_CALLBACK_OBJECT
            | Self::ALARM_CALLBACK_OBJECT => Layout::Object,
            // The compound type, 4, was never in use; its fields are not documented.
            Self::ALLOWED..=Self::ALARM
            | Self::ALLOWED_CALLBACK
            | Self::DENIED_CALLBACK
            | Self::AUDIT_CALLBACK
            | Self::ALARM_CALLBACK
            | Self::MANDATORY_LABEL..=Self::ACCESS_FILTER => Layout::Plain,
            _ => Layout::Unknown,
        }
    }
}

impl<'a> AceBody<'a> {
    fn parse(kind: u8, bytes: &'a [u8]) -> Result<Option<Self>, AceFault> {
        let mut rest = bytes;
        let (mask, object) = match Ace::layout(kind) {
            Layout::Plain => (number(&mut rest)?, None),
            Layout::Object => {
                let mask = number(&mut rest)?;
                let flags = number(&mut rest)?;
                let mut guid = |bit| (flags & bit != 0).then(|| take(&mut rest)).transpose();
                let object = guid(ObjectTypes::OBJECT)?;
                let inherited_object = guid(ObjectTypes::INHERITED_OBJECT)?;
                (mask, Some(ObjectTypes { flags, object, inherited_object }))
            }
            Layout::Unknown => return Ok(None),
        };
        let (sid, data) = Sid::split_from(rest).map_err(AceFault::Sid)?;
        Ok(Some(Self { mask, object, sid, data }))
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], AceFault> {
    let (taken, behind) = rest.split_first_chunk().ok_or(AceFault::Cut)?;
    *rest = behind;
    Ok(taken)
}

fn number(rest: &mut &[u8]) -> Result<u32, AceFault> {
    take(rest).map(|bytes| u32::from_le_bytes(*bytes))
}
