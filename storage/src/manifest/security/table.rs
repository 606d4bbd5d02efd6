//! The security descriptors of a manifest, each once: thousands of files have the same one.
//!
//! **Bound:** [`MOST_ROWS`] descriptors with [`MOST_BYTES`] together, and twice that with those taken over from a base. What
//! comes after that is in the entry itself.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::descriptor::SecurityDescriptor;
use super::of_entry::Security;
use super::row::{SecurityId, SecurityRow};
use crate::error::Result;
use crate::manifest::entry::Entry;
use crate::manifest::refused::refused;

/// More than a server of many users has.
const MOST_ROWS: usize = 1 << 16;
/// Of the descriptors themselves; as lines they take about three times that.
const MOST_BYTES: usize = 8 << 20;

#[derive(Debug, Default)]
pub struct SecurityTable {
    rows: BTreeMap<SecurityId, Arc<SecurityDescriptor>>,
    bytes: usize,
}

impl SecurityTable {
    /// Whether there are none, as in every backup of another system.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Puts an entry's descriptor into the table, and its id into the entry; none where the table is full.
    pub(in crate::manifest) fn name(&mut self, entry: &mut Entry) {
        if let Some(Security::Descriptor(descriptor)) = &entry.security
            && let Some(id) = self.insert(SecurityRow::new(descriptor))
        {
            entry.security = Some(Security::Row(id));
        }
    }

    /// Takes a row over from the table of a base. Where this table is full, it is returned instead, for the entry itself.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) when the base has none.
    pub(in crate::manifest) fn take_over(
        &mut self,
        base: &Self,
        id: SecurityId,
    ) -> Result<Option<Arc<SecurityDescriptor>>> {
        if self.rows.contains_key(&id) {
            return Ok(None);
        }
        let descriptor = base.get(id)?;
        let bytes = self.bytes + descriptor.as_bytes().len();
        if self.rows.len() >= 2 * MOST_ROWS || bytes > 2 * MOST_BYTES {
            return Ok(Some(descriptor));
        }
        self.bytes = bytes;
        self.rows.insert(id, descriptor);
        Ok(None)
    }

    /// Gives an entry of the manifest its descriptor in place of the id.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) when there is none with that id.
    pub(in crate::manifest) fn resolve(&self, entry: &mut Entry) -> Result<()> {
        if let Some(Security::Row(id)) = entry.security {
            entry.security = Some(Security::Descriptor(self.get(id)?));
        }
        Ok(())
    }

    /// Adds a line of a manifest.
    ///
    /// # Errors
    /// [`Error::Integrity`](crate::Error::Integrity) when there are more than this program writes, twice: a manifest takes rows
    /// over from its base, and adds its own.
    pub(in crate::manifest) fn read(&mut self, row: SecurityRow) -> Result<()> {
        self.bytes += row.descriptor().as_bytes().len();
        if self.rows.len() > 2 * MOST_ROWS || self.bytes > 2 * MOST_BYTES {
            return Err(refused("it has more security descriptors than there may be"));
        }
        self.rows.insert(row.id(), Arc::new(row.into_descriptor()));
        Ok(())
    }

