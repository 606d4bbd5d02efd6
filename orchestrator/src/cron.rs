//! Cron expressions: five fields, as cron(5) has them, and no more.
//!
//! In: text. Out: the minutes, hours, days, months and weekdays it selects, and the times at which it runs.
//! `croner` parses the fields and walks the calendar; its extensions of cron(5) (`L`, `W`, `#`, `?`, `+`, seconds,
//! years) are refused here, because Task Scheduler, systemd and cron do not all have them.
//!
//! | rule | |
//! | --- | --- |
//! | day-of-month and day-of-week | if both are restricted, a day matches **either**; otherwise the restricted one |
//! | `*/2` beside another restricted day field | refused: cron implementations disagree whether it counts as a star |
//! | Sunday | 0, 7 or `sun` |
//! | clocks go forward over a time | it runs at the first instant after the gap, if its hours are not `*` |
//! | clocks go back over a time | it runs once, if its hours are not `*` |
//!
//! [`Cron`] displays in a canonical form that every cron reads: expressions with the same meaning have the same text.

mod error;
pub(crate) mod fields;

use std::fmt;

use chrono::{DateTime, TimeZone};

pub use error::CronError;
use fields::{FIELDS, canonical, in_numbers, refuse_ambiguity};

/// On which days a schedule runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Days<'a> {
    /// On every day.
    Every,
    /// On these days of the month.
    OfMonth(&'a [u8]),
    /// On these weekdays, Sunday being 0.
    OfWeek(&'a [u8]),
    /// On these days of the month, and on these weekdays as well.
    Either(&'a [u8], &'a [u8]),
}

/// A cron expression.
#[derive(Debug, Clone)]
pub struct Cron {
    fields: [Vec<u8>; 5],
    text: String,
    engine: croner::Cron,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cron {}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl serde::Serialize for Cron {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl Cron {
    /// # Errors
    /// [`CronError`] names the wrong field and the values it allows.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let numbers = in_numbers(text)?;
        refuse_ambiguity(text, &numbers)?;
        let read = engine(text, &numbers.join(" "))?;
        let values = |component: &croner::CronComponent| -> Vec<u8> {
            component.values().into_iter().filter_map(|value| u8::try_from(value).ok()).collect()
        };
        let pattern = &read.pattern;
        let mut fields = [
            values(&pattern.minutes),
            values(&pattern.hours),
            values(&pattern.days),
            values(&pattern.months),
            values(&pattern.days_of_week),
        ];
        // A day field that selects every day matches every day, whatever the other field selects.
        let restricted = |text: &str| text != "*";
        if restricted(&numbers[2])
            && restricted(&numbers[4])
            && (fields[2].len() == 31 || fields[4].len() == 7)
        {
            fields[2] = (1..=31).collect();
            fields[4] = (0..=6).collect();
        }
        let text_of = |index: usize| canonical(&fields[index], &FIELDS[index]);
        let canonical = [text_of(0), text_of(1), text_of(2), text_of(3), text_of(4)].join(" ");
        let engine = engine(text, &canonical)?;
        let cron = Self { fields, text: canonical, engine };
        cron.refuse_never(text)?;
        Ok(cron)
    }

    /// The minutes of the hour.
    pub(crate) fn minutes(&self) -> &[u8] {
        &self.fields[0]
    }

    /// The hours of the day.
    pub(crate) fn hours(&self) -> &[u8] {
        &self.fields[1]
    }

    /// The months, January being 1.
    pub(crate) fn months(&self) -> &[u8] {
        &self.fields[3]
    }

    /// The days, by cron's rule. Days of the month that none of the months has are left out beside weekdays: they
    /// would become a trigger, or a line of a timer, that never fires.
    pub(crate) fn days(&self) -> Days<'_> {
        let (of_month, of_week) = (&self.fields[2][..], &self.fields[4][..]);
        match (of_month.len() == 31, of_week.len() == 7) {
            (true, true) => Days::Every,
            (false, true) => Days::OfMonth(of_month),
            (true, false) => Days::OfWeek(of_week),
            (false, false) if !self.some_month_has(of_month) => Days::OfWeek(of_week),
            (false, false) => Days::Either(of_month, of_week),
        }
    }

    /// The first time after `now`. `None` beyond the range of the calendar.
    pub fn next_after<Tz: TimeZone>(&self, now: DateTime<Tz>) -> Option<DateTime<Tz>> {
        self.engine.find_next_occurrence(&now, false).ok()
    }

    /// The next five times after `now`.
    pub fn next_five<Tz: TimeZone>(&self, now: DateTime<Tz>) -> Vec<DateTime<Tz>> {
        std::iter::successors(self.next_after(now), |last| self.next_after(last.clone())).take(5).collect()
    }

    /// Whether at least one of the months has one of these days, leap years included.
    fn some_month_has(&self, days: &[u8]) -> bool {
        let longest = |month: &u8| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        self.months().iter().map(longest).max() >= days.first().copied()
    }

    fn refuse_never(&self, text: &str) -> Result<(), CronError> {
        match self.days() {
            Days::OfMonth(days @ &[day, ..]) if !self.some_month_has(days) => {
                Err(CronError::Never { cron: text.to_owned(), day })
            }
            _ => Ok(()),
        }
    }
}

fn engine(text: &str, numbers: &str) -> Result<croner::Cron, CronError> {
    use croner::parser::{CronParser, Seconds, Year};
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser
        .parse(numbers)
        .map_err(|error| CronError::NotCron { cron: text.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests;
