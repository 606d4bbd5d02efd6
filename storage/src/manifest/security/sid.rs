//! Security identifiers (MS-DTYP 2.4.2.2).
//!
//! ```text
//! sid := revision:u8 (1) || count:u8 || authority:u48 big-endian || sub_authority:u32 little-endian * count
//! ```

use std::fmt;

use super::malformed::SidFault;

const HEADER_BYTES: usize = 8;
/// `SID_MAX_SUB_AUTHORITIES` of winnt.h.
const MOST_SUB_AUTHORITIES: u8 = 15;

/// Authorities of the identifiers that SDDL has names for.
const WORLD: u64 = 1;
const CREATOR: u64 = 3;
const NT: u64 = 5;
const APP_PACKAGE: u64 = 15;
const MANDATORY_LABEL: u64 = 16;
const AUTHENTICATION: u64 = 18;
/// `SECURITY_BUILTIN_DOMAIN_RID`: the groups that every machine has.
const BUILTIN: u32 = 32;

/// The two letters that SDDL writes for an identifier (sddl.h; MS-DTYP 2.5.1.1, values in 2.4.2.4). Only those are here that
/// are the same everywhere. Those of a domain, such as `DA` and `LA`, mean what they mean on the machine that prints them,
/// so that identifiers of a domain are written in full.
pub(super) const ALIASES: &[(&str, u64, &[u32])] = &[
    ("WD", WORLD, &[0]),
    ("CO", CREATOR, &[0]),
    ("CG", CREATOR, &[1]),
    ("OW", CREATOR, &[4]),
    ("NU", NT, &[2]),
    ("IU", NT, &[4]),
    ("SU", NT, &[6]),
    ("AN", NT, &[7]),
    ("ED", NT, &[9]),
    ("PS", NT, &[10]),
    ("AU", NT, &[11]),
    ("RC", NT, &[12]),
    ("SY", NT, &[18]),
    ("LS", NT, &[19]),
    ("NS", NT, &[20]),
    ("WR", NT, &[33]),
    ("BA", NT, &[BUILTIN, 544]),
    ("BU", NT, &[BUILTIN, 545]),
    ("BG", NT, &[BUILTIN, 546]),
    ("PU", NT, &[BUILTIN, 547]),
    ("AO", NT, &[BUILTIN, 548]),
    ("SO", NT, &[BUILTIN, 549]),
    ("PO", NT, &[BUILTIN, 550]),
    ("BO", NT, &[BUILTIN, 551]),
    ("RE", NT, &[BUILTIN, 552]),
    ("RU", NT, &[BUILTIN, 554]),
    ("RD", NT, &[BUILTIN, 555]),
    ("NO", NT, &[BUILTIN, 556]),
    ("MU", NT, &[BUILTIN, 558]),
    ("LU", NT, &[BUILTIN, 559]),
    ("IS", NT, &[BUILTIN, 568]),
    ("CY", NT, &[BUILTIN, 569]),
    ("ER", NT, &[BUILTIN, 573]),
    ("CD", NT, &[BUILTIN, 574]),
    ("RA", NT, &[BUILTIN, 575]),
    ("ES", NT, &[BUILTIN, 576]),
    ("MS", NT, &[BUILTIN, 577]),
    ("HA", NT, &[BUILTIN, 578]),
    ("AA", NT, &[BUILTIN, 579]),
    ("RM", NT, &[BUILTIN, 580]),
    ("UD", NT, &[84, 0, 0, 0, 0, 0]),
    ("AC", APP_PACKAGE, &[2, 1]),
    ("LW", MANDATORY_LABEL, &[0x1000]),
    ("ME", MANDATORY_LABEL, &[0x2000]),
    ("MP", MANDATORY_LABEL, &[0x2100]),
    ("HI", MANDATORY_LABEL, &[0x3000]),
    ("SI", MANDATORY_LABEL, &[0x4000]),
    ("AS", AUTHENTICATION, &[1]),
    ("SS", AUTHENTICATION, &[2]),
];

/// A user, a group or another principal. It displays as `S-1-5-21-...`; an authority of more than 32 bits is in hex there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid<'a> {
    bytes: &'a [u8],
}

impl<'a> Sid<'a> {
    /// The longest one.
    pub const MOST_BYTES: usize = HEADER_BYTES + 4 * MOST_SUB_AUTHORITIES as usize;

    /// The identifier that `bytes` begin with, and what follows it.
    pub(super) fn split_from(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), SidFault> {
        let &[revision, count, ..] = bytes else { return Err(SidFault::Cut) };
        if revision != 1 {
            return Err(SidFault::Revision { found: revision });
        }
        if count > MOST_SUB_AUTHORITIES {
            return Err(SidFault::SubAuthorities { found: count });
        }
        let length = HEADER_BYTES + 4 * usize::from(count);
        let (bytes, rest) = bytes.split_at_checked(length).ok_or(SidFault::Cut)?;
        Ok((Self { bytes }, rest))
    }

    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Who issued it, a number of 48 bits: 5 is Windows itself and its domains.
    #[must_use]
    pub fn authority(&self) -> u64 {
        self.bytes[2..HEADER_BYTES].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    pub fn sub_authorities(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.bytes[HEADER_BYTES..].as_chunks().0.iter().map(|number| u32::from_le_bytes(*number))
    }

    /// The two letters that SDDL has for it, if they mean the same on every machine.
    #[must_use]
    pub fn alias(&self) -> Option<&'static str> {
        let known = |(_, authority, sub_authorities): &&(&str, u64, &[u32])| {
            *authority == self.authority() && self.sub_authorities().eq(sub_authorities.iter().copied())
        };
        ALIASES.iter().find(known).map(|(letters, ..)| *letters)
    }
}

impl fmt::Display for Sid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.authority() {
            // MS-DTYP 2.4.2.1 asks for twelve digits; Windows prints no leading zeros.
            authority if authority > u32::MAX.into() => write!(f, "S-1-0x{authority:X}")?,
            authority => write!(f, "S-1-{authority}")?,
        }
        self.sub_authorities().try_for_each(|number| write!(f, "-{number}"))
    }
}
