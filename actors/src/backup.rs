//! The stages of a backup, in the order of the data.

pub mod archiver;
pub mod compressor;
pub mod encryptor;
pub mod links;
pub mod read_ahead;
pub mod scan_reader;
pub mod scan_recorder;
pub mod scanner;
pub mod sequencer;
pub mod uploader;
