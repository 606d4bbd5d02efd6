//! The five fields: their bounds and names, read into numbers and written back in canonical form.

use super::error::CronError;

/// One field. `allowed` is the bounds and examples for errors.
pub(super) struct Field {
    name: &'static str,
    min: u8,
    max: u8,
    names: &'static [&'static str],
    allowed: &'static str,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

pub(super) const FIELDS: [Field; 5] = [
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

/// The five fields, checked, with numbers for names.
pub(super) fn in_numbers(text: &str) -> Result<Vec<String>, CronError> {
    let not_cron = |reason: String| CronError::NotCron { cron: text.to_owned(), reason };
    let trimmed = text.trim_matches([' ', '\t']);
    if trimmed.chars().any(|c| c.is_control() && c != '\t') {
        return Err(not_cron("it contains a control character".to_owned()));
    }
    let lower = trimmed.to_ascii_lowercase();
    let expanded = match WORDS.iter().find(|(word, _)| *word == lower) {
        Some((_, fields)) => *fields,
        None if lower == "@reboot" => {
            return Err(not_cron("@reboot is not a time".to_owned()));
        }
        None if lower.starts_with('@') => return Err(not_cron("this word is unknown".to_owned())),
        None => lower.as_str(),
    };
    let fields: Vec<&str> = expanded.split([' ', '\t']).filter(|field| !field.is_empty()).collect();
    match fields.len() {
        5 => fields.iter().zip(&FIELDS).map(|(field, rules)| rules.in_numbers(text, field)).collect(),
        6 | 7 => {
            Err(not_cron(format!("it has {} fields, but seconds and years are not supported", fields.len())))
        }
        count => Err(not_cron(format!("it has {count} of the five fields"))),
    }
}

impl Field {
    fn in_numbers(&self, cron: &str, text: &str) -> Result<String, CronError> {
        let items: Result<Vec<String>, String> = text.split(',').map(|item| self.item(item)).collect();
        match items {
            // A list with a star selects everything; `*/1` was read as a star.
            Ok(items) if items.iter().any(|item| item == "*") => Ok("*".to_owned()),
            Ok(items) => Ok(items.join(",")),
            Err(reason) => Err(CronError::BadField {
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
                        "the range {first}-{last} runs backwards; write {first}-{},{}-{last}",
                        self.max, self.min
                    ));
                }
                format!("{first}-{last}")
            }
            None if step.is_some() => {
                return Err(format!("a step needs a range or `*` before it, as in {range}-{}/2", self.max));
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
                Err(format!("{text:?} is an extension (L, W, #, ?, +), which cron(5) does not have"))
            }
            None => Err(format!("{text:?} is neither a number nor a name")),
        }
    }
}

/// Digits only: no sign, no spaces.
fn number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

pub(super) fn refuse_ambiguity(cron: &str, fields: &[String]) -> Result<(), CronError> {
    let (month, week) = (&fields[2], &fields[4]);
    let starred = |text: &str| text != "*" && text.contains('*');
    let (stepped, other, range) = match (starred(month), starred(week)) {
        (true, _) if week != "*" => (month, week, "1-31"),
        (_, true) if month != "*" => (week, month, "0-6"),
        _ => return Ok(()),
    };
    Err(CronError::Ambiguous {
        cron: cron.to_owned(),
        stepped: stepped.clone(),
        other: other.clone(),
        clear: stepped.replace('*', range),
    })
}

/// The shortest usual way to write a set of values.
pub(super) fn canonical(values: &[u8], field: &Field) -> String {
    let last = if field.max == 7 { 6 } else { field.max };
    let (Some(&low), Some(&high)) = (values.first(), values.last()) else { return String::new() };
    if values.len() == usize::from(last - field.min) + 1 {
        return "*".to_owned();
    }
    let step = values.get(1).map_or(0, |second| second - low);
    let even = values.len() >= 3 && values.windows(2).all(|pair| pair[1] - pair[0] == step);
    // Never a star in the day fields: cron implementations disagree about `*/n` beside another day field.
    let is_day = field.name.starts_with("day");
    match even {
        true if step == 1 => format!("{low}-{high}"),
        true if low == field.min && u16::from(high) + u16::from(step) > u16::from(last) && !is_day => {
            format!("*/{step}")
        }
        true => format!("{low}-{high}/{step}"),
        false => ranges(values, "-").join(","),
    }
}

/// Values as a list in which three or more consecutive ones are a range.
pub(crate) fn ranges(values: &[u8], to: &str) -> Vec<String> {
    let mut out = Vec::new();
    for range in values.chunk_by(|a, b| a + 1 == *b) {
        match range {
            [first, _, .., last] => out.push(format!("{first}{to}{last}")),
            few => out.extend(few.iter().map(u8::to_string)),
        }
    }
    out
}
