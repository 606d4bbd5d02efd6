//! Writers: the parts of databases and services that make their files consistent before a snapshot.

use std::fmt;

use serde::Serialize;

use super::hresult::Hresult;

/// What VSS says about one writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WriterStatus {
    pub(super) name: String,
    /// A `VSS_WRITER_STATE`.
    pub(super) state: u32,
    /// Why it failed; a success otherwise.
    pub(super) failure: Hresult,
}

impl WriterStatus {
    /// The writer, if its files in the snapshot may be inconsistent.
    pub(super) fn failed(self) -> Option<FailedWriter> {
        let failed = FAILED_STATES.contains(&self.state) || self.failure.is_failure();
        failed.then_some(FailedWriter { name: self.name, state: state_name(self.state), code: self.failure })
    }
}

/// A writer whose files in the snapshot are as after a power cut, not as after a clean stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedWriter {
    pub name: String,
    /// When it failed, in words.
    pub state: &'static str,
    pub code: Hresult,
}

impl fmt::Display for FailedWriter {
    /// Names come from other programs: control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}: {} ({})", self.name, self.state, self.code.meaning(), self.code)
    }
}

const FAILED_STATES: std::ops::RangeInclusive<u32> = 6..=15;

/// The words of a `VSS_WRITER_STATE`.
fn state_name(state: u32) -> &'static str {
    match state {
        1 => "is stable",
        2 => "waits for the freeze",
        3 => "waits for the thaw",
        4 => "waits for the end of the snapshot",
        5 => "waits for the end of the backup",
        6 => "failed as it was identified",
        7 => "failed as the backup was prepared",
        8 => "failed as the snapshot was prepared",
        9 => "failed at the freeze",
        10 => "failed at the thaw",
        11 => "failed after the snapshot",
        12 => "failed at the end of the backup",
        13 => "failed before a restore",
        14 => "failed after a restore",
        15 => "failed at the shutdown of the backup",
        _ => "is in an unknown state",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: u32, failure: u32) -> WriterStatus {
        WriterStatus { name: "SqlServerWriter".into(), state, failure: Hresult(failure) }
    }

    #[test]
    fn states_6_to_15_are_failures_and_so_is_a_failure_in_any_state() {
        for state in 0..=16 {
            assert_eq!(status(state, 0).failed().is_some(), (6..=15).contains(&state), "{state}");
            assert!(status(state, 0x8004_23F2).failed().is_some(), "{state}");
        }
    }

    #[test]
    fn every_failed_state_has_its_own_words() {
        let mut words: Vec<_> = (0..=15).map(state_name).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 16);
        assert!((6..=15).all(|state| state_name(state).starts_with("failed")));
    }

    #[test]
    fn a_failed_writer_reads_as_a_sentence() {
        let failed = status(9, 0x8004_23F2).failed().expect("state 9 is a failure");
        assert_eq!(
            failed.to_string(),
            "\"SqlServerWriter\" failed at the freeze: the writer took longer than the 60 s that Windows allows (VSS_E_WRITERERROR_TIMEOUT, 0x800423F2)"
        );
        let hostile = FailedWriter { name: "a\x1b[2J".into(), ..failed };
        assert!(!hostile.to_string().contains('\x1b'));
    }
}
