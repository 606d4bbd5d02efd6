use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate, TimeDelta};
use proptest::prelude::*;

use super::exact::{Search, search};
use super::*;

impl TriggerDays {
    fn holds(&self, date: NaiveDate) -> bool {
        let weekday = date.weekday().num_days_from_sunday() as u8;
        let (month, day) = (date.month() as u8, date.day() as u8);
        match self {
            Self::All => true,
            Self::Weekdays(weekdays) => weekdays.contains(&weekday),
            Self::DaysOfMonth { days, months } => months.contains(&month) && days.contains(&day),
            Self::WeekdaysOfMonths { weekdays, months } => {
                months.contains(&month) && weekdays.contains(&weekday)
            }
        }
    }
}

impl Repetition {
    /// How many starts follow the first: all those within the duration, its end included.
    fn count(&self) -> u32 {
        let starts = self.duration().num_seconds() / (i64::from(self.interval_minutes) * 60);
        u32::try_from(starts).unwrap_or(0)
    }
}

impl Trigger {
    /// The starts that a day's firing brings, as Windows counts them.
    fn starts(&self, date: NaiveDate) -> impl Iterator<Item = NaiveDateTime> + '_ {
        let first = date.and_time(self.start.time());
        let again = self.repetition.map_or(0, |repetition| repetition.count());
        let interval = self.repetition.map_or(0, |repetition| i64::from(repetition.interval_minutes));
        (0..=again).map(move |k| first + Duration::minutes(interval * i64::from(k)))
    }
}

/// When the triggers start their task, after `from` and up to `to`: what Task Scheduler does, simulated.
fn occurrences(triggers: &[Trigger], from: NaiveDateTime, to: NaiveDateTime) -> BTreeSet<NaiveDateTime> {
    let mut all = BTreeSet::new();
    for trigger in triggers {
        // A repetition may reach into the next day.
        let first = trigger.start.date().max(from.date() - Duration::days(1));
        for date in first.iter_days().take_while(|date| *date <= to.date()) {
            if trigger.days.holds(date) {
                all.extend(trigger.starts(date).filter(|start| *start > from && *start <= to));
            }
        }
    }
    all
}

fn at(year: i32, month: u32, day: u32, hour: u32, minute: u32) -> NaiveDateTime {
    NaiveDate::from_ymd_opt(year, month, day).unwrap().and_hms_opt(hour, minute, 0).unwrap()
}

/// What croner says.
fn expected(cron: &Cron, from: NaiveDateTime, to: NaiveDateTime) -> BTreeSet<NaiveDateTime> {
    let next = |time: &chrono::DateTime<chrono::Utc>| cron.next_after(*time);
    std::iter::successors(next(&from.and_utc()), next)
        .map(|time| time.naive_utc())
        .take_while(|time| *time <= to)
        .collect()
}

/// A year with a leap day, from the middle of a day.
fn year() -> (NaiveDateTime, NaiveDateTime) {
    (at(2027, 11, 23, 10, 7), at(2028, 11, 23, 10, 7))
}

fn agrees(text: &str, most: usize) {
    let cron = Cron::parse(text).unwrap();
    let (from, to) = year();
    let found = triggers(&cron, from).unwrap();
    assert!(found.len() <= most, "{text}: {} triggers", found.len());
    assert_eq!(occurrences(&found, from, to), expected(&cron, from, to), "{text}");
}

#[test]
fn usual_expressions_take_few_triggers() {
    for (text, most) in [
        ("0 2 * * *", 1),
        ("*/15 * * * *", 1),
        ("* * * * *", 1),
        ("@hourly", 1),
        ("@daily", 1),
        ("@weekly", 1),
        ("@monthly", 1),
        ("@yearly", 1),
        ("30 8-18/2 * * 1-5", 1),
        ("*/10 8-18 * * 1-5", 1),
        ("0,30 8,12,16 * * *", 2),
        ("0 6,22 * * *", 1),
        ("0 6,12,13 * * *", 2),
        ("5,35 * * * *", 1),
        ("0 2 1,15 * *", 1),
        ("0 2 31 * *", 1),
        ("0 2 29 2 *", 1),
        ("0 2 * 6-8 *", 1),
        ("0 2 * 3 1", 1),
        ("0 2 13 * 5", 2),
        ("0 2 1 1,7 0", 2),
        ("0-4 1 * * *", 1),
        ("0,1 * * * *", 2),
        ("59 23 * * *", 1),
        ("* 23 * * 6", 1),
        ("*/7 * * * *", 9),
        ("*/7 */5 * * *", 5),
        ("7,11,19-58 5-21 2-18 5 1", 38),
        ("0,3-36,40,44,45 4-23 10-23 1,8,10 2", 48),
    ] {
        agrees(text, most);
    }
}

#[test]
fn a_weekday_never_reaches_into_the_next() {
    let cron = Cron::parse("*/15 * * * 1").unwrap();
    let (from, to) = year();
    let found = triggers(&cron, from).unwrap();
    let starts = occurrences(&found, from, to);
    assert!(starts.iter().all(|start| start.weekday() == chrono::Weekday::Mon));
    assert!(starts.iter().any(|start| start.time() == NaiveTime::MIN));
}

