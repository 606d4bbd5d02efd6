//! Shortens texts that are kept to be shown: a path may have any length, and a list of them must not.

use serde::Serialize;

/// The most names in a list; all are counted.
const MAX_NAMES: usize = 100;

/// The first names, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct NameList {
    count: u64,
    #[serde(rename = "first")]
    names: Vec<String>,
}

impl NameList {
    pub fn add(&mut self, name: &str) {
        self.count += 1;
        if self.names.len() < MAX_NAMES {
            self.names.push(shortened(name.to_owned()));
        }
    }

    pub fn append(&mut self, other: &Self) {
        self.count += other.count;
        let room = MAX_NAMES.saturating_sub(self.names.len());
        self.names.extend(other.names.iter().take(room).cloned());
    }

    pub fn sort(&mut self) {
        self.names.sort();
    }

    /// How many there are, listed or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

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
