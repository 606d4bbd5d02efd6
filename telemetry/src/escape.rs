//! Text that cannot steer a terminal or forge a line.

use std::fmt::{self, Write};

/// Shows a value with every character escaped that would move the cursor, start a line, or reverse the text.
#[derive(Debug, Clone, Copy)]
pub struct Escaped<T>(pub T);

impl<T: fmt::Display> fmt::Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaper(f), "{}", self.0)
    }
}

struct Escaper<'a, W>(&'a mut W);

impl<W: Write> Write for Escaper<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some(at) = rest.find(steers) {
            let (plain, special) = rest.split_at(at);
            self.0.write_str(plain)?;
            let mut chars = special.chars();
            if let Some(c) = chars.next() {
                write!(self.0, "{}", c.escape_default())?;
            }
            rest = chars.as_str();
        }
        self.0.write_str(rest)
    }
}

fn steers(c: char) -> bool {
    // Beside the control characters: line and paragraph separators, and all that Unicode calls a bidi control.
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_steers_a_terminal_is_escaped() {
        let hostile = "Cópia de ação\n\x1b[2Jerror: forged\r\u{9b}31m\u{202e}gpj.exe\u{2028}x";
        let shown = Escaped(hostile).to_string();
        let expected = "Cópia de ação\\n\\u{1b}[2Jerror: forged\\r\\u{9b}31m\\u{202e}gpj.exe\\u{2028}x";
        assert_eq!(shown, expected);
        assert_eq!(Escaped("\u{61c}\u{200e}\u{200f}").to_string(), "\\u{61c}\\u{200e}\\u{200f}");
        assert_eq!(Escaped("日本語 C:\\pasta 'x'").to_string(), "日本語 C:\\pasta 'x'");
    }
}
