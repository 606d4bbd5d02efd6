//! Times as people read them: local, with the zone. JSON has UTC.

use chrono::{DateTime, Local, NaiveDateTime, TimeZone};

/// `2026-11-26 02:00 -03:00`.
pub(crate) fn local<Z: TimeZone>(time: &DateTime<Z>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M %:z").to_string()
}

/// The same of a backup's or a run's timestamp, `20261126T050000Z`; other text is left as it is.
pub(crate) fn of_timestamp(timestamp: &str) -> String {
    match NaiveDateTime::parse_from_str(timestamp, "%Y%m%dT%H%M%SZ") {
        Ok(time) => local(&time.and_utc()),
        Err(_) => timestamp.to_owned(),
    }
}

/// A time without its zone, where there is no room for it.
pub(crate) fn without_zone(time: &str) -> String {
    match time.rsplit_once(' ') {
        Some((before, zone)) if zone.starts_with(['+', '-']) => before.to_owned(),
        _ => time.to_owned(),
    }
}

/// The same of a time in RFC 3339; other text is left as it is.
pub(crate) fn of_rfc3339(text: &str) -> String {
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => local(&time),
        Err(_) => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_is_left_as_it_is() {
        assert_eq!(of_timestamp("x"), "x");
        assert_eq!(of_rfc3339("x"), "x");
        assert_eq!(of_timestamp("20261126T050000Z"), of_rfc3339("2026-11-26T05:00:00Z"));
        assert_eq!(without_zone("2026-11-26 02:00 -03:00"), "2026-11-26 02:00");
        assert_eq!(without_zone("2026-11-26 02:00"), "2026-11-26 02:00");
        assert_eq!(of_timestamp("20261126T050000Z").len(), "2026-11-26 02:00 -03:00".len());
    }
}
