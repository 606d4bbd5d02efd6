//! What a run tells about itself: the set-up of logs.
//!
//! Everything that comes from outside (file names, a store's words) passes through [`Escaped`] on its way
//! to a terminal or a log, so that no line of ours can be forged.

pub mod console;
mod escape;
mod fields;

pub use escape::Escaped;