/// Current Windows counts a start at the very end of the duration, older versions did not: durations avoid it.
fn both_countings_agree(found: &[Trigger]) {
    for repetition in found.iter().filter_map(|trigger| trigger.repetition) {
        let (interval, duration) =
            (i64::from(repetition.interval_minutes) * 60, repetition.duration().num_seconds());
        assert_ne!(duration % interval, 0, "{repetition:?}");
        assert_eq!(duration / interval, repetition.span_minutes() * 60 / interval, "{repetition:?}");
        assert!(duration >= interval && duration <= 24 * 3600, "{repetition:?}");
    }
}

#[test]
fn nothing_starts_in_the_past() {
    let since = at(2026, 11, 23, 10, 7);
    let start = |text: &str| triggers(&Cron::parse(text).unwrap(), since).unwrap()[0].start;
    assert_eq!(start("0 2 * * *"), at(2026, 11, 24, 2, 0));
    assert_eq!(start("7 10 * * *"), at(2026, 11, 24, 10, 7));
    assert_eq!(start("8 10 * * *"), at(2026, 11, 23, 10, 8));
    // A repetition of today continues today.
    assert_eq!(start("*/15 * * * *"), at(2026, 11, 23, 0, 0));
}

#[test]
fn a_refusal_says_how_many_and_what_to_do() {
    let minutes = "0,1,3,7,12,20,30,44,45,58";
    let text = format!("{minutes} 0,1,3,7,12,20 1 * 5");
    let error = triggers(&Cron::parse(&text).unwrap(), year().0).unwrap_err().to_string();
    assert!(error.contains("60 times of day on two kinds of days need"), "{error}");
    assert!(error.contains("at most 48") && error.contains("*/15"), "{error}");
}

/// Whether a task cannot have the expression's triggers: on each kind of days, more than its share of them are needed.
/// The proof is `exact`'s own, which is checked there against a search without weights.
fn is_impossible(cron: &Cron) -> bool {
    let times: Vec<u16> = cron
        .hours()
        .iter()
        .flat_map(|h| cron.minutes().iter().map(move |m| u16::from(*h) * 60 + u16::from(*m)))
        .collect();
    search(&times, MOST_TRIGGERS / kinds_of_days(cron).len()) == Search::Impossible
}

/// The bound without whole numbers is exactly 24 for each of its two kinds of days, and 25 are needed.
#[test]
fn a_refusal_is_proven_where_the_bound_alone_proves_nothing() {
    let cron = Cron::parse("0,8,12-58 1,3-23 2,8,9,11,14,16,17,24 * 0,1,5").unwrap();
    assert!(triggers(&cron, year().0).is_err() && is_impossible(&cron));
}

/// A field of the grammar: stars, steps, ranges, lists.
fn field(min: u8, max: u8) -> impl Strategy<Value = String> {
    let item = prop_oneof![
        (min..=max).prop_map(|value| value.to_string()),
        (min..=max, min..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        (min..=max, min..=max, 2..=9u8).prop_map(|(a, b, step)| format!("{}-{}/{step}", a.min(b), a.max(b))),
    ];
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (2..=(max / 2)).prop_map(|step| format!("*/{step}")),
        5 => prop::collection::vec(item, 1..4).prop_map(|items| items.join(",")),
    ]
}

pub(crate) fn expressions() -> impl Strategy<Value = Cron> {
    (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6))
        .prop_map(|(minute, hour, day, month, week)| {
            Cron::parse(&format!("{minute} {hour} {day} {month} {week}")).ok()
        })
        .prop_filter_map("can be read in two ways, or never happens", |cron| cron)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        // A year takes time: a failure must be reported before the runner's timeout.
        max_shrink_time: 20_000,
        ..ProptestConfig::with_cases(96)
    })]

    #[test]
    fn a_year_of_triggers_is_a_year_of_cron(cron in expressions()) {
        let (from, to) = year();
        match triggers(&cron, from) {
            Ok(found) => {
                prop_assert!(found.len() <= MOST_TRIGGERS);
                both_countings_agree(&found);
                let (found, expected) = (occurrences(&found, from, to), expected(&cron, from, to));
                let first = found.symmetric_difference(&expected).next();
                prop_assert_eq!(first, None, "{}", cron);
            }
            Err(_) => prop_assert!(is_impossible(&cron), "{} may fit", cron),
        }
    }

    #[test]
    fn canonical_text_means_itself(cron in expressions()) {
        prop_assert_eq!(Cron::parse(&cron.to_string()).unwrap(), cron);
    }
}

#[test]
fn the_documented_durations() {
    let found = triggers(&Cron::parse("*/15 * * * *").unwrap(), year().0).unwrap();
    let xml = found[0].to_xml();
    assert!(xml.contains("<Interval>PT15M</Interval><Duration>PT23H46M</Duration>"), "{xml}");
    let found = triggers(&Cron::parse("* * * * *").unwrap(), year().0).unwrap();
    let xml = found[0].to_xml();
    assert!(xml.contains("<Interval>PT1M</Interval><Duration>PT23H59M30S</Duration>"), "{xml}");
    assert_eq!(found[0].repetition.unwrap().duration(), TimeDelta::seconds(24 * 3600 - 30));
}
