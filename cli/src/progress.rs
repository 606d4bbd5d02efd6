//! The progress line: what was done, how fast, how long it will take.
//!
//! ```text
//! backing up  [#########---------------------]   45 %  2.50 GiB/5.60 GiB  120.40 MiB/s  26s left  1,234/5,678 items
//! ```
//! Drawn by indicatif, on a terminal only. Which parts fit into its width is decided here: a line that is cut inside a number
//! would lie.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use console::Term;
use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use intellistor::{Progress, ProgressSnapshot};
use tokio::task::JoinHandle;

use crate::screen::Screen;

const TICK: Duration = Duration::from_millis(125);
/// Draws a second.
const RATE_HZ: u8 = 10;

/// A progress line while it is drawn; cleared when dropped.
#[derive(Debug)]
pub(crate) struct Meter {
    screen: Screen,
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Meter {
    /// Draws until dropped; `None` where standard error is not a terminal, or is quiet.
    pub(crate) fn start(screen: &Screen, doing: &'static str, progress: Arc<Progress>) -> Option<Self> {
        if !screen.draws() {
            return None;
        }
        let target = ProgressDrawTarget::term(Term::stderr(), RATE_HZ);
        let bar = ProgressBar::with_draw_target(None, target).with_prefix(doing);
        screen.set_bar(Some(bar.clone()));
        let drawn = bar.clone();
        let task = tokio::spawn(async move {
            let term = Term::stderr();
            let mut layout = None;
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                let template = template(term.size().1.into(), progress.total_bytes.get() > 0);
                if layout.replace(template) != Some(template) {
                    drawn.set_style(style(template, progress.clone()));
                }
                update(&drawn, &progress);
            }
        });
        Some(Self { screen: screen.clone(), bar, task })
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
        self.screen.set_bar(None);
        self.bar.finish_and_clear();
    }
}

fn update(bar: &ProgressBar, progress: &Progress) {
    let ProgressSnapshot { bytes, total_bytes, .. } = progress.snapshot();
    let is_first = bar.position() == 0 && bytes > 0;
    // Totals are estimates, and grow while they are counted.
    bar.update(|state| {
        state.set_len(total_bytes.max(bytes));
        state.set_pos(bytes);
    });
    if is_first {
        // What a resumed run begins with was not done in this moment: it is no speed.
        bar.reset_eta();
    }
}

/// What fits into a line of this width, with numbers as long as they usually get. The least useful part is left out first.
fn template(width: usize, has_total: bool) -> &'static str {
    match (width, has_total) {
        (0..34, true) => "{prefix}  {percent:>3} %",
        (0..60, true) => "{prefix}  {percent:>3} %{left}",
        (0..78, true) => "{prefix}  {percent:>3} %  {binary_bytes}/{binary_total_bytes}{left}",
        (0..100, true) => "{prefix}  {percent:>3} %  {binary_bytes}/{binary_total_bytes}{left}  {items}",
        (0..134, true) => {
            "{prefix}  {percent:>3} %  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}{left}  {items}"
        }
        (_, true) => {
            "{prefix}  [{bar:30}]  {percent:>3} %  {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}{left}  {items}"
        }
        (0..70, false) => "{prefix}  {binary_bytes}",
        (_, false) => "{prefix}  {binary_bytes}  {binary_bytes_per_sec}  {items}",
    }
}

fn style(template: &str, progress: Arc<Progress>) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let items = move |_: &ProgressState, out: &mut dyn Write| {
        let ProgressSnapshot { entries, total_entries, .. } = progress.snapshot();
        let done = HumanCount(entries);
        // Writing to the line cannot fail.
        let _ = match total_entries {
            total if total > entries => write!(out, "{done}/{} items", HumanCount(total)),
            _ => write!(out, "{done} items"),
        };
    };
    style.progress_chars("#--").with_key("left", left).with_key("items", items)
}

/// `  26s left`. indicatif's own `{eta}` is 0s where nothing moves.
fn left(state: &ProgressState, out: &mut dyn Write) {
    if state.len().is_none_or(|total| total <= state.pos()) {
        return;
    }
    // Writing to the line cannot fail. More than four days is no estimate.
    let _ = match state.eta() {
        eta if state.per_sec() >= 1.0 && eta < Duration::from_secs(100 * 3600) => {
            write!(out, "  {:#} left", HumanDuration(eta))
        }
        _ if state.elapsed() > Duration::from_secs(10) => write!(out, "  stalled"),
        _ => Ok(()),
    };
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps what was written last.
    #[derive(Debug, Clone)]
    struct LastLine(u16, Arc<Mutex<String>>);

    impl TermLike for LastLine {
        fn width(&self) -> u16 {
            self.0
        }

        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }

        fn write_str(&self, text: &str) -> io::Result<()> {
            if !text.trim().is_empty() {
                text.trim_end().clone_into(&mut self.1.lock().unwrap());
            }
            Ok(())
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line for entries and bytes, each with its total.
    fn line(width: u16, entries: [u64; 2], bytes: [u64; 2]) -> String {
        let progress = Arc::new(Progress::default());
        progress.entries.add(entries[0]);
        progress.total_entries.add(entries[1]);
        progress.bytes.add(bytes[0]);
        progress.total_bytes.add(bytes[1]);
        let term = LastLine(width, Arc::default());
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let bar = ProgressBar::with_draw_target(None, target).with_prefix("backing up");
        bar.set_style(style(template(width.into(), bytes[1] > 0), progress.clone()));
        update(&bar, &progress);
        bar.force_draw();
        term.1.lock().unwrap().clone()
    }

    #[test]
    fn the_most_useful_parts_stay_longest() {
        let half = |width| line(width, [1234, 5678], [2_684_354_560, 6_012_954_214]);
        let bar = "#".repeat(13) + &"-".repeat(17);
        assert_eq!(
            half(140),
            format!("backing up  [{bar}]   45 %  2.50 GiB/5.60 GiB  0 B/s  1,234/5,678 items")
        );
        assert_eq!(half(80), "backing up   45 %  2.50 GiB/5.60 GiB  1,234/5,678 items");
        assert_eq!(half(60), "backing up   45 %  2.50 GiB/5.60 GiB");
        assert_eq!(half(40), "backing up   45 %");
        assert_eq!(line(80, [0, 0], [5 << 20, 0]), "backing up  5.00 MiB  0 B/s  0 items");
        // Totals are estimates.
        assert_eq!(line(60, [2, 1], [7 << 20, 5 << 20]), "backing up  100 %  7.00 MiB/7.00 MiB");
    }

    #[test]
    fn a_line_fits_every_terminal() {
        let most = (1024 << 30) - 1;
        for width in 20..200 {
            for total in [0, most] {
                let shown = line(width, [999_999, 9_999_999], [most, total]);
                // With a time left.
                assert!(shown.len() + 10 < usize::from(width).max(34), "{width}: {shown}");
            }
        }
    }
}
