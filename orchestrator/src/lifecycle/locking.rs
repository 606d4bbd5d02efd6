//! Object Lock, as a policy's `lock:` asks for it: until when a backup's objects can neither be deleted nor replaced.
//!
//! ```text
//! before anything is written   check        the store can lock; else nothing is written
//! each put and upload          PolicyStore  archive, manifest, sealed lists and log are created with a retention
//! before the manifest is put   before_put   the archives that it will name are locked for as long as the manifest will be
//! after                        after_put    and so is what an earlier, crashed run had put of it
//! ```
//! A lock is only ever prolonged, and `COMPLIANCE` stays what it is.
//!
//! **What is not locked as promised is never silent, and never costs a backup that could be made.**
//! - A store without lock is refused before the first byte.
//! - An archive that was created with a retention and shows none is an error, and no manifest is put: a store that ignores
//!   this would ignore it for every object. What was sent stays, and the agent's next run resumes there.
//! - A store that refuses to *prolong* a lock (it takes `s3:PutObjectRetention`, which creating an object with a retention
//!   takes, too) is a warning of a backup that was made, with exit code 3: without it there would be one backup less, and
//!   the archive in question is no better protected for that.
//! - A store that does not answer is an error as everywhere, and the job is tried again.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use intellistor_storage::manifest::Head;
use intellistor_storage::objects::{ObjectStore, Retention, RetentionMode};
use intellistor_storage::{Error as Storage, RetryClass, StoreErrorKind};

use crate::error::{Error, Result};
use crate::policy::{LockPolicy, Policy};

/// Requests at once.
const CONCURRENT: usize = 16;
/// A manifest is put at most this long after the archives that it names were looked at, so that their locks do not end
/// before its own.
const PUT_WITHIN: TimeDelta = TimeDelta::hours(1);

/// Makes sure that the store can keep what the policy asks of it, as far as that is known without a request.
///
/// # Errors
/// [`Error::StoreLacks`].
pub(crate) fn check_capabilities(store: &dyn ObjectStore, policy: &Policy) -> Result<()> {
    let can = store.capabilities();
    if policy.lock.is_some() && !can.object_lock {
        let reason = "it has no object lock, which would keep a backup from being deleted before its time";
        return Err(lacks(store, "lock", reason));
    }
    if policy.storage_class.is_some() && !can.storage_classes {
        return Err(lacks(store, "storage_class", "it has no storage classes"));
    }
    Ok(())
}

/// Makes sure that the store can keep what the policy asks of it. To be called before anything is written.
///
/// # Errors
/// [`Error::StoreLacks`]; those of the store.
pub(crate) async fn check(store: &dyn ObjectStore, policy: &Policy) -> Result<()> {
    check_capabilities(store, policy)?;
    if policy.lock.is_none() {
        return Ok(());
    }
    match store.check_object_lock().await {
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::Unsupported => {
            Err(lacks(store, "lock", &error.reason))
        }
        checked => Ok(checked?),
    }
}

fn lacks(store: &dyn ObjectStore, field: &'static str, reason: &str) -> Error {
    Error::StoreLacks { store: store.url(), field, reason: reason.to_owned() }
}

/// What an object that is created now gets.
pub(crate) fn retention(store: &dyn ObjectStore, lock: LockPolicy) -> Retention {
    let until = now(store) + TimeDelta::days(i64::from(lock.days));
    // S3 keeps seconds. Rounded down, it would be too short.
    let until =
        DateTime::from_timestamp((until.timestamp_millis() + 999).div_euclid(1000), 0).unwrap_or(until);
    Retention { mode: lock.mode.into(), until }
}

fn now(store: &dyn ObjectStore) -> DateTime<Utc> {
    store.now_ms().and_then(DateTime::from_timestamp_millis).unwrap_or_else(Utc::now)
}

/// As reports and messages have it.
pub(crate) fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// A backup under lock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Locked {
    /// What its manifest gets, or more.
    manifest: Retention,
    /// The earliest end of its archives' locks; `None` where one has none.
    archives_until: Option<DateTime<Utc>>,
}

impl Locked {
    /// Whether what is put now is locked for longer than the archives.
    pub(crate) fn is_outdated(&self, store: &dyn ObjectStore, lock: LockPolicy) -> bool {
        retention(store, lock).until > self.manifest.until + PUT_WITHIN
    }
}

/// Locks the archives that a manifest is about to name for as long as the manifest will be: `own`, which was created with a
/// retention, perhaps days ago, and `dependencies`. What could not be done is a warning.
///
/// # Errors
/// [`Error::NotLocked`] when the store shows no lock of the backup's own archive; those of a store that cannot be reached.
pub(crate) async fn before_put(
    store: &dyn ObjectStore,
    lock: LockPolicy,
    own: &str,
    dependencies: &[&str],
) -> Result<(Locked, Vec<String>)> {
    let manifest = retention(store, lock);
    let wanted = Retention { until: manifest.until + PUT_WITHIN, ..manifest };
    let mine = prolong(store, own, wanted).await?;
    if mine.found.is_none() {
        return Err(Error::NotLocked { key: own.to_owned(), store: store.url(), refusal: mine.shortfall });
    }
    let prolong_one = |key: String| async move { prolong(store, &key, wanted).await };
    let keys: Vec<_> = dependencies.iter().map(|key| (*key).to_owned()).collect();
    let others: Vec<_> = stream::iter(keys).map(prolong_one).buffered(CONCURRENT).try_collect().await?;
    let looked_at = std::iter::once((own, &mine)).chain(dependencies.iter().copied().zip(&others));
    let ends: Option<Vec<_>> =
        looked_at.clone().map(|(_, state)| state.found.map(|found| found.until)).collect();
    let archives_until = ends.and_then(|ends| ends.into_iter().min());
    let warnings = warning(manifest.until, looked_at, "an archive that it needs");
    Ok((Locked { manifest, archives_until }, warnings))
}

