//! Calendars by hand, properties, and a script with no code of ours.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use intellistor_storage::catalog::layout::TIMESTAMP;
use jiff::civil::{Date, Time, date, time};
use jiff::tz::TimeZoneDatabase;
use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;

use super::*;
use crate::policy::Policy;

const SAO_PAULO: &str = "America/Sao_Paulo";
const SANTIAGO: &str = "America/Santiago";

/// Rules as a person writes them.
fn rules(yaml: &str) -> RetentionRules {
    let text = format!("policy_id: a\npaths: [x]\nretention: {{ {yaml} }}\n");
    Policy::from_yaml(Path::new("policy"), &text).unwrap().retention.unwrap()
}

fn name(timestamp: &str) -> BackupName {
    BackupName { policy_id: "a".into(), timestamp: timestamp.into(), backup_id: "7d1f".into() }
}

fn candidate(timestamp: &str) -> Candidate {
    Candidate { name: name(timestamp), held: None }
}

/// A time of a zone's clocks as a timestamp.
fn local(zone: &str, date: Date, time: Time) -> String {
    let zone = TimeZoneDatabase::bundled().get(zone).unwrap();
    let zoned = date.to_datetime(time).to_zoned(zone).unwrap();
    stamp(zoned.timestamp().as_second())
}

fn stamp(seconds: i64) -> String {
    DateTime::from_timestamp_secs(seconds).unwrap().format(TIMESTAMP).to_string()
}

/// The same time of each of so many days.
fn daily(zone: &str, first: Date, days: i64, time: Time) -> Vec<String> {
    (0..days).map(|day| local(zone, first + day.days(), time)).collect()
}

/// The times of a zone's clocks that are kept, newest first, each with its reasons. Now is the time of the newest.
fn kept(yaml: &str, timestamps: &[String]) -> String {
    kept_at(yaml, timestamps, timestamps.iter().max().unwrap())
}

fn kept_at(yaml: &str, timestamps: &[String], now: &str) -> String {
    let rules = rules(yaml);
    let candidates: Vec<_> = timestamps.iter().map(|timestamp| candidate(timestamp)).collect();
    let calendar = rules.calendar().unwrap();
    let verdicts = verdicts(&candidates, None, &rules, &calendar, clock::parse(now).unwrap());
    assert_eq!(verdicts.len(), timestamps.len());
    let zone = TimeZoneDatabase::bundled().get(rules.timezone.as_deref().unwrap_or("UTC")).unwrap();
    let lines = verdicts.iter().filter(|verdict| verdict.is_kept()).map(|Verdict { name, reasons }| {
        let seconds = clock::parse(&name.timestamp).unwrap().timestamp();
        let local = Timestamp::from_second(seconds).unwrap().to_zoned(zone.clone());
        let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
        format!("{}: {}\n", local.strftime("%Y-%m-%d %H:%M"), reasons.join("; "))
    });
    lines.collect()
}

#[test]
fn a_year_of_nights_in_sao_paulo() {
    // 23:30, which is the next day in UTC.
    let nights = daily(SAO_PAULO, date(2026, 1, 1), 365, time(23, 30, 0, 0));
    let rules =
        "keep_daily: 7, keep_weekly: 5, keep_monthly: 12, keep_yearly: 3, timezone: America/Sao_Paulo";
    let expected = "\
2026-12-31 23:30: the newest; daily 1 of 7, 2026-12-31; weekly 1 of 5, 2026-W53; monthly 1 of 12, 2026-12; yearly 1 of 3, 2026
2026-12-30 23:30: daily 2 of 7, 2026-12-30
2026-12-29 23:30: daily 3 of 7, 2026-12-29
2026-12-28 23:30: daily 4 of 7, 2026-12-28
2026-12-27 23:30: daily 5 of 7, 2026-12-27; weekly 2 of 5, 2026-W52
2026-12-26 23:30: daily 6 of 7, 2026-12-26
2026-12-25 23:30: daily 7 of 7, 2026-12-25
2026-12-20 23:30: weekly 3 of 5, 2026-W51
2026-12-13 23:30: weekly 4 of 5, 2026-W50
2026-12-06 23:30: weekly 5 of 5, 2026-W49
2026-11-30 23:30: monthly 2 of 12, 2026-11
2026-10-31 23:30: monthly 3 of 12, 2026-10
2026-09-30 23:30: monthly 4 of 12, 2026-09
2026-08-31 23:30: monthly 5 of 12, 2026-08
2026-07-31 23:30: monthly 6 of 12, 2026-07
2026-06-30 23:30: monthly 7 of 12, 2026-06
2026-05-31 23:30: monthly 8 of 12, 2026-05
2026-04-30 23:30: monthly 9 of 12, 2026-04
2026-03-31 23:30: monthly 10 of 12, 2026-03
2026-02-28 23:30: monthly 11 of 12, 2026-02
2026-01-31 23:30: monthly 12 of 12, 2026-01
2026-01-01 23:30: the oldest, while yearly has 1 of 3
";
    assert_eq!(kept(rules, &nights), expected);
}

