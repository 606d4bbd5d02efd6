//! The text below a command's options, taken apart: what follows `after_help` on the command line is written once, for
//! `--help` and for the manual pages.
//!
//! Blank lines part blocks. A block whose first line ends in `:` and whose other lines are indented is a list under that
//! heading; an indented block continues the list above it; any other block is a paragraph.

/// A block of help.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    List { heading: String, lines: Vec<String> },
    Paragraph(String),
}

/// The blocks of a text, in its order.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let all: Vec<_> = block.trim_matches('\n').lines().map(str::to_owned).collect();
        let is_indented = |line: &String| line.starts_with(' ');
        match (all.split_first(), blocks.last_mut()) {
            (_, Some(Block::List { lines, .. })) if all.iter().all(is_indented) => {
                lines.push(String::new());
                lines.extend(all);
            }
            (Some((first, rest)), _)
                if first.ends_with(':') && !rest.is_empty() && rest.iter().all(is_indented) =>
            {
                blocks.push(Block::List {
                    heading: first.trim_end_matches(':').to_owned(),
                    lines: rest.to_vec(),
                });
            }
            _ => blocks.push(Block::Paragraph(all.join("\n"))),
        }
    }
    blocks
}

/// Lines of two columns as pairs, `  NAME   text`; a line that is indented further continues the text above it.
pub(super) fn pairs(lines: &[String]) -> Vec<(String, String)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let least =
        lines.iter().filter(|line| !line.trim().is_empty()).map(|line| indent(line)).min().unwrap_or(0);
    let mut pairs: Vec<(String, String)> = Vec::new();
    for line in lines.iter().filter(|line| !line.trim().is_empty()) {
        match pairs.last_mut() {
            Some((_, text)) if indent(line) > least => {
                text.push(' ');
                text.push_str(line.trim());
            }
            _ => pairs.push(columns(line)),
        }
    }
    pairs
}

/// A line's two columns, which at least two spaces part; the second may be empty.
pub(super) fn columns(line: &str) -> (String, String) {
    let line = line.trim();
    let (name, text) = line.split_once("  ").unwrap_or((line, ""));
    (name.to_owned(), text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_paragraphs_are_told_apart() {
        let text = "Examples:\n  a b\n\n  a c    why\n\nOne paragraph:\nof two lines.\n\nExit codes, with --check:\n  0  well\n  2  not\n     at all";
        let list = |heading: &str, lines: &[&str]| Block::List {
            heading: heading.to_owned(),
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        };
        let expected = [
            list("Examples", &["  a b", "", "  a c    why"]),
            Block::Paragraph("One paragraph:\nof two lines.".to_owned()),
            list("Exit codes, with --check", &["  0  well", "  2  not", "     at all"]),
        ];
        assert_eq!(blocks(text), expected);
        let Block::List { lines, .. } = &expected[2] else { panic!() };
        assert_eq!(
            pairs(lines),
            [("0".to_owned(), "well".to_owned()), ("2".to_owned(), "not at all".to_owned())]
        );
        assert_eq!(columns("  a c    why"), ("a c".to_owned(), "why".to_owned()));
    }
}