/// Looks at what was put after [`before_put`], and locks what an earlier run had put already. Returns until when the whole
/// backup is locked; what could not be done is a warning, since the backup exists.
pub(crate) async fn after_put(
    store: &dyn ObjectStore,
    locked: Locked,
    keys: &[String],
) -> (Option<DateTime<Utc>>, Vec<String>) {
    let Locked { manifest, archives_until } = locked;
    let (mut until, mut warnings) = (archives_until, Vec::new());
    for key in keys {
        let state = prolong(store, key, manifest)
            .await
            .unwrap_or_else(|error| LockState { found: None, shortfall: Some(error.to_string()) });
        until = until.zip(state.found).map(|(until, found)| until.min(found.until));
        warnings.extend(warning(
            manifest.until,
            std::iter::once((key.as_str(), &state)),
            "its list of files",
        ));
    }
    (until, warnings)
}

/// The keys of all objects that a restore of a backup needs.
pub(crate) fn objects_of(head: &Head) -> Vec<String> {
    let entries = head.entries_enc.iter().map(|lists| lists.key.clone());
    let archives = head.archives.iter().map(|archive| archive.key.clone());
    std::iter::once(head.name.manifest_key()).chain(entries).chain(archives).collect()
}

/// Until when all of these objects are locked: the earliest end. `None` where one of them is not locked, or not any more.
///
/// # Errors
/// Those of the store.
pub(crate) async fn locked_until(
    store: &dyn ObjectStore,
    keys: Vec<String>,
) -> Result<Option<DateTime<Utc>>> {
    let look = |key: String| async move { retention_of(store, &key).await };
    let found: Vec<_> = stream::iter(keys).map(look).buffered(CONCURRENT).try_collect().await?;
    let now = now(store);
    let ends: Option<Vec<_>> =
        found.into_iter().map(|found| Some(found?.until).filter(|until| *until > now)).collect();
    Ok(ends.and_then(|ends| ends.into_iter().min()))
}

/// An object's lock.
#[derive(Debug)]
struct LockState {
    /// As the store shows it.
    found: Option<Retention>,
    /// Why it is less than was asked for.
    shortfall: Option<String>,
}

/// Locks an object until a time, or longer.
async fn prolong(store: &dyn ObjectStore, key: &str, wanted: Retention) -> Result<LockState> {
    let before = retention_of(store, key).await?;
    let mode = match before {
        Some(Retention { mode: RetentionMode::Compliance, .. }) => RetentionMode::Compliance,
        _ => wanted.mode,
    };
    let until = before.map_or(wanted.until, |before| before.until.max(wanted.until));
    if is_enough(before, Retention { mode, until }) {
        return Ok(LockState { found: before, shortfall: None });
    }
    let mut refusal = retain(store, key, Retention { mode, until }).await?;
    if let Some(Retention { mode: kept, until: end }) = before
        && refusal.is_some()
        && kept != mode
        && end < wanted.until
    {
        // A store may refuse another mode, and a longer time not.
        let longer = retain(store, key, Retention { mode: kept, until }).await?;
        refusal = longer.or(refusal);
    }
    // That a store said yes does not mean that it did.
    let found = retention_of(store, key).await?;
    let shortfall = (!is_enough(found, Retention { mode, until: wanted.until }))
        .then(|| refusal.unwrap_or_else(|| "the store does not show it, and refused nothing".to_owned()));
    Ok(LockState { found, shortfall })
}

fn is_enough(found: Option<Retention>, wanted: Retention) -> bool {
    found.is_some_and(|found| found.mode == wanted.mode && found.until >= wanted.until)
}

/// Prolongs a lock. Returns why the store refuses to.
async fn retain(store: &dyn ObjectStore, key: &str, retention: Retention) -> Result<Option<String>> {
    match store.retain(key, retention).await {
        Ok(()) => Ok(None),
        Err(Storage::Store(error)) if error.retry_class() == RetryClass::Permanent => Ok(Some(error.reason)),
        Err(error) => Err(error.into()),
    }
}

/// An object's lock, as far as the store shows it to this account.
async fn retention_of(store: &dyn ObjectStore, key: &str) -> Result<Option<Retention>> {
    match store.attributes(key).await {
        Ok(attributes) => Ok(attributes.and_then(|attributes| attributes.retention)),
        Err(Storage::Store(error)) if error.kind == StoreErrorKind::AccessDenied => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One warning for all objects that are not locked until `until`.
fn warning<'s>(
    until: DateTime<Utc>,
    looked_at: impl Iterator<Item = (&'s str, &'s LockState)>,
    what: &str,
) -> Vec<String> {
    let short: Vec<_> =
        looked_at.filter_map(|(key, state)| Some((key, state, state.shortfall.as_ref()?))).collect();
    let Some((key, state, why)) = short.first() else { return Vec::new() };
    let found = match state.found {
        None => "is not locked, as far as the store shows".to_owned(),
        Some(Retention { mode, until }) => format!("is locked until {} ({mode:?})", shown(until)),
    };
    let more = match short.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more like it"),
    };
    vec![format!(
        "the backup was made, but {what} is not locked until {} as the policy's `lock` asks: {key} {found}{more}: {why}. \
         Grant s3:PutObjectRetention and s3:GetObjectRetention; the next backup tries again, and one with --full depends on \
         no earlier archive",
        shown(until)
    )]
}

#[cfg(test)]
mod tests;
