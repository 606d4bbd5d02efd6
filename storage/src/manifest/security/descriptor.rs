//! A self-relative security descriptor (MS-DTYP 2.4.6), all numbers little-endian:
//!
//! ```text
//! descriptor := revision:u8 (1) || rm:u8 || control:u16 || owner:u32 || group:u32 || sacl:u32 || dacl:u32 || parts
//! ```
//! The four numbers are offsets of the parts from the first byte. An owner or group at 0 is absent. A list is there when its
//! bit of `control` is set, and is the NULL list at 0; without the bit its offset means nothing. `rm` means something to the
//! object's manager when bit 0x4000 is set.
//!
//! Parts may be anywhere behind the header, in any order, and may overlap: Windows checks each by itself, and so does
//! [`SecurityDescriptor::parse`]. Descriptors that differ in nothing else are the same after
//! [`SecurityDescriptor::normalized`].

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_bytes::ByteBuf;

use super::acl::{Acl, AclState};
use super::malformed::{Component, MalformedDescriptor};
use super::sid::Sid;

const HEADER_BYTES: usize = 20;

/// The bytes of a valid self-relative security descriptor, as they were found. serde has them as bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SecurityDescriptor {
    bytes: Vec<u8>,
}

/// Which parts a descriptor has. A NULL list is one that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    pub owner: bool,
    pub group: bool,
    pub sacl: bool,
    pub dacl: bool,
}

impl SecurityDescriptor {
    /// The longest that has no gaps: two SIDs, and two lists, the size of each of which is a number of 16 bits. Those of files
    /// have a few hundred bytes.
    pub const MOST_BYTES: usize = HEADER_BYTES + 2 * Sid::MOST_BYTES + 2 * u16::MAX as usize;

    // `SE_*` bits of winnt.h.
    pub const DACL_PRESENT: u16 = 0x0004;
    pub const DACL_DEFAULTED: u16 = 0x0008;
    pub const SACL_PRESENT: u16 = 0x0010;
    pub const SACL_DEFAULTED: u16 = 0x0020;
    pub const DACL_AUTO_INHERIT_REQ: u16 = 0x0100;
    pub const SACL_AUTO_INHERIT_REQ: u16 = 0x0200;
    pub const DACL_AUTO_INHERITED: u16 = 0x0400;
    pub const SACL_AUTO_INHERITED: u16 = 0x0800;
    pub const DACL_PROTECTED: u16 = 0x1000;
    pub const SACL_PROTECTED: u16 = 0x2000;
    pub const RM_CONTROL_VALID: u16 = 0x4000;
    pub const SELF_RELATIVE: u16 = 0x8000;

    const OF_SACL: u16 = Self::SACL_PRESENT
        | Self::SACL_DEFAULTED
        | Self::SACL_AUTO_INHERIT_REQ
        | Self::SACL_AUTO_INHERITED
        | Self::SACL_PROTECTED;

    /// Takes the bytes as they are when they are a descriptor. Bytes behind its parts, or between them, are allowed.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, MalformedDescriptor> {
        if bytes.len() > Self::MOST_BYTES {
            return Err(MalformedDescriptor::TooLong { bytes: bytes.len(), most: Self::MOST_BYTES });
        }
        let &[revision, ..] = bytes.first_chunk::<HEADER_BYTES>().ok_or(MalformedDescriptor::Cut)?;
        if revision != 1 {
            return Err(MalformedDescriptor::Revision { found: revision });
        }
        let descriptor = Self { bytes };
        if descriptor.control() & Self::SELF_RELATIVE == 0 {
            return Err(MalformedDescriptor::NotSelfRelative);
        }
        for component in [Component::Owner, Component::Group] {
            if let Some(bytes) = descriptor.part_bytes(component)? {
                Sid::split_from(bytes).map_err(|fault| MalformedDescriptor::Sid { component, fault })?;
            }
        }
        for component in [Component::Sacl, Component::Dacl] {
            if descriptor.has_list(component)
                && let Some(bytes) = descriptor.part_bytes(component)?
            {
                Acl::parse(component, bytes)?;
            }
        }
        Ok(descriptor)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The bits above, and those without a constant here, as they were found.
    #[must_use]
    pub fn control(&self) -> u16 {
        u16::from_le_bytes([self.bytes[2], self.bytes[3]])
    }

