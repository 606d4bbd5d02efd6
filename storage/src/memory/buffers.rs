//! Buffers that are used again. The system clears fresh memory page by page, which takes as long as sealing what is
//! written into it.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Buffers of about one size. There are never more of them than were in use at once.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// A buffer that was given back, with what stood in it, or an empty one.
    pub fn take(&self) -> Buffer {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Buffer { bytes: free.unwrap_or_default(), home: Some(self.clone()) }
    }
}

/// Bytes whose memory is given back when they are dropped.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Option<Buffers>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(Buffers(free)) = self.home.take().filter(|_| self.bytes.capacity() > 0) {
            free.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.bytes));
        }
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, home: None }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_back_is_taken_again() {
        let buffers = Buffers::default();
        let (mut one, two) = (buffers.take(), buffers.take());
        one.extend_from_slice(b"abc");
        let at = one.as_ptr();
        drop((one, two));
        let (again, fresh) = (buffers.take(), buffers.take());
        assert_eq!((again.as_ptr(), again.as_slice()), (at, &b"abc"[..]));
        assert_eq!(fresh.capacity(), 0, "what never held anything is not kept");
    }
}
