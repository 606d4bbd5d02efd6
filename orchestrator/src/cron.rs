//! Cron expressions: five fields, as cron(5) has them, and no more.
//!
//! In: text. Out: the minutes, hours, days, months and weekdays that it means, and the times at which they meet.
//! `croner` reads the fields and walks the calendar; what it knows beyond cron(5) (`L`, `W`, `#`, `?`, `+`, seconds,
//! years) is refused here, because neither Task Scheduler nor systemd nor cron could keep it.
//!
//! | rule | |
//! | --- | --- |
//! | day-of-month and day-of-week | both restricted: a day needs to match **either**; else the restricted one |
//! | `*/2` beside another restricted day field | refused: cron programs disagree whether it counts as a star |
//! | Sunday | 0, 7 or `sun` |
//! | clocks go forward over a time | it runs at the first instant after the gap, if its hours are not `*` |
//! | clocks go back over a time | it runs once, if its hours are not `*` |
//!
//! [`Cron`] shows itself in canonical form: what means the same reads the same, in words that every cron knows.

use std::fmt;

use chrono::{DateTime, TimeZone};

use crate::schedule::{Result, ScheduleError};

/// One field: its name, its bounds, names of values, and what an error says is allowed.
struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    names: &'static [&'static str],
    allowed: &'static str,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const FIELDS: [Field; 5] = [
    Field { name: "minute", min: 0, max: 59, names: &[], allowed: "0-59, `*`, `*/15`, `10-30/5`, `0,30`" },
    Field { name: "hour", min: 0, max: 23, names: &[], allowed: "0-23, `*`, `*/2`, `8-18/2`, `6,22`" },
    Field { name: "day-of-month", min: 1, max: 31, names: &[], allowed: "1-31, `*`, `*/2`, `1-15`, `1,15`" },
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &MONTHS,
        allowed: "1-12, jan-dec, `*`, `*/3`, `mar-jun`, `1,7`",
    },
    Field {
        name: "day-of-week",
        min: 0,
        max: 7,
        names: &DAYS,
        allowed: "0-7 (0 and 7 are Sunday), sun-sat, `*`, `1-5`, `mon,thu`",
    },
];

const WORDS: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

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
    /// Reads an expression.
    ///
    /// # Errors
    /// [`ScheduleError`] names the field that is wrong and what may stand there.
    pub fn parse(text: &str) -> Result<Self> {
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
        // Each field that holds all days makes every day match, whatever the other says beside it.
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

    /// The days, by cron's rule. Days that none of the months has are left out where weekdays stand beside them:
    /// what never happens is no trigger, and no line of a timer.
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

    /// The first time after `now`. `None` when it lies beyond what a calendar can hold.
    pub fn next_after<Tz: TimeZone>(&self, now: DateTime<Tz>) -> Option<DateTime<Tz>> {
        self.engine.find_next_occurrence(&now, false).ok()
    }

    /// The next five times after `now`.
    pub fn next_five<Tz: TimeZone>(&self, now: DateTime<Tz>) -> Vec<DateTime<Tz>> {
        std::iter::successors(self.next_after(now), |last| self.next_after(last.clone())).take(5).collect()
    }

    /// Whether one of the days of the month exists in one of the months. 29 February does.
    fn some_month_has(&self, days: &[u8]) -> bool {
        let longest = |month: &u8| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        self.months().iter().map(longest).max() >= days.first().copied()
    }

    fn refuse_never(&self, text: &str) -> Result<()> {
        match self.days() {
            Days::OfMonth(days @ &[day, ..]) if !self.some_month_has(days) => {
                Err(ScheduleError::Never { cron: text.to_owned(), day })
            }
            _ => Ok(()),
        }
    }
}

fn engine(text: &str, numbers: &str) -> Result<croner::Cron> {
    use croner::parser::{CronParser, Seconds, Year};
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    parser
        .parse(numbers)
        .map_err(|error| ScheduleError::NotCron { cron: text.to_owned(), reason: error.to_string() })
}

/// The five fields, checked, with numbers for names.
fn in_numbers(text: &str) -> Result<Vec<String>> {
    let not_cron = |reason: String| ScheduleError::NotCron { cron: text.to_owned(), reason };
    let trimmed = text.trim_matches([' ', '\t']);
    if trimmed.chars().any(|c| c.is_control() && c != '\t') {
        return Err(not_cron("it holds a control character".to_owned()));
    }
    let lower = trimmed.to_ascii_lowercase();
    let expanded = match WORDS.iter().find(|(word, _)| *word == lower) {
        Some((_, fields)) => *fields,
        None if lower == "@reboot" => {
            return Err(not_cron("@reboot is no time of the clock".to_owned()));
        }
        None if lower.starts_with('@') => return Err(not_cron("this word is not known".to_owned())),
        None => lower.as_str(),
    };
    let fields: Vec<&str> = expanded.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
    match fields.len() {
        5 => fields.iter().zip(&FIELDS).map(|(field, rules)| rules.in_numbers(text, field)).collect(),
        6 | 7 => {
            Err(not_cron(format!("it has {} fields, and seconds and years are not known", fields.len())))
        }
        count => Err(not_cron(format!("it has {count} of five fields"))),
    }
}

