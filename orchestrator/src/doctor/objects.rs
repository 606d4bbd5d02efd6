//! Permissions on objects, by trying them: a few bytes are written, read, found and removed.

use bytes::Bytes;
use intellistor_storage::catalog::layout;
use intellistor_storage::objects::{Listing, ObjectInfo, PutOptions};
use intellistor_storage::{Error as StorageError, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;

/// An examination takes minutes at most.
const ABANDONED_MS: i64 = 3_600_000;
const NOT_OPEN: &str = "the store is not open";

pub(super) async fn check_write(examination: &mut Examination) -> Finding {
    if examination.probe.no_store {
        return Finding::skipped("the folder holds no store yet, and none was created");
    }
    let Some(store) = examination.store() else { return Finding::skipped(NOT_OPEN) };
    let key = examination.probe_key();
    let body = Bytes::from(format!("intellistor doctor, {key}\n"));
    examination.probe.body = body.clone();
    examination.probe.is_put = true;
    let count = body.len();
    match store.put_with(&key, body, &PutOptions::default()).await {
        Ok(()) => Finding::ok(format!("{count} bytes written to {key}")),
        Err(error) => Finding::of_storage(error),
    }
}

/// Whether the store honours `If-None-Match`, on which claims rely where they can.
pub(super) async fn check_conditions(examination: &mut Examination) -> Finding {
    let Some(store) = examination.store() else { return Finding::skipped(NOT_OPEN) };
    let (key, body) = (examination.probe_key(), examination.probe.body.clone());
    match store.put_with(&key, body, &PutOptions::if_absent()).await {
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::AlreadyExists => {
            Finding::ok("If-None-Match is honoured")
        }
        Ok(()) => Finding::ok("If-None-Match is ignored: what is written is read back instead"),
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::Unsupported => {
            Finding::ok("If-None-Match is not supported: what is written is read back instead")
        }
        Err(error) => Finding::of_storage(error),
    }
}

pub(super) async fn check_read(examination: &mut Examination) -> Finding {
    let Some(store) = examination.store() else { return Finding::skipped(NOT_OPEN) };
    let key = examination.probe_key();
    let count = examination.probe.body.len() as u64;
    let read = match store.get_range(&key, 0..count + 1).await {
        Ok(read) => read,
        Err(error) => return Finding::of_storage(error),
    };
    if read != examination.probe.body {
        return Finding::failed("what was read is not what was written").advise(
            "Something between this machine and the store alters data: look at proxies and gateways",
        );
    }
    match store.head(&key).await {
        Ok(Some(size)) if size == count => Finding::ok("what was written reads the same"),
        Ok(found) => Finding::failed(format!("the store says {found:?} of an object of {count} bytes")),
        Err(error) => Finding::of_storage(error),
    }
}

pub(super) async fn check_list(examination: &mut Examination) -> Finding {
    const CONSEQUENCE: &str = "`list`, `--latest`, retention and `prune` need it, backups do not";
    let Some(store) = examination.store() else { return Finding::skipped(NOT_OPEN) };
    if examination.probe.no_store {
        return Finding::skipped("the folder holds no store yet");
    }
    let (key, is_there) = (examination.probe_key(), !examination.probe.body.is_empty());
    let prefix = layout::probe_prefix(examination.policy_id());
    let mut listing = Listing::new(&*store, prefix);
    match listing.next_page().await {
        Ok(page) if is_there && !page.iter().flatten().any(|found| found.key == key) => {
            Finding::warning("what was just written is not listed")
                .advise("The store's listings lag behind: a backup may show some time after it was made")
        }
        Ok(page) => {
            let page = page.unwrap_or_default();
            for left in leftovers(examination.policy_id(), &key, &page) {
                match store.erase(left).await {
                    Ok(()) => tracing::info!(key = left, "removed what an examination that was killed left"),
                    Err(error) => tracing::debug!(%error, "what another examination left stays"),
                }
            }
            Finding::ok("the policy's objects can be listed")
        }
        Err(StorageError::Store(error)) if error.kind == StoreErrorKind::AccessDenied => {
            Finding::of_storage(error.into()).into_warning().and(CONSEQUENCE)
        }
        Err(error) => Finding::of_storage(error),
    }
}

/// What examinations that were killed have left. The object that was just written tells the store's time.
fn leftovers<'p>(policy_id: &str, own: &str, page: &'p [ObjectInfo]) -> Vec<&'p str> {
    let now = page.iter().find(|found| found.key == own).and_then(|found| found.modified_ms);
    let is_left = |found: &&ObjectInfo| {
        let age = now.zip(found.modified_ms).map(|(now, then)| now.saturating_sub(then));
        layout::is_probe_key(policy_id, &found.key) && age.is_some_and(|age| age > ABANDONED_MS)
    };
    page.iter().filter(is_left).map(|found| found.key.as_str()).collect()
}

/// Backups delete nothing; retention does.
pub(super) async fn check_delete(examination: &mut Examination) -> Finding {
    let Some(store) = examination.store() else { return Finding::skipped(NOT_OPEN) };
    let key = examination.probe_key();
    let needs_it = examination.policy.as_ref().is_some_and(|policy| policy.retention.is_some());
    match store.erase(&key).await {
        Ok(()) => {
            examination.probe.is_put = false;
            Finding::ok("what was written is removed again")
        }
        Err(StorageError::Store(error))
            if matches!(error.kind, StoreErrorKind::AccessDenied | StoreErrorKind::Locked) =>
        {
            examination.probe.is_put = false;
            let stays = format!("the small object {key} stays");
            match (error.kind, needs_it) {
                (StoreErrorKind::Locked, _) => Finding::ok(format!("{}; {stays} until then", error.reason)),
                (_, false) => Finding::ok(format!("not permitted, which backups do not need; {stays}")),
                (_, true) => Finding::of_storage(error.into()).into_warning().and(&format!(
                    "retention forgets backups, and a sweep that may delete has to be run elsewhere; {stays}"
                )),
            }
        }
        Err(error) => Finding::of_storage(error).into_warning(),
    }
}

/// What goes with a body; the store was asked when it was written.
pub(super) async fn check_checksums(examination: &mut Examination) -> Finding {
    let Some(Ok(opened)) = &examination.opened else { return Finding::skipped(NOT_OPEN) };
    match &opened.s3 {
        Some(s3) => Finding::ok(format!("sent with each object: {}", s3.checksum())),
        None => Finding::skipped("the store is a folder"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_an_examination_left_long_ago_is_removed() {
        let random = |digit: &str| digit.repeat(32);
        let (own, old, other) = (random("a"), random("b"), random("c"));
        let page: Vec<_> = [(&*own, 7_200_000), (&old, 3_599_999), (&other, 3_600_000), ("mine", 0)]
            .map(|(random, modified_ms)| ObjectInfo {
                key: layout::probe_key("p", random),
                bytes: 1,
                modified_ms: Some(modified_ms),
            })
            .into();
        assert_eq!(leftovers("p", &page[0].key, &page), [&page[1].key]);
        assert!(leftovers("p", "none", &page).is_empty(), "the time is not known");
    }
}
