//! What a hook wrote: its end, for that is where the error is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use intellistor_telemetry::Escaped;

/// Bytes of one command that are kept.
pub(super) const MOST_OUTPUT: usize = 64 << 10;
/// Lines of one command that are logged.
const MOST_LINES: usize = 1000;

/// The last bytes of what was written, both streams in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Output {
    end: VecDeque<u8>,
    left_out: u64,
}

impl Output {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.end.extend(bytes);
        let excess = self.end.len().saturating_sub(MOST_OUTPUT);
        self.end.drain(..excess);
        self.left_out += excess as u64;
    }

    /// Lines that say something, and how many bytes came before them.
    fn lines(&mut self) -> (Vec<String>, u64) {
        let text = String::from_utf8_lossy(self.end.make_contiguous());
        let mut lines: Vec<_> =
            text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
        let excess = lines.len().saturating_sub(MOST_LINES);
        let left_out = lines.drain(..excess).map(|line| line.len() as u64 + 1).sum::<u64>();
        (lines, self.left_out + left_out)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct SharedOutput(Arc<Mutex<Output>>);

impl SharedOutput {
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Output) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes it into the log of the run.
    pub(super) fn log(&self, hook: &'static str) {
        let (lines, left_out) = self.with(Output::lines);
        if left_out > 0 {
            tracing::info!(hook, left_out, "only the end of the hook's output is kept; bytes before it");
        }
        for line in lines {
            tracing::info!(hook, output = %Escaped(line), "hook wrote");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_kept() {
        let mut output = Output::default();
        for n in 0..20_000 {
            output.push(format!("line {n}\n\n").as_bytes());
        }
        let (lines, left_out) = output.lines();
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (MOST_LINES, Some("line 19999")));
        assert!(output.end.len() <= MOST_OUTPUT && left_out > 100_000);
    }
}
