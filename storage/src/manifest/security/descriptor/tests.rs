use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::manifest::security::fixtures::{self, Parts as Layout, ace, acl, plain_ace, sid};
use crate::manifest::security::malformed::{AceFault, AclFault, SidFault};

const IN_ORDER: [usize; 4] = [0, 1, 2, 3];

/// `O:BAG:SYD:PAI(A;OICI;FA;;;SY)(D;;FW;;;WD)` as MS-DTYP 2.4.6 lays it out, list first, as Windows does it.
const BY_HAND: &str = "01 00 0494 48000000 58000000 00000000 14000000 \
                       02 00 3400 0200 0000 \
                         00 03 1400 ff011f00 01 01 000000000005 12000000 \
                         01 00 1400 16011200 01 01 000000000001 00000000 \
                         00000000 \
                       01 02 000000000005 20000000 20020000 \
                       01 01 000000000005 12000000";

fn by_hand() -> Vec<u8> {
    hex::decode(BY_HAND.replace(' ', "")).unwrap()
}

/// [`BY_HAND`] with other bytes at an offset.
fn changed(at: usize, to: &[u8]) -> Vec<u8> {
    let mut bytes = by_hand();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

fn refusal(bytes: Vec<u8>) -> MalformedDescriptor {
    SecurityDescriptor::parse(bytes).unwrap_err()
}

fn some_parts() -> Layout {
    let everyone = sid(1, &[0]);
    Layout {
        owner: Some(sid(5, &[32, 544])),
        group: Some(sid(5, &[18])),
        sacl: Some(acl(2, &[plain_ace(2, 0xC0, 0x0001_0000, &everyone)])),
        dacl: Some(acl(2, &[plain_ace(0, 3, 0x001F_01FF, &everyone), plain_ace(1, 0, 1, &everyone)])),
    }
}

#[test]
fn the_fields_are_those_of_the_format() {
    let descriptor = SecurityDescriptor::parse(by_hand()).unwrap();
    assert_eq!(descriptor.as_bytes(), by_hand());
    assert_eq!(descriptor.control(), 0x9404);
    assert!(descriptor.is_dacl_protected() && !descriptor.is_sacl_protected());
    assert_eq!(descriptor.owner().unwrap().to_string(), "S-1-5-32-544");
    assert_eq!(descriptor.group().unwrap().alias(), Some("SY"));
    assert_eq!(descriptor.sacl(), AclState::Absent);
    let AclState::List(dacl) = descriptor.dacl() else { panic!("it has a DACL") };
    assert_eq!(dacl.revision(), 2);
    let entry = |ace: crate::manifest::security::Ace<'_>| {
        let body = ace.body().unwrap();
        (ace.kind(), ace.flags(), body.mask, body.sid.to_string(), body.data.len())
    };
    let entries: Vec<_> = dacl.aces().map(entry).collect();
    let expected =
        [(0, 3, 0x001F_01FF, "S-1-5-18".to_owned(), 0), (1, 0, 0x0012_0116, "S-1-1-0".to_owned(), 0)];
    assert_eq!(entries, expected);
    assert_eq!(descriptor.parts(), Parts { owner: true, group: true, sacl: false, dacl: true });
    assert_eq!(descriptor.sddl(), "O:BAG:SYD:PAI(A;OICI;FA;;;SY)(D;;FW;;;WD)");
}

#[test]
fn its_canonical_form_is_that_of_the_format() {
    let expected = "01 00 0494 14000000 24000000 00000000 30000000 \
                    01 02 000000000005 20000000 20020000 \
                    01 01 000000000005 12000000 \
                    02 00 3000 0200 0000 \
                      00 03 1400 ff011f00 01 01 000000000005 12000000 \
                      01 00 1400 16011200 01 01 000000000001 00000000";
    let descriptor = SecurityDescriptor::parse(by_hand()).unwrap();
    assert_eq!(hex::encode(descriptor.normalized().as_bytes()), expected.replace(' ', ""));
    // What manifests name it by: a change here makes every known descriptor unknown.
    let digest = Sha256::digest(descriptor.normalized().as_bytes());
    assert_eq!(descriptor.id().to_string(), hex::encode(&digest[..16]));
}

