//! The log of one run, as evidence.
//!
//! ```text
//! <home>/logs/<policy_id>/run_<timestamp>.log    one for each run
//! <home>/logs/<policy_id>/last.log               a copy of the newest, kept in step
//!
//! 2026-11-24T02:00:00.123Z INFO  part stored part=12 bytes=8391203 trace=4bf92f3577b34da6a3ce929d0e0e4736
//! ```
//! A line is the time in UTC, the level, the message, the event's fields, and the run's trace id once it is known: of
//! two `trace=` the last is the run's.
//!
//! - **In**: the events of a run. [`layer()`] finds the run by the span that [`RunLog::span`] gives, so that several runs
//!   in one process do not mix.
//! - **Out**: two files. Each line is one write to each, handed to the system at once; nothing waits in memory.
//! - **Blocks**: the thread that logs, for these writes. Lines of one run queue for one lock.
//! - **A write that fails** (a full disk) stops nothing and is never silent: the next line is tried again, the file then
//!   says how many lines it lacks, and [`RunLog::write_failure`] reports it to the run.
//! - **Survives a crash of the process**: every line written. A crash of the machine: what came before
//!   [`RunLog::sync`]. A resumed job appends to its own log, under its first timestamp; a line torn by the crash
//!   is ended first.
//!
//! | module | holds |
//! | --- | --- |
//! | `log` | [`RunLog`], the two files of a run |
//! | `line_file` | one file of whole lines, which counts what it could not take |
//! | `layer` | from an event to the log of its run |
//! | `follow` | reads a log while it is written |
//! | `retention` | which logs a folder holds, and which are old |

mod follow;
mod layer;
mod line_file;
mod log;
mod retention;

pub use follow::Follow;
pub use layer::{TARGET, layer};
pub use log::{LAST, RunLog};
pub use retention::{LogFile, list, retain};
