//! Numbers as people read them, where indicatif has no form of its own.

use indicatif::HumanCount;

/// `1 file`, `1,234 files`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(n), if n == 1 { "" } else { "s" })
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 03 min`. indicatif's `HumanDuration` rounds all of an hour's second half to `2 hours`.
pub(crate) fn duration(seconds: f64) -> String {
    // `as` saturates: NaN is 0.
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([1, 2000].map(|n| counted(n, "file")), ["1 file", "2,000 files"]);
        assert_eq!(
            [0.44, 9.4, 12.4, 59.9, 185.0, 7399.0, f64::NAN, -1.0].map(duration),
            ["0.4 s", "9.4 s", "12 s", "1 min 00 s", "3 min 05 s", "2 h 03 min", "0.0 s", "0.0 s"]
        );
    }
}
