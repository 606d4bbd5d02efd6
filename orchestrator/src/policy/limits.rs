//! `limits`: how fast a policy's bytes may go and come, and at which time of day that holds.

use intellistor_storage::objects::throttle::{MAX_RATE, MIN_RATE};
use intellistor_storage::objects::{DailyWindow, Rate, TransferLimits};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use super::error::PolicyError;

/// The block, with at least one rate.
pub(super) fn limits<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TransferLimits>, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limits {
        #[serde(default, deserialize_with = "rate")]
        upload: Option<Rate>,
        #[serde(default, deserialize_with = "rate")]
        download: Option<Rate>,
        #[serde(default, deserialize_with = "window")]
        window: Option<DailyWindow>,
    }
    let limits = Option::<Limits>::deserialize(from)?;
    let limits =
        limits.map(|Limits { upload, download, window }| TransferLimits { upload, download, window });
    limits.as_ref().map_or(Err(PolicyError::NoLimit), check_limits).map_err(D::Error::custom)?;
    Ok(limits)
}

pub(super) fn check_limits(limits: &TransferLimits) -> Result<(), PolicyError> {
    if limits.upload.is_none() && limits.download.is_none() { Err(PolicyError::NoLimit) } else { Ok(()) }
}

fn rate<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Rate>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| parse_rate(&text)).transpose().map_err(D::Error::custom)
}

fn window<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DailyWindow>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| parse_window(&text)).transpose().map_err(D::Error::custom)
}

/// Reads bytes per second as people write them: `10MiB`, `500 KiB`, `10MB/s`, `100000B`.
fn parse_rate(text: &str) -> Result<Rate, PolicyError> {
    let bad = |reason| PolicyError::BadRate { text: text.to_owned(), reason };
    let rate = text.trim();
    let rate = rate.strip_suffix("/s").unwrap_or(rate);
    let digits = rate.find(|c: char| !c.is_ascii_digit()).unwrap_or(rate.len());
    let (number, unit) = rate.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad("it does not begin with a whole number"))?;
    let factor = match unit.trim() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "" => return Err(bad("it has no unit")),
        "b" | "bit" | "kbit" | "Mbit" | "Gbit" => return Err(bad("it is in bits: eight of them are a byte")),
        _ => return Err(bad("its unit is not known")),
    };
    let rate = number.checked_mul(factor).and_then(Rate::new);
    rate.ok_or_else(|| bad(if number > MAX_RATE / factor { "it is more than 1024GiB" } else { LEAST }))
}

const LEAST: &str = "it is less than 64KiB, at which stores close connections";
const _: () = assert!(MIN_RATE == 64 << 10 && MAX_RATE == 1024 << 30, "the messages name them");

/// Reads `08:00-18:00`; `24:00` is midnight, too.
fn parse_window(text: &str) -> Result<DailyWindow, PolicyError> {
    let minute = |time: &str| {
        let (hours, minutes) = time.trim().split_once(':')?;
        let two = |text: &str| (text.len() == 2).then(|| text.parse::<u16>().ok()).flatten();
        let (hours, minutes) = (two(hours)?, two(minutes)?);
        let is_time = hours < 24 && minutes < 60 || (hours, minutes) == (24, 0);
        is_time.then_some((hours * 60 + minutes) % (24 * 60))
    };
    let window =
        text.split_once('-').and_then(|(from, until)| DailyWindow::new(minute(from)?, minute(until)?));
    window.ok_or_else(|| PolicyError::BadWindow { text: text.to_owned() })
}

/// As it is written in a policy.
pub(super) fn limits_text(limits: &TransferLimits) -> String {
    let TransferLimits { upload, download, window } = limits;
    let fields = [
        upload.map(|rate| format!("upload: {rate}")),
        download.map(|rate| format!("download: {rate}")),
        window.map(|window| format!("window: \"{window}\"")),
    ];
    format!("{{ {} }}", fields.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        for (text, bytes) in [
            ("10MiB", 10 << 20),
            ("10 MiB/s", 10 << 20),
            ("1GiB", 1 << 30),
            ("64KiB", 64 << 10),
            ("2MB", 2_000_000),
            ("500kB/s", 500_000),
            ("100000B", 100_000),
        ] {
            assert_eq!(parse_rate(text).unwrap().bytes_per_second(), bytes, "{text}");
        }
        for (text, reason) in [
            ("10", "no unit"),
            ("", "whole number"),
            ("-1MiB", "whole number"),
            ("1.5MiB", "unit is not known"),
            ("10Mbit", "bits"),
            ("10MIB", "unit is not known"),
            ("63KiB", "less than 64KiB"),
            ("0MiB", "less than 64KiB"),
            ("99999999999999999999MiB", "whole number"),
            ("9999999999999GiB", "more than"),
        ] {
            let refused = parse_rate(text).unwrap_err().to_string();
            assert!(refused.contains(reason) && refused.contains("10MiB"), "{text}: {refused}");
        }
    }

    #[test]
    fn windows_are_times_of_day() {
        for (text, shown) in
            [("08:00-18:00", "08:00-18:00"), ("20:00 - 06:30", "20:00-06:30"), ("18:00-24:00", "18:00-00:00")]
        {
            assert_eq!(parse_window(text).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "8-18",
            "8:00-18:00",
            "08:00",
            "08:00-08:00",
            "08:60-09:00",
            "24:01-01:00",
            "00:00-24:00",
            "a:bc-01:00",
        ] {
            let refused = parse_window(bad).unwrap_err().to_string();
            assert!(refused.contains("08:00-18:00"), "{refused}");
        }
    }
}
