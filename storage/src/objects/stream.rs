//! Puts what is read as a stream, whatever its size.

use std::io::{self, Read};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::objects::error::StoreErrorKind;
use crate::objects::hashed::Hashed;
use crate::objects::options::PutOptions;
use crate::objects::s3::limits::MIN_PART_BYTES;
use crate::objects::store::ObjectStore;
use crate::objects::upload::{Part, Upload};

/// 10,000 parts, which is what S3 takes, are 78 GiB.
const PART_BYTES: usize = 8 << 20;
const _: () = assert!(PART_BYTES as u64 >= MIN_PART_BYTES, "no store wants larger parts than S3");

/// Puts all that `source` gives until its end: at once where it fits one part, else as a multipart upload. It
/// appears whole or not at all, in the place of another object only if `options` say so. At most two parts are in
/// memory.
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
    options: &PutOptions,
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
        return store.put_with(key, first, options).await;
    }
    let upload = store.begin_with(key, &options.attributes).await?;
    let sent = put_parts(store, &upload, [first, second], source, options.if_absent, unreadable).await;
    if sent.is_err()
        && let Err(error) = store.abort_upload(&upload).await
    {
        // The first error is the one to tell.
        tracing::warn!(%error, key, "an unfinished upload could not be aborted and stays in the store");
    }
    sent
}

async fn put_parts(
    store: &dyn ObjectStore,
    upload: &Upload,
    [first, second]: [Bytes; 2],
    mut source: impl Read + Send,
    if_absent: bool,
    unreadable: impl FnOnce(io::Error) -> Error + Send,
) -> Result<()> {
    let mut last = [0; 32];
    let mut receipts = Vec::new();
    let (mut body, mut next) = (first, Some(second));
    let (mut number, mut offset) = (1, 0);
    while !body.is_empty() {
        let bytes = body.len() as u64;
        let part = Part { number, offset, body: Hashed::new(body) };
        receipts.push(store.put_part(upload, &part).await?);
        last = part.body.sha256();
        drop(part);
        (number, offset) = (number + 1, offset + bytes);
        body = match next.take().map_or_else(|| next_part(&mut source), Ok) {
            Ok(body) => body,
            Err(error) => return Err(unreadable(error)),
        };
    }
    match store.complete_with(upload, &receipts, if_absent).await {
        // Done already, if the answer to a call before was lost. What goes this way tells itself apart at its end.
        Err(Error::Store(gone)) if gone.kind == StoreErrorKind::UploadGone => {
            let bytes = receipts.last().map_or(0, |receipt| receipt.bytes);
            let end = store.get_range(&upload.key, offset - bytes..offset + 1).await;
            if end.is_ok_and(|end| Hashed::new(end).sha256() == last) { Ok(()) } else { Err(gone.into()) }
        }
        completed => completed,
    }
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
    use crate::objects::faulty::{Fault, Faulty, Operation};
    use crate::objects::memory::MemoryStore;
    use crate::objects::retry::{Retry, RetryPolicy};
    use crate::objects::store::ObjectStoreExt as _;

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
            put_stream(&memory, "k", body.as_slice(), &PutOptions::default(), unreadable).await.unwrap();
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
            put_stream(&faulty, "k", body.as_slice(), &PutOptions::default(), unreadable).await.unwrap_err();
            assert_eq!((memory.open_uploads(), memory.keys()), (0, vec![]), "{operation:?}");
        }
        for bytes in [1, body.len()] {
            let memory = MemoryStore::default();
            let message = put_stream(&memory, "k", Torn(&body[..bytes]), &PutOptions::default(), unreadable)
                .await
                .unwrap_err();
            assert!(message.to_string().starts_with("cannot read source"), "{message}");
            assert_eq!((memory.open_uploads(), memory.keys()), (0, vec![]), "{bytes}");
        }
    }

    #[tokio::test]
    async fn what_is_there_is_replaced_only_where_that_is_wanted() {
        for bytes in [1, PART_BYTES + 1] {
            let memory = MemoryStore::default();
            memory.put("k", Bytes::from_static(b"before")).await.unwrap();
            let body = noise(bytes);
            let absent = &PutOptions::if_absent();
            let message = put_stream(&memory, "k", body.as_slice(), absent, unreadable).await.unwrap_err();
            assert!(
                matches!(&message, Error::Store(e) if e.kind == StoreErrorKind::AlreadyExists),
                "{message}"
            );
            assert_eq!(
                (memory.get_range("k", 0..9).await.unwrap(), memory.open_uploads()),
                ("before".into(), 0)
            );
            put_stream(&memory, "k", body.as_slice(), &PutOptions::default(), unreadable).await.unwrap();
            assert_eq!(memory.head("k").await.unwrap(), Some(bytes as u64));
        }
    }

    #[tokio::test]
    async fn a_completion_whose_answer_was_lost_is_found_done() {
        let memory = MemoryStore::default();
        let faulty = Arc::new(Faulty::new(Arc::new(memory.clone())));
        faulty.fail(Operation::CompleteUpload, 1, Fault::AnswerLost(StoreErrorKind::Timeout));
        let policy = RetryPolicy { first_delay: std::time::Duration::ZERO, ..RetryPolicy::default() };
        let body = noise(2 * PART_BYTES + 9);
        let retry = Retry::new(faulty, policy);
        put_stream(&retry, "k", body.as_slice(), &PutOptions::if_absent(), unreadable).await.unwrap();
        assert_eq!(memory.get_range("k", 0..u64::MAX).await.unwrap(), body);
    }
}
