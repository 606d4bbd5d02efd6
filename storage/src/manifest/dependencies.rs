//! The archives that a verified manifest names, and what opens them.

use super::archive_records::of_another;
use super::head::ArchiveRecord;
use super::reader::VerifiedManifest;
use super::refused::refused;
use crate::archive::header::Header;
use crate::archive::set::ArchiveSet;
use crate::error::Result;
use crate::keys::{ContentKey, DataKey};

impl VerifiedManifest {
    /// The archives that its entries point into, and what opens them. The backup's own has the number 0.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) when segments contradict themselves, and when a sealed key is not that
    /// of its archive; [`Error::OtherBackup`](crate::Error::OtherBackup) when a header is not.
    pub fn archives(&self) -> Result<ArchiveSet> {
        let mut archives = ArchiveSet::default();
        (0..self.head().archives.len()).try_for_each(|number| self.add_archive(number, &mut archives))?;
        Ok(archives)
    }

    /// The key under which the sketches of its entries were made; `None` where it has none.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) when it is not what was sealed.
    pub fn content_key(&self) -> Result<Option<ContentKey>> {
        let sealed = self.head().content_key.as_ref();
        sealed.map(|sealed| self.data_key().open_content_key(self.header().backup_id(), sealed)).transpose()
    }

    /// Adds the archive with a number in this manifest to a set, under the next number there.
    pub(super) fn add_archive(&self, number: usize, archives: &mut ArchiveSet) -> Result<()> {
        let (header, data_key) = self.opened(number)?;
        let ArchiveRecord { key, segments, .. } = &self.head().archives[number];
        archives.add(key.clone(), header, data_key, segments)
    }

    /// What the manifest of the backup with an id and a data key says of the archive with a number in this one, which it
    /// depends on.
    pub(super) fn depend_on(
        &self,
        number: usize,
        backup_id: &str,
        data_key: &DataKey,
    ) -> Result<ArchiveRecord> {
        let (header, key) = self.opened(number)?;
        Ok(ArchiveRecord {
            backup_id: header.backup_id().to_owned(),
            header: Some(header.encoded().to_vec()),
            data_key: Some(data_key.seal_data_key(backup_id, header.backup_id(), &key)),
            ..self.head().archives[number].clone()
        })
    }

    /// The header of an archive, and its key.
    fn opened(&self, number: usize) -> Result<(Header, DataKey)> {
        if number == 0 {
            return Ok((self.header().clone(), self.data_key().clone()));
        }
        let record = &self.head().archives[number];
        let (Some(header), Some(sealed)) = (&record.header, &record.data_key) else {
            return Err(refused(format!("it does not say what opens {}", record.key)));
        };
        let header = Header::of(&of_another(record)?, &record.key, header)?;
        let key = self.data_key().open_data_key(self.header().backup_id(), &record.backup_id, sealed)?;
        Ok((header, key))
    }
}
