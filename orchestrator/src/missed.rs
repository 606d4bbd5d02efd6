//! Starts that a schedule had and that no run answered.
//!
//! **In:** an expression, when the last run was active, since when the schedule exists, the clock. **Out:** the first and the
//! last of these starts, and how many. **Guarantees:** pure; a start is met by a run that began after it, so that one run
//! makes up for all before it; a start that clocks skip or repeat counts once, as [`Cron`] runs it.

use chrono::{DateTime, TimeDelta, TimeZone};

use crate::cron::Cron;

/// How late a run may begin before its start counts as missed: schedulers delay starts to spread their load, and a machine
/// that has just booted is busy.
pub const GRACE: TimeDelta = TimeDelta::minutes(10);

/// A run that began this long before a start answers it: the clock was corrected in between.
const EARLY: TimeDelta = TimeDelta::seconds(30);

/// More starts than these, a week of one in each minute, are not counted.
const MOST: usize = 7 * 24 * 60;

/// Starts that no run answered.
#[derive(Debug, Clone)]
pub struct MissedStarts<Tz: TimeZone> {
    pub first: DateTime<Tz>,
    /// The last of those that were counted.
    pub last: DateTime<Tz>,
    /// At most 10,080.
    pub count: usize,
}

/// The starts that were missed until `now`; `None` when there are none.
///
/// `last_active` is when the policy's last run began or, if it was still active at a start, ended; `since` is when the
/// schedule was made. Starts within [`GRACE`] of `now` are not missed yet.
pub fn missed_starts<Tz: TimeZone>(
    cron: &Cron,
    last_active: Option<DateTime<Tz>>,
    since: DateTime<Tz>,
    now: DateTime<Tz>,
) -> Option<MissedStarts<Tz>> {
    let first = match last_active {
        Some(active) if active >= since => first_start_after(cron, active, now.clone()),
        _ => cron.next_after(since),
    }?;
    let until = now - GRACE;
    let due = std::iter::successors(Some(first), |start| cron.next_after(start.clone()));
    let mut due = due.take_while(|start| *start <= until).take(MOST);
    let first = due.next()?;
    let missed = MissedStarts { last: first.clone(), first, count: 1 };
    Some(due.fold(missed, |missed, last| MissedStarts { last, count: missed.count + 1, ..missed }))
}

/// The first start that a run does not answer that was last active at `active`: past, if it was missed. A time after `now`
/// comes from a clock that was wrong, and delays nothing.
pub(crate) fn first_start_after<Tz: TimeZone>(
    cron: &Cron,
    active: DateTime<Tz>,
    now: DateTime<Tz>,
) -> Option<DateTime<Tz>> {
    cron.next_after((active + EARLY).min(now))
}

