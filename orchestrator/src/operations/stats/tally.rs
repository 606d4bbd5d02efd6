//! Which backups need which archives, and what that makes of the bytes in the store.

use std::collections::{BTreeMap, BTreeSet};

use intellistor_storage::catalog::contents::Contents;
use intellistor_storage::catalog::layout::{BackupName, ObjectKind};
use intellistor_storage::manifest::Head;

use super::report::{BackupStats, FolderStats, MonthStats, StatsReport, StatsTotals};
use crate::operations::unread::UnreadBackup;

/// What is kept of a head.
#[derive(Debug)]
struct Counted {
    full: bool,
    files: u64,
    content_bytes: u64,
    referenced_bytes: u64,
    /// Of its own archive, before compression.
    archived_bytes: u64,
    /// Keys.
    archives: Vec<String>,
}

/// The sums while heads are read.
pub(super) struct Tally<'c> {
    contents: &'c Contents,
    forgotten: &'c [BackupName],
    counted: BTreeMap<BackupName, Counted>,
    unread: Vec<UnreadBackup>,
    /// Archives that are needed, by how many.
    needed: BTreeMap<String, u64>,
}

impl<'c> Tally<'c> {
    pub(super) fn new(contents: &'c Contents, forgotten: &'c [BackupName]) -> Self {
        Self { contents, forgotten, counted: BTreeMap::new(), unread: Vec::new(), needed: BTreeMap::new() }
    }

    pub(super) fn add(&mut self, name: &BackupName, head: &Head) {
        // An unverified head may name an archive twice.
        let archives: BTreeSet<_> = head.archives.iter().map(|archive| archive.key.clone()).collect();
        for key in &archives {
            *self.needed.entry(key.clone()).or_default() += 1;
        }
        let counted = Counted {
            full: head.base.is_none(),
            files: head.totals.files,
            content_bytes: head.totals.bytes,
            referenced_bytes: head.changes.bytes_referenced,
            archived_bytes: head.archives.first().map_or(0, |own| own.content_bytes),
            archives: archives.into_iter().collect(),
        };
        self.counted.insert(name.clone(), counted);
    }

    /// Counts a backup of which no more is known than that it needs its own archive.
    pub(super) fn unread(&mut self, name: &BackupName, unread: UnreadBackup) {
        *self.needed.entry(name.archive_key()).or_default() += 1;
        self.unread.push(unread);
    }

    fn bytes(&self, name: &BackupName, kinds: &[ObjectKind]) -> u64 {
        let Some(objects) = self.contents.of_backup(name) else { return 0 };
        kinds.iter().filter_map(|kind| objects.bytes(*kind)).sum()
    }

    fn archive_bytes(&self, key: &str) -> u64 {
        let name = BackupName::from_archive_key(key);
        name.map_or(0, |name| self.bytes(&name, &[ObjectKind::Archive]))
    }

    fn own_bytes(&self, name: &BackupName) -> u64 {
        self.bytes(name, &ObjectKind::ALL) - self.bytes(name, &[ObjectKind::Archive])
    }

    pub(super) fn finish(
        self,
        policy_id: &str,
        store: String,
        newest: &BackupName,
        depth: usize,
        folders: Vec<FolderStats>,
    ) -> StatsReport {
        let backups: Vec<_> = self.counted.iter().map(|(name, counted)| self.backup(name, counted)).collect();
        let sum = |of: fn(&BackupStats) -> u64| backups.iter().map(of).fold(0, u64::saturating_add);
        let content_bytes = sum(|backup| backup.content_bytes);
        let archived = self.counted.values().map(|counted| counted.archived_bytes);
        let archived: u64 = archived.fold(0, u64::saturating_add);
        let archives: u64 = self.counted.keys().map(|name| self.bytes(name, &[ObjectKind::Archive])).sum();
        let manifests: u64 = self.counted.keys().map(|name| self.own_bytes(name)).sum();
        let needed: u64 = self.needed.keys().map(|key| self.archive_bytes(key)).sum();
        let stored_bytes = manifests + needed;
        let of_forgotten = |name: &BackupName| match self.needed.contains_key(&name.archive_key()) {
            true => self.own_bytes(name),
            false => self.bytes(name, &ObjectKind::ALL),
        };
        let totals = StatsTotals {
            backups: backups.len() as u64 + self.unread.len() as u64,
            content_bytes,
            stored_bytes,
            forgotten_bytes: self.forgotten.iter().map(of_forgotten).sum(),
            orphan_bytes: self.contents.orphans().map(|orphan| orphan.archive_bytes).sum(),
            reduction: ratio(content_bytes, stored_bytes),
            compression: ratio(archived, archives),
        };
        let months = months(&backups);
        let (policy, unread) = (policy_id.to_owned(), self.unread);
        StatsReport { policy, store, totals, backups, months, newest: newest.into(), depth, folders, unread }
    }

