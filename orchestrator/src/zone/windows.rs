//! Windows keeps one zone per machine, which `chrono` reads.

use chrono::{DateTime, Local};

/// The machine's zone.
#[derive(Debug, Clone)]
pub struct Zone {
    /// For people; Windows' own names say little to them.
    pub name: String,
    /// Always `None` on Windows.
    pub problem: Option<String>,
}

impl Zone {
    /// The machine's.
    pub fn of_this_machine() -> Self {
        Self { name: "the machine's".to_owned(), problem: None }
    }

    /// The current time in it.
    pub fn now(&self) -> DateTime<Local> {
        Local::now()
    }
}

/// `None`: programs on Windows do not read `TZ`.
pub fn problem_with(_: Option<&str>) -> Option<String> {
    None
}
