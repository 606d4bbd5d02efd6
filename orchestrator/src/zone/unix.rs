//! The machine's zone from `/etc/localtime`, as cron and systemd read it.
//!
//! `chrono::Local` follows `TZ`, and falls back to UTC without an error when the zone cannot be read.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use chrono::{DateTime, FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono::{Datelike as _, Timelike as _};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone as Rules};

const LOCALTIME: &str = "/etc/localtime";
/// Where zones are installed; the first is nearly always the one.
const ZONES: [&str; 3] = ["/usr/share/zoneinfo", "/usr/lib/zoneinfo", "/etc/zoneinfo"];

/// A time zone with its rules.
#[derive(Debug, Clone)]
pub struct Zone {
    rules: Rules,
    /// As in `America/Sao_Paulo`.
    pub name: String,
    /// Why it fell back to UTC.
    pub problem: Option<String>,
}

impl Zone {
    /// The machine's.
    pub fn of_this_machine() -> Self {
        Self::at(Path::new(LOCALTIME))
    }

    fn at(localtime: &Path) -> Self {
        let utc = |problem| Self { rules: Rules::UTC, name: "UTC".to_owned(), problem: Some(problem) };
        let link = fs::read_link(localtime).ok();
        let name = link.as_deref().and_then(Path::to_str).map(zone_name);
        let bytes = match fs::read(localtime) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return utc(match name {
                    Some(name) => format!(
                        "this machine's time zone is {name}, which is not installed: times are UTC. Install tzdata"
                    ),
                    None => format!(
                        "this machine has no time zone ({} is missing): times are UTC. Install tzdata and link it to a zone",
                        localtime.display()
                    ),
                });
            }
            Err(e) => return utc(format!("cannot read {}: {e}: times are UTC", localtime.display())),
        };
        match Rules::tzif(name.unwrap_or("localtime"), &bytes) {
            Ok(rules) => {
                let name = name.map_or_else(|| "that of /etc/localtime".to_owned(), str::to_owned);
                Self { rules, name, problem: None }
            }
            Err(e) => utc(format!("{} is not a time zone: {e}: times are UTC", localtime.display())),
        }
    }

    /// The current time in it.
    pub fn now(&self) -> DateTime<Self> {
        Utc::now().with_timezone(self)
    }
}

/// What is wrong with the zone that a process uses: with the value of `TZ`, or else with the machine's.
pub fn problem_with(tz: Option<&str>) -> Option<String> {
    match tz {
        None => Zone::of_this_machine().problem,
        // An empty TZ means UTC.
        Some("") => None,
        Some(tz) => {
            let name = tz.strip_prefix(':').unwrap_or(tz);
            let places = ZONES.iter().map(|zones| Path::new(zones).join(name));
            let mut files = places.filter_map(|path| fs::read(path).ok());
            let known = files.any(|bytes| Rules::tzif(name, &bytes).is_ok());
            (!known && Rules::posix(tz).is_err()).then(|| {
                format!(
                    "TZ is {tz:?}, which is not a time zone installed here, so times are not in it. \
                     Correct it, or install tzdata"
                )
            })
        }
    }
}

fn zone_name(link: &str) -> &str {
    link.split_once("zoneinfo/").map_or(link, |(_, name)| name)
}

fn fixed(offset: Offset) -> FixedOffset {
    FixedOffset::east_opt(offset.seconds()).unwrap_or(FixedOffset::east_opt(0).expect("UTC is an offset"))
}

impl TimeZone for Zone {
    type Offset = FixedOffset;

    fn from_offset(offset: &FixedOffset) -> Self {
        let rules = Offset::from_seconds(offset.local_minus_utc()).map_or(Rules::UTC, Rules::fixed);
        Self { rules, name: offset.to_string(), problem: None }
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<FixedOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<FixedOffset> {
        let small = |n: u32| i8::try_from(n).ok();
        let civil = || {
            let (year, month, day) =
                (i16::try_from(local.year()).ok()?, small(local.month())?, small(local.day())?);
            let (hour, minute, second) =
                (small(local.hour())?, small(local.minute())?, small(local.second())?);
            civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()
        };
        let Some(civil) = civil() else { return MappedLocalTime::None };
        match self.rules.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(fixed(offset)),
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(fixed(before), fixed(after))
            }
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> FixedOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> FixedOffset {
        let moment = Timestamp::from_second(utc.and_utc().timestamp()).unwrap_or_default();
        fixed(self.rules.to_offset(moment))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::cron::Cron;

    #[test]
    fn a_machine_without_its_zone_says_that_times_are_utc() {
        let dir = tempfile::tempdir().unwrap();
        let localtime = dir.path().join("localtime");
        let missing = Zone::at(&localtime);
        assert!(missing.problem.as_deref().unwrap().contains("no time zone"), "{missing:?}");
        symlink("/nowhere/zoneinfo/America/Sao_Paulo", &localtime).unwrap();
        let dangling = Zone::at(&localtime).problem.unwrap();
        assert!(dangling.contains("America/Sao_Paulo") && dangling.contains("tzdata"), "{dangling}");
        fs::remove_file(&localtime).unwrap();
        fs::write(&localtime, "no zone").unwrap();
        assert!(Zone::at(&localtime).problem.unwrap().contains("is not a time zone"));
    }

    #[test]
    fn an_unknown_tz_is_reported() {
        for good in ["", "UTC0", "EST5EDT,M3.2.0,M11.1.0", "<-03>3"] {
            assert_eq!(problem_with(Some(good)), None, "{good}");
        }
        for bad in ["America/Sao_Palo", "nonsense", ":America/Sao_Palo", "/no/such/file"] {
            let problem = problem_with(Some(bad)).unwrap_or_else(|| panic!("{bad} is no zone"));
            assert!(problem.contains(bad) && problem.contains("tzdata"), "{problem}");
        }
    }

    #[test]
    fn times_follow_the_zone_through_clock_changes() {
        // Central Europe, without installed zones: clocks go forward on 2027-03-28 at 2:00 and back on 2027-10-31.
        let rules = Rules::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let zone = Zone { rules, name: "CET".to_owned(), problem: None };
        let next = |from: &str, cron: &str| {
            let from = DateTime::parse_from_rfc3339(from).unwrap().with_timezone(&zone);
            Cron::parse(cron).unwrap().next_after(from).unwrap().to_rfc3339()
        };
        assert_eq!(next("2027-01-10T12:00:00Z", "0 2 * * *"), "2027-01-11T02:00:00+01:00");
        assert_eq!(next("2027-06-10T12:00:00Z", "0 2 * * *"), "2027-06-11T02:00:00+02:00");
        let local = |text: &str| zone.from_local_datetime(&text.parse().unwrap());
        assert!(matches!(local("2027-03-28T02:30:00"), MappedLocalTime::None));
        assert!(matches!(local("2027-10-31T02:30:00"), MappedLocalTime::Ambiguous(..)));
    }
}