#[test]
fn days_and_hours_when_the_clocks_of_santiago_change() {
    // 24:00 of 4 April was 23:00 again: that day has 25 hours, and 23:30 comes twice.
    let hours = |from: &str, number: i64| -> Vec<String> {
        let from = clock::parse(from).unwrap().timestamp();
        (0..number).map(|hour| stamp(from + hour * 3600)).collect()
    };
    let back = hours("20260405T003000Z", 6);
    assert_eq!(
        kept("keep_hourly: 4, keep_daily: 2, timezone: America/Santiago", &back),
        "\
2026-04-05 01:30: the newest; hourly 1 of 4, 2026-04-05 01h -04; daily 1 of 2, 2026-04-05
2026-04-05 00:30: hourly 2 of 4, 2026-04-05 00h -04
2026-04-04 23:30: hourly 3 of 4, 2026-04-04 23h -04; daily 2 of 2, 2026-04-04
2026-04-04 23:30: hourly 4 of 4, 2026-04-04 23h -03
"
    );
    // 6 September began at 01:00, and has 23 hours.
    let ahead = hours("20260906T013000Z", 4);
    assert_eq!(
        kept("keep_hourly: 3, keep_daily: 2, timezone: America/Santiago", &ahead),
        "\
2026-09-06 01:30: the newest; hourly 1 of 3, 2026-09-06 01h -03; daily 1 of 2, 2026-09-06
2026-09-05 23:30: hourly 2 of 3, 2026-09-05 23h -04; daily 2 of 2, 2026-09-05
2026-09-05 22:30: hourly 3 of 3, 2026-09-05 22h -04
"
    );
    // A night's 00:15 that does not exist is later, and of the same day.
    let nights = daily(SANTIAGO, date(2026, 9, 4), 5, time(0, 15, 0, 0));
    assert_eq!(kept("keep_daily: 5, timezone: America/Santiago", &nights).lines().count(), 5);
}

#[test]
fn weeks_at_the_ends_of_years() {
    let rules = "keep_weekly: 4, keep_yearly: 2";
    assert_eq!(
        kept(rules, &daily("UTC", date(2026, 12, 14), 28, time(3, 0, 0, 0))),
        "\
2027-01-10 03:00: the newest; weekly 1 of 4, 2027-W01; yearly 1 of 2, 2027
2027-01-03 03:00: weekly 2 of 4, 2026-W53
2026-12-31 03:00: yearly 2 of 2, 2026
2026-12-27 03:00: weekly 3 of 4, 2026-W52
2026-12-20 03:00: weekly 4 of 4, 2026-W51
"
    );
    assert_eq!(
        kept(rules, &daily("UTC", date(2024, 12, 22), 18, time(3, 0, 0, 0))),
        "\
2025-01-08 03:00: the newest; weekly 1 of 4, 2025-W02; yearly 1 of 2, 2025
2025-01-05 03:00: weekly 2 of 4, 2025-W01
2024-12-31 03:00: yearly 2 of 2, 2024
2024-12-29 03:00: weekly 3 of 4, 2024-W52
2024-12-22 03:00: weekly 4 of 4, 2024-W51
"
    );
}