impl Field {
    fn in_numbers(&self, cron: &str, text: &str) -> Result<String> {
        let items: Result<Vec<String>, String> = text.split(',').map(|item| self.item(item)).collect();
        match items {
            // A star in a list is a star, and cron takes `*/1` for one.
            Ok(items) if items.iter().any(|item| item == "*") => Ok("*".to_owned()),
            Ok(items) => Ok(items.join(",")),
            Err(reason) => Err(ScheduleError::BadField {
                cron: cron.to_owned(),
                field: self.name,
                text: text.to_owned(),
                reason,
                allowed: self.allowed,
            }),
        }
    }

    fn item(&self, item: &str) -> Result<String, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(self.step(step)?)),
            None => (item, None),
        };
        let range = match range.split_once('-') {
            _ if range == "*" => "*".to_owned(),
            Some((first, last)) => {
                let (first, mut last) = (self.value(first)?, self.value(last)?);
                if self.max == 7 && last == 0 && first > 0 {
                    // `fri-sun`
                    last = 7;
                }
                if first > last {
                    return Err(format!(
                        "the range {first}-{last} goes down; write {first}-{},{}-{last}",
                        self.max, self.min
                    ));
                }
                format!("{first}-{last}")
            }
            None if step.is_some() => {
                return Err(format!(
                    "steps need a range or a star before them, as in {range}-{}/2",
                    self.max
                ));
            }
            None => self.value(range)?.to_string(),
        };
        Ok(match step {
            Some(1) | None => range,
            Some(step) => format!("{range}/{step}"),
        })
    }

    fn step(&self, text: &str) -> Result<u8, String> {
        match number(text) {
            Some(step) if step > 0 && step <= self.max => Ok(step),
            _ => Err(format!("the step {text:?} is not between 1 and {}", self.max)),
        }
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        if let Some(at) = self.names.iter().position(|name| *name == text) {
            return Ok(self.min + at as u8);
        }
        match number(text) {
            Some(value) if (self.min..=self.max).contains(&value) => Ok(value),
            Some(value) => Err(format!("{value} is not between {} and {}", self.min, self.max)),
            None if text.is_empty() => Err("a value is missing".to_owned()),
            None if text.contains(['l', 'w', '#', '?', '+']) && text.len() < 6 => {
                Err(format!("{text:?} is an extension (L, W, #, ?, +) that cron(5) does not have"))
            }
            None => Err(format!("{text:?} is neither a number nor a name")),
        }
    }
}

/// Digits alone: no sign, no spaces.
fn number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn refuse_ambiguity(cron: &str, fields: &[String]) -> Result<()> {
    let (month, week) = (&fields[2], &fields[4]);
    let starred = |text: &str| text != "*" && text.contains('*');
    let (stepped, other, range) = match (starred(month), starred(week)) {
        (true, _) if week != "*" => (month, week, "1-31"),
        (_, true) if month != "*" => (week, month, "0-6"),
        _ => return Ok(()),
    };
    Err(ScheduleError::Ambiguous {
        cron: cron.to_owned(),
        stepped: stepped.clone(),
        other: other.clone(),
        clear: stepped.replace('*', range),
    })
}

/// The shortest usual way to write a set of values.
fn canonical(values: &[u8], field: &Field) -> String {
    let last = if field.max == 7 { 6 } else { field.max };
    let (Some(&low), Some(&high)) = (values.first(), values.last()) else { return String::new() };
    if values.len() == usize::from(last - field.min) + 1 {
        return "*".to_owned();
    }
    let step = values.get(1).map_or(0, |second| second - low);
    let even = values.len() >= 3 && values.windows(2).all(|pair| pair[1] - pair[0] == step);
    // Never a star in the day fields: cron programs disagree about it beside another day field.
    let is_day = field.name.starts_with("day");
    match even {
        true if step == 1 => format!("{low}-{high}"),
        true if low == field.min && u16::from(high) + u16::from(step) > u16::from(last) && !is_day => {
            format!("*/{step}")
        }
        true => format!("{low}-{high}/{step}"),
        false => runs(values, "-").join(","),
    }
}

/// Values as a list in which neighbours are ranges.
pub(crate) fn runs(values: &[u8], to: &str) -> Vec<String> {
    let mut out = Vec::new();
    for run in values.chunk_by(|a, b| a + 1 == *b) {
        match run {
            [first, _, .., last] => out.push(format!("{first}{to}{last}")),
            few => out.extend(few.iter().map(u8::to_string)),
        }
    }
    out
}

#[cfg(test)]
mod tests;
