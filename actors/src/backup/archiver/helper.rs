//! A thread beside the archiver's: one of them hashes a large file while the other one cuts it.
//!
//! - **In:** the blocks of one file after another. **Out:** its chunk list, or its digest, when it is asked for.
//! - **Bound:** [`WINDOW`] blocks of at most 1 MiB wait for it, then the archiver does.
//! - **Survives a crash:** nothing; a file that was not complete is cut again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use intellistor_storage::ContentDigest;
use intellistor_storage::archive::FRAME_BYTES;
use intellistor_storage::keys::ContentKey;
use intellistor_storage::memory::buffers::{Buffer, Buffers};

use crate::backup::archiver::list_builder::{Cut, ListBuilder};
use crate::backup::chunker::CutChunk;

/// Blocks that wait for the thread.
const WINDOW: usize = 2;

/// The thread, from the archiver's side. It begins with the first file and ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Helper {
    key: ContentKey,
    running: Option<Running>,
    buffers: Buffers,
    /// Bytes that are not sent yet.
    block: Buffer,
}

#[derive(Debug)]
struct Running {
    work: SyncSender<Work>,
    made: Receiver<Made>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Work {
    /// Begins a file; what was begun before is dropped.
    Cut {
        average: u32,
    },
    Hash(ContentDigest),
    Data(Arc<Buffer>),
    Hole(u64),
    End,
}

#[derive(Debug)]
enum Made {
    Cut(Cut),
    Digest([u8; 32]),
}

enum Task {
    Cut(Box<ListBuilder>),
    Hash(ContentDigest),
}

impl Helper {
    /// One that makes sketches under `key`.
    pub(crate) fn new(key: ContentKey) -> Self {
        Self { key, running: None, buffers: Buffers::default(), block: Buffer::default() }
    }

    pub(crate) fn key(&self) -> &ContentKey {
        &self.key
    }

    /// Buffers for blocks that are [sent](Self::block).
    pub(crate) fn buffers(&self) -> Buffers {
        self.buffers.clone()
    }

    /// Begins to cut a file.
    pub(crate) fn begin_cut(&mut self, average: u32) {
        self.block.clear();
        self.send(Work::Cut { average });
    }

    /// Begins to hash a file.
    pub(crate) fn begin_hash(&mut self, digest: ContentDigest) {
        self.block.clear();
        self.send(Work::Hash(digest));
    }

    /// Takes the next bytes of the file, in a block that is shared.
    pub(crate) fn block(&mut self, block: Arc<Buffer>) {
        self.send(Work::Data(block));
    }

    /// Takes the next bytes of the file, and copies them.
    pub(crate) fn data(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = bytes.len().min(FRAME_BYTES - self.block.len());
            self.block.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.block.len() == FRAME_BYTES {
                self.send_block();
            }
        }
    }

    /// Takes a hole.
    pub(crate) fn hole(&mut self, bytes: u64) {
        if bytes > 0 {
            self.send_block();
            self.send(Work::Hole(bytes));
        }
    }

    /// Ends a file that is cut.
    pub(crate) fn end_cut(&mut self) -> Cut {
        match self.end() {
            Some(Made::Cut(cut)) => cut,
            _ => Cut::default(),
        }
    }

    /// Ends a file that is hashed.
    ///
    /// # Panics
    /// When none was begun.
    pub(crate) fn end_hash(&mut self) -> [u8; 32] {
        match self.end() {
            Some(Made::Digest(digest)) => digest,
            _ => unreachable!("a file is hashed"),
        }
    }

    fn end(&mut self) -> Option<Made> {
        self.send_block();
        self.send(Work::End);
        let running = self.running.as_mut()?;
        match running.made.recv() {
            Ok(made) => Some(made),
            Err(_) => self.fail(),
        }
    }

    fn send_block(&mut self) {
        if !self.block.is_empty() {
            let mut fresh = self.buffers.take();
            fresh.clear();
            let block = std::mem::replace(&mut self.block, fresh);
            self.send(Work::Data(Arc::new(block)));
        }
    }

    fn send(&mut self, work: Work) {
        let key = &self.key;
        let running = self.running.get_or_insert_with(|| start(key.clone()));
        if running.work.send(work).is_err() {
            self.fail();
        }
    }

    /// Goes on with the thread's panic: nothing else ends it while this one has work for it.
    fn fail(&mut self) -> ! {
        let ended = self.running.take().map(|running| running.thread.join());
        match ended {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => unreachable!("the thread works until it is dropped"),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if let Some(Running { work, thread, .. }) = self.running.take() {
            drop(work);
            // Its panic would have been noticed, unless nothing depended on it any more.
            let _ = thread.join();
        }
    }
}

fn start(key: ContentKey) -> Running {
    let (work, received) = sync_channel(WINDOW);
    let (send, made) = sync_channel(1);
    let thread = std::thread::spawn(move || {
        let mut task = None;
        while let Ok(work) = received.recv() {
            match work {
                Work::Cut { average } => task = Some(Task::Cut(Box::new(ListBuilder::new(average, &key)))),
                Work::Hash(digest) => task = Some(Task::Hash(digest)),
                Work::Data(block) => match &mut task {
                    Some(Task::Cut(builder)) => no_error(builder.data(&block, ignore)),
                    Some(Task::Hash(digest)) => digest.data(&block),
                    None => {}
                },
                Work::Hole(bytes) => match &mut task {
                    Some(Task::Cut(builder)) => no_error(builder.hole(bytes, ignore)),
                    Some(Task::Hash(digest)) => digest.hole(bytes),
                    None => {}
                },
                Work::End => {
                    let made = match task.take() {
                        Some(Task::Cut(builder)) => Made::Cut(no_error(builder.finish(ignore))),
                        Some(Task::Hash(digest)) => Made::Digest(digest.finish()),
                        None => Made::Cut(Cut::default()),
                    };
                    if send.send(made).is_err() {
                        return;
                    }
                }
            }
        }
    });
    Running { work, made, thread }
}

fn ignore(_: CutChunk<'_>) -> Result<(), Infallible> {
    Ok(())
}

fn no_error<T>(result: Result<T, Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::backup::chunker::SMALLEST_AVERAGE;

    #[test]
    fn one_file_after_the_other_is_cut_or_hashed_as_it_is_in_one_thread() {
        let key = ContentKey::generate();
        let bytes: Vec<u8> =
            (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let mut helper = Helper::new(key.clone());
        for _ in 0..2 {
            helper.begin_hash(ContentDigest::default());
            helper.data(&bytes);
            assert_eq!(helper.end_hash(), <[u8; 32]>::from(Sha256::digest(&bytes)));
            // One that is not ended.
            helper.begin_cut(SMALLEST_AVERAGE);
            helper.data(b"abc");
            helper.begin_cut(SMALLEST_AVERAGE);
            helper.data(&bytes[..1000]);
            helper.hole(1 << 20);
            helper.hole(1 << 20);
            helper.data(&bytes[1000..]);
            let cut = helper.end_cut();
            let mut builder = ListBuilder::new(SMALLEST_AVERAGE, &key);
            no_error(builder.data(&bytes[..1000], ignore));
            no_error(builder.hole(2 << 20, ignore));
            no_error(builder.data(&bytes[1000..], ignore));
            let expected = no_error(builder.finish(ignore));
            assert_eq!((&cut.list, cut.sketch), (&expected.list, expected.sketch));
            let list = cut.list.unwrap();
            assert_eq!(list.file_bytes(), bytes.len() as u64 + (2 << 20));
            assert_eq!(list.iter().filter(|(_, chunk)| chunk.is_hole()).count(), 1);
        }
    }
}
