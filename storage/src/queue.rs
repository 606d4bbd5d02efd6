//! stub
#![allow(missing_docs)]
use serde::{Serialize, Deserialize, de::DeserializeOwned};
use crate::archive::SegmentRecord;
use crate::manifest::{Entry, Problem};
use crate::objects::PartReceipt;
use crate::Result;
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cursor { pub entry: u64, pub half_sent: Option<HalfSent> }
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HalfSent { pub tar_offset: u64, pub header: Vec<u8>, pub stored_bytes: u64, pub identity: Option<(u64,u64)>, pub read_sha256: [u8;32], pub read_bytes: u64 }
#[derive(Debug, Clone)]
pub struct PartRecord { pub segment: SegmentRecord, pub receipt: PartReceipt, pub cursor: Cursor }
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scanned { pub entries: u64, pub bytes: u64 }
#[derive(Debug, Clone)]
pub struct Ledger;
impl Ledger {
  pub fn clear_scan(&self) -> Result<()> { todo!() }
  pub fn add_scan<T: Serialize>(&self, _steps: &[T]) -> Result<()> { todo!() }
  pub fn flush(&self) -> Result<()> { todo!() }
  pub fn scan<T: DeserializeOwned>(&self, _from: u64) -> impl Iterator<Item = Result<Vec<T>>> { std::iter::empty() }
  pub fn commit(&self, _part: &PartRecord, _entries: &[Entry], _problems: &[Problem]) -> Result<()> { todo!() }
  pub fn parts(&self) -> Result<Vec<PartRecord>> { todo!() }
  pub fn committed(&self, _number: u32) -> Result<(Vec<Entry>, Vec<Problem>)> { todo!() }
}
