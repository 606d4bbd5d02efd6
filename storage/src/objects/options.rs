//! What an object gets when it is created.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// How an object is put.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// Fail with [`AlreadyExists`](crate::StoreErrorKind::AlreadyExists) where the key has an object, instead of
    /// replacing it. Of two such calls at the same time one fails, where the store keeps
    /// [conditions](super::Capabilities::conditional_puts).
    pub if_absent: bool,
    /// Where a folder's disk is full, an object may be overwritten in its place, which takes no room. A crash then may leave
    /// neither the old bytes nor the new ones: only for objects whose damage is harmless. Other stores pass it over.
    pub in_place_if_full: bool,
    /// What is kept beside the bytes.
    pub attributes: Attributes,
}

impl PutOptions {
    /// Nothing is replaced.
    pub fn if_absent() -> Self {
        Self { if_absent: true, ..Self::default() }
    }
}

/// What a store keeps beside an object's bytes. A store that cannot keep one of them refuses the object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Until when the object can neither be deleted nor replaced.
    pub retention: Option<Retention>,
    /// Whether the object can neither be deleted nor replaced until the hold is released.
    pub legal_hold: bool,
    /// The store's name for a class, such as `STANDARD_IA`; the bucket's default where `None`.
    pub storage_class: Option<String>,
    /// Names, in lower case, and values in ASCII; S3 takes 2 KiB of both.
    pub metadata: BTreeMap<String, String>,
}

impl Attributes {
    /// Whether the object can neither be deleted nor replaced, at least for some time.
    pub fn lock(&self) -> bool {
        self.retention.is_some() || self.legal_hold
    }
}

/// S3 Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub mode: RetentionMode,
    /// To the second.
    pub until: DateTime<Utc>,
}

impl Retention {
    /// What an object gets that is to be kept so, and has `kept`: never an earlier end, nor a mode that more people may
    /// shorten. `None` where nothing changes.
    pub fn over(self, kept: Option<Self>) -> Option<Self> {
        let Some(kept) = kept else { return Some(self) };
        let mode = if kept.mode == RetentionMode::Compliance { kept.mode } else { self.mode };
        let is_later = self.until.timestamp() > kept.until.timestamp();
        let is_stricter = mode != kept.mode && self.until.timestamp() == kept.until.timestamp();
        (is_later || is_stricter).then_some(Self { mode, ..self })
    }
}

/// Who may shorten a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionMode {
    /// Those with `s3:BypassGovernanceRetention`.
    Governance,
    /// Not even the account's owner.
    Compliance,
}

#[cfg(test)]
mod tests {
    use super::RetentionMode::{Compliance, Governance};
    use super::*;

    #[test]
    fn a_retention_is_prolonged_and_made_stricter_and_never_the_reverse() {
        let of = |mode, secs| Retention { mode, until: DateTime::from_timestamp(secs, 0).expect("a time") };
        for (wanted, kept, gets) in [
            (of(Governance, 5), None, Some(of(Governance, 5))),
            (of(Governance, 5), Some(of(Governance, 4)), Some(of(Governance, 5))),
            (of(Governance, 5), Some(of(Governance, 5)), None),
            (of(Governance, 5), Some(of(Governance, 6)), None),
            (of(Compliance, 5), Some(of(Governance, 5)), Some(of(Compliance, 5))),
            (of(Compliance, 5), Some(of(Governance, 6)), None),
            (of(Governance, 5), Some(of(Compliance, 4)), Some(of(Compliance, 5))),
            (of(Governance, 5), Some(of(Compliance, 5)), None),
        ] {
            assert_eq!(wanted.over(kept), gets, "{wanted:?} over {kept:?}");
        }
    }
}