#[test]
fn a_machine_that_was_off_loses_nothing() {
    let mut nights = daily(SAO_PAULO, date(2026, 6, 1), 92, time(2, 0, 0, 0));
    nights.extend(daily(SAO_PAULO, date(2026, 10, 30), 2, time(2, 0, 0, 0)));
    let rules = "keep_within: 3d, keep_daily: 5, keep_weekly: 3, timezone: America/Sao_Paulo";
    assert_eq!(
        kept(rules, &nights),
        "\
2026-10-31 02:00: the newest; within 3d of the newest; daily 1 of 5, 2026-10-31; weekly 1 of 3, 2026-W44
2026-10-30 02:00: within 3d of the newest; daily 2 of 5, 2026-10-30
2026-08-31 02:00: daily 3 of 5, 2026-08-31; weekly 2 of 3, 2026-W36
2026-08-30 02:00: daily 4 of 5, 2026-08-30; weekly 3 of 3, 2026-W35
2026-08-29 02:00: daily 5 of 5, 2026-08-29
"
    );
    // And while it is off, nothing goes, however late it is.
    let before = kept_at(rules, &nights[..92], "20260831T060000Z");
    assert_eq!(kept_at(rules, &nights[..92], "20300101T000000Z"), before);
}

#[test]
fn backups_by_hand_take_no_place_of_another_day() {
    let mut backups = daily("UTC", date(2026, 11, 20), 4, time(2, 0, 0, 0));
    for minute in 0..5 {
        backups.push(local("UTC", date(2026, 11, 22), time(14, minute, 0, 0)));
    }
    assert_eq!(
        kept("keep_last: 2, keep_daily: 3", &backups),
        "\
2026-11-23 02:00: the newest; last 1 of 2; daily 1 of 3, 2026-11-23
2026-11-22 14:04: last 2 of 2; daily 2 of 3, 2026-11-22
2026-11-21 02:00: daily 3 of 3, 2026-11-21
"
    );
}

#[test]
fn a_clock_that_was_ahead_evicts_nothing() {
    let nights = daily("UTC", date(2026, 11, 20), 4, time(2, 0, 0, 0));
    let rules = "keep_last: 2, keep_within: 1d, keep_yearly: 1";
    let without = kept_at(rules, &nights, "20261123T020000Z");
    let mut backups = nights.clone();
    backups.push("20310101T000000Z".to_owned());
    let with = kept_at(rules, &backups, "20261123T020000Z");
    assert_eq!(with, format!("2031-01-01 00:00: dated in the future\n{without}"));
    // By some hours clocks may differ.
    backups.push("20261123T160000Z".to_owned());
    let with = kept_at(rules, &backups, "20261123T020000Z");
    assert!(with.contains("2026-11-23 16:00: the newest; last 1 of 2"), "{with}");
}

#[test]
fn protected_ones_never_go() {
    let mut candidates: Vec<_> =
        daily("UTC", date(2026, 11, 1), 9, time(2, 0, 0, 0)).iter().map(|t| candidate(t)).collect();
    candidates[2].held = Some("case 118\n".to_owned());
    let whole = candidates[5].name.clone();
    let rules = rules("keep_last: 1");
    let now = clock::parse("20261201T000000Z").unwrap();
    let calendar = rules.calendar().unwrap();
    let lines = |verdicts: Vec<Verdict>| -> Vec<String> {
        let kept = verdicts.iter().filter(|verdict| verdict.is_kept());
        kept.map(|v| {
            format!(
                "{}: {}",
                v.name.timestamp,
                v.reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join("; ")
            )
        })
        .collect()
    };
    assert_eq!(
        lines(verdicts(&candidates, Some(&whole), &rules, &calendar, now)),
        [
            "20261109T020000Z: the newest; last 1 of 1",
            "20261106T020000Z: the newest without problems",
            r"20261103T020000Z: held: case 118\n",
        ]
    );
    // Without a rule nothing may go.
    let none = verdicts(&candidates, None, &RetentionRules::default(), &calendar, now);
    assert!(none.iter().all(Verdict::is_kept));
    assert_eq!(verdicts(&[], None, &rules, &calendar, now), []);
    // All of the future: there is no newest that others could be compared with.
    let future = [candidate("20310101T000000Z"), candidate("20320101T000000Z")];
    assert!(verdicts(&future, None, &rules, &calendar, now).iter().all(|v| v.reasons == [Reason::Future]));
}

/// Days within a bit more than two years, so that all rules have something to do.
const FIRST: i64 = 1_735_000_000;
const DAY: i64 = 86_400;
const NOW: i64 = FIRST + 800 * DAY;

