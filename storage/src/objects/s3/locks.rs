//! Object Lock: what keeps an object from being deleted.

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
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
    /// Without `s3:GetObjectRetention` and `s3:GetObjectLegalHold`, S3 answers as if there was no lock.
    pub(super) async fn object_attributes(&self, key: &str) -> Result<Option<Attributes>> {
        Ok(self.look_up(key).await?.as_ref().map(attributes))
    }

    /// A retention that ends later is left as it is, and one that no one may shorten stays so.
    pub(super) async fn prolong(&self, key: &str, retention: Retention) -> Result<()> {
        const OPERATION: &str = "lock";
        let Some(found) = self.look_up(key).await? else {
            let reason = "there is no such object";
            let kind = StoreErrorKind::NotFound;
            return Err(StoreError::new(kind, self.address(), OPERATION, key, reason).into());
        };
        let Some(Retention { mode, until }) = retention.over(attributes(&found).retention) else {
            return Ok(());
        };
        let mode = match mode {
            RetentionMode::Governance => ObjectLockRetentionMode::Governance,
            RetentionMode::Compliance => ObjectLockRetentionMode::Compliance,
        };
        let until = DateTime::from_secs(until.timestamp());
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(until).build();
        let request = self.client.put_object_retention().bucket(&self.bucket).key(self.full_key(key));
        request.retention(retention).send().await.map_err(self.store_error(OPERATION, key))?;
        Ok(())
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
        let enabled = match request.send().await.map_err(self.store_error(OPERATION, "")) {
            Ok(answer) => {
                answer.object_lock_configuration().and_then(|lock| lock.object_lock_enabled()).cloned()
            }
            // A bucket that is not there is another kind.
            Err(StoreError { kind: StoreErrorKind::NotFound, .. }) => None,
            Err(error) if matches!(error.kind, StoreErrorKind::Unsupported | StoreErrorKind::Rejected) => {
                let reason = format!("it has no object lock ({})", error.reason);
                return Err(StoreError { kind: StoreErrorKind::Unsupported, reason, ..error });
            }
            Err(error) => return Err(error),
        };
        if enabled == Some(ObjectLockEnabled::Enabled) {
            return Ok(());
        }
        let reason = "object lock is not enabled for this bucket";
        Err(StoreError::new(StoreErrorKind::Unsupported, self.address(), OPERATION, "", reason))
    }
}

pub(super) fn attributes(found: &HeadObjectOutput) -> Attributes {
    let mode = match found.object_lock_mode() {
        Some(ObjectLockMode::Compliance) => Some(RetentionMode::Compliance),
        Some(ObjectLockMode::Governance) => Some(RetentionMode::Governance),
        _ => None,
    };
    let until = found
        .object_lock_retain_until_date()
        .and_then(|until| chrono::DateTime::from_timestamp(until.secs(), until.subsec_nanos()));
    Attributes {
        retention: mode.zip(until).map(|(mode, until)| Retention { mode, until }),
        legal_hold: found.object_lock_legal_hold_status() == Some(&ObjectLockLegalHoldStatus::On),
        storage_class: found.storage_class().map(|class| class.as_str().to_owned()),
        metadata: found.metadata().cloned().unwrap_or_default().into_iter().collect(),
    }
}
