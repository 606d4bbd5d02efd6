//! Descriptors for tests: laid out by hand, generated, and read back from text.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::descriptor::SecurityDescriptor;
use super::{sddl, sid};

/// The four parts, as bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    pub(super) owner: Option<Vec<u8>>,
    pub(super) group: Option<Vec<u8>>,
    pub(super) sacl: Option<Vec<u8>>,
    pub(super) dacl: Option<Vec<u8>>,
}

impl Parts {
    /// A descriptor with them behind each other in this order, each after `gap` bytes. The bits of the lists that are there
    /// are added to `control`.
    pub(super) fn laid_out(&self, control: u16, order: [usize; 4], gap: usize) -> Vec<u8> {
        let parts = [&self.owner, &self.group, &self.sacl, &self.dacl];
        let of_lists = u16::from(self.sacl.is_some()) << 4 | u16::from(self.dacl.is_some()) << 2;
        let mut bytes = vec![1, 0];
        bytes.extend((control | SecurityDescriptor::SELF_RELATIVE | of_lists).to_le_bytes());
        bytes.extend([0; 16]);
        for index in order {
            if let Some(part) = parts[index] {
                bytes.extend(vec![0xEE; gap]);
                let offset = u32::try_from(bytes.len()).unwrap();
                bytes[4 + 4 * index..][..4].copy_from_slice(&offset.to_le_bytes());
                bytes.extend(part);
            }
        }
        bytes
    }

    pub(super) fn in_order(&self, control: u16) -> SecurityDescriptor {
        SecurityDescriptor::parse(self.laid_out(control, [0, 1, 2, 3], 0)).unwrap()
    }
}