#[test]
fn reserved_fields_and_unused_bytes_are_not_part_of_its_canonical_form() {
    let canonical = SecurityDescriptor::parse(by_hand()).unwrap().normalized();
    for (at, to) in [(1, &[7][..]), (0x15, &[7]), (0x1A, &[7, 7]), (0x44, &[7; 4])] {
        let other = SecurityDescriptor::parse(changed(at, to)).unwrap();
        assert_eq!(other.normalized(), canonical, "{at}");
        assert_eq!(other.id(), canonical.id());
    }
    // The byte behind the revision is the resource manager's when a control bit says so.
    let managed = SecurityDescriptor::parse(changed(1, &[7, 0x04, 0xD4])).unwrap().normalized();
    assert_eq!(managed.as_bytes()[..4], [1, 7, 0x04, 0xD4]);
    // Without its bit, a list is not one, wherever its offset points.
    let without = SecurityDescriptor::parse(changed(12, &[0xFF; 4])).unwrap();
    assert_eq!((without.sacl(), &without.normalized()), (AclState::Absent, &canonical));
}

#[test]
fn headers_that_are_none_are_refused() {
    assert_eq!(refusal(Vec::new()), MalformedDescriptor::Cut);
    assert_eq!(refusal(by_hand()[..19].to_vec()), MalformedDescriptor::Cut);
    assert_eq!(refusal(changed(0, &[2])), MalformedDescriptor::Revision { found: 2 });
    assert_eq!(refusal(changed(2, &[0x04, 0x14])), MalformedDescriptor::NotSelfRelative);
    let bytes = SecurityDescriptor::MOST_BYTES + 1;
    assert_eq!(
        refusal(vec![1; bytes]),
        MalformedDescriptor::TooLong { bytes, most: SecurityDescriptor::MOST_BYTES }
    );
}

#[test]
fn offsets_outside_are_refused() {
    for (at, component) in [(4, Component::Owner), (8, Component::Group), (16, Component::Dacl)] {
        for offset in [1, 19, u32::try_from(by_hand().len()).unwrap(), u32::MAX] {
            assert_eq!(
                refusal(changed(at, &offset.to_le_bytes())),
                MalformedDescriptor::Offset { component, offset }
            );
        }
    }
}

#[test]
fn sids_that_are_none_are_refused() {
    let owner = |fault| MalformedDescriptor::Sid { component: Component::Owner, fault };
    assert_eq!(refusal(changed(0x48, &[2])), owner(SidFault::Revision { found: 2 }));
    assert_eq!(refusal(changed(0x49, &[200])), owner(SidFault::SubAuthorities { found: 200 }));
    assert_eq!(refusal(changed(0x49, &[16])), owner(SidFault::SubAuthorities { found: 16 }));
    assert_eq!(refusal(changed(0x49, &[15])), owner(SidFault::Cut));
    let group = MalformedDescriptor::Sid { component: Component::Group, fault: SidFault::Cut };
    assert_eq!(refusal(by_hand()[..by_hand().len() - 1].to_vec()), group);
}

#[test]
fn lists_that_are_none_are_refused() {
    let dacl = |fault| MalformedDescriptor::Acl { component: Component::Dacl, fault };
    let entry = |index, fault| MalformedDescriptor::Ace { component: Component::Dacl, index, fault };
    for revision in [0, 1, 5] {
        assert_eq!(refusal(changed(0x14, &[revision])), dacl(AclFault::Revision { found: revision }));
    }
    // Smaller than its header, larger than what is left.
    for size in [0_u16, 7, 0x51, u16::MAX] {
        assert_eq!(refusal(changed(0x16, &size.to_le_bytes())), dacl(AclFault::Size { size }));
    }
    // It ends within an entry; more entries than there are.
    assert_eq!(refusal(changed(0x16, &[0x2C, 0])), entry(1, AceFault::Size { size: 0x14 }));
    assert_eq!(refusal(changed(0x16, &[0x1D, 0])), entry(1, AceFault::Cut));
    assert_eq!(refusal(changed(0x18, &[3])), entry(2, AceFault::Size { size: 0 }));
    assert_eq!(refusal(changed(0x18, &[0xFF, 0xFF])), entry(2, AceFault::Size { size: 0 }));
    // Sizes of an entry.
    for size in [0_u16, 3, 0x13, 0x15, 0x2E, 0x30, u16::MAX] {
        assert_eq!(refusal(changed(0x1E, &size.to_le_bytes())), entry(0, AceFault::Size { size }));
    }
    // Too small for its fields.
    assert_eq!(refusal(changed(0x1E, &[4, 0])), entry(0, AceFault::Cut));
    assert_eq!(refusal(changed(0x1E, &[8, 0])), entry(0, AceFault::Sid(SidFault::Cut)));
    assert_eq!(
        refusal(changed(0x25, &[200])),
        entry(0, AceFault::Sid(SidFault::SubAuthorities { found: 200 }))
    );
    assert_eq!(refusal(changed(0x25, &[2])), entry(0, AceFault::Sid(SidFault::Cut)));
    // As an entry of an object, its SID would be flags.
    assert_eq!(refusal(changed(0x1C, &[5])), entry(0, AceFault::Cut));
}

