//! The stages of a restore, in the order of the data.

pub mod extractor;
pub mod fetcher;
pub mod opener;
pub mod planner;
pub mod writer;