#[cfg(test)]
mod tests {
    use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};

    use super::*;

    /// Winter time, and an hour more from 01:00 UTC of 29 March to 01:00 UTC of 25 October 2026, as in Berlin.
    #[derive(Debug, Clone, Copy)]
    struct Berlin;

    impl TimeZone for Berlin {
        type Offset = FixedOffset;

        fn from_offset(_: &FixedOffset) -> Self {
            Self
        }

        fn offset_from_local_date(&self, date: &NaiveDate) -> MappedLocalTime<FixedOffset> {
            self.offset_from_local_datetime(&date.and_time(NaiveTime::MIN))
        }

        fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
            let (summer, winter) =
                (FixedOffset::east_opt(7200).unwrap(), FixedOffset::east_opt(3600).unwrap());
            let is_right = |offset: FixedOffset| self.offset_from_utc_datetime(&(*local - offset)) == offset;
            match (is_right(summer), is_right(winter)) {
                (true, true) => MappedLocalTime::Ambiguous(summer, winter),
                (true, false) => MappedLocalTime::Single(summer),
                (false, true) => MappedLocalTime::Single(winter),
                (false, false) => MappedLocalTime::None,
            }
        }

        fn offset_from_utc_date(&self, date: &NaiveDate) -> FixedOffset {
            self.offset_from_utc_datetime(&date.and_time(NaiveTime::MIN))
        }

        fn offset_from_utc_datetime(&self, time: &NaiveDateTime) -> FixedOffset {
            let is_summer =
                (utc("2026-03-29T01:00:00Z")..utc("2026-10-25T01:00:00Z")).contains(&time.and_utc());
            FixedOffset::east_opt(if is_summer { 7200 } else { 3600 }).unwrap()
        }
    }

    fn cron(text: &str) -> Cron {
        Cron::parse(text).unwrap()
    }

    fn utc(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    /// First, last and count.
    fn missed(
        text: &str,
        last_active: Option<&str>,
        since: &str,
        now: &str,
    ) -> Option<(String, String, usize)> {
        let missed = missed_starts(&cron(text), last_active.map(utc), utc(since), utc(now))?;
        Some((missed.first.to_rfc3339(), missed.last.to_rfc3339(), missed.count))
    }

    const MADE: &str = "2026-11-01T12:00:00Z";
    const NIGHTLY: &str = "0 2 * * *";

    #[test]
    fn a_machine_that_was_off_missed_each_night() {
        let found = missed(NIGHTLY, Some("2026-11-20T02:00:03Z"), MADE, "2026-11-23T08:00:00Z");
        let (first, last) = ("2026-11-21T02:00:00+00:00", "2026-11-23T02:00:00+00:00");
        assert_eq!(found, Some((first.to_owned(), last.to_owned(), 3)));
        // One run makes up for all.
        assert_eq!(missed(NIGHTLY, Some("2026-11-23T08:00:01Z"), MADE, "2026-11-23T08:00:02Z"), None);
    }

    #[test]
    fn a_start_is_missed_once_its_grace_has_passed() {
        let at = |now| missed(NIGHTLY, Some("2026-11-20T02:00:03Z"), MADE, now).map(|(.., count)| count);
        assert_eq!(at("2026-11-21T01:59:59Z"), None);
        assert_eq!(at("2026-11-21T02:09:59Z"), None);
        assert_eq!(at("2026-11-21T02:10:00Z"), Some(1));
    }

    #[test]
    fn a_schedule_misses_nothing_before_it_was_made() {
        assert_eq!(missed(NIGHTLY, None, MADE, "2026-11-02T01:00:00Z"), None);
        let one = missed(NIGHTLY, None, MADE, "2026-11-02T03:00:00Z");
        assert_eq!(one.map(|(first, ..)| first).as_deref(), Some("2026-11-02T02:00:00+00:00"));
        // A run by hand, weeks before it was scheduled.
        assert_eq!(missed(NIGHTLY, Some("2026-10-01T12:00:00Z"), MADE, "2026-11-02T01:00:00Z"), None);
    }

    #[test]
    fn a_wrong_clock_neither_hides_a_start_for_good_nor_invents_one() {
        // The last run has a time in the future.
        assert_eq!(missed(NIGHTLY, Some("2027-11-20T02:00:00Z"), MADE, "2026-11-23T08:00:00Z"), None);
        // It began a moment before its start, by a clock that was then corrected.
        assert_eq!(missed(NIGHTLY, Some("2026-11-23T01:59:59Z"), MADE, "2026-11-23T08:00:00Z"), None);
        // The schedule was made in the future.
        assert_eq!(missed(NIGHTLY, None, "2027-11-01T12:00:00Z", "2026-11-23T08:00:00Z"), None);
    }

    #[test]
    fn a_start_that_clocks_skip_or_repeat_is_one() {
        let berlin = |text| utc(text).with_timezone(&Berlin);
        let between = |text, from, to| {
            let missed = missed_starts(&cron(text), None, berlin(from), berlin(to))?;
            Some((missed.first.to_rfc3339(), missed.count))
        };
        // 02:30 does not exist on 29 March, and exists twice on 25 October.
        let spring = between("30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        assert_eq!(spring, Some(("2026-03-29T03:00:00+02:00".to_owned(), 1)));
        let autumn = between("30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
        assert_eq!(autumn, Some(("2026-10-25T02:30:00+02:00".to_owned(), 1)));
        // A run at the first 02:30 answers it; no other is missed at the second.
        let active = Some(berlin("2026-10-25T00:30:02Z"));
        let since = berlin("2026-10-24T12:00:00Z");
        let second = berlin("2026-10-25T01:45:00Z");
        assert!(missed_starts(&cron("30 2 * * *"), active, since, second).is_none());
        // Each hour, there is one more on that day.
        let hourly = between("0 * * * *", "2026-10-24T21:30:00Z", "2026-10-25T22:30:00Z");
        assert_eq!(hourly.map(|(_, count)| count), Some(25));
    }

    #[test]
    fn counting_ends() {
        let (first, last, count) = missed("* * * * *", None, "2016-11-01T12:00:00Z", MADE).unwrap();
        assert_eq!((first.as_str(), count), ("2016-11-01T12:01:00+00:00", MOST));
        assert_eq!(last, "2016-11-08T12:00:00+00:00");
    }
}