    fn backup(&self, name: &BackupName, counted: &Counted) -> BackupStats {
        let is_unique = |key: &&String| self.needed.get(*key).is_none_or(|count| *count <= 1);
        let (unique, shared): (Vec<_>, Vec<_>) = counted.archives.iter().partition(is_unique);
        let sum = |keys: Vec<&String>| keys.into_iter().map(|key| self.archive_bytes(key)).sum::<u64>();
        BackupStats {
            backup: name.into(),
            full: counted.full,
            files: counted.files,
            content_bytes: counted.content_bytes,
            stored_bytes: self.bytes(name, &ObjectKind::ALL),
            referenced_bytes: counted.referenced_bytes,
            archives: counted.archives.len() as u64,
            unique_bytes: sum(unique) + self.own_bytes(name),
            shared_bytes: sum(shared),
        }
    }
}

/// `backups` are sorted, oldest first.
fn months(backups: &[BackupStats]) -> Vec<MonthStats> {
    let mut months: Vec<MonthStats> = Vec::new();
    let mut so_far = 0_u64;
    for backup in backups {
        let timestamp = &backup.backup.timestamp;
        let month = match (timestamp.get(..4), timestamp.get(4..6)) {
            (Some(year), Some(month)) => format!("{year}-{month}"),
            _ => timestamp.clone(),
        };
        so_far = so_far.saturating_add(backup.stored_bytes);
        if months.last().is_none_or(|last| last.month != month) {
            let (backups, stored_bytes, content_bytes) = (0, 0, 0);
            months.push(MonthStats { month, backups, stored_bytes, stored_bytes_so_far: 0, content_bytes });
        }
        if let Some(last) = months.last_mut() {
            last.backups += 1;
            last.stored_bytes = last.stored_bytes.saturating_add(backup.stored_bytes);
            last.stored_bytes_so_far = so_far;
            last.content_bytes = backup.content_bytes;
        }
    }
    months
}

/// Two digits behind the point; 0 where there is nothing to compare with.
fn ratio(of: u64, to: u64) -> f64 {
    if to == 0 { 0.0 } else { (of as f64 / to as f64 * 100.0).round() / 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::fixtures::Backups;

    #[tokio::test]
    async fn bytes_are_unique_where_no_other_backup_needs_them() {
        let backups = Backups::new();
        let full = backups.make("20261001T020000Z").await;
        let next = backups.make_on(&full, "20261101T020000Z").await;
        let alone = backups.make("20261102T020000Z").await;
        let lost = backups.make("20261103T020000Z").await;
        let contents = backups.catalog.contents("p").await.unwrap();
        let forgotten = [lost.clone()];
        let mut tally = Tally::new(&contents, &forgotten);
        for name in [&full, &next, &alone] {
            let head = intellistor_storage::manifest::fetch_head(&backups.store, name).await.unwrap();
            tally.add(name, &head);
        }
        let archive = "archive".len() as u64;
        let own = |name: &BackupName| tally.own_bytes(name);
        let expected_unique = [own(&full), own(&next) + archive, own(&alone) + archive];
        let expected_stored = own(&full) + own(&next) + own(&alone) + 3 * archive;
        let expected_forgotten = own(&lost) + archive;
        let report = tally.finish("p", "s".into(), &alone, 1, Vec::new());
        let unique: Vec<_> = report.backups.iter().map(|backup| backup.unique_bytes).collect();
        assert_eq!(unique, expected_unique);
        assert_eq!(report.backups[1].shared_bytes, archive);
        assert_eq!((report.backups[0].full, report.backups[1].full), (true, false));
        assert_eq!(report.totals.stored_bytes, expected_stored);
        assert_eq!(report.totals.forgotten_bytes, expected_forgotten);
        let months: Vec<_> = report.months.iter().map(|m| (m.month.as_str(), m.backups)).collect();
        assert_eq!(months, [("2026-10", 1), ("2026-11", 2)]);
        assert_eq!(report.months[1].stored_bytes_so_far, expected_stored);
    }
}