prop_compose! {
    fn any_rules()(
        keep_last in 0u32..5,
        keep_within in proptest::option::of(1u64..60),
        keep_hourly in 0u32..5,
        keep_daily in 0u32..8,
        keep_weekly in 0u32..6,
        keep_monthly in 0u32..14,
        keep_yearly in 0u32..4,
        zone in proptest::sample::select(vec!["UTC", SAO_PAULO, SANTIAGO, "Pacific/Apia", "Asia/Kathmandu", "Africa/Casablanca"]),
    ) -> RetentionRules {
        let mut rules = RetentionRules {
            keep_last,
            keep_within: keep_within.map(|days| Duration::from_secs(days * DAY as u64)),
            keep_hourly,
            keep_daily,
            keep_weekly,
            keep_monthly,
            keep_yearly,
            timezone: Some(zone.to_owned()),
        };
        if rules.is_empty() {
            rules.keep_last = 1;
        }
        rules
    }
}

/// Nights, backups by hand near to each other, and some of the future.
fn any_times() -> impl Strategy<Value = BTreeSet<i64>> {
    let far = (0..830 * DAY).prop_map(|offset| FIRST + offset);
    let near = (0..5 * DAY).prop_map(|offset| NOW - offset);
    proptest::collection::btree_set(prop_oneof![far, near], 1..40)
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    any_times().prop_flat_map(|times| {
        let held = proptest::collection::vec(proptest::bool::weighted(0.1), times.len());
        held.prop_map(move |held| {
            let with = |(time, held): (&i64, bool)| Candidate {
                held: held.then(|| "a case".to_owned()),
                ..candidate(&stamp(*time))
            };
            times.iter().zip(held).map(with).collect()
        })
    })
}

fn judged(candidates: &[Candidate], whole: Option<&BackupName>, rules: &RetentionRules) -> Vec<Verdict> {
    let now = DateTime::from_timestamp_secs(NOW).unwrap();
    verdicts(candidates, whole, rules, &rules.calendar().unwrap(), now)
}

fn names_kept(verdicts: &[Verdict]) -> BTreeSet<BackupName> {
    verdicts.iter().filter(|verdict| verdict.is_kept()).map(|verdict| verdict.name.clone()).collect()
}

fn is_future(candidate: &Candidate) -> bool {
    clock::is_future(&candidate.name.timestamp, DateTime::from_timestamp_secs(NOW).unwrap())
}

proptest! {
    #[test]
    fn what_is_protected_never_goes(
        candidates in any_candidates(),
        rules in any_rules(),
        whole: proptest::sample::Index,
    ) {
        let whole = &candidates[whole.index(candidates.len())].name;
        let kept = names_kept(&judged(&candidates, Some(whole), &rules));
        let protected = candidates.iter().filter(|candidate| candidate.held.is_some() || is_future(candidate));
        let newest = candidates.iter().rfind(|candidate| !is_future(candidate));
        for candidate in protected.chain(newest) {
            prop_assert!(kept.contains(&candidate.name), "{candidate:?}");
        }
        prop_assert!(kept.contains(whole));
    }

    #[test]
    fn more_rules_never_forget_more(candidates in any_candidates(), rules in any_rules(), more in any_rules()) {
        let sum = RetentionRules {
            keep_last: rules.keep_last + more.keep_last,
            keep_within: rules.keep_within.max(more.keep_within),
            keep_hourly: rules.keep_hourly + more.keep_hourly,
            keep_daily: rules.keep_daily + more.keep_daily,
            keep_weekly: rules.keep_weekly + more.keep_weekly,
            keep_monthly: rules.keep_monthly + more.keep_monthly,
            keep_yearly: rules.keep_yearly + more.keep_yearly,
            timezone: rules.timezone.clone(),
        };
        let with = names_kept(&judged(&candidates, None, &sum));
        prop_assert!(names_kept(&judged(&candidates, None, &rules)).is_subset(&with));
    }

    #[test]
    fn the_order_of_input_does_not_matter(
        (candidates, shuffled) in any_candidates().prop_flat_map(|c| (Just(c.clone()), Just(c).prop_shuffle())),
        rules in any_rules(),
    ) {
        prop_assert_eq!(judged(&candidates, None, &rules), judged(&shuffled, None, &rules));
    }

    #[test]
    fn applied_again_nothing_more_goes(candidates in any_candidates(), rules in any_rules(), whole: proptest::sample::Index) {
        let whole = candidates[whole.index(candidates.len())].name.clone();
        let first = judged(&candidates, Some(&whole), &rules);
        let kept = names_kept(&first);
        let left: Vec<_> = candidates.into_iter().filter(|candidate| kept.contains(&candidate.name)).collect();
        prop_assert_eq!(names_kept(&judged(&left, Some(&whole), &rules)), kept);
    }

    #[test]
    fn the_future_changes_no_other_verdict(candidates in any_candidates(), rules in any_rules()) {
        let (future, past): (Vec<_>, Vec<_>) = candidates.iter().cloned().partition(is_future);
        let with = judged(&candidates, None, &rules);
        prop_assert_eq!(&with[future.len()..], judged(&past, None, &rules));
    }

    /// Retention after each backup leaves what retention after the last one leaves.
    #[test]
    fn night_by_night_is_the_same_as_once(times in any_times(), rules in any_rules()) {
        let times: Vec<_> = times.into_iter().filter(|time| *time <= NOW).collect();
        let all: Vec<_> = times.iter().map(|time| candidate(&stamp(*time))).collect();
        let mut left: Vec<Candidate> = Vec::new();
        for next in &all {
            left.push(next.clone());
            let kept = names_kept(&judged(&left, None, &rules));
            left.retain(|candidate| kept.contains(&candidate.name));
        }
        let left: BTreeSet<_> = left.into_iter().map(|candidate| candidate.name).collect();
        prop_assert_eq!(left, names_kept(&judged(&all, None, &rules)));
    }
}