#[test]
fn parts_may_overlap_and_are_apart_in_the_canonical_form() {
    let mut bytes = some_parts().laid_out(0, IN_ORDER, 0);
    let owner = bytes[4..8].to_vec();
    bytes[8..12].copy_from_slice(&owner);
    let shared = SecurityDescriptor::parse(bytes).unwrap();
    assert_eq!(shared.owner(), shared.group());
    let apart = Layout { group: some_parts().owner, ..some_parts() }.in_order(0);
    assert_eq!(shared.normalized(), apart);
    // An owner within an entry of the DACL.
    let inside = SecurityDescriptor::parse(changed(4, &[0x24, 0, 0, 0])).unwrap();
    assert_eq!(inside.owner().unwrap().alias(), Some("SY"));
    assert_eq!(inside.normalized().sddl(), inside.sddl());
}

#[test]
fn a_null_list_an_empty_one_and_none_are_three_things() {
    let none = Layout::default().in_order(0);
    let null = Layout::default().in_order(SecurityDescriptor::DACL_PRESENT);
    let empty = Layout { dacl: Some(acl(2, &[])), ..Layout::default() }.in_order(0);
    assert_eq!(none.dacl(), AclState::Absent);
    assert_eq!(null.dacl(), AclState::Null);
    assert!(matches!(empty.dacl(), AclState::List(list) if list.aces().next().is_none()));
    assert_eq!([&none, &null, &empty].map(|descriptor| descriptor.parts().dacl), [false, true, true]);
    for descriptor in [none, null, empty] {
        assert_eq!(descriptor.normalized().dacl(), descriptor.dacl());
    }
}

#[test]
fn without_its_sacl_the_rest_is_as_it_was() {
    let control = 0x3F28;
    let descriptor = some_parts().in_order(control);
    let without = descriptor.without_sacl();
    assert_eq!(without, Layout { sacl: None, ..some_parts() }.in_order(0x1508));
    assert_eq!(without.parts(), Parts { owner: true, group: true, sacl: false, dacl: true });
    assert_eq!(without.dacl(), descriptor.dacl());
    assert_eq!(without.without_sacl(), without);
}

#[test]
fn the_longest_one_fits() {
    let long_sid = sid(5, &[7; 15]);
    let entry = |size: usize| ace(0xFF, 0, &vec![7; size - 4]);
    let list = acl(2, &[entry(0x8000), entry(0xFFFC - 8 - 0x8000)]);
    let parts = Layout {
        owner: Some(long_sid.clone()),
        group: Some(long_sid),
        sacl: Some(list.clone()),
        dacl: Some(list),
    };
    let bytes = parts.laid_out(0, IN_ORDER, 0);
    assert!(
        bytes.len() <= SecurityDescriptor::MOST_BYTES && bytes.len() + 8 > SecurityDescriptor::MOST_BYTES
    );
    let descriptor = SecurityDescriptor::parse(bytes).unwrap();
    assert_eq!(descriptor.normalized(), descriptor);
    assert!(!descriptor.sddl().is_empty());
}

