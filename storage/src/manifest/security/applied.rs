//! What is to be set so that an object gets a descriptor.
//!
//! What Windows does with the bits about inheritance when a descriptor is set by `NtSetSecurityObject`, and who says so:
//!
//! - It stores `AUTO_INHERITED` only where the caller has set `AUTO_INHERIT_REQ` as well, which it never stores: Microsoft's AzCopy,
//!   `downloader-azureFiles_linux.go`. The documentation does not.
//! - It stores every list as present, and does not store that one was `DEFAULTED`: `SECURITY_DESCRIPTOR_CONTROL` in the
//!   documentation for drivers.
//! - It keeps the bits that protect a list. No document says so of this call; the acceptance script sees it.
//!
//! So two descriptors are the same here whatever their `AUTO_INHERITED`, `AUTO_INHERIT_REQ` and `DEFAULTED` bits are: none of them
//! says who may do what.

use super::acl::{Acl, AclState};
use super::descriptor::{Parts, SecurityDescriptor};

impl SecurityDescriptor {
    /// The parts of this one that an object with the descriptor `found` does not have yet. What this one does not have is not
    /// asked for.
    #[must_use]
    pub fn differing(&self, found: &Self) -> Parts {
        let has = self.parts();
        Parts {
            owner: has.owner && self.owner() != found.owner(),
            group: has.group && self.group() != found.group(),
            sacl: has.sacl
                && (audited(self.sacl()) != audited(found.sacl())
                    || self.is_sacl_protected() != found.is_sacl_protected()),
            dacl: has.dacl
                && (list(self.dacl()) != list(found.dacl())
                    || self.is_dacl_protected() != found.is_dacl_protected()),
        }
    }

    /// As it is handed to the system to be set, in its canonical form: with the bits that keep its lists marked as inherited.
    #[must_use]
    pub fn to_set(&self) -> Self {
        let asked = [
            (Self::DACL_AUTO_INHERITED, Self::DACL_AUTO_INHERIT_REQ),
            (Self::SACL_AUTO_INHERITED, Self::SACL_AUTO_INHERIT_REQ),
        ];
        let asked = asked.iter().filter(|(bit, _)| self.control() & bit != 0);
        self.normalized().with_control(asked.fold(self.control(), |control, (_, asked)| control | asked))
    }

    /// For what is being restored: its owner, SYSTEM and administrators may do everything, also with what is made below it, and
    /// no one else anything. `D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)`.
    #[must_use]
    pub fn private() -> Self {
        Self::parse(PRIVATE.to_vec()).expect("a test has parsed it")
    }
}

#[rustfmt::skip]
const PRIVATE: &[u8] = &[
    1, 0, 0x04, 0x90,  0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 0,  20, 0, 0, 0,
    2, 0, 72, 0, 3, 0, 0, 0,
    0, 3, 20, 0,  0xFF, 0x01, 0x1F, 0x00,  1, 1, 0, 0, 0, 0, 0, 3,  4, 0, 0, 0,
    0, 3, 20, 0,  0xFF, 0x01, 0x1F, 0x00,  1, 1, 0, 0, 0, 0, 0, 5,  18, 0, 0, 0,
    0, 3, 24, 0,  0xFF, 0x01, 0x1F, 0x00,  1, 2, 0, 0, 0, 0, 0, 5,  32, 0, 0, 0,  0x20, 0x02, 0, 0,
];

/// Without a list everyone may do everything, whether the descriptor says so or has none.
fn list(state: AclState<'_>) -> Option<Vec<u8>> {
    match state {
        AclState::Absent | AclState::Null => None,
        AclState::List(list) => Some(list.canonical_bytes()),
    }
}

