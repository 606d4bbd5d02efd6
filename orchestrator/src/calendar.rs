//! Hours, days, weeks, months and years of a time zone.
//!
//! The zone database is the one that this program brings along: the same backups are kept on every machine, also where the system
//! has no zones (Windows, small containers).

use std::fmt;

use chrono::{DateTime, Utc};
use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::nearest::nearest;

/// A time zone by whose clocks people count days.
#[derive(Debug, Clone)]
pub(crate) struct Calendar(TimeZone);

/// A length of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    Hour,
    Day,
    /// ISO 8601: Monday to Sunday; it belongs to the year that has its Thursday.
    Week,
    Month,
    Year,
}

impl Period {
    pub(crate) const ALL: [Self; 5] = [Self::Hour, Self::Day, Self::Week, Self::Month, Self::Year];
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week => "weekly",
            Self::Month => "monthly",
            Self::Year => "yearly",
        })
    }
}

impl Calendar {
    /// The zone with a name of the IANA database, or UTC; `None` where there is no such zone.
    pub(crate) fn of(zone: Option<&str>) -> Option<Self> {
        match zone {
            None => Some(Self(TimeZone::UTC)),
            Some(name) => TimeZoneDatabase::bundled().get(name).ok().map(Self),
        }
    }

    /// Which period a time is in, by a name that no other period of that length has; `None` beyond the years that a calendar has.
    pub(crate) fn period(&self, time: DateTime<Utc>, period: Period) -> Option<String> {
        let local = Timestamp::from_second(time.timestamp()).ok()?.to_zoned(self.0.clone());
        let date = local.date();
        Some(match period {
            // With the offset: the hour that is repeated when clocks are set back is two.
            Period::Hour => format!("{date} {:02}h {}", local.hour(), local.offset()),
            Period::Day => date.to_string(),
            Period::Week => {
                let week = date.iso_week_date();
                format!("{:04}-W{:02}", week.year(), week.week())
            }
            Period::Month => format!("{:04}-{:02}", date.year(), date.month()),
            Period::Year => format!("{:04}", date.year()),
        })
    }

    /// The zone whose name is most like one that is none: a slip of the keyboard, or a city without its continent.
    pub(crate) fn nearest(name: &str) -> Option<String> {
        // An offset: the signs of the database's own (`Etc/GMT+3`) are the other way round.
        if name.contains(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let zones: Vec<_> = TimeZoneDatabase::bundled().available().map(|zone| zone.to_string()).collect();
        let city = |zone: &'_ str| zone.rsplit_once('/').map(|(_, city)| city.to_owned());
        let cities: Vec<_> = zones.iter().filter_map(|zone| city(zone)).collect();
        if let Some(zone) = nearest(name, zones.iter().map(String::as_str)) {
            return Some(zone.to_owned());
        }
        let found = nearest(name.rsplit('/').next()?, cities.iter().map(String::as_str))?;
        zones.into_iter().find(|zone| city(zone).as_deref() == Some(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn names(zone: &str, timestamp: &str) -> [String; 5] {
        let time = clock::parse(timestamp).unwrap();
        let calendar = Calendar::of(Some(zone)).unwrap();
        Period::ALL.map(|period| calendar.period(time, period).unwrap())
    }

    #[test]
    fn periods_are_those_of_the_zone() {
        assert_eq!(
            names("America/Sao_Paulo", "20270101T020000Z"),
            ["2026-12-31 23h -03", "2026-12-31", "2026-W53", "2026-12", "2026"]
        );
        assert_eq!(names("UTC", "20270101T020000Z")[1..], ["2027-01-01", "2026-W53", "2027-01", "2027"]);
        // The Thursday decides which year a week belongs to.
        assert_eq!(names("UTC", "20241230T020000Z")[1..], ["2024-12-30", "2025-W01", "2024-12", "2024"]);
        assert_eq!(names("UTC", "20210103T235959Z")[2], "2020-W53");
    }

    #[test]
    fn an_hour_that_clocks_repeat_is_two() {
        // In Santiago, 24:00 of 4 April 2026 was 23:00 again.
        let [first, second] =
            ["20260405T023000Z", "20260405T033000Z"].map(|time| names("America/Santiago", time));
        assert_eq!((first[0].as_str(), second[0].as_str()), ("2026-04-04 23h -03", "2026-04-04 23h -04"));
        assert_eq!(first[1], second[1]);
    }

    #[test]
    fn a_zone_that_does_not_exist_is_told_from_its_nearest() {
        for name in ["America/Sao_Paulo", "UTC", "Europe/Lisbon", "Etc/GMT+3"] {
            assert!(Calendar::of(Some(name)).is_some(), "{name}");
        }
        for (name, nearest) in [
            ("America/Sao_Paolo", Some("America/Sao_Paulo")),
            ("São Paulo", Some("America/Sao_Paulo")),
            ("America/Sao Paulo", Some("America/Sao_Paulo")),
            ("lisbon", Some("Europe/Lisbon")),
            ("Santiago", Some("America/Santiago")),
            ("Europa/Lisboa", Some("Europe/Lisbon")),
            ("brasília", None),
            ("", None),
            ("-03:00", None),
            ("GMT-3", None),
        ] {
            assert!(Calendar::of(Some(name)).is_none(), "{name}");
            assert_eq!(Calendar::nearest(name).as_deref(), nearest, "{name}");
        }
    }
}
