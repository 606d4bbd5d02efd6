//! Access control lists (MS-DTYP 2.4.5), all numbers little-endian:
//!
//! ```text
//! acl := revision:u8 (2 to 4) || zero:u8 || size:u16 || count:u16 || zero:u16 || ace * count || unused
//! ```
//! `size` is that of all of it. The bytes behind the last entry mean nothing.

use super::ace::Ace;
use super::malformed::{AclFault, Component, MalformedDescriptor};

const HEADER_BYTES: usize = 8;

/// What a descriptor says of its DACL or its SACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclState<'a> {
    /// Nothing: the list was not asked for, or the object has none.
    Absent,
    /// That there is no list. As a DACL it lets everyone do everything, where one without entries lets no one do anything.
    Null,
    /// This list.
    List(Acl<'a>),
}

/// A list of who is granted or denied what, or of what is audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acl<'a> {
    /// Header and entries, without the unused bytes.
    bytes: &'a [u8],
}

impl<'a> Acl<'a> {
    /// The list that `bytes` begin with.
    pub(super) fn parse(component: Component, bytes: &'a [u8]) -> Result<Self, MalformedDescriptor> {
        let refused = |fault| MalformedDescriptor::Acl { component, fault };
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or_else(|| refused(AclFault::Cut))?;
        let [revision, _, size @ .., _, _] = header;
        let [size, count] = [[size[0], size[1]], [size[2], size[3]]].map(u16::from_le_bytes);
        if !(2..=4).contains(revision) {
            return Err(refused(AclFault::Revision { found: *revision }));
        }
        let space = bytes.get(HEADER_BYTES..size.into()).ok_or_else(|| refused(AclFault::Size { size }))?;
        let mut rest = space;
        for index in 0..count {
            let refused = |fault| MalformedDescriptor::Ace { component, index, fault };
            rest = Ace::split_from(rest).map_err(refused)?.1;
        }
        Ok(Self { bytes: &bytes[..usize::from(size) - rest.len()] })
    }

    /// 2, or 4 where entries of objects of Active Directory may be in it.
    #[must_use]
    pub fn revision(&self) -> u8 {
        self.bytes[0]
    }

    /// Its entries, in the order in which they are looked at.
    pub fn aces(&self) -> impl Iterator<Item = Ace<'a>> + use<'a> {
        let mut rest = &self.bytes[HEADER_BYTES..];
        std::iter::from_fn(move || {
            let (ace, behind) = Ace::split_from(rest).ok()?;
            rest = behind;
            Some(ace)
        })
    }

    /// Its bytes in the canonical form: reserved fields are zero, and nothing is behind the last entry.
    pub(super) fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        let size = u16::try_from(bytes.len()).expect("it is no longer than its size said");
        bytes[1] = 0;
        bytes[2..4].copy_from_slice(&size.to_le_bytes());
        bytes[6..HEADER_BYTES].fill(0);
        bytes
    }
}
