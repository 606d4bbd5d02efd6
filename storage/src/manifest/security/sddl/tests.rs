use proptest::prelude::*;

use super::*;
use crate::manifest::security::fixtures::{self, Parts, ace, acl, plain_ace, sid};

const EVERYONE: (u64, &[u32]) = (1, &[0]);

fn dacl_text(aces: &[Vec<u8>]) -> String {
    Parts { dacl: Some(acl(4, aces)), ..Parts::default() }.in_order(0).sddl()
}

fn sacl_text(aces: &[Vec<u8>]) -> String {
    Parts { sacl: Some(acl(2, aces)), ..Parts::default() }.in_order(0).sddl()
}

fn everyone() -> Vec<u8> {
    sid(EVERYONE.0, EVERYONE.1)
}

/// The lines were made by Wine's conversion, see their beginning.
#[test]
fn ordinary_descriptors_print_as_windows_prints_them() {
    let lines = include_str!("ordinary.tsv").lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for (text, bytes) in lines.map(|line| line.split_once('\t').unwrap()) {
        let descriptor = SecurityDescriptor::parse(hex::decode(bytes).unwrap()).unwrap();
        assert_eq!(descriptor.sddl(), text);
        assert_eq!(descriptor.normalized().sddl(), text);
        count += 1;
    }
    assert!(count > 40);
}

/// MS-DTYP 2.4.4.3 and 2.4.2.2, byte by byte.
#[test]
fn object_entries_have_their_guids() {
    let bytes = "05 00 3800  00010000  03000000 \
                 531a72ab 2f1e d011 9819 00aa0040529b \
                 ba7a96bf e60d d011 a285 00aa003049e2 \
                 01 01 000000000005 0a000000";
    let entry = hex::decode(bytes.replace(' ', "")).unwrap();
    let guids = "ab721a53-1e2f-11d0-9819-00aa0040529b;bf967aba-0de6-11d0-a285-00aa003049e2";
    assert_eq!(dacl_text(std::slice::from_ref(&entry)), format!("D:(OA;;CR;{guids};PS)"));

    let with_object = |kind, object: u32, guids: &[u8]| {
        ace(kind, 0, &[&[1, 0, 0, 0], &object.to_le_bytes()[..], guids, &everyone()].concat())
    };
    let guid = &entry[12..28];
    assert_eq!(dacl_text(&[with_object(6, 0, &[])]), "D:(OD;;CC;;;WD)");
    assert_eq!(dacl_text(&[with_object(7, 1, guid)]), "D:(OU;;CC;ab721a53-1e2f-11d0-9819-00aa0040529b;;WD)");
    assert_eq!(dacl_text(&[with_object(8, 2, guid)]), "D:(OL;;CC;;ab721a53-1e2f-11d0-9819-00aa0040529b;WD)");
    assert_eq!(dacl_text(&[with_object(11, 0, &[])]), "D:(ZA;;CC;;;WD)");
}

#[test]
fn labels_policies_and_trust_have_letters_of_their_own() {
    let label = |mask, level| plain_ace(Ace::MANDATORY_LABEL, 0, mask, &sid(16, &[level]));
    assert_eq!(sacl_text(&[label(1, 0x1000)]), "S:(ML;;NW;;;LW)");
    assert_eq!(sacl_text(&[label(7, 0x3000)]), "S:(ML;;NWNRNX;;;HI)");
    assert_eq!(sacl_text(&[label(9, 0x2100)]), "S:(ML;;0x9;;;MP)");
    assert_eq!(sacl_text(&[label(0, 0x5000)]), "S:(ML;;;;;S-1-16-20480)");
    let policy = plain_ace(Ace::SCOPED_POLICY_ID, 3, 0, &sid(17, &[1, 2]));
    assert_eq!(sacl_text(&[policy]), "S:(SP;OICI;;;;S-1-17-1-2)");
    let trust = plain_ace(Ace::PROCESS_TRUST_LABEL, 0, 0x0012_00A9, &sid(19, &[512, 1536]));
    assert_eq!(sacl_text(&[trust]), "S:(TL;;0x1200a9;;;S-1-19-512-1536)");
    let filter = plain_ace(Ace::ACCESS_FILTER, 0x60, 0x0012_0089, &everyone());
    assert_eq!(sacl_text(&[filter]), "S:(FL;CRTP;FR;;;WD)");
}