    #[must_use]
    pub fn owner(&self) -> Option<Sid<'_>> {
        self.sid(Component::Owner)
    }

    #[must_use]
    pub fn group(&self) -> Option<Sid<'_>> {
        self.sid(Component::Group)
    }

    /// Who may do what.
    #[must_use]
    pub fn dacl(&self) -> AclState<'_> {
        self.list(Component::Dacl)
    }

    /// What is audited, the integrity label, and claims.
    #[must_use]
    pub fn sacl(&self) -> AclState<'_> {
        self.list(Component::Sacl)
    }

    /// Whether the DACL takes no entries from folders above.
    #[must_use]
    pub fn is_dacl_protected(&self) -> bool {
        self.control() & Self::DACL_PROTECTED != 0
    }

    /// Whether the SACL takes no entries from folders above.
    #[must_use]
    pub fn is_sacl_protected(&self) -> bool {
        self.control() & Self::SACL_PROTECTED != 0
    }

    /// What there is to restore.
    #[must_use]
    pub fn parts(&self) -> Parts {
        Parts {
            owner: self.owner().is_some(),
            group: self.group().is_some(),
            sacl: self.has_list(Component::Sacl),
            dacl: self.has_list(Component::Dacl),
        }
    }

    /// The same descriptor in its canonical form: owner, group, SACL and DACL in this order without gaps or overlap, lists
    /// without unused bytes, reserved fields zero. The control bits are kept, and each entry of a list byte for byte.
    #[must_use]
    pub fn normalized(&self) -> Self {
        self.laid_out(self.control(), self.sacl())
    }

    /// In its canonical form, without the SACL and the control bits about it: for who may not write a SACL. The integrity
    /// label and claims go with it.
    #[must_use]
    pub fn without_sacl(&self) -> Self {
        self.laid_out(self.control() & !Self::OF_SACL, AclState::Absent)
    }

    /// The same parts with other bits, which must say that the same lists are there.
    pub(super) fn with_control(mut self, control: u16) -> Self {
        self.bytes[2..4].copy_from_slice(&control.to_le_bytes());
        self
    }

    fn laid_out(&self, control: u16, sacl: AclState<'_>) -> Self {
        let sid = |sid: Option<Sid<'_>>| sid.map(|sid| sid.as_bytes().to_vec());
        let list = |state| match state {
            AclState::List(list) => Some(Acl::canonical_bytes(&list)),
            AclState::Absent | AclState::Null => None,
        };
        let rm = if control & Self::RM_CONTROL_VALID == 0 { 0 } else { self.bytes[1] };
        let mut bytes = vec![1, rm];
        bytes.extend(control.to_le_bytes());
        let mut parts = Vec::new();
        // Each part has a multiple of 4 bytes, so that the next one is aligned, which Windows asks for.
        for part in [sid(self.owner()), sid(self.group()), list(sacl), list(self.dacl())] {
            let offset = part.as_ref().map_or(0, |_| HEADER_BYTES + parts.len());
            bytes.extend(u32::try_from(offset).expect("it is below MOST_BYTES").to_le_bytes());
            parts.extend(part.unwrap_or_default());
        }
        bytes.append(&mut parts);
        Self { bytes }
    }

    fn has_list(&self, component: Component) -> bool {
        let bit = if component == Component::Sacl { Self::SACL_PRESENT } else { Self::DACL_PRESENT };
        self.control() & bit != 0
    }

    fn sid(&self, component: Component) -> Option<Sid<'_>> {
        let bytes = self.part_bytes(component).expect("offsets were checked by parse")?;
        Some(Sid::split_from(bytes).expect("SIDs were checked by parse").0)
    }

    fn list(&self, component: Component) -> AclState<'_> {
        if !self.has_list(component) {
            return AclState::Absent;
        }
        match self.part_bytes(component).expect("offsets were checked by parse") {
            Some(bytes) => AclState::List(Acl::parse(component, bytes).expect("lists were checked by parse")),
            None => AclState::Null,
        }
    }

    /// The bytes from a part's offset on; `None` where the offset is 0.
    fn part_bytes(&self, component: Component) -> Result<Option<&[u8]>, MalformedDescriptor> {
        let at = match component {
            Component::Owner => 4,
            Component::Group => 8,
            Component::Sacl => 12,
            Component::Dacl => 16,
        };
        let offset = u32::from_le_bytes(*self.bytes[at..].first_chunk().expect("it has a header"));
        if offset == 0 {
            return Ok(None);
        }
        let bytes = usize::try_from(offset).ok().filter(|&offset| offset >= HEADER_BYTES);
        let bytes = bytes.and_then(|offset| self.bytes.get(offset..)).filter(|bytes| !bytes.is_empty());
        bytes.map(Some).ok_or(MalformedDescriptor::Offset { component, offset })
    }
}

impl Serialize for SecurityDescriptor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.bytes)
    }
}

impl<'de> Deserialize<'de> for SecurityDescriptor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(ByteBuf::deserialize(deserializer)?.into_vec()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
