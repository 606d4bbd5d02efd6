//! A cron expression as triggers of Windows' Task Scheduler: exactly, or not at all.
//!
//! In: a [`Cron`] and the time from which it applies. Out: at most 48 [`Trigger`]s (the documented limit of a task) that
//! fire at exactly the expression's minutes, or a refusal: no such 48 exist (`exact.rs`). `tests.rs` simulates a year of
//! triggers and compares it with croner.
//!
//! | cron says | a trigger on |
//! | --- | --- |
//! | every day, every month | [`TriggerDays::All`] |
//! | days of the month, or every day of some months | [`TriggerDays::DaysOfMonth`] |
//! | weekdays | [`TriggerDays::Weekdays`] |
//! | weekdays of some months | [`TriggerDays::WeekdaysOfMonths`], in the weeks 1 to 4 and last, which are all weeks |
//! | days of the month or weekdays | both; when two triggers meet, the task starts one run |
//!
//! The times of a day are covered by repetitions (`repetition.rs`). A repetition's duration ends shortly *after* its
//! last start, before the next would come: Windows starts the task once more when the duration is a multiple of
//! the interval (its documentation says five starts in four minutes, older systems had four), and on a Monday's
//! trigger that start would come on Tuesday.
//!
//! Start boundaries are local time without a zone, so that 02:00 stays 02:00 when clocks change. On such a day Windows
//! counts a repetition in elapsed time, so starts after the change may be an hour off until midnight.

mod exact;
mod repetition;
mod series;

use std::fmt::Write as _;

use chrono::{Duration, NaiveDateTime, NaiveTime};

use crate::cron::{Cron, Days};
use crate::schedule::error::{Result, ScheduleError};
pub(crate) use repetition::Repetition;
use repetition::cover;

/// Of a task, by its documentation.
pub(crate) const MOST_TRIGGERS: usize = 48;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trigger {
    /// The first day on which it may fire and the time of day, in local time.
    pub(crate) start: NaiveDateTime,
    /// How it repeats within a day, when it does.
    pub(crate) repetition: Option<Repetition>,
    pub(crate) days: TriggerDays,
}

/// The days on which a trigger fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TriggerDays {
    /// Every day.
    All,
    /// These weekdays, Sunday being 0.
    Weekdays(Vec<u8>),
    /// These days of these months.
    DaysOfMonth {
        /// 1 to 31.
        days: Vec<u8>,
        /// 1 to 12.
        months: Vec<u8>,
    },
    /// These weekdays in every week of these months.
    WeekdaysOfMonths {
        /// Sunday being 0.
        weekdays: Vec<u8>,
        /// 1 to 12.
        months: Vec<u8>,
    },
}

/// The triggers of an expression, from `since` on.
///
/// # Errors
/// [`ScheduleError::TooManyTriggers`] when a task cannot hold them.
pub(crate) fn triggers(cron: &Cron, since: NaiveDateTime) -> Result<Vec<Trigger>> {
    let kinds = kinds_of_days(cron);
    let times = cover(cron.hours(), cron.minutes(), MOST_TRIGGERS / kinds.len());
    let needed = times.len() * kinds.len();
    if needed > MOST_TRIGGERS {
        return Err(ScheduleError::TooManyTriggers {
            cron: cron.to_string(),
            starts: cron.hours().len() * cron.minutes().len(),
            days: if kinds.len() == 2 { "on two kinds of days " } else { "" },
            needed,
            most: MOST_TRIGGERS,
        });
    }
    let trigger = |days: &TriggerDays, (first, repetition): &(u16, Option<Repetition>)| {
        let time = NaiveTime::MIN + Duration::minutes(i64::from(*first));
        let span = repetition.map_or(0, |repetition| repetition.span_minutes());
        // A start before the task's registration would count as missed, and run at once.
        let over_for_today = since.date().and_time(time) + Duration::minutes(span) <= since;
        let date = if over_for_today { since.date() + Duration::days(1) } else { since.date() };
        Trigger { start: date.and_time(time), repetition: *repetition, days: days.clone() }
    };
    Ok(kinds.iter().flat_map(|days| times.iter().map(move |time| trigger(days, time))).collect())
}

fn kinds_of_days(cron: &Cron) -> Vec<TriggerDays> {
    let months = cron.months();
    let all_months = months.len() == 12;
    let of_month = |days: &[u8]| TriggerDays::DaysOfMonth { days: days.to_vec(), months: months.to_vec() };
    let of_week = |days: &[u8]| {
        if all_months {
            TriggerDays::Weekdays(days.to_vec())
        } else {
            TriggerDays::WeekdaysOfMonths { weekdays: days.to_vec(), months: months.to_vec() }
        }
    };
    match cron.days() {
        Days::Every if all_months => vec![TriggerDays::All],
        Days::Every => vec![of_month(&(1..=31).collect::<Vec<_>>())],
        Days::OfMonth(days) => vec![of_month(days)],
        Days::OfWeek(days) => vec![of_week(days)],
        Days::Either(month, week) => vec![of_month(month), of_week(week)],
    }
}

impl TriggerDays {
    fn write(&self, xml: &mut String) -> std::fmt::Result {
        let empty = |names: &[&str], values: &[u8], first: u8| -> String {
            values.iter().map(|value| format!("<{} />", names[usize::from(value - first)])).collect()
        };
        match self {
            Self::All => write!(xml, "<ScheduleByDay><DaysInterval>1</DaysInterval></ScheduleByDay>"),
            Self::Weekdays(weekdays) => write!(
                xml,
                "<ScheduleByWeek><DaysOfWeek>{}</DaysOfWeek><WeeksInterval>1</WeeksInterval></ScheduleByWeek>",
                empty(&WEEKDAYS, weekdays, 0)
            ),
            Self::DaysOfMonth { days, months } => write!(
                xml,
                "<ScheduleByMonth><Months>{}</Months><DaysOfMonth>{}</DaysOfMonth></ScheduleByMonth>",
                empty(&MONTHS, months, 1),
                days.iter().map(|day| format!("<Day>{day}</Day>")).collect::<String>()
            ),
            Self::WeekdaysOfMonths { weekdays, months } => write!(
                xml,
                "<ScheduleByMonthDayOfWeek><Weeks><Week>1</Week><Week>2</Week><Week>3</Week><Week>4</Week>\
                 <Week>Last</Week></Weeks><Months>{}</Months><DaysOfWeek>{}</DaysOfWeek></ScheduleByMonthDayOfWeek>",
                empty(&MONTHS, months, 1),
                empty(&WEEKDAYS, weekdays, 0)
            ),
        }
    }
}

impl Trigger {
    /// A `CalendarTrigger` of a task's definition, in the order in which Windows exports one.
    pub(crate) fn to_xml(&self) -> String {
        let mut xml = String::from("<CalendarTrigger>");
        if let Some(repetition) = &self.repetition {
            xml.push_str(&repetition.to_xml());
        }
        xml.push_str(&format!(
            "<StartBoundary>{}</StartBoundary><Enabled>true</Enabled>",
            self.start.format("%Y-%m-%dT%H:%M:%S")
        ));
        // A String takes whatever is written.
        let _ = self.days.write(&mut xml);
        xml + "</CalendarTrigger>"
    }
}

#[cfg(test)]
pub(crate) mod tests;
