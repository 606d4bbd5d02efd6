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

/// S3 Object Lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    pub mode: RetentionMode,
    /// To the second.
    pub until: DateTime<Utc>,
}

/// Who may shorten a retention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetentionMode {
    /// Those with `s3:BypassGovernanceRetention`.
    Governance,
    /// Not even the account's owner.
    Compliance,
}
