//! Durations as people write them: `14d`, `6h`, `1h 30m`.

use std::time::Duration;

/// Writes a duration so that it reads back as the same. Days are not made months of 30.44 days.
pub(crate) fn duration_text(duration: Duration) -> String {
    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;
    match duration.as_secs() {
        seconds if duration.subsec_nanos() > 0 || seconds == 0 => {
            humantime::format_duration(duration).to_string()
        }
        seconds if seconds % DAY == 0 => format!("{}d", seconds / DAY),
        seconds if seconds % HOUR == 0 => format!("{}h", seconds / HOUR),
        seconds if seconds < DAY => humantime::format_duration(duration).to_string(),
        seconds => {
            let rest = Duration::from_secs(seconds % DAY);
            format!("{}d {}", seconds / DAY, humantime::format_duration(rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back() {
        for (seconds, text) in [
            (0, "0s"),
            (90, "1m 30s"),
            (5400, "1h 30m"),
            (6 * 3600, "6h"),
            (36 * 3600, "36h"),
            (14 * 86_400, "14d"),
            (400 * 86_400, "400d"),
            (2 * 86_400 + 60, "2d 1m"),
        ] {
            let duration = Duration::from_secs(seconds);
            assert_eq!(duration_text(duration), text);
            assert_eq!(humantime::parse_duration(text).unwrap(), duration);
        }
        let fine = Duration::new(5, 1_000_000);
        assert_eq!(humantime::parse_duration(&duration_text(fine)).unwrap(), fine);
    }
}
