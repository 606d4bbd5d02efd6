//! What a walk has counted below one root.

use super::metadata::{FileMetadata, SourceKind, Stored};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RootCounts {
    /// Files and links.
    pub files: u64,
    /// Files and folders that are in the cloud, and were not fetched.
    pub in_cloud: u64,
    /// Files that Windows keeps encrypted on the disk.
    pub encrypted: u64,
    /// Files that Windows keeps compressed on the disk.
    pub compressed: u64,
    /// Alternate data streams that were found, and left out.
    pub streams: u64,
    /// Those of them that only say that a file came from the internet.
    pub zone_identifiers: u64,
}

impl RootCounts {
    /// Counts what is backed up, or would be if it were here.
    pub(super) fn count(&mut self, metadata: &FileMetadata) {
        if !matches!(metadata.kind, SourceKind::File | SourceKind::Symlink) {
            return;
        }
        self.files += 1;
        match metadata.stored {
            _ if metadata.kind == SourceKind::Symlink => {}
            Stored::Encrypted => self.encrypted += 1,
            Stored::Compressed => self.compressed += 1,
            Stored::Plain => {}
        }
    }
}

impl std::iter::Sum for RootCounts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |sum, root| Self {
            files: sum.files + root.files,
            in_cloud: sum.in_cloud + root.in_cloud,
            encrypted: sum.encrypted + root.encrypted,
            compressed: sum.compressed + root.compressed,
            streams: sum.streams + root.streams,
            zone_identifiers: sum.zone_identifiers + root.zone_identifiers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_count_as_files_and_not_as_what_windows_encrypts() {
        let metadata = |kind, stored| FileMetadata {
            kind,
            size: 1,
            mtime_ns: 0,
            ctime_ns: None,
            unix: None,
            windows: None,
            identity: None,
            links: 1,
            allocated: 1,
            in_cloud: false,
            stored,
        };
        let mut counts = RootCounts::default();
        for stored in [Stored::Plain, Stored::Compressed, Stored::Encrypted] {
            for kind in [
                SourceKind::File,
                SourceKind::Symlink,
                SourceKind::Directory,
                SourceKind::Stream,
                SourceKind::Other("fifo"),
            ] {
                counts.count(&metadata(kind, stored));
            }
        }
        assert_eq!(counts, RootCounts { files: 6, encrypted: 1, compressed: 1, ..RootCounts::default() });
        assert_eq!([counts, counts].into_iter().sum::<RootCounts>().files, 12);
    }
}
