use chrono::{NaiveDate, Utc};

use super::*;

fn parse(text: &str) -> Cron {
    Cron::parse(text).unwrap()
}

fn refused(text: &str) -> String {
    Cron::parse(text).unwrap_err().to_string()
}

#[test]
fn equal_schedules_have_equal_text() {
    for (text, canonical) in [
        ("0 2 * * *", "0 2 * * *"),
        ("00 02 * * *", "0 2 * * *"),
        ("  0\t2 * *  * ", "0 2 * * *"),
        ("@hourly", "0 * * * *"),
        ("@Daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("0,15,30,45 * * * *", "*/15 * * * *"),
        ("30 8-18/2 * * mon-FRI", "30 8-18/2 * * 1-5"),
        ("0 0 * * fri-sun", "0 0 * * 0,5,6"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * 0-7", "0 0 * * *"),
        ("0 0 */1 * 1", "0 0 * * 1"),
        ("0 0 1-31 * 1", "0 0 * * *"),
        ("0 0 13 * 0-6", "0 0 * * *"),
        ("0 0 * jan,jul *", "0 0 * 1,7 *"),
        ("0 0 */2 * *", "0 0 1-31/2 * *"),
        ("1,2,3,10,20,21 * * * *", "1-3,10,20,21 * * * *"),
        ("*,5 * * * *", "* * * * *"),
    ] {
        assert_eq!(parse(text).to_string(), canonical, "{text}");
        assert_eq!(parse(canonical), parse(text), "{text}");
    }
}

#[test]
fn errors_name_the_field_and_its_allowed_values() {
    for (text, expected) in [
        ("60 * * * *", "the minute field \"60\" is wrong: 60 is not between 0 and 59. Allowed: 0-59"),
        ("0 24 * * *", "the hour field"),
        ("0 0 0 * *", "the day-of-month field"),
        ("0 0 1 13 *", "the month field"),
        ("0 0 * * 8", "the day-of-week field"),
        ("mon 0 * * *", "the minute field"),
        ("0 0 * jun-mar *", "the range 6-3 runs backwards; write 6-12,1-3"),
        ("0 22-2 * * *", "write 22-23,0-2"),
        ("0/10 * * * *", "write"),
        ("*/0 * * * *", "the step \"0\""),
        ("1,,2 * * * *", "a value is missing"),
        ("-5 * * * *", "a value is missing"),
        ("+5 * * * *", "an extension"),
        ("0 0 L * *", "an extension"),
        ("0 0 15W * *", "an extension"),
        ("0 0 * * 5#2", "an extension"),
        ("0 0 * * 5L", "an extension"),
        ("0 0 ? * 1", "an extension"),
        ("0 0 * * +1", "an extension"),
        ("0 0 * * montag", "neither a number nor a name"),
        ("0 0 2 * * *", "seconds and years are not supported"),
        ("0 0 2 * * * 2026", "seconds and years are not supported"),
        ("0 2 * *", "it has 4 of the five fields"),
        ("", "it has 0 of the five fields"),
        ("@reboot", "not a time"),
        ("@noon", "is unknown"),
        ("0 2 * * *\n* * * * *", "control character"),
        ("0 2 * * \u{0664}", "neither a number"),
    ] {
        let error = refused(text);
        assert!(
            error.contains(expected) || (expected == "write" && error.contains("0-59/2")),
            "{text}: {error}"
        );
    }
}

#[test]
fn ambiguous_steps_are_refused() {
    assert!(refused("0 0 */2 * 1").contains("`1-31/2`"));
    assert!(refused("0 0 13 * */2").contains("`0-6/2`"));
    assert_eq!(parse("0 0 1-31/2 * 1").to_string(), "0 0 1-31/2 * 1");
}

#[test]
fn impossible_dates_are_refused() {
    assert!(refused("0 0 30 2 *").contains("never runs"));
    assert!(refused("0 0 31 4,6,9,11 *").contains("a day 31"));
    parse("0 0 29 2 *");
    parse("0 0 30 2 1");
}

#[test]
fn days_are_ored_when_both_are_restricted() {
    let cron = parse("0 0 13 * 5");
    let start = NaiveDate::from_ymd_opt(2026, 2, 1).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc();
    let days: Vec<String> =
        cron.next_five(start).iter().map(|time| time.format("%m-%d %a").to_string()).collect();
    assert_eq!(days, ["02-06 Fri", "02-13 Fri", "02-20 Fri", "02-27 Fri", "03-06 Fri"]);
}

#[test]
fn the_next_time_is_after_now_and_leap_days_come() {
    let at = |y, m, d, h, min| {
        NaiveDate::from_ymd_opt(y, m, d)
            .unwrap()
            .and_hms_opt(h, min, 0)
            .unwrap()
            .and_local_timezone(Utc)
            .unwrap()
    };
    assert_eq!(parse("0 2 * * *").next_after(at(2026, 11, 23, 2, 0)), Some(at(2026, 11, 24, 2, 0)));
    assert_eq!(parse("0 0 29 2 *").next_after(at(2026, 1, 1, 0, 0)), Some(at(2028, 2, 29, 0, 0)));
    assert_eq!(parse("0 0 31 * *").next_after(at(2026, 3, 31, 0, 0)), Some(at(2026, 5, 31, 0, 0)));
}