/// Random calendars, compared with a script that has no code of ours, reasons and all.
#[test]
#[cfg_attr(windows, ignore = "the script's Python is the other system's")]
fn a_script_comes_to_the_same_verdicts() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/verifiers/retention_calendar.py");
    let python = std::env::var("INTELLISTOR_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    if Command::new(&python)
        .args(["-c", "import zoneinfo; zoneinfo.ZoneInfo('America/Santiago')"])
        .status()
        .is_ok_and(|s| !s.success())
    {
        assert!(std::env::var_os("INTELLISTOR_TEST_ALL").is_none(), "{python} has no time zones");
        return;
    }
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    for _ in 0..40 {
        let tree = (any_times(), any_rules()).new_tree(&mut runner).unwrap();
        let (times, rules) = proptest::strategy::ValueTree::current(&tree);
        let times: Vec<_> = times.into_iter().filter(|time| *time <= NOW).map(stamp).collect();
        if times.is_empty() {
            continue;
        }
        let candidates: Vec<_> = times.iter().map(|time| candidate(time)).collect();
        let ours = judged(&candidates, None, &rules).into_iter().filter(Verdict::is_kept).map(|verdict| {
            let reasons: Vec<_> =
                verdict.reasons.iter().filter(|r| !is_hour(r)).map(ToString::to_string).collect();
            format!("{}  {}", verdict.name.timestamp, reasons.join("; "))
        });
        let theirs = run_script(&python, &script, &rules, &times);
        assert_eq!(ours.collect::<Vec<_>>(), theirs, "{rules:?} {times:?}");
    }
}

/// The script names hours in another way.
fn is_hour(reason: &Reason) -> bool {
    matches!(reason, Reason::NewestOf { period: Period::Hour, .. })
}

fn run_script(python: &str, script: &Path, rules: &RetentionRules, times: &[String]) -> Vec<String> {
    let mut words = BTreeMap::from([
        ("keep_last", rules.keep_last),
        ("keep_hourly", rules.keep_hourly),
        ("keep_daily", rules.keep_daily),
        ("keep_weekly", rules.keep_weekly),
        ("keep_monthly", rules.keep_monthly),
        ("keep_yearly", rules.keep_yearly),
    ]);
    let days = rules.keep_within.map(|span| u32::try_from(span.as_secs() / DAY as u64).unwrap());
    words.extend(days.map(|days| ("keep_within", days)));
    let mut words = serde_json::to_value(words).unwrap();
    words["timezone"] = rules.timezone.clone().into();
    let mut verifier = Command::new(python)
        .arg(script)
        .arg(words.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    verifier.stdin.take().unwrap().write_all(times.join("\n").as_bytes()).unwrap();
    let output = verifier.wait_with_output().unwrap();
    assert!(output.status.success());
    let lines = String::from_utf8(output.stdout).unwrap();
    let without_hours = |line: &str| {
        let (time, reasons) = line.split_once("  ").unwrap();
        let reasons: Vec<_> = reasons.split("; ").filter(|reason| !reason.starts_with("hourly ")).collect();
        format!("{time}  {}", reasons.join("; "))
    };
    lines.lines().map(without_hours).collect()
}
