//! What becomes of the alternate data streams of a file or folder that a walk has found.

use std::io;

use intellistor_storage::Error;
use intellistor_storage::manifest::streams::ZONE_IDENTIFIER;

use super::walked::Walked;
use super::{Walk, failure};
use crate::source::metadata::FileMetadata;
use crate::source::streams::{FoundStream, scanned};

impl Walk {
    /// The streams of a file or folder, as far as they are kept; the others are counted.
    pub(super) fn streams(
        &mut self,
        metadata: &FileMetadata,
        found: io::Result<Vec<FoundStream>>,
    ) -> Result<Vec<Walked>, Error> {
        // What is not fetched is left out with its streams.
        if metadata.in_cloud && !self.excludes.may_fetch() {
            return Ok(Vec::new());
        }
        let found = match found {
            Ok(found) if found.is_empty() => return Ok(Vec::new()),
            Ok(found) => found,
            // They would not be kept: that they cannot be counted takes nothing away.
            Err(e) if !self.excludes.finds_streams() => {
                tracing::debug!(error = %e, "streams cannot be listed");
                return Ok(Vec::new());
            }
            Err(e) => return Ok(vec![self.left_out(failure("list its alternate data streams", &e), e)?]),
        };
        if self.excludes.finds_streams() {
            let owner = self.position.scanned(metadata.clone());
            return Ok(found.iter().map(|stream| Walked::Entry(scanned(&owner, stream))).collect());
        }
        let zone_identifiers =
            found.iter().filter(|stream| stream.name == ZONE_IDENTIFIER.as_bytes()).count() as u64;
        if let Some(root) = &mut self.root {
            root.counts.streams += found.len() as u64;
            root.counts.zone_identifiers += zone_identifiers;
        }
        Ok(Vec::new())
    }
}
