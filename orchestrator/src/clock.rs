//! Timestamps of runs, and clocks that are wrong.

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use intellistor_storage::catalog::layout::TIMESTAMP;

/// How far ahead a clock may be and still be trusted. One set to local time as if it were UTC is up to 14 hours off;
/// more than a day is no time zone.
pub(crate) const SKEW: TimeDelta = TimeDelta::hours(24);

/// The time in a run's timestamp.
pub(crate) fn parse(timestamp: &str) -> Option<DateTime<Utc>> {
    Some(NaiveDateTime::parse_from_str(timestamp, TIMESTAMP).ok()?.and_utc())
}

/// Whether a run is named after a time that a trustworthy clock cannot have shown by `now`.
pub(crate) fn is_future(timestamp: &str, now: DateTime<Utc>) -> bool {
    parse(timestamp).is_some_and(|time| time - now > SKEW)
}

/// The time that names a new run: `now`, or the second after the newest of `taken`, so that names sort by time and no two
/// runs share one. Those in the future do not count, or names would stay ahead for ever.
pub(crate) fn next_name<'t>(taken: impl Iterator<Item = &'t str>, now: DateTime<Utc>) -> DateTime<Utc> {
    let trusted = taken.filter(|timestamp| !is_future(timestamp, now)).filter_map(parse);
    trusted.max().map_or(now, |newest| now.max(newest + TimeDelta::seconds(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timestamp: &str) -> DateTime<Utc> {
        parse(timestamp).unwrap()
    }

    #[test]
    fn a_name_is_the_time_unless_it_is_taken_or_the_clock_was_set_back_a_little() {
        let now = at("20261126T020000Z");
        for (taken, name) in [
            (&[][..], "20261126T020000Z"),
            (&["20261125T020000Z"], "20261126T020000Z"),
            (&["20261126T020000Z"], "20261126T020001Z"),
            (&["20261126T020001Z", "20261126T020000Z"], "20261126T020002Z"),
            (&["20261126T160000Z"], "20261126T160001Z"),
            (&["20311126T020000Z"], "20261126T020000Z"),
            (&["20311126T020000Z", "20261126T020005Z"], "20261126T020006Z"),
            (&["99991231T235959Z", "junk", ""], "20261126T020000Z"),
        ] {
            assert_eq!(next_name(taken.iter().copied(), now), at(name), "{taken:?}");
        }
    }
}
