//! Tables for people.
//!
//! **In:** cells of text, which may come from a store and are escaped here. **Out:** lines that fit the terminal that they are
//! written to; where that is not one, lines of any length without colours, so that `grep` and `awk` find whole cells.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, presets};
use console::{Term, measure_text_width};
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
    headers: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
    notes: Vec<String>,
    right_aligned: Vec<usize>,
    narrow: Narrow,
}

/// A cell's text to its shorter form.
type Shorten = fn(&str) -> String;

/// What gives way on a terminal that is too narrow, in this order.
#[derive(Debug, Default)]
struct Narrow {
    /// Columns, and how wide a terminal they need.
    shown_from: Vec<(usize, u16)>,
    /// Columns whose cells have a shorter form.
    shorter: Vec<(usize, Shorten)>,
    /// Columns that are left out, the first one first.
    optional: Vec<usize>,
    /// A column whose cells lose their middle.
    shrinking: Option<usize>,
}

/// Between two columns.
const GAP: usize = 2;
/// Fewer characters of a name say nothing.
const FEWEST: usize = 12;

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
        Self {
            headers: headers.map(str::to_uppercase).to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
            right_aligned: Vec::new(),
            narrow: Narrow::default(),
        }
    }

    /// Numbers read well when they end in one line.
    #[must_use]
    pub(crate) fn right_aligned(mut self, columns: &[usize]) -> Self {
        self.right_aligned.extend(columns);
        self
    }

    /// What a column's cells become first where the table is too wide.
    #[must_use]
    pub(crate) fn shorter(mut self, column: usize, form: Shorten) -> Self {
        self.narrow.shorter.push((column, form));
        self
    }

    /// Columns that a narrow terminal does without, the least important first.
    #[must_use]
    pub(crate) fn optional(mut self, columns: &[usize]) -> Self {
        self.narrow.optional.extend(columns);
        self
    }

    /// The column whose cells are cut in their middle where nothing else gives way: paths, names.
    #[must_use]
    pub(crate) fn shrinking(mut self, column: usize) -> Self {
        self.narrow.shrinking = Some(column);
        self
    }

    /// Leaves a column out on a terminal with fewer columns than these.
    #[must_use]
    pub(crate) fn shown_from(mut self, column: usize, width: u16) -> Self {
        self.narrow.shown_from.push((column, width));
        self
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [(String, Tone); N]) {
        debug_assert_eq!(N, self.headers.len());
        self.rows.push(cells.map(|(text, tone)| (Escaped(text).to_string(), tone)).to_vec());
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, line: impl std::fmt::Display) {
        self.notes.push(Escaped(line).to_string());
    }

    /// The width of a column's widest cell.
    fn width_of(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|(text, _)| text);
        cells.chain(self.headers.get(column)).map(|text| measure_text_width(text)).max().unwrap_or(0)
    }

    /// Makes the table as wide as the terminal, if it can be. The columns that are left.
    fn fit(&mut self, width: usize) -> Vec<usize> {
        let has_room = |column: &usize| {
            !self.narrow.shown_from.iter().any(|(of, least)| of == column && width < usize::from(*least))
        };
        let mut columns: Vec<usize> = (0..self.headers.len()).filter(has_room).collect();
        let natural = |table: &Self, columns: &[usize]| {
            let widths: usize = columns.iter().map(|column| table.width_of(*column)).sum();
            widths + GAP * columns.len().saturating_sub(1)
        };
        for (column, form) in std::mem::take(&mut self.narrow.shorter) {
            if natural(self, &columns) > width {
                for (text, _) in self.rows.iter_mut().filter_map(|row| row.get_mut(column)) {
                    *text = form(text);
                }
            }
        }
        let shrunk = |table: &Self, columns: &[usize]| match table.narrow.shrinking {
            Some(column) => natural(table, columns) - table.width_of(column).saturating_sub(FEWEST),
            None => natural(table, columns),
        };
        for column in self.narrow.optional.clone() {
            if shrunk(self, &columns) > width {
                columns.retain(|kept| *kept != column);
            }
        }
        if let Some(column) = self.narrow.shrinking {
            let excess = natural(self, &columns).saturating_sub(width);
            let room = self.width_of(column).saturating_sub(excess).max(FEWEST);
            for (text, _) in self.rows.iter_mut().filter_map(|row| row.get_mut(column)) {
                *text = without_middle(text, room);
            }
        }
        columns
    }

    /// The lines, each with its end.
    pub(crate) fn render(mut self, surface: Surface) -> String {
        let columns = match surface.width {
            Some(width) => self.fit(width.into()),
            None => (0..self.headers.len()).collect(),
        };
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING);
        inner.set_header(columns.iter().map(|column| &self.headers[*column]));
        for row in &self.rows {
            inner.add_row(columns.iter().map(|column| cell(&row[*column])));
        }
        match surface.width {
            Some(width) => {
                inner.set_content_arrangement(ContentArrangement::Dynamic);
                inner.set_width(width);
            }
            None => {
                inner.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if surface.colours {
            inner.enforce_styling();
        } else {
            inner.force_no_tty();
        }
        // The first column begins at the edge, and two spaces are between columns.
        for (shown, column) in inner.column_iter_mut().enumerate() {
            let is_last = shown + 1 == columns.len();
            column.set_padding((0, if is_last { 0 } else { GAP as u16 }));
            if self.right_aligned.contains(&columns[shown]) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = String::new();
        if !self.rows.is_empty() {
            for line in inner.lines() {
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

fn cell((text, tone): &(String, Tone)) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Warning => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
        Tone::Faint => cell.fg(Color::DarkGrey),
    }
}

/// A text in so many columns: its beginning and its end, which say most of a path.
pub(crate) fn without_middle(text: &str, room: usize) -> String {
    if measure_text_width(text) <= room {
        return text.to_owned();
    }
    let characters: Vec<char> = text.chars().collect();
    let (mut head, mut tail) =
        (room.saturating_sub(1) / 3, room.saturating_sub(1) - room.saturating_sub(1) / 3);
    loop {
        let beginning = characters.iter().take(head);
        let end = characters.iter().skip(characters.len().saturating_sub(tail));
        let cut: String = beginning.chain(&['\u{2026}']).chain(end).collect();
        // Some characters take two columns.
        if measure_text_width(&cut) <= room || head + tail == 0 {
            return cut;
        }
        if head > 0 { head -= 1 } else { tail -= 1 }
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
    fn a_narrow_terminal_gets_what_matters_most() {
        let table = || {
            let mut table = Table::new(["path", "made", "host", "size"])
                .right_aligned(&[3])
                .shorter(1, |time| time.chars().take(10).collect())
                .optional(&[2, 1])
                .shrinking(0);
            let path = "documentos/contabilidade/2026/relatório.pdf";
            table.row([plain(path), plain("2026-11-26 02:00 -03:00"), plain("db01"), plain("9 B")]);
            table
        };
        let line = |width| table().render(Surface::plain(width)).lines().nth(1).unwrap().to_owned();
        assert_eq!(
            line(90),
            "documentos/contabilidade/2026/relatório.pdf  2026-11-26 02:00 -03:00  db01   9 B"
        );
        assert_eq!(line(70), "documentos/contabilidade/2026/relatório.pdf  2026-11-26  db01   9 B");
        assert_eq!(line(50), "document\u{2026}026/relatório.pdf  2026-11-26  db01   9 B");
        assert_eq!(line(30), "doc\u{2026}ório.pdf  2026-11-26   9 B");
        for width in 20..90 {
            let text = table().render(Surface::plain(width));
            assert_eq!(text.lines().count(), 2, "{width}: {text}");
            assert!(text.lines().all(|line| measure_text_width(line) <= width.into()), "{width}: {text}");
        }
        assert_eq!(
            without_middle("\u{4e2d}\u{6587}\u{4e2d}\u{6587}\u{4e2d}\u{6587}", 6),
            "\u{2026}\u{4e2d}\u{6587}"
        );
    }

    #[test]
    fn colours_only_where_they_show() {
        assert!(table().render(Surface { width: Some(80), colours: true }).contains("\u{1b}[38;5;9m"));
        assert!(!table().render(Surface::plain(80)).contains('\u{1b}'));
    }
}
