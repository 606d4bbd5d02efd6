//! The times of a day as few repetitions.
//!
//! Times are covered by evenly spaced series, each of which becomes one trigger. Covers that a person can follow are tried
//! first: the longest series of minutes, none to all of them, in each hour; and the remaining minutes in rows of hours,
//! or in whole divisions of the hour that continue through consecutive hours. The shortest is taken. Only if it has too
//! many series, any series are: chosen greedily, then by an exact search.

use chrono::Duration;

use super::exact::{Search, search};
use super::series::{DAY_MINUTES, Series};

/// How a trigger repeats after its first start of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Repetition {
    /// From start to start.
    pub(super) interval_minutes: u16,
    /// How often after the first start.
    again: u16,
}

impl Repetition {
    /// From the first start to the last.
    pub(crate) fn span_minutes(&self) -> i64 {
        i64::from(self.interval_minutes) * i64::from(self.again)
    }

    /// Until shortly after the last start, and before the next would come.
    pub(crate) fn duration(&self) -> Duration {
        let past = if self.interval_minutes > 1 { Duration::minutes(1) } else { Duration::seconds(30) };
        Duration::minutes(self.span_minutes()) + past
    }

    pub(super) fn to_xml(self) -> String {
        format!(
            "<Repetition><Interval>{}</Interval><Duration>{}</Duration><StopAtDurationEnd>false</StopAtDurationEnd></Repetition>",
            iso8601(Duration::minutes(i64::from(self.interval_minutes))),
            iso8601(self.duration())
        )
    }
}

fn iso8601(duration: Duration) -> String {
    let seconds = duration.num_seconds();
    let part = |value: i64, unit: &str| if value > 0 { format!("{value}{unit}") } else { String::new() };
    format!("PT{}{}{}", part(seconds / 3600, "H"), part(seconds / 60 % 60, "M"), part(seconds % 60, "S"))
}

/// Triggers that together start at exactly these minutes of these hours: each one's first minute of the day, and how it
/// repeats. More than `most` only where no cover by `most` was found.
pub(super) fn cover(hours: &[u8], minutes: &[u8], most: usize) -> Vec<(u16, Option<Repetition>)> {
    let by_minute = series(&minutes.iter().map(|&minute| u16::from(minute)).collect::<Vec<_>>(), false);
    let ways = (0..=by_minute.len()).flat_map(|n| {
        let (in_each_hour, left) = by_minute.split_at(n);
        let left: Vec<u8> = left.iter().flat_map(|s| s.values()).map(|minute| minute as u8).collect();
        [divisions, rows].map(|rest| [columns(hours, in_each_hour), rest(hours, &left)].concat())
    });
    let mut best = ways.min_by_key(Vec::len).unwrap_or_default();
    if best.len() > most {
        let times: Vec<u16> =
            hours.iter().flat_map(|&h| minutes.iter().map(move |&m| minute_of_day(h, m))).collect();
        let any = series(&times, true);
        if any.len() < best.len() {
            best = any;
        }
        if best.len() > most
            && let Search::Found(fewer) = search(&times, most)
        {
            best = fewer;
        }
    }
    let mut triggers: Vec<_> = best
        .into_iter()
        .map(|s| match s.count {
            1 => (s.first, None),
            count => (s.first, Some(Repetition { interval_minutes: s.step, again: count - 1 })),
        })
        .collect();
    triggers.sort_by_key(|(first, _)| *first);
    triggers
}

fn minute_of_day(hour: u8, minute: u8) -> u16 {
    u16::from(hour) * 60 + u16::from(minute)
}

/// For each minute, series of hours.
fn rows(hours: &[u8], minutes: &[u8]) -> Vec<Series> {
    let by_hour = series(&hours.iter().map(|&hour| u16::from(hour)).collect::<Vec<_>>(), false);
    let row = |minute: u8| {
        by_hour.iter().map(move |s| Series {
            first: s.first * 60 + u16::from(minute),
            step: s.step * 60,
            ..*s
        })
    };
    minutes.iter().flat_map(|&minute| row(minute)).collect()
}

/// For each hour, these series of minutes.
fn columns(hours: &[u8], by_minute: &[Series]) -> Vec<Series> {
    hours.iter().flat_map(|&hour| by_minute.iter().map(move |s| s.shifted(u16::from(hour) * 60))).collect()
}

/// Minutes that divide the hour evenly continue from hour to hour; the rest goes in rows.
fn divisions(hours: &[u8], minutes: &[u8]) -> Vec<Series> {
    let mut left: Vec<u8> = minutes.to_vec();
    let mut out = Vec::new();
    for step in (1..=30u8).filter(|step| 60 % step == 0) {
        for offset in 0..step {
            let division = || (offset..60).step_by(usize::from(step));
            if division().all(|minute| left.contains(&minute)) {
                left.retain(|minute| minute % step != offset);
                out.extend(hours.chunk_by(|a, b| a + 1 == *b).map(|run| Series {
                    first: minute_of_day(run[0], offset),
                    step: u16::from(step),
                    count: run.len() as u16 * u16::from(60 / step),
                }));
            }
        }
    }
    out.extend(rows(hours, &left));
    out
}

/// Series that together are exactly these values, chosen greedily by how many missing values each adds. They may overlap
/// when `shared`.
fn series(values: &[u16], shared: bool) -> Vec<Series> {
    let mut allowed = [false; DAY_MINUTES];
    values.iter().for_each(|&value| allowed[usize::from(value)] = true);
    let mut missing = allowed;
    let mut out = Vec::new();
    while let Some(best) = longest(values, if shared { &allowed } else { &missing }, &missing) {
        best.values().for_each(|value| missing[usize::from(value)] = false);
        out.push(best);
    }
    out
}

fn longest(values: &[u16], allowed: &[bool; DAY_MINUTES], missing: &[bool; DAY_MINUTES]) -> Option<Series> {
    let first = *values.iter().find(|&&value| missing[usize::from(value)])?;
    let last = usize::from(*values.last()?);
    let (mut best, mut gain) = (Series { first, step: 1, count: 1 }, 1);
    for step in 1..=last - usize::from(values[0]) {
        for &value in values {
            let start = usize::from(value);
            let is_inner = start >= step && allowed[start - step];
            if is_inner || !allowed[start] {
                continue;
            }
            let run = || (start..=last).step_by(step).take_while(|&at| allowed[at]);
            let gained = run().filter(|&at| missing[at]).count();
            if gained > gain {
                (best, gain) =
                    (Series { first: value, step: step as u16, count: run().count() as u16 }, gained);
            }
        }
    }
    Some(trimmed(best, missing))
}

/// Without ends that are covered already.
fn trimmed(series: Series, missing: &[bool; DAY_MINUTES]) -> Series {
    let needed: Vec<u16> = series.values().filter(|&value| missing[usize::from(value)]).collect();
    match (needed.first(), needed.last()) {
        (Some(&first), Some(&last)) => Series { first, count: (last - first) / series.step + 1, ..series },
        _ => series,
    }
}
