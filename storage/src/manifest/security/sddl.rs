//! A descriptor as text, in the Security Descriptor Definition Language (MS-DTYP 2.5.1; "ACE Strings" and "SID Strings" of
//! Microsoft's documentation), as `ConvertSecurityDescriptorToStringSecurityDescriptorW` of Windows prints it:
//!
//! - An ACL begins with `P`, `AR`, `AI` in this order; the NULL list is `NO_ACCESS_CONTROL` behind them.
//! - Rights are a name where the mask is exactly that of the name (`FA`, `KR`, ...), else the letters of its bits from the
//!   lowest on, else, where a bit has no letters, hex. A key's names are printed for files too: a descriptor does not say
//!   what it belongs to. A mandatory label has letters of its own.
//!
//! It differs from Windows in two things, neither of which loses anything or can be read as other rights:
//!
//! - `DA`, `LA` and other names of a domain are not printed, but the identifier.
//! - What Windows decodes further, or cannot print, is in hex behind `#`, which is no SDDL and which Windows refuses: bytes
//!   behind an entry's SID, such as a condition or a claim, as a seventh field, `(XA;;FX;;;WD;#61727478...)`; and an entry
//!   whose type has no letters as a whole, `(#04000800...)`.

use super::ace::{Ace, AceBody, ObjectTypes};
use super::acl::AclState;
use super::descriptor::SecurityDescriptor;
use super::sid::Sid;