#[test]
fn serde_has_it_as_bytes_and_checks_them() {
    let descriptor = SecurityDescriptor::parse(by_hand()).unwrap();
    let packed = rmp_serde::to_vec_named(&descriptor).unwrap();
    assert_eq!(packed.len(), by_hand().len() + 2);
    assert_eq!(rmp_serde::from_slice::<SecurityDescriptor>(&packed).unwrap(), descriptor);
    let error = rmp_serde::from_slice::<SecurityDescriptor>(&packed[..2 + 19]);
    assert!(error.is_err());
    let cut = rmp_serde::to_vec_named(serde_bytes::Bytes::new(&by_hand()[..19])).unwrap();
    let error = rmp_serde::from_slice::<SecurityDescriptor>(&cut).unwrap_err().to_string();
    assert!(error.contains("shorter than its header"), "{error}");
}

/// Calls everything that follows an offset.
fn walk(descriptor: &SecurityDescriptor) {
    let canonical = descriptor.normalized();
    let reparsed = SecurityDescriptor::parse(canonical.as_bytes().to_vec()).unwrap();
    assert_eq!(reparsed.normalized(), canonical);
    assert_eq!(reparsed.sddl(), descriptor.sddl());
    assert_eq!(reparsed.id(), descriptor.id());
    assert_eq!(reparsed.parts(), descriptor.parts());
    assert_eq!(reparsed.control(), descriptor.control());
    assert_eq!(descriptor.without_sacl().sacl(), AclState::Absent);
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_can_be_walked(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(descriptor) = SecurityDescriptor::parse(bytes) {
            walk(&descriptor);
        }
    }

    /// Bytes that get further: the header is one, offsets are small, and small numbers are frequent.
    #[test]
    fn almost_descriptors_are_refused_or_can_be_walked(
        control: u16,
        offsets in prop::array::uniform4(0..80_u8),
        body in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(2), 0..24_u8, any::<u8>()], 0..200),
    ) {
        let mut bytes = vec![1, 0];
        bytes.extend((control | SecurityDescriptor::SELF_RELATIVE).to_le_bytes());
        bytes.extend(offsets.iter().flat_map(|offset| u32::from(*offset).to_le_bytes()));
        bytes.extend(body);
        if let Ok(descriptor) = SecurityDescriptor::parse(bytes) {
            walk(&descriptor);
        }
    }

    #[test]
    fn damaged_ones_are_refused_or_can_be_walked(
        parts in fixtures::any_parts(),
        control: u16,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        keep: prop::sample::Index,
        cut: bool,
    ) {
        let mut bytes = parts.laid_out(control, IN_ORDER, 0);
        for (at, to) in damage {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if cut {
            bytes.truncate(keep.index(bytes.len()));
        }
        if let Ok(descriptor) = SecurityDescriptor::parse(bytes) {
            walk(&descriptor);
        }
    }

    #[test]
    fn the_layout_is_not_part_of_the_canonical_form(
        parts in fixtures::any_parts(),
        control: u16,
        order in Just(IN_ORDER).prop_shuffle(),
        gap in 0..9_usize,
    ) {
        let bytes = parts.laid_out(control, order, gap);
        let descriptor = SecurityDescriptor::parse(bytes.clone()).unwrap();
        walk(&descriptor);
        prop_assert_eq!(descriptor.as_bytes(), bytes);
        let in_order = parts.in_order(control);
        prop_assert_eq!(descriptor.normalized(), in_order.normalized());
        prop_assert_eq!(in_order.normalized(), in_order);
        prop_assert_eq!(descriptor.owner().map(|sid| sid.as_bytes().to_vec()), parts.owner);
        prop_assert_eq!(descriptor.group().map(|sid| sid.as_bytes().to_vec()), parts.group);
        for (state, list) in [(descriptor.sacl(), parts.sacl), (descriptor.dacl(), parts.dacl)] {
            let AclState::List(found) = state else {
                prop_assert_eq!(list, None);
                continue;
            };
            let aces: Vec<_> = found.aces().flat_map(|ace| ace.as_bytes().to_vec()).collect();
            prop_assert_eq!(aces, &list.unwrap()[8..]);
        }
    }

    #[test]
    fn ids_differ_where_descriptors_do(one in fixtures::any_parts(), other in fixtures::any_parts()) {
        let [one, other] = [one.in_order(0), other.in_order(0)];
        prop_assert_eq!(one.id() == other.id(), one == other);
    }
}
