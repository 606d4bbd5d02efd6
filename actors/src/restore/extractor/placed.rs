//! Files that the extractor gives to a writer.

use actix::Message;
use intellistor_storage::manifest::Entry;

use crate::link::Reply;
use crate::restore::extractor::frames::Frames;
use crate::restore::extractor::ticket::Ticket;
use crate::target::FilePlace;

/// Files for a writer, in the order in which it writes them.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FilesPlaced {
    /// What holds their content, or as much of it as has come.
    pub frames: Frames,
    /// Whether more of the file that this writer has begun comes first.
    pub continues: bool,
    /// The files to begin.
    pub files: Vec<PlacedFile>,
    /// Whether the content of the last file goes on in a later message.
    pub goes_on: bool,
}

/// A file with a place.
#[derive(Debug)]
pub struct PlacedFile {
    /// What it is.
    pub entry: Entry,
    /// Where it goes.
    pub place: FilePlace,
    /// Tells how it came out.
    pub ticket: Ticket,
}
