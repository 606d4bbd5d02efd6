//! Evenly spaced minutes of a day; each series becomes one trigger.

/// Minutes in a day.
pub(super) const DAY_MINUTES: usize = 24 * 60;

/// `first`, `first + step`, ...: `count` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) first: u16,
    pub(super) step: u16,
    pub(super) count: u16,
}

impl Series {
    pub(super) fn values(self) -> impl Iterator<Item = u16> {
        (0..self.count).map(move |k| self.first + k * self.step)
    }

    pub(super) fn shifted(self, by: u16) -> Self {
        Self { first: self.first + by, ..self }
    }
}
