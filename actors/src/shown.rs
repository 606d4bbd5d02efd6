//! Shortens texts that are kept to be shown: a path may have any length, and a list of them must not.

/// The most bytes of a text, approximately.
const MAX_BYTES: usize = 4 << 10;

/// The start and the end of a text that is longer than [`MAX_BYTES`].
pub(crate) fn shortened(text: String) -> String {
    if text.len() <= MAX_BYTES {
        return text;
    }
    let start = text.floor_char_boundary(MAX_BYTES / 2);
    let end = text.ceil_char_boundary(text.len() - MAX_BYTES / 2);
    format!("{} [...] {}", &text[..start], &text[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_by_their_start_and_their_end() {
        assert_eq!(shortened("a: b".to_owned()), "a: b");
        let shown = shortened(format!("start{}é: the end", "ção/".repeat(100_000)));
        assert!(shown.len() < 5000 && shown.starts_with("start") && shown.ends_with("é: the end"), "{shown}");
    }
}
