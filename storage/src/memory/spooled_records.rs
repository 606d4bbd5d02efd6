//! Records that are set aside, and read back one by one: in a temporary file once they are many.

use std::io::Write as _;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::disk::spool::{Spool, temporary_error};
use crate::error::{Error, Result};

/// Of a record in the spool: how many bytes it has.
const LENGTH_BYTES: u64 = 4;

#[derive(Debug)]
pub struct SpooledRecords<T> {
    spool: Spool,
    kind: PhantomData<fn() -> T>,
}

impl<T> Default for SpooledRecords<T> {
    fn default() -> Self {
        Self { spool: Spool::default(), kind: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> SpooledRecords<T> {
    /// Sets a record aside, and tells its place.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary folder is full.
    pub fn add(&mut self, record: &T) -> Result<u64> {
        let place = self.spool.bytes();
        // By name, for some members are left out where they say nothing.
        let bytes = rmp_serde::to_vec_named(record)
            .expect("memory takes all, and MessagePack has a form for all that our records hold");
        let length = u32::try_from(bytes.len()).expect("a record is far below 4 GiB");
        let written = self.spool.write_all(&length.to_be_bytes()).and_then(|()| self.spool.write_all(&bytes));
        written.map_err(temporary_error).map(|()| place)
    }

    /// The record at a place.
    ///
    /// # Errors
    /// [`Error::Io`] when the temporary file cannot be read, [`Error::Integrity`] when it does not hold what was written.
    pub fn get(&mut self, place: u64) -> Result<T> {
        let mut length = [0; LENGTH_BYTES as usize];
        self.spool.flush().map_err(temporary_error)?;
        let read = |bytes: &mut [u8], at| self.spool.read_exact_at(bytes, at).map_err(temporary_error);
        read(&mut length, place)?;
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        read(&mut bytes, place + LENGTH_BYTES)?;
        rmp_serde::from_slice(&bytes)
            .map_err(|e| Error::integrity("a record in a temporary file", e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_their_places_also_while_more_are_added() {
        let mut records = SpooledRecords::default();
        let mut places = Vec::new();
        // More than stays in memory.
        for i in 0..3000u32 {
            let record = (i, vec![i; 500]);
            places.push(records.add(&record).unwrap());
            let earlier = i / 2;
            assert_eq!(records.get(places[earlier as usize]).unwrap(), (earlier, vec![earlier; 500]));
        }
    }
}
