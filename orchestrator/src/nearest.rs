//! The name that was probably meant by one that is unknown.

/// The one of `known` that is most like `wanted`; the first of several. `None` where more than a third of the letters differ.
/// Spaces, `-` and `_`, upper and lower case are the same.
pub(crate) fn nearest<'k>(wanted: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let wanted = plain(wanted);
    let near = known.into_iter().map(|known| (edits(&wanted, &plain(known)), known));
    let (distance, known) = near.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= wanted.chars().count()).then_some(known)
}

fn plain(text: &str) -> String {
    text.trim().replace([' ', '-'], "_").to_lowercase()
}

/// How many letters must be added, removed or replaced to make one text of the other.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<_> = (0..=other.len()).collect();
    for (i, c) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, d) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(c != *d);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognized_and_another_word_is_not() {
        let known = ["keep_daily", "keep_weekly", "keep_last", "timezone"];
        for (wanted, found) in [
            ("keep-daily", Some("keep_daily")),
            ("keepdaily", Some("keep_daily")),
            ("keep_dayly", Some("keep_daily")),
            ("Time Zone", Some("timezone")),
            ("keep_lsat", Some("keep_last")),
            ("zone", None),
            ("", None),
        ] {
            assert_eq!(nearest(wanted, known), found, "{wanted}");
        }
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!((edits("", "abc"), edits("abc", "")), (3, 3));
    }
}
