//! Puts what is read as a stream, whatever its size.

use std::io::{self, Read};

use bytes::Bytes;

use super::{ObjectStore, Part, Upload};
use crate::{Error, Hashed, Result};

/// S3 takes up to 10,000 parts: 78 GiB.
const PART_BYTES: usize = 8 << 20;

/// Puts all that `source` gives until its end: at once where it fits one part, else as a multipart upload. It
/// appears whole or not at all. At most two parts are in memory.
///
/// A failure aborts the upload. A future that is dropped cannot; what it leaves,
/// [`list_uploads`](ObjectStore::list_uploads) finds.
///
/// # Errors
/// Those of the store, and what `unreadable` makes of an error of `source`.
pub async fn put_stream(
    store: &dyn ObjectStore,
    key: &str,
    mut source: impl Read + Send,
    unreadable: impl FnOnce(io::Error) -> Error + Send,
) -> Result<()> {
    let read_both = |source: &mut _| {
        let first = next_part(source)?;
        let second = if first.len() < PART_BYTES { Bytes::new() } else { next_part(source)? };
        Ok((first, second))
    };
    let (first, second) = match read_both(&mut source) {
        Ok(both) => both,
        Err(error) => return Err(unreadable(error)),
    };
    if second.is_empty() {
        return store.put(key, first).await;
    }
    let upload = store.begin_upload(key).await?;
    let sent = put_parts(store, &upload, [first, second], source, unreadable).await;
    if sent.is_err()
        && let Err(error) = store.abort_upload(&upload).await
    {
        // The first error is the one to tell.
        tracing::warn!(%error, key, "an unfinished upload stays in the store");
    }
    sent
}

async fn put_parts(
    store: &dyn ObjectStore,
    upload: &Upload,
    [first, second]: [Bytes; 2],
    mut source: impl Read + Send,
    unreadable: impl FnOnce(io::Error) -> Error + Send,
) -> Result<()> {
    let mut receipts = Vec::new();
    let (mut body, mut next) = (first, Some(second));
    let (mut number, mut offset) = (1, 0);
    while !body.is_empty() {
        let bytes = body.len() as u64;
        let part = Part { number, offset, body: Hashed::new(body) };
        receipts.push(store.put_part(upload, &part).await?);
        drop(part);
        (number, offset) = (number + 1, offset + bytes);
        body = match next.take().map_or_else(|| next_part(&mut source), Ok) {
            Ok(body) => body,
            Err(error) => return Err(unreadable(error)),
        };
    }
    store.complete_upload(upload, &receipts).await
}

fn next_part(source: &mut impl Read) -> io::Result<Bytes> {
    // Grown, it would be twice as large in the end.
    let mut part = Vec::with_capacity(PART_BYTES);
    source.take(PART_BYTES as u64).read_to_end(&mut part)?;
    Ok(part.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::StoreErrorKind;
    use crate::objects::{Fault, Faulty, MemoryStore, Operation};

    fn unreadable(error: io::Error) -> Error {
        Error::io("read", "source")(error)
    }

    fn noise(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i / 7) as u8).collect()
    }

    /// Fails where it should end.
    struct Torn<'a>(&'a [u8]);

    impl Read for Torn<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let n = self.0.read(buffer)?;
            if n == 0 { Err(io::ErrorKind::StaleNetworkFileHandle.into()) } else { Ok(n) }
        }
    }

    #[tokio::test]
    async fn any_size_arrives_and_only_what_needs_parts_has_them() {
        for (bytes, parts) in [
            (0, 0),
            (1, 0),
            (PART_BYTES, 0),
            (PART_BYTES + 1, 2),
            (2 * PART_BYTES, 2),
            (2 * PART_BYTES + 9, 3),
        ] {
            let memory = MemoryStore::default();
            let body = noise(bytes);
            put_stream(&memory, "k", body.as_slice(), unreadable).await.unwrap();
            assert_eq!(memory.get_range("k", 0..u64::MAX).await.unwrap(), body, "{bytes}");
            assert_eq!((memory.parts_sent().len(), memory.open_uploads()), (parts, 0), "{bytes}");
        }
    }

    #[tokio::test]
    async fn a_failure_leaves_nothing() {
        let body = noise(2 * PART_BYTES + 9);
        for operation in [Operation::BeginUpload, Operation::PutPart, Operation::CompleteUpload] {
            let memory = MemoryStore::default();
            let faulty = Faulty::new(Arc::new(memory.clone()));
            faulty.fail(operation, 1, Fault::Fails(StoreErrorKind::AccessDenied));
            put_stream(&faulty, "k", body.as_slice(), unreadable).await.unwrap_err();
            assert_eq!((memory.open_uploads(), memory.keys()), (0, vec![]), "{operation:?}");
        }
        for bytes in [1, body.len()] {
            let memory = MemoryStore::default();
            let told = put_stream(&memory, "k", Torn(&body[..bytes]), unreadable).await.unwrap_err();
            assert!(told.to_string().starts_with("cannot read source"), "{told}");
            assert_eq!((memory.open_uploads(), memory.keys()), (0, vec![]), "{bytes}");
        }
    }
}
