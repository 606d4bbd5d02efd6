//! Tables for people.
//!
//! **In:** cells of text, which may come from a store and are escaped here. **Out:** lines that fit the terminal that they are
//! written to; where that is not one, lines of any length without colours, so that `grep` and `awk` find whole cells.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, presets};
use console::Term;
use intellistor_telemetry::Escaped;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Done, unwritable};

/// What a cell says beside its text. A terminal shows it as a colour, unless `NO_COLOR` is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    Good,
    /// Needs attention.
    Warning,
    Bad,
    /// Of less interest than the rest.
    Faint,
}

/// A table, and lines below it.
#[derive(Debug)]
pub(crate) struct Table {
    inner: comfy_table::Table,
    notes: Vec<String>,
    columns: usize,
    /// Columns, and how wide a terminal they need.
    optional: Vec<(usize, u16)>,
}

/// Where a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Surface {
    /// Columns; `None` where lines may have any length.
    width: Option<u16>,
    colours: bool,
}

impl Surface {
    /// Standard output as it is.
    pub(crate) fn standard_output() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let width = Term::stdout().size_checked().map(|(_, columns)| columns);
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { width: width.filter(|_| is_terminal), colours: is_terminal && !dumb && !is_set("NO_COLOR") }
    }

    /// Columns; `None` where lines may have any length.
    pub(crate) fn width(self) -> Option<u16> {
        self.width
    }

    pub(crate) fn has_colours(self) -> bool {
        self.colours
    }

    #[cfg(test)]
    pub(crate) fn plain(width: u16) -> Self {
        Self { width: Some(width), colours: false }
    }
}

impl Table {
    /// Columns with these headers, which are written in capitals.
    pub(crate) fn new<const N: usize>(headers: [&str; N]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING);
        inner.set_header(headers.map(str::to_uppercase));
        Self { inner, notes: Vec::new(), columns: N, optional: Vec::new() }
    }

    /// Numbers read well when they end in one line.
    #[must_use]
    pub(crate) fn right_aligned(mut self, columns: &[usize]) -> Self {
        for column in columns {
            if let Some(column) = self.inner.column_mut(*column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        self
    }

    /// Leaves a column out on a terminal with fewer columns than these.
    #[must_use]
    pub(crate) fn shown_from(mut self, column: usize, width: u16) -> Self {
        self.optional.push((column, width));
        self
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [(String, Tone); N]) {
        debug_assert_eq!(N, self.columns);
        let cells = cells.map(|(text, tone)| {
            let cell = Cell::new(Escaped(text));
            match tone {
                Tone::Plain => cell,
                Tone::Good => cell.fg(Color::Green),
                Tone::Warning => cell.fg(Color::Yellow),
                Tone::Bad => cell.fg(Color::Red),
                Tone::Faint => cell.fg(Color::DarkGrey),
            }
        });
        self.inner.add_row(cells);
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, line: impl std::fmt::Display) {
        self.notes.push(Escaped(line).to_string());
    }

    /// The lines, each with its end.
    pub(crate) fn render(mut self, surface: Surface) -> String {
        match surface.width {
            Some(width) => {
                self.inner.set_content_arrangement(ContentArrangement::Dynamic);
                self.inner.set_width(width);
                for (column, _) in self.optional.iter().filter(|(_, least)| width < *least) {
                    if let Some(column) = self.inner.column_mut(*column) {
                        column.set_constraint(ColumnConstraint::Hidden);
                    }
                }
            }
            None => {
                self.inner.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if surface.colours {
            self.inner.enforce_styling();
        } else {
            self.inner.force_no_tty();
        }
        // The first column begins at the edge, and two spaces are between columns.
        for (index, column) in self.inner.column_iter_mut().enumerate() {
            let last = index + 1 == self.columns;
            column.set_padding((0, if last { 0 } else { 2 }));
        }
        let mut text = String::new();
        if !self.inner.is_empty() {
            for line in self.inner.lines() {
                text.push_str(line.trim_end());
                text.push('\n');
            }
        }
        if !self.notes.is_empty() && !text.is_empty() {
            text.push('\n');
        }
        for note in &self.notes {
            text.push_str(note);
            text.push('\n');
        }
        text
    }

    /// Writes it to standard output.
    ///
    /// # Errors
    /// When standard output is closed.
    pub(crate) fn print(self, exit: Exit) -> Result<Done, Failure> {
        let text = self.render(Surface::standard_output());
        io::stdout().lock().write_all(text.as_bytes()).map_err(|e| unwritable(&e))?;
        Ok(Done::Written(exit))
    }
}

/// A cell without a tone.
pub(crate) fn plain(text: impl ToString) -> (String, Tone) {
    (text.to_string(), Tone::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["policy", "size"]).right_aligned(&[1]);
        table.row([plain("relatórios-da-contabilidade"), ("9 B".to_owned(), Tone::Bad)]);
        table.row([plain("\u{1b}[2J"), plain("1,024 B")]);
        table.note("one line");
        table
    }

    #[test]
    fn lines_fit_the_terminal_and_steer_nothing() {
        let wide = table().render(Surface { width: None, colours: false });
        assert_eq!(
            wide,
            "POLICY                          SIZE\nrelatórios-da-contabilidade      9 B\n\\u{1b}[2J                    1,024 B\n\none line\n"
        );
        let narrow = table().render(Surface::plain(20));
        assert!(narrow.lines().all(|line| line.chars().count() <= 20), "{narrow}");
    }

    #[test]
    fn colours_only_where_they_show() {
        assert!(table().render(Surface { width: Some(80), colours: true }).contains("\u{1b}[38;5;9m"));
        assert!(!table().render(Surface::plain(80)).contains('\u{1b}'));
    }
}
