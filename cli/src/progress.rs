//! The progress line: what was done, how fast, how long it will take.
//!
//! ```text
//! backing up  [#########-----------]   45 %  2.5/5.6 GiB  120.4 MiB/s  0:26 left  1,234/5,678 items
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use intellistor::Progress;
use tokio::task::JoinHandle;

use crate::screen::Screen;
use crate::units::{clock, grouped, part_of, size};

const TICK: Duration = Duration::from_millis(125);
/// The rate is that of so many ticks, 10 s: long enough not to flicker, short enough to show a stall.
const RATE_TICKS: usize = 80;

/// A progress line while it is drawn; gone when dropped.
#[derive(Debug)]
pub(crate) struct Meter {
    screen: Screen,
    bar: ProgressBar,
    task: JoinHandle<()>,
}

impl Meter {
    /// Draws until dropped; nothing where nobody looks.
    pub(crate) fn start(screen: &Screen, doing: &'static str, progress: Arc<Progress>) -> Option<Self> {
        if !screen.draws() {
            return None;
        }
        let target = ProgressDrawTarget::term(Term::stderr(), 10);
        let style = ProgressStyle::with_template("{msg}").ok()?;
        let bar = ProgressBar::with_draw_target(None, target).with_style(style);
        screen.set_bar(Some(bar.clone()));
        let drawn = bar.clone();
        let task = tokio::spawn(async move {
            let term = Term::stderr();
            let mut rate = Rate::default();
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                let now = Snapshot::of(&progress);
                let speed = rate.add(Instant::now(), now.bytes);
                drawn.set_message(line(doing, &now, speed, usize::from(term.size().1)));
            }
        });
        Some(Self { screen: screen.clone(), bar, task })
    }

    /// Replaces the line by one that stays.
    pub(crate) fn finish(self, told: &str) {
        let screen = self.screen.clone();
        drop(self);
        screen.note(told);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
        self.screen.set_bar(None);
        self.bar.finish_and_clear();
    }
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Snapshot {
    entries: u64,
    total_entries: u64,
    bytes: u64,
    total_bytes: u64,
}

impl Snapshot {
    fn of(progress: &Progress) -> Self {
        Self {
            entries: progress.entries.get(),
            total_entries: progress.total_entries.get(),
            bytes: progress.bytes.get(),
            total_bytes: progress.total_bytes.get(),
        }
    }

    /// Between 0 and 1. Totals are estimates, and grow while they are counted.
    fn share(&self) -> Option<f64> {
        let of = |done: u64, total: u64| (total > 0).then(|| (done as f64 / total as f64).min(1.0));
        of(self.bytes, self.total_bytes).or_else(|| of(self.entries, self.total_entries))
    }
}

/// Bytes a second, over the last few seconds.
#[derive(Debug, Default)]
struct Rate(VecDeque<(Instant, u64)>);

impl Rate {
    fn add(&mut self, now: Instant, bytes: u64) -> Option<f64> {
        if self.0.len() > RATE_TICKS {
            self.0.pop_front();
        }
        self.0.push_back((now, bytes));
        let (first, before) = *self.0.front()?;
        let seconds = now.duration_since(first).as_secs_f64();
        (seconds >= 0.5).then(|| bytes.saturating_sub(before) as f64 / seconds)
    }
}

/// A line shorter than `width`: what matters least is left out first.
fn line(doing: &str, now: &Snapshot, rate: Option<f64>, width: usize) -> String {
    let room = width.saturating_sub(1);
    let share = now.share();
    let percent = share.map(|share| format!("{:3.0} %", (share * 100.0).floor()));
    let bytes =
        if now.total_bytes > now.bytes { part_of(now.bytes, now.total_bytes) } else { size(now.bytes) };
    let speed = rate.map(|rate| format!("{}/s", size(rate as u64)));
    let left = rate.filter(|rate| *rate >= 1.0 && now.total_bytes > now.bytes).map(|rate| {
        // More than four days is no estimate but a stall.
        let seconds = ((now.total_bytes - now.bytes) as f64 / rate).ceil() as u64;
        if seconds < 100 * 3600 { format!("{} left", clock(seconds)) } else { "stalled".to_owned() }
    });
    let items = match now.total_entries {
        total if total > now.entries => format!("{}/{} items", grouped(now.entries), grouped(total)),
        _ => format!("{} items", grouped(now.entries)),
    };

    // In the order of the line, each with its rank.
    let parts = [(0, percent), (1, Some(bytes)), (3, speed), (2, left), (4, Some(items))];
    let joined = |most: i32| {
        let shown = parts.iter().filter(|(rank, _)| *rank <= most).filter_map(|(_, part)| part.as_deref());
        std::iter::once(doing).chain(shown).collect::<Vec<_>>().join("  ")
    };
    let Some(text) = (0..=4).rev().map(joined).find(|text| text.len() <= room) else {
        return doing.chars().take(room).collect();
    };
    match share {
        // Below this width a bar would come and go with the length of the numbers.
        Some(share) if width >= 100 && room - text.len() >= 15 => {
            let length = (room - text.len() - 4).min(30);
            let done = ((share * length as f64) as usize).min(length);
            let bar = format!("{doing}  [{}{}]", "#".repeat(done), "-".repeat(length - done));
            text.replacen(doing, &bar, 1)
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Snapshot =
        Snapshot { entries: 1234, total_entries: 5678, bytes: 2_684_354_560, total_bytes: 6_012_954_214 };
    const RATE: Option<f64> = Some(126_000_000.0);

    #[test]
    fn a_line_fits_every_terminal() {
        for width in 0..200 {
            for now in [HALF, Snapshot::default(), Snapshot { bytes: u64::MAX, ..HALF }] {
                for rate in [None, Some(0.0), RATE, Some(f64::MAX)] {
                    let shown = line("backing up", &now, rate, width);
                    assert!(shown.len() <= width.saturating_sub(1), "{width}: {shown}");
                }
            }
        }
    }

    #[test]
    fn the_most_useful_parts_stay_longest() {
        let shown = |width| line("backing up", &HALF, RATE, width);
        assert_eq!(
            shown(120),
            "backing up  [#############-----------------]   44 %  2.5/5.6 GiB  120.2 MiB/s  0:27 left  1,234/5,678 items"
        );
        assert_eq!(shown(80), "backing up   44 %  2.5/5.6 GiB  120.2 MiB/s  0:27 left  1,234/5,678 items");
        assert_eq!(shown(50), "backing up   44 %  2.5/5.6 GiB  0:27 left");
        assert_eq!(shown(20), "backing up   44 %");
        let unknown = Snapshot { total_entries: 0, total_bytes: 0, ..HALF };
        assert_eq!(line("backing up", &unknown, RATE, 80), "backing up  2.5 GiB  120.2 MiB/s  1,234 items");
        let grown = Snapshot { bytes: 7_000_000_000, ..HALF };
        assert!(line("backing up", &grown, RATE, 80).contains("100 %  6.5 GiB"));
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        assert_eq!(rate.add(start, 0), None);
        assert_eq!(rate.add(start + Duration::from_secs(2), 200), Some(100.0));
        for i in 1..=100 {
            rate.add(start + Duration::from_secs(2) + TICK * i, 200);
        }
        assert_eq!(rate.add(start + Duration::from_secs(20), 200), Some(0.0));
    }
}
