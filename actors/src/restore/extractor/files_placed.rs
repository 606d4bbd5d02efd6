//! Files that the extractor gives to a writer.

use actix::Message;
use intellistor_storage::manifest::Entry;

use crate::link::Reply;
use crate::restore::extractor::completion::Completion;
use crate::restore::frame_view::FrameView;
use crate::target::ContentDestination;

/// The most files that are with all writers at once.
pub const MAX_IN_FLIGHT: usize = 256;

/// Files for a writer, in the order in which it writes them.
#[derive(Debug, Message)]
#[rtype(result = "Reply")]
pub struct FilesPlaced {
    /// What holds their content, or the beginning of it.
    pub frames: FrameView,
    /// Whether more content of the file that this writer has begun comes first.
    pub continues_previous: bool,
    /// The files to begin.
    pub files: Vec<PlacedFile>,
    /// Whether a later message has more content of the last file.
    pub continues_in_next: bool,
}

/// A file, or a stream of one, with a place in the target.
#[derive(Debug)]
pub struct PlacedFile {
    pub entry: Entry,
    pub destination: ContentDestination,
    pub completion: Completion,
}
