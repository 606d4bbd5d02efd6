//! Which archives of a base are replaced: bounds of how much a backup drags along that none of its files needs, and of how
//! many archives it depends on.
//!
//! **In:** what the base's manifest says of its archives. **Out:** which of them a new backup may use; the files of the
//! others are read again from the source and stored in the new archive. Pure.
//!
//! - *Dead bytes*: while more than half of the bytes in all archives are dead, the archive with the smallest live share is
//!   replaced. A run stores [`budget`] bytes again for this at most; of an archive that alone exceeds it, all, because an
//!   archive is replaced as a whole and the bound would otherwise never be met. Its live share is then below a half.
//! - *Number*: with its own, a backup has at most [`MOST_ARCHIVES`]. Beyond that, the [`MERGED`] archives with the fewest live
//!   bytes are replaced at once, so that the next [`MERGED`] runs need not. There is no budget: the bound is a promise to
//!   those who restore, and the smallest of 32 archives hold little.

use intellistor_storage::manifest::{ArchiveRecord, MOST_ARCHIVES};

/// Archives that are replaced together.
const MERGED: usize = 8;
/// Less than this is stored again in minutes on any line that is used for backups.
const SMALLEST_BUDGET: u64 = 256 << 20;

/// An archive of a base, in bytes of content. What surrounds it in the tar stream is much for small files, and never dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ArchiveUse {
    /// What entries of the base have in it.
    pub(super) live: u64,
    /// What those of its own backup had in it.
    pub(super) total: u64,
    /// Whether the store has it, whole.
    pub(super) is_there: bool,
}

impl ArchiveUse {
    pub(super) fn of(archive: &ArchiveRecord, is_there: bool) -> Self {
        let total = archive.content_bytes;
        Self { live: archive.live_bytes.min(total), total, is_there }
    }
}

/// For each archive, whether the new backup uses it.
pub(super) fn usable(archives: &[ArchiveUse]) -> Vec<bool> {
    // One that no entry needs is left behind, at no cost.
    let mut usable: Vec<_> = archives.iter().map(|archive| archive.is_there && archive.live > 0).collect();
    let used = |usable: &[bool]| -> Vec<usize> { (0..usable.len()).filter(|&i| usable[i]).collect() };

    let mut left = budget(used(&usable).iter().map(|&i| archives[i].live).sum());
    let mut is_first = true;
    loop {
        let mut rest = used(&usable);
        let sum = |of: fn(&ArchiveUse) -> u64| rest.iter().map(|&i| of(&archives[i])).sum::<u64>();
        if sum(|archive| archive.live).saturating_mul(2) >= sum(|archive| archive.total) {
            break;
        }
        // Compared without a division: a/b < c/d if and only if a*d < c*b.
        let share = |&i: &usize, &k: &usize| {
            let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
            product(archives[i].live, archives[k].total).cmp(&product(archives[k].live, archives[i].total))
        };
        rest.sort_by(share);
        let Some(&worst) = rest.first() else { break };
        if archives[worst].live > left && !is_first {
            break;
        }
        usable[worst] = false;
        left = left.saturating_sub(archives[worst].live);
        is_first = false;
    }

    let mut rest = used(&usable);
    if rest.len() + 1 > MOST_ARCHIVES {
        rest.sort_by_key(|&i| archives[i].live);
        let merged = MERGED.max(rest.len() + 1 - MOST_ARCHIVES);
        rest.iter().take(merged).for_each(|&i| usable[i] = false);
    }
    usable
}

/// Bytes that one run stores again because of dead bytes: a tenth of what is live, so that no night takes much longer than the
/// others.
fn budget(live: u64) -> u64 {
    SMALLEST_BUDGET.max(live / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn of(archives: &[(u64, u64)]) -> Vec<ArchiveUse> {
        archives
            .iter()
            .map(|&(live, total)| ArchiveUse { live: live * MIB, total: total * MIB, is_there: true })
            .collect()
    }

    fn replaced(archives: &[ArchiveUse]) -> Vec<usize> {
        usable(archives).into_iter().enumerate().filter(|(_, usable)| !usable).map(|(i, _)| i).collect()
    }

    #[test]
    fn half_dead_is_borne_and_more_is_not() {
        assert!(replaced(&of(&[(50, 100), (10, 10)])).is_empty());
        assert!(replaced(&of(&[(50, 100)])).is_empty());
        assert_eq!(replaced(&of(&[(49, 100)])), [0]);
        // The worst by share goes, and then the bound holds.
        assert_eq!(replaced(&of(&[(40, 100), (1, 50), (20, 20)])), [1]);
    }

    #[test]
    fn what_is_gone_or_needed_by_nothing_is_not_used() {
        let mut archives = of(&[(90, 100), (0, 10), (5, 5)]);
        archives[2].is_there = false;
        assert_eq!(replaced(&archives), [1, 2]);
        assert!(usable(&[]).is_empty());
    }

    #[test]
    fn a_run_stores_a_budget_again_and_an_archive_whole() {
        // 3,000 MiB are live, so 300 may be stored again: the worst, and not the second.
        let several = of(&[(250, 1_000), (260, 1_000), (2_490, 5_000)]);
        assert_eq!(replaced(&several), [0]);
        // The next run goes on.
        assert_eq!(replaced(&several[1..]), [0]);
        // One that exceeds the budget alone.
        assert_eq!(replaced(&of(&[(40_000, 100_000)])), [0]);
        // Small ones go together.
        assert_eq!(replaced(&of(&[(10, 100), (10, 100), (10, 100), (100, 100)])), [0, 1]);
    }

    #[test]
    fn forty_increments_never_have_more_than_32_archives() {
        let mut archives = of(&[(1_000, 1_000)]);
        let mut merges = 0;
        for day in 0..100 {
            let usable = usable(&archives);
            let kept = usable.iter().filter(|usable| **usable).count();
            merges += u32::from(kept < archives.len());
            let moved = archives
                .iter()
                .zip(&usable)
                .filter(|(_, usable)| !**usable)
                .map(|(a, _)| a.live)
                .sum::<u64>();
            let mut next = vec![ArchiveUse { live: 3 * MIB + moved, total: 3 * MIB + moved, is_there: true }];
            next.extend(archives.iter().zip(&usable).filter(|(_, usable)| **usable).map(|(a, _)| *a));
            archives = next;
            assert!(archives.len() <= MOST_ARCHIVES, "{} on day {day}", archives.len());
            // The large one stays where it is.
            assert_eq!(archives.last().map(|full| full.live), Some(1_000 * MIB));
        }
        assert!((5..=14).contains(&merges), "merged {merges} times");
    }
}
