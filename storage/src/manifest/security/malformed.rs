//! Why bytes are no security descriptor.

use std::fmt;

/// One of the four that a descriptor's header has an offset of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    Owner,
    Group,
    Sacl,
    Dacl,
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Owner => "owner",
            Self::Group => "group",
            Self::Sacl => "SACL",
            Self::Dacl => "DACL",
        })
    }
}

/// The first thing that is wrong with bytes that should be a self-relative security descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedDescriptor {
    /// Occurs when there are more bytes than any descriptor needs.
    #[error("the security descriptor has {bytes} bytes, and the longest has {most}")]
    TooLong { bytes: usize, most: usize },
    /// Occurs when there are fewer bytes than a header has.
    #[error("the security descriptor is shorter than its header")]
    Cut,
    /// Occurs when a descriptor states a revision other than 1.
    #[error("the security descriptor has revision {found}, and only 1 is known")]
    Revision { found: u8 },
    /// Occurs when a descriptor has pointers instead of offsets, which mean nothing outside their process.
    #[error("the security descriptor is not self-relative")]
    NotSelfRelative,
    /// Occurs when an offset is inside the header or behind the last byte.
    #[error("the security descriptor's {component} should be at offset {offset}, where it cannot be")]
    Offset { component: Component, offset: u32 },
    /// Occurs when the owner or the group is no SID.
    #[error("the security descriptor's {component} is no SID: {fault}")]
    Sid { component: Component, fault: SidFault },
    /// Occurs when the SACL or the DACL is no ACL.
    #[error("the security descriptor's {component} is no access control list: {fault}")]
    Acl { component: Component, fault: AclFault },
    /// Occurs when an entry of a list is malformed. Entries count from 0.
    #[error("entry {index} of the security descriptor's {component} is malformed: {fault}")]
    Ace { component: Component, index: u16, fault: AceFault },
}

/// What is wrong with a SID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SidFault {
    /// Occurs when it is longer than the space it is in.
    #[error("it is cut")]
    Cut,
    #[error("it has revision {found}, and only 1 is known")]
    Revision { found: u8 },
    #[error("it has {found} sub-authorities, and can have 15")]
    SubAuthorities { found: u8 },
}

/// What is wrong with the header of an ACL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AclFault {
    /// Occurs when fewer bytes are left than its header has.
    #[error("it is cut")]
    Cut,
    #[error("it has revision {found}, and 2 to 4 are known")]
    Revision { found: u8 },
    /// Occurs when its size is less than its header's, or more than the bytes that are left.
    #[error("it states a size of {size} bytes, which it cannot have")]
    Size { size: u16 },
}

/// What is wrong with an ACE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AceFault {
    /// Occurs when it ends before its fixed fields do, or the list before its header does.
    #[error("it is cut")]
    Cut,
    /// Occurs when its size is less than its header's, no multiple of 4, or more than what is left of the list.
    #[error("it states a size of {size} bytes, which it cannot have")]
    Size { size: u16 },
    /// Occurs when it should name a SID and does not.
    #[error("its SID is none: {0}")]
    Sid(SidFault),
}
