//! Object Lock: what keeps an object from being deleted.

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{
    ObjectLockEnabled, ObjectLockLegalHold, ObjectLockLegalHoldStatus, ObjectLockMode, ObjectLockRetention,
    ObjectLockRetentionMode,
};

use super::store::S3Store;
use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::options::{Attributes, Retention, RetentionMode};

impl S3Store {
    pub(super) async fn object_attributes(&self, key: &str) -> Result<Option<Attributes>> {
        if self.size(key).await?.is_none() {
            return Ok(None);
        }
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        let found = request.send().await.map_err(self.store_error("look up", key))?;
        let mode = match found.object_lock_mode() {
            Some(ObjectLockMode::Compliance) => Some(RetentionMode::Compliance),
            Some(ObjectLockMode::Governance) => Some(RetentionMode::Governance),
            _ => None,
        };
        let until = found
            .object_lock_retain_until_date()
            .and_then(|until| chrono::DateTime::from_timestamp(until.secs(), until.subsec_nanos()));
        Ok(Some(Attributes {
            retention: mode.zip(until).map(|(mode, until)| Retention { mode, until }),
            legal_hold: found.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On),
            storage_class: found.storage_class().map(|class| class.as_str().to_owned()),
            metadata: found.metadata().cloned().unwrap_or_default().into_iter().collect(),
        }))
    }

    pub(super) async fn put_retention(&self, key: &str, retention: Retention) -> Result<(), StoreError> {
        let mode = match retention.mode {
            RetentionMode::Governance => ObjectLockRetentionMode::Governance,
            RetentionMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let until = DateTime::from_secs(retention.until.timestamp());
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(until).build();
        let request = self.client.put_object_retention().bucket(&self.bucket).key(self.full_key(key));
        let answer = request.retention(retention).send().await;
        answer.map(drop).map_err(self.store_error("lock", key))
    }

    pub(super) async fn put_legal_hold(&self, key: &str, held: bool) -> Result<(), StoreError> {
        let status = if held { ObjectLockLegalHoldStatus::On } else { ObjectLockLegalHoldStatus::Off };
        let hold = ObjectLockLegalHold::builder().status(status).build();
        let request = self.client.put_object_legal_hold().bucket(&self.bucket).key(self.full_key(key));
        let answer = request.legal_hold(hold).send().await;
        answer.map(drop).map_err(self.store_error("hold", key))
    }

    pub(super) async fn object_lock_configuration(&self) -> Result<(), StoreError> {
        const OPERATION: &str = "look up the object lock of";
        let request = self.client.get_object_lock_configuration().bucket(&self.bucket);
        let answer = request.send().await.map_err(self.store_error(OPERATION, ""))?;
        let enabled = answer.object_lock_configuration().and_then(|lock| lock.object_lock_enabled());
        if enabled == Some(&ObjectLockEnabled::Enabled) {
            return Ok(());
        }
        let reason = "the bucket was made without object lock";
        Err(StoreError::new(StoreErrorKind::Unsupported, self.address(), OPERATION, "", reason))
    }
}
