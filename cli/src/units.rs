//! Numbers as people read them.

/// `1,234`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `1,234 files`.
pub(crate) fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// The unit that suits a size: its name, and its size in bytes.
fn unit(bytes: u64) -> (&'static str, f64) {
    // A little below the next unit already counts as it, so that no size is told as "1024.0".
    let fits = |i: usize| (bytes as f64) < 1023.95 * 1024f64.powi(i as i32);
    let i = (0..UNITS.len()).find(|i| fits(*i)).unwrap_or(UNITS.len() - 1);
    (UNITS[i], 1024f64.powi(i as i32))
}

fn in_unit(bytes: u64, (name, size): (&str, f64)) -> String {
    if name == "B" { bytes.to_string() } else { format!("{:.1}", bytes as f64 / size) }
}

/// `5.6 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    let unit = unit(bytes);
    format!("{} {}", in_unit(bytes, unit), unit.0)
}

/// `1.2/5.6 GiB`.
pub(crate) fn part_of(bytes: u64, total: u64) -> String {
    let unit = unit(total);
    format!("{}/{} {}", in_unit(bytes, unit), in_unit(total, unit), unit.0)
}

/// `0.4 s`, `12 s`, `3 min 05 s`, `2 h 03 min`.
pub(crate) fn duration(seconds: f64) -> String {
    // `as` saturates: a time that is no number is told as none.
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// `0:32`, `1:02:03`.
pub(crate) fn clock(seconds: u64) -> String {
    let (h, m, s) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}") } else { format!("{m}:{s:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 12, 123, 1234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
        assert_eq!([1, 2000].map(|n| counted(n, "file")), ["1 file", "2,000 files"]);
        assert_eq!([0, 1023, 1024, 6_012_954_214].map(size), ["0 B", "1023 B", "1.0 KiB", "5.6 GiB"]);
        assert_eq!([(1 << 20) - 1, u64::MAX].map(size), ["1.0 MiB", "16384.0 PiB"]);
        assert_eq!(part_of(1 << 29, 6_012_954_214), "0.5/5.6 GiB");
        assert_eq!(part_of(5, 900), "5/900 B");
        assert_eq!(
            [0.44, 9.4, 12.4, 59.9, 185.0, 7399.0, f64::NAN, -1.0].map(duration),
            ["0.4 s", "9.4 s", "12 s", "1 min 00 s", "3 min 05 s", "2 h 03 min", "0.0 s", "0.0 s"]
        );
        assert_eq!([0, 32, 3723].map(clock), ["0:00", "0:32", "1:02:03"]);
    }
}