pub(super) fn sid(authority: u64, sub_authorities: &[u32]) -> Vec<u8> {
    let mut bytes = vec![1, u8::try_from(sub_authorities.len()).unwrap()];
    bytes.extend(&authority.to_be_bytes()[2..]);
    bytes.extend(sub_authorities.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

/// `body` is what follows the header.
pub(super) fn ace(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let size = u16::try_from(4 + body.len()).unwrap();
    [&[kind, flags], &size.to_le_bytes()[..], body].concat()
}

/// One without data.
pub(super) fn plain_ace(kind: u8, flags: u8, mask: u32, sid: &[u8]) -> Vec<u8> {
    ace(kind, flags, &[&mask.to_le_bytes(), sid].concat())
}

pub(super) fn acl(revision: u8, aces: &[Vec<u8>]) -> Vec<u8> {
    let entries = aces.concat();
    let [size, count] = [8 + entries.len(), aces.len()].map(|n| u16::try_from(n).unwrap().to_le_bytes());
    [&[revision, 0], &size[..], &count, &[0, 0], &entries].concat()
}

pub(super) fn any_parts() -> impl Strategy<Value = Parts> {
    let list = || option::of(vec(any_ace(), 0..6).prop_map(|aces| acl(4, &aces)));
    let parts = (option::of(any_sid()), option::of(any_sid()), list(), list());
    parts.prop_map(|(owner, group, sacl, dacl)| Parts { owner, group, sacl, dacl })
}

fn any_sid() -> impl Strategy<Value = Vec<u8>> {
    let known =
        prop::sample::select(sid::ALIASES).prop_map(|(_, authority, numbers)| sid(authority, numbers));
    let authority = prop_oneof![0..20_u64, 0..1_u64 << 48];
    prop_oneof![
        known,
        (authority, vec(any::<u32>(), 0..=15)).prop_map(|(authority, numbers)| sid(authority, &numbers))
    ]
}

fn any_mask() -> impl Strategy<Value = u32> {
    let named = prop::sample::select(&sddl::NAMED_MASKS[..]).prop_map(|(mask, _)| mask);
    let letters = any::<u32>().prop_map(|mask| mask & 0xF00F_01FF);
    prop_oneof![named, letters, 0..8_u32, any::<u32>()]
}

fn any_ace() -> impl Strategy<Value = Vec<u8>> {
    let data = prop_oneof![Just(Vec::new()), vec(any::<[u8; 4]>(), 0..5).prop_map(|data| data.concat())];
    let guids = (prop_oneof![0..4_u32, any::<u32>()], any::<[[u8; 16]; 2]>());
    let fields = (0..0x18_u8, any::<u8>(), any_mask(), guids, any_sid(), data);
    fields.prop_map(|(kind, flags, mask, (object, guids), sid, data)| {
        let mut body = mask.to_le_bytes().to_vec();
        if matches!(kind, 5..=8 | 0xB..=0xC | 0xF..=0x10) {
            body.extend(object.to_le_bytes());
            body.extend(
                (0..2).filter(|index| object >> index & 1 != 0).flat_map(|index: usize| guids[index]),
            );
        }
        ace(kind, flags, &[body, sid, data].concat())
    })
}

/// The canonical form of what a text of [`SecurityDescriptor::sddl`] says, its lists with revision 4.
pub(super) fn read_sddl(text: &str) -> SecurityDescriptor {
    let mut parts = Parts::default();
    let (mut control, mut nulls) = (0, 0);
    let mut rest = text;
    while let Some((tag, behind)) = rest.split_once(':') {
        let end = behind.find(':').map_or(behind.len(), |colon| colon - 1);
        let value;
        (value, rest) = behind.split_at(end);
        match tag {
            "O" => parts.owner = Some(read_sid(value)),
            "G" => parts.group = Some(read_sid(value)),
            _ => {
                let shift = if tag == "S" { 1 } else { 0 };
                let mut flags = value;
                for (letters, bit) in [("P", 0x1000), ("AR", 0x100), ("AI", 0x400)] {
                    if let Some(behind) = flags.strip_prefix(letters) {
                        (flags, control) = (behind, control | bit << shift);
                    }
                }
                let part = if tag == "S" { &mut parts.sacl } else { &mut parts.dacl };
                match flags {
                    "NO_ACCESS_CONTROL" => nulls |= 4 << (2 * shift),
                    "" => *part = Some(acl(4, &[])),
                    aces => *part = Some(acl(4, &read_aces(aces))),
                }
            }
        }
    }
    parts.in_order(control | nulls)
}

fn read_aces(text: &str) -> Vec<Vec<u8>> {
    let aces = text.strip_prefix('(').unwrap().strip_suffix(')').unwrap();
    aces.split(")(").map(read_ace).collect()
}

fn read_ace(text: &str) -> Vec<u8> {
    if let Some(whole) = text.strip_prefix('#') {
        return hex::decode(whole).unwrap();
    }
    let fields: Vec<_> = text.split(';').collect();
    let kind = sddl::TYPES.iter().find(|(_, letters)| *letters == fields[0]).unwrap().0;
    let pairs = |text: &str| -> Vec<String> {
        text.as_bytes().chunks(2).map(|c| String::from_utf8_lossy(c).into()).collect()
    };
    let flag = |letters: String| match letters.as_str() {
        "TP" => 0x40,
        _ => sddl::FLAGS.iter().find(|(_, known)| *known == letters).unwrap().0,
    };
    let flags = pairs(fields[1]).into_iter().map(flag).fold(0, |sum, bit| sum | bit);
    let right = |letters: String| {
        let known = sddl::NAMED_MASKS.iter().chain(&sddl::RIGHTS).chain(&sddl::LABEL_RIGHTS);
        known.into_iter().find(|(_, known)| *known == letters).unwrap().0
    };
    let mask = match fields[2].strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).unwrap(),
        None => pairs(fields[2]).into_iter().map(right).fold(0, |sum, bit| sum | bit),
    };
    let mut body = mask.to_le_bytes().to_vec();
    if matches!(kind, 5..=8 | 0xB) {
        let present = |index: usize| u32::from(!fields[3 + index].is_empty()) << index;
        body.extend((present(0) | present(1)).to_le_bytes());
        body.extend(fields[3..5].iter().filter(|guid| !guid.is_empty()).flat_map(|guid| read_guid(guid)));
    } else {
        assert_eq!(fields[3..5], ["", ""]);
    }
    body.extend(read_sid(fields[5]));
    if let Some(data) = fields.get(6) {
        body.extend(hex::decode(data.strip_prefix('#').unwrap()).unwrap());
    }
    ace(kind, flags, &body)
}

fn read_guid(text: &str) -> Vec<u8> {
    let mut fields: Vec<_> = text.split('-').map(|field| hex::decode(field).unwrap()).collect();
    fields[..3].iter_mut().for_each(|field| field.reverse());
    fields.concat()
}

fn read_sid(text: &str) -> Vec<u8> {
    if let Some((_, authority, numbers)) = sid::ALIASES.iter().find(|(letters, ..)| *letters == text) {
        return sid(*authority, numbers);
    }
    let mut numbers = text.strip_prefix("S-1-").unwrap().split('-');
    let authority = numbers.next().unwrap();
    let authority = match authority.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).unwrap(),
        None => authority.parse().unwrap(),
    };
    sid(authority, &numbers.map(|number| number.parse().unwrap()).collect::<Vec<_>>())
}