/// The control bits of a list, with the letters at its beginning.
type ListFlags = [(u16, &'static str); 3];

const DACL_FLAGS: ListFlags = [
    (SecurityDescriptor::DACL_PROTECTED, "P"),
    (SecurityDescriptor::DACL_AUTO_INHERIT_REQ, "AR"),
    (SecurityDescriptor::DACL_AUTO_INHERITED, "AI"),
];
const SACL_FLAGS: ListFlags = [
    (SecurityDescriptor::SACL_PROTECTED, "P"),
    (SecurityDescriptor::SACL_AUTO_INHERIT_REQ, "AR"),
    (SecurityDescriptor::SACL_AUTO_INHERITED, "AI"),
];

/// Types of entries. The others have no letters.
pub(super) const TYPES: [(u8, &str); 17] = [
    (Ace::ALLOWED, "A"),
    (Ace::DENIED, "D"),
    (Ace::AUDIT, "AU"),
    (Ace::ALARM, "AL"),
    (Ace::ALLOWED_OBJECT, "OA"),
    (Ace::DENIED_OBJECT, "OD"),
    (Ace::AUDIT_OBJECT, "OU"),
    (Ace::ALARM_OBJECT, "OL"),
    (Ace::ALLOWED_CALLBACK, "XA"),
    (Ace::DENIED_CALLBACK, "XD"),
    (Ace::ALLOWED_CALLBACK_OBJECT, "ZA"),
    (Ace::AUDIT_CALLBACK, "XU"),
    (Ace::MANDATORY_LABEL, "ML"),
    (Ace::RESOURCE_ATTRIBUTE, "RA"),
    (Ace::SCOPED_POLICY_ID, "SP"),
    (Ace::PROCESS_TRUST_LABEL, "TL"),
    (Ace::ACCESS_FILTER, "FL"),
];

/// Flags of entries, in the order of print: all eight bits have letters.
pub(super) const FLAGS: [(u8, &str); 8] = [
    (Ace::OBJECT_INHERIT, "OI"),
    (Ace::CONTAINER_INHERIT, "CI"),
    (Ace::NO_PROPAGATE, "NP"),
    (Ace::INHERIT_ONLY, "IO"),
    (Ace::INHERITED, "ID"),
    (Ace::CRITICAL, "CR"),
    (Ace::SUCCESSFUL_ACCESS, "SA"),
    (Ace::FAILED_ACCESS, "FA"),
];

/// `SUCCESSFUL_ACCESS` of an access filter.
pub(super) const PROTECTED_FILTER: &str = "TP";

/// Masks that have a name of their own. `KX` has the mask of `KR`.
pub(super) const NAMED_MASKS: [(u32, &str); 7] = [
    (0x001F_01FF, "FA"),
    (0x0012_0089, "FR"),
    (0x0012_0116, "FW"),
    (0x0012_00A0, "FX"),
    (0x000F_003F, "KA"),
    (0x0002_0019, "KR"),
    (0x0002_0006, "KW"),
];

/// Single rights, from the lowest bit on. The others have no letters, among them `SYNCHRONIZE`, which most files' masks have.
pub(super) const RIGHTS: [(u32, &str); 17] = [
    (1 << 0, "CC"),
    (1 << 1, "DC"),
    (1 << 2, "LC"),
    (1 << 3, "SW"),
    (1 << 4, "RP"),
    (1 << 5, "WP"),
    (1 << 6, "DT"),
    (1 << 7, "LO"),
    (1 << 8, "CR"),
    (1 << 16, "SD"),
    (1 << 17, "RC"),
    (1 << 18, "WD"),
    (1 << 19, "WO"),
    (1 << 28, "GA"),
    (1 << 29, "GX"),
    (1 << 30, "GW"),
    (1 << 31, "GR"),
];

/// What a mandatory label keeps processes of lower integrity from.
pub(super) const LABEL_RIGHTS: [(u32, &str); 3] = [(1, "NW"), (2, "NR"), (4, "NX")];

impl SecurityDescriptor {
    /// Owner, group, DACL and SACL as text, for people; see the module's documentation for its form.
    #[must_use]
    pub fn sddl(&self) -> String {
        let mut text = String::new();
        for (tag, sid) in [("O:", self.owner()), ("G:", self.group())] {
            if let Some(sid) = sid {
                text += tag;
                push_sid(&mut text, sid);
            }
        }
        push_list(&mut text, "D:", self.dacl(), &DACL_FLAGS, self.control());
        push_list(&mut text, "S:", self.sacl(), &SACL_FLAGS, self.control());
        text
    }
}

fn push_list(text: &mut String, tag: &str, list: AclState<'_>, flags: &ListFlags, control: u16) {
    if list == AclState::Absent {
        return;
    }
    *text += tag;
    text.extend(flags.iter().filter(|(bit, _)| control & bit != 0).map(|(_, letters)| *letters));
    match list {
        AclState::List(list) => list.aces().for_each(|ace| push_ace(text, &ace)),
        AclState::Null | AclState::Absent => *text += "NO_ACCESS_CONTROL",
    }
}

fn push_ace(text: &mut String, ace: &Ace<'_>) {
    let kind = TYPES.iter().find(|(kind, _)| *kind == ace.kind());
    match (kind, ace.body()) {
        (Some((kind, letters)), Some(body)) if !has_unknown_object_flags(&body) => {
            *text += &format!("({letters};");
            push_flags(text, *kind, ace.flags());
            text.push(';');
            push_rights(text, *kind, body.mask);
            let types = body.object.map(|types| [types.object, types.inherited_object]);
            for guid in types.unwrap_or_default() {
                text.push(';');
                if let Some(guid) = guid {
                    push_guid(text, guid);
                }
            }
            text.push(';');
            push_sid(text, body.sid);
            if !body.data.is_empty() {
                *text += &format!(";#{}", hex::encode(body.data));
            }
            text.push(')');
        }
        _ => *text += &format!("(#{})", hex::encode(ace.as_bytes())),
    }
}

/// Whether SDDL would lose some of the flags that say which GUIDs there are.
fn has_unknown_object_flags(body: &AceBody<'_>) -> bool {
    body.object.is_some_and(|types| types.flags & !ObjectTypes::KNOWN_FLAGS != 0)
}

fn push_flags(text: &mut String, kind: u8, flags: u8) {
    for (bit, letters) in FLAGS {
        if flags & bit != 0 {
            // The same bit has two meanings.
            let protected = kind == Ace::ACCESS_FILTER && bit == Ace::SUCCESSFUL_ACCESS;
            *text += if protected { PROTECTED_FILTER } else { letters };
        }
    }
}

fn push_rights(text: &mut String, kind: u8, mask: u32) {
    let letters: &[_] = if kind == Ace::MANDATORY_LABEL { &LABEL_RIGHTS } else { &RIGHTS };
    let with_letters = letters.iter().fold(0, |sum, (bit, _)| sum | bit);
    if let Some((_, name)) = NAMED_MASKS.iter().find(|(named, _)| *named == mask) {
        *text += name;
    } else if mask & !with_letters == 0 {
        text.extend(letters.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, letters)| *letters));
    } else {
        *text += &format!("{mask:#x}");
    }
}

/// As `UuidToString` prints it.
fn push_guid(text: &mut String, guid: &[u8; 16]) {
    let [a, b, c, d, e, f, g, h, tail @ ..] = guid;
    let (clock, node) = tail.split_at(2);
    let fields: [&[u8]; 5] = [&[*d, *c, *b, *a], &[*f, *e], &[*h, *g], clock, node];
    *text += &fields.map(hex::encode).join("-");
}

fn push_sid(text: &mut String, sid: Sid<'_>) {
    match sid.alias() {
        Some(letters) => *text += letters,
        None => *text += &sid.to_string(),
    }
}

#[cfg(test)]
mod tests;
