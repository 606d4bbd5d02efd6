//! Checks for people: a mark, a name, what was seen, and below it what to do.
//!
//! **In:** rows whose texts may come from a store; they are escaped here. **Out:** lines that fit the terminal; where standard output is
//! none, one line for each text, without colours.

use std::borrow::Cow;
use std::io::{self, Write as _};

use console::{Style, measure_text_width};
use intellistor::doctor::{CheckRow, CheckState};
use intellistor_telemetry::Escaped;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::table::Surface;
use crate::output::{Done, unwritable};

/// With less, names and texts go below each other.
const SIDE_BY_SIDE: usize = 72;
const INDENT: usize = 4;
/// Mark, blank, and the longest name: an S3 permission.
const NAMES: usize = 30;

/// A row.
#[derive(Debug)]
pub(crate) struct Mark<'r> {
    state: CheckState,
    name: Cow<'r, str>,
    detail: &'r str,
    advice: Option<&'r str>,
}

impl<'r> Mark<'r> {
    /// Of checks that ended alike: the first of them speaks for all.
    pub(crate) fn of(rows: &'r [CheckRow]) -> Self {
        let Some(row) = rows.first() else {
            return Self { state: CheckState::Skipped, name: Cow::Borrowed(""), detail: "", advice: None };
        };
        let name = match rows.len() {
            1 => Cow::Borrowed(row.name.as_str()),
            count => Cow::Owned(format!("{count} more checks")),
        };
        Self { state: row.state, name, detail: &row.detail, advice: row.advice.as_deref() }
    }
}

/// Writes the rows and what they come to to standard output.
pub(crate) fn print(marks: &[Mark<'_>], verdict: &str, exit: Exit) -> Result<Done, Failure> {
    let text = render(marks, Surface::standard_output(), shows_unicode());
    let text = format!("{text}\n{}\n", Escaped(verdict));
    io::stdout().lock().write_all(text.as_bytes()).map_err(|e| unwritable(&e))?;
    Ok(Done::Written(exit))
}

fn render(marks: &[Mark<'_>], surface: Surface, unicode: bool) -> String {
    let width = surface.width().map(usize::from);
    let is_wide = width.is_none_or(|width| width >= SIDE_BY_SIDE);
    let mut text = String::new();
    for Mark { state, name, detail, advice } in marks {
        let (mark, style) = shown(*state, unicode);
        let mark = if surface.has_colours() {
            style.force_styling(true).apply_to(mark).to_string()
        } else {
            mark.to_owned()
        };
        let arrow = if unicode { "→ " } else { "-> " };
        let mut texts: Vec<String> = detail.lines().map(|line| Escaped(line).to_string()).collect();
        for (at, line) in advice.unwrap_or_default().lines().enumerate() {
            let lead = if at == 0 { arrow } else { "  " };
            texts.push(format!("{lead}{}", Escaped(line)));
        }
        let indent = if is_wide { NAMES + 2 } else { INDENT };
        let room = width.map(|width| width.saturating_sub(indent).max(1));
        let mut lines = texts.iter().flat_map(|line| wrapped(line, room));
        text += &mark;
        text.push(' ');
        if is_wide {
            let first = lines.next().unwrap_or_default();
            text += format!("{name:<NAMES$}{first}").trim_end();
        } else {
            text += &name[..];
        }
        text.push('\n');
        for line in lines {
            text += format!("{:indent$}{line}", "").trim_end();
            text.push('\n');
        }
    }
    text
}

fn shown(state: CheckState, unicode: bool) -> (&'static str, Style) {
    let (mark, plain, style) = match state {
        CheckState::Ok => ("✓", "+", Style::new().green()),
        CheckState::Warning => ("!", "!", Style::new().yellow()),
        CheckState::Failed => ("✗", "x", Style::new().red()),
        CheckState::Skipped => ("-", "-", Style::new().dim()),
    };
    (if unicode { mark } else { plain }, style)
}

/// A line in pieces that end between words, where these fit.
fn wrapped(line: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room else { return vec![line.to_owned()] };
    let (mut lines, mut current) = (Vec::new(), String::new());
    for word in line.split(' ') {
        let taken = measure_text_width(&current);
        if taken > 0 && taken + 1 + measure_text_width(word) > room {
            lines.push(std::mem::take(&mut current));
        } else if taken > 0 {
            current.push(' ');
        }
        current.push_str(word);
        // A path may be longer than a line.
        while measure_text_width(&current) > room {
            let (mut piece, mut width) = (String::new(), 0);
            for c in current.chars() {
                width += measure_text_width(c.encode_utf8(&mut [0; 4]));
                if width > room && !piece.is_empty() {
                    break;
                }
                piece.push(c);
            }
            current = current.split_off(piece.len());
            lines.push(piece);
        }
    }
    lines.push(current);
    lines
}

/// Whether marks beyond ASCII show: as the locale says. Windows' consoles take all of Unicode.
fn shows_unicode() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let locale =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default().to_ascii_uppercase();
    cfg!(windows) || locale.contains("UTF-8") || locale.contains("UTF8")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks() -> Vec<Mark<'static>> {
        let mark = |state, name: &'static str, detail, advice| Mark {
            state,
            name: Cow::Borrowed(name),
            detail,
            advice,
        };
        vec![
            mark(CheckState::Ok, "policy", "docs: 1 path", None),
            mark(
                CheckState::Failed,
                "s3:PutObject",
                "permission s3:PutObject on arn:aws:s3:::bucket/key is refused \u{1b}[2J",
                Some("Grant this permission to the credentials; docs/STORES.md has a complete IAM policy"),
            ),
        ]
    }

    #[test]
    fn advice_is_below_what_was_seen_and_lines_fit() {
        let wide = render(&marks(), Surface::plain(80), true);
        let expected = "\
✓ policy                        docs: 1 path
✗ s3:PutObject                  permission s3:PutObject on
                                arn:aws:s3:::bucket/key is refused \\u{1b}[2J
                                → Grant this permission to the credentials;
                                docs/STORES.md has a complete IAM policy
";
        assert_eq!(wide, expected);
        for width in [10, 40, 71, 72, 100] {
            let text = render(&marks(), Surface::plain(width), true);
            let widest = text.lines().map(measure_text_width).max().unwrap();
            assert!(widest <= usize::from(width).max("x s3:PutObject".len()), "{width}: {text}");
        }
    }

    #[test]
    fn a_terminal_without_unicode_gets_ascii() {
        assert!(render(&marks(), Surface::plain(40), false).is_ascii());
    }
}