/// A list that audits nothing is as good as none.
fn audited(state: AclState<'_>) -> Option<Vec<u8>> {
    let has_any = |list: &Acl<'_>| list.aces().next().is_some();
    list(state).filter(|_| matches!(&state, AclState::List(list) if has_any(list)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fixtures::{Parts as Bytes, acl, any_parts, plain_ace, sid};
    use super::super::{Ace, SecurityDescriptor};
    use super::*;

    const NONE: Parts = Parts { owner: false, group: false, sacl: false, dacl: false };

    fn allowing(who: u32) -> Vec<u8> {
        acl(2, &[plain_ace(Ace::ALLOWED, 0, 0x1F_01FF, &sid(5, &[who]))])
    }

    #[test]
    fn the_private_descriptor_lets_its_owner_and_administrators_in_and_no_one_else() {
        let private = SecurityDescriptor::private();
        assert_eq!(private.sddl(), "D:P(A;OICI;FA;;;OW)(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)");
        assert_eq!(private.normalized(), private);
    }

    #[test]
    fn only_parts_that_differ_are_to_be_set() {
        let full = |owner: u32, group: u32, dacl: u32, control| {
            let (owner, group) = (Some(sid(5, &[owner])), Some(sid(5, &[group])));
            Bytes { owner, group, sacl: None, dacl: Some(allowing(dacl)) }.in_order(control)
        };
        let found = full(1, 2, 3, 0);
        assert_eq!(found.differing(&found), NONE);
        assert_eq!(full(9, 2, 3, 0).differing(&found), Parts { owner: true, ..NONE });
        assert_eq!(full(1, 9, 3, 0).differing(&found), Parts { group: true, ..NONE });
        assert_eq!(full(1, 2, 9, 0).differing(&found), Parts { dacl: true, ..NONE });
        let protected = full(1, 2, 3, SecurityDescriptor::DACL_PROTECTED);
        assert_eq!(protected.differing(&found), Parts { dacl: true, ..NONE });
        assert_eq!(found.differing(&protected), Parts { dacl: true, ..NONE });
        let marked = SecurityDescriptor::DACL_AUTO_INHERITED | SecurityDescriptor::DACL_DEFAULTED;
        assert_eq!(full(1, 2, 3, marked).differing(&found), NONE, "says nothing of who may do what");
    }

    #[test]
    fn what_it_does_not_have_is_not_asked_for_and_a_null_list_is_not_an_empty_one() {
        let found =
            Bytes { sacl: Some(allowing(1)), dacl: Some(allowing(1)), ..Bytes::default() }.in_order(0);
        assert_eq!(Bytes::default().in_order(0).differing(&found), NONE);
        let with = |dacl| Bytes { dacl, ..Bytes::default() }.in_order(SecurityDescriptor::DACL_PRESENT);
        let (null, empty) = (with(None), with(Some(acl(2, &[]))));
        assert_eq!(null.differing(&Bytes::default().in_order(0)), NONE, "both let everyone in");
        for (wanted, found) in [(&null, &empty), (&empty, &null), (&null, &found), (&empty, &found)] {
            assert_eq!(wanted.differing(found), Parts { dacl: true, ..NONE });
        }
        let audits_nothing = Bytes { sacl: Some(acl(2, &[])), ..Bytes::default() }.in_order(0);
        assert_eq!(audits_nothing.differing(&Bytes::default().in_order(0)), NONE);
    }

    #[test]
    fn a_list_that_was_inherited_is_set_as_one() {
        let set =
            |control: u16| Bytes { dacl: Some(allowing(1)), ..Bytes::default() }.in_order(control).to_set();
        let (inherited, asked) =
            (SecurityDescriptor::DACL_AUTO_INHERITED, SecurityDescriptor::DACL_AUTO_INHERIT_REQ);
        assert_eq!(set(inherited).control() & (inherited | asked), inherited | asked);
        assert_eq!(set(0).control() & (inherited | asked), 0);
    }

    proptest! {
        #[test]
        fn nothing_is_to_be_set_where_the_same_is_found(parts in any_parts(), control in any::<u16>()) {
            let bits = control & !(SecurityDescriptor::DACL_PRESENT | SecurityDescriptor::SACL_PRESENT);
            let descriptor = parts.in_order(bits);
            prop_assert_eq!(descriptor.differing(&descriptor.normalized()), NONE);
            prop_assert_eq!(descriptor.to_set().differing(&descriptor), NONE);
            prop_assert_eq!(descriptor.differing(&descriptor.to_set()), NONE);
            prop_assert!(SecurityDescriptor::parse(descriptor.to_set().into_bytes()).is_ok());
        }
    }
}