#[test]
fn what_is_not_decoded_is_in_hex() {
    let with_data =
        |kind, data: &[u8]| ace(kind, 0, &[&0x0012_00A0_u32.to_le_bytes(), &everyone()[..], data].concat());
    // @User.Title == "PM" (MS-DTYP 2.4.4.17.4): attribute, text, operator, padding.
    let condition = "61727478 f90a000000 5400690074006c006500 1004000000 50004d00 80 000000".replace(' ', "");
    let text = dacl_text(&[with_data(Ace::ALLOWED_CALLBACK, &hex::decode(&condition).unwrap())]);
    assert_eq!(text, format!("D:(XA;;FX;;;WD;#{condition})"));
    assert_eq!(dacl_text(&[with_data(Ace::DENIED_CALLBACK, b"")]), "D:(XD;;FX;;;WD)");
    assert_eq!(sacl_text(&[with_data(Ace::RESOURCE_ATTRIBUTE, &[1, 2, 3, 4])]), "S:(RA;;FX;;;WD;#01020304)");
    assert_eq!(dacl_text(&[with_data(Ace::ALLOWED, &[0; 4])]), "D:(A;;FX;;;WD;#00000000)");
    assert_eq!(dacl_text(&[ace(0x04, 0x10, &[7; 4])]), "D:(#0410080007070707)");
    assert_eq!(dacl_text(&[ace(0xFF, 0, &[])]), "D:(#ff000400)");
    let alarm = with_data(Ace::ALARM_CALLBACK, b"");
    assert_eq!(sacl_text(std::slice::from_ref(&alarm)), format!("S:(#{})", hex::encode(alarm)));
    let object = ace(Ace::ALLOWED_OBJECT, 0, &[&[1, 0, 0, 0, 4, 0, 0, 0], &everyone()[..]].concat());
    assert_eq!(dacl_text(std::slice::from_ref(&object)), format!("D:(#{})", hex::encode(object)));
}

#[test]
fn a_null_list_is_not_an_empty_one() {
    let present = SecurityDescriptor::DACL_PRESENT | SecurityDescriptor::SACL_PRESENT;
    let none = Parts::default();
    assert_eq!(none.in_order(0).sddl(), "");
    assert_eq!(none.in_order(present).sddl(), "D:NO_ACCESS_CONTROLS:NO_ACCESS_CONTROL");
    let flags = SecurityDescriptor::DACL_PROTECTED
        | SecurityDescriptor::SACL_PROTECTED
        | SecurityDescriptor::SACL_AUTO_INHERITED;
    assert_eq!(none.in_order(present | flags).sddl(), "D:PNO_ACCESS_CONTROLS:PAINO_ACCESS_CONTROL");
    assert_eq!(none.in_order(flags).sddl(), "");
    let empty = Parts { sacl: Some(acl(2, &[])), dacl: Some(acl(2, &[])), ..none };
    assert_eq!(empty.in_order(flags).sddl(), "D:PS:PAI");
}

#[test]
fn a_large_authority_is_in_hex() {
    let owner =
        |authority| Parts { owner: Some(sid(authority, &[30, 40])), ..Parts::default() }.in_order(0).sddl();
    assert_eq!(owner(0xFFFF_FFFF), "O:S-1-4294967295-30-40");
    assert_eq!(owner(5_000_000_000), "O:S-1-0x12A05F200-30-40");
}

/// Those that Wine does not know, so that they are not in the table (MS-DTYP 2.4.2.4; winnt.h).
#[test]
fn newer_groups_have_their_names() {
    let names = "WR S-1-5-33, MU S-1-5-32-558, LU S-1-5-32-559, IS S-1-5-32-568, CY S-1-5-32-569, ER S-1-5-32-573, \
                 CD S-1-5-32-574, RA S-1-5-32-575, ES S-1-5-32-576, MS S-1-5-32-577, HA S-1-5-32-578, AA S-1-5-32-579, \
                 RM S-1-5-32-580, UD S-1-5-84-0-0-0-0-0, MP S-1-16-8448, AS S-1-18-1, SS S-1-18-2";
    for (name, full) in names.split(", ").map(|pair| pair.split_once(' ').unwrap()) {
        let owner = fixtures::read_sddl(&format!("O:{full}"));
        assert_eq!(owner.sddl(), format!("O:{name}"));
        assert_eq!(owner.owner().unwrap().to_string(), full);
    }
}

#[test]
fn no_two_names_are_the_same() {
    let all_different = |mut names: Vec<&str>| {
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        names.len() == count
    };
    assert!(all_different(TYPES.map(|(_, name)| name).to_vec()));
    assert!(all_different(
        RIGHTS.iter().chain(&NAMED_MASKS).chain(&LABEL_RIGHTS).map(|(_, name)| *name).collect()
    ));
    assert!(all_different(crate::manifest::security::sid::ALIASES.iter().map(|(name, ..)| *name).collect()));
    assert_eq!(FLAGS.iter().fold(0, |sum, (bit, _)| sum | bit), 0xFF);
}

proptest! {
    /// No right, flag, identifier or byte of an entry is lost or invented.
    #[test]
    fn the_text_says_all_of_the_lists(parts in fixtures::any_parts(), flags: u16) {
        let descriptor = parts.in_order(flags & 0x3F00 | flags & 0x14);
        let text = descriptor.sddl();
        let read = fixtures::read_sddl(&text);
        prop_assert_eq!(&read.as_bytes()[4..], &descriptor.as_bytes()[4..], "{}", text);
        // The bits of a list that is absent are not printed.
        let mut printed = 0x8014;
        for (present, flags) in [(0x4, 0x1500), (0x10, 0x2A00)] {
            printed |= if descriptor.control() & present == 0 { 0 } else { flags };
        }
        prop_assert_eq!(read.control(), descriptor.control() & printed);
    }
}
