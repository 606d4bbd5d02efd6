//! What a backup changed, in one line for a person.

use std::fmt::Write as _;

use intellistor_storage::manifest::Changes;

/// As in `12 new, 3 changed, 1 moved, 41,580 unchanged; 3.1 MiB stored of 1.8 GiB`.
pub(crate) fn change_summary(changes: &Changes, bytes: u64) -> String {
    let Changes { unchanged, changed, new, moved, deleted, bytes_stored, .. } = changes;
    let mut line = format!("{} new, {} changed, {} moved", count(*new), count(*changed), count(*moved));
    // Writing to a String cannot fail.
    if *deleted > 0 {
        let _ = write!(line, ", {} deleted", count(*deleted));
    }
    let _ =
        write!(line, ", {} unchanged; {} stored of {}", count(*unchanged), size(*bytes_stored), size(bytes));
    line
}

/// With commas between thousands.
fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    // What would be written as 1024.0 is one of the next unit.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_reads_well() {
        let changes = Changes {
            unchanged: 41_580,
            changed: 3,
            new: 12,
            moved: 1,
            bytes_stored: 3_250_000,
            ..Changes::default()
        };
        assert_eq!(
            change_summary(&changes, 1_932_735_283),
            "12 new, 3 changed, 1 moved, 41,580 unchanged; 3.1 MiB stored of 1.8 GiB"
        );
        let line = change_summary(&Changes { deleted: 1_234_567, ..Changes::default() }, 0);
        assert_eq!(line, "0 new, 0 changed, 0 moved, 1,234,567 deleted, 0 unchanged; 0 B stored of 0 B");
    }

    #[test]
    fn sizes_change_their_unit_at_the_right_place() {
        assert_eq!([999, 1000].map(count), ["999", "1,000"]);
        assert_eq!(
            [1023, 1024, (1 << 20) - 1, 1 << 20].map(size),
            ["1023 B", "1.0 KiB", "1.0 MiB", "1.0 MiB"]
        );
    }
}