    /// Writes the rows, one a line, with commas between them.
    pub(in crate::manifest) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (index, descriptor) in self.rows.values().enumerate() {
            out.write_all(if index == 0 { b"" } else { b",\n" })?;
            serde_json::to_writer(&mut *out, &SecurityRow::new(descriptor))?;
        }
        Ok(())
    }

    fn insert(&mut self, row: SecurityRow) -> Option<SecurityId> {
        let id = row.id();
        if !self.rows.contains_key(&id) {
            let bytes = self.bytes + row.descriptor().as_bytes().len();
            if self.rows.len() >= MOST_ROWS || bytes > MOST_BYTES {
                return None;
            }
            self.bytes = bytes;
            self.rows.insert(id, Arc::new(row.into_descriptor()));
        }
        Some(id)
    }

    fn get(&self, id: SecurityId) -> Result<Arc<SecurityDescriptor>> {
        let found = self.rows.get(&id).cloned();
        found.ok_or_else(|| refused(format!("it names the security descriptor {id}, which it does not have")))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{Parts, sid};
    use super::*;
    use crate::manifest::fixtures::file;

    fn descriptor(group: u32) -> SecurityDescriptor {
        let parts = Parts { owner: None, group: Some(sid(5, &[group])), sacl: None, dacl: None };
        parts.in_order(0)
    }

    #[test]
    fn a_descriptor_is_in_the_table_once_and_comes_back_to_each_entry() {
        let mut table = SecurityTable::default();
        let with = |n: u32| Entry { security: Some(descriptor(n).into()), ..file(0, Vec::new()) };
        let entries = [with(1), with(2), with(1)];
        let mut named = entries.clone();
        named.iter_mut().for_each(|entry| table.name(entry));
        assert_eq!(table.rows.len(), 2);
        assert!(named.iter().all(|entry| matches!(entry.security, Some(Security::Row(_)))));
        let mut taken = SecurityTable::default();
        for entry in &mut named {
            let Some(Security::Row(id)) = entry.security else { unreachable!() };
            assert_eq!(taken.take_over(&table, id).unwrap(), None);
            taken.resolve(entry).unwrap();
        }
        let canonical = |entry: &Entry| entry.security.clone().unwrap().descriptor().unwrap().normalized();
        for (entry, read) in entries.iter().zip(&named) {
            assert_eq!(canonical(entry), *read.security.as_ref().unwrap().descriptor().unwrap());
        }
        let unknown = SecurityId([9; 16]);
        assert!(taken.take_over(&table, unknown).is_err());
        assert!(
            taken.resolve(&mut Entry { security: Some(Security::Row(unknown)), ..named[0].clone() }).is_err()
        );
    }

    #[test]
    fn what_a_full_table_has_no_room_for_stays_in_its_entry() {
        let mut table = SecurityTable { bytes: MOST_BYTES, ..SecurityTable::default() };
        let mut entry = Entry { security: Some(descriptor(1).into()), ..file(0, Vec::new()) };
        let before = entry.clone();
        table.name(&mut entry);
        assert_eq!((entry, table.is_empty()), (before, true));
    }

    #[test]
    fn what_is_taken_over_fits_into_what_is_read_or_stays_in_its_entry() {
        let mut base = SecurityTable::default();
        base.read(SecurityRow::new(&descriptor(1))).unwrap();
        let id = descriptor(1).id();
        let bytes = descriptor(1).as_bytes().len();
        let mut full = SecurityTable { bytes: 2 * MOST_BYTES - bytes + 1, ..SecurityTable::default() };
        assert_eq!(full.take_over(&base, id).unwrap().as_deref(), Some(&descriptor(1)));
        assert!(full.is_empty());
        let mut fits = SecurityTable { bytes: 2 * MOST_BYTES - bytes, ..SecurityTable::default() };
        assert_eq!(fits.take_over(&base, id).unwrap(), None);
        assert_eq!(fits.take_over(&base, id).unwrap(), None, "it is there already");
        let mut read = SecurityTable { bytes: 2 * MOST_BYTES - bytes, ..SecurityTable::default() };
        assert!(fits.rows.values().all(|row| read.read(SecurityRow::new(row)).is_ok()));
    }

    #[test]
    fn more_rows_than_two_full_tables_have_are_refused() {
        let mut table = SecurityTable { bytes: 2 * MOST_BYTES, ..SecurityTable::default() };
        assert!(table.read(SecurityRow::new(&descriptor(1))).is_err());
        let mut table = SecurityTable::default();
        let most = u32::try_from(2 * MOST_ROWS).unwrap();
        assert!((0..=most).all(|n| table.read(SecurityRow::new(&descriptor(n))).is_ok()));
        assert!(table.read(SecurityRow::new(&descriptor(most + 1))).is_err());
    }
}
