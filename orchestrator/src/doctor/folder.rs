//! A store in a folder: it is there, and has room.

use intellistor_storage::objects::StoreUrl;

use super::examination::Examination;
use super::finding::Finding;
use super::free_space;
use super::sizes::bytes;

/// With less than this not even a small backup can be written.
const LEAST: u64 = 16 << 20;

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let Some(StoreUrl::Local(root)) = examination.settings.as_ref().map(|settings| settings.url.clone())
    else {
        return Finding::skipped("the store is not a folder");
    };
    let known =
        examination.store().into_iter().flat_map(|store| store.folders()).any(|found| found.id.is_some());
    let Some(existing) = free_space::existing(&root) else {
        return Finding::failed(format!("{} does not exist", root.display())).for_now();
    };
    let free = free_space::of(existing);
    let room = match &free {
        Ok(free) => format!("{} free", bytes(*free)),
        Err(error) => format!("the free space is unknown: {error}"),
    };
    if !known {
        examination.probe.no_store = true;
        if let Err(error) = free_space::may_write(existing) {
            return Finding::failed(format!("no store can be created in {}: {error}", root.display()))
                .advise("Let this account write there, or name another folder in the policy's `store`");
        }
        return Finding::warning(format!("{} holds no store yet, {room}", root.display()))
            .advise("The first run creates one. If a disk should be mounted there, mount it first")
            .for_now();
    }
    match free {
        Ok(free) if free < LEAST => Finding::failed(format!("{}, {room}", root.display()))
            .advise("Free some space: `backup-client prune` deletes what was forgotten long enough ago"),
        Ok(free) if free < examination.source_bytes => Finding::warning(format!(
            "{}, {room}: a full backup of {} may not fit",
            root.display(),
            bytes(examination.source_bytes)
        ))
        .advise("Free some space, or use a larger disk"),
        _ => Finding::ok(format!("{}, {room}", root.display())),
    }
}
