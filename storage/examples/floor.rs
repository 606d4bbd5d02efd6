//! What each stage of a backup and of a restore takes by itself, on one core, over the files of a folder.
//!
//! ```sh
//! cargo run --release -p intellistor-storage --features isal --example floor -- FOLDER SCRATCH CORES
//! ```
//! The sum over the cores is what no pipeline of these stages can beat; SCRATCH gets an archive and the files again.

#![allow(clippy::print_stdout, reason = "it is what the program is for")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use intellistor_storage::archive::{
    ArchiveReader, Compression, FRAME_BYTES, FrameCompressor, Header, SegmentSealer,
};
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::{DataKey, Recipients, UserKey};
use sha2::{Digest, Sha256};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Time by stage.
#[derive(Default)]
struct Times(BTreeMap<&'static str, Duration>);

impl Times {
    fn of<T>(&mut self, stage: &'static str, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        *self.0.entry(stage).or_default() += begun.elapsed();
        done
    }

    fn print(&self, what: &str, cores: f64) {
        println!("| {what} | seconds on one core |\n| --- | --- |");
        for (stage, time) in &self.0 {
            println!("| {stage} | {:.2} |", time.as_secs_f64());
        }
        let sum: f64 = self.0.values().map(Duration::as_secs_f64).sum();
        println!("| all on {cores} cores | **{:.2}** |\n", sum / cores);
    }
}

fn main() -> Outcome<()> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, scratch, cores] = arguments.as_slice() else {
        return Err("usage: floor FOLDER SCRATCH CORES".into());
    };
    let cores: f64 = cores.to_str().unwrap_or_default().parse()?;
    fs::create_dir_all(scratch)?;
    let mut files = Vec::new();
    let mut backup = Times::default();
    backup.of("find", || find(folder, &mut files))?;
    let name = BackupName { policy_id: "p".into(), timestamp: "t".into(), backup_id: "b".into() };
    let (key, data_key) = (UserKey::generate(), DataKey::generate());
    let header = Header::new(&name, Recipients::from(key.clone()).wrap(&data_key, "b"));
    let mut sealer = SegmentSealer::new(header, data_key);
    let mut compressor = FrameCompressor::new(Compression::Fast);
    let archive_path = scratch.join("archive");
    let mut archive = File::create(&archive_path)?;
    let (mut frame, mut content) = (Vec::with_capacity(FRAME_BYTES), Vec::new());
    let mut seal = |backup: &mut Times, frame: &[u8], last: bool| -> Outcome<()> {
        let gzip = backup.of("compress", || compressor.compress(frame));
        if let Some(part) =
            backup.of("seal, and hash what is sealed", || sealer.seal(&gzip, frame.len() as u32, last))?
        {
            backup.of("write", || archive.write_all(&part.body))?;
        }
        Ok(())
    };
    for path in &files {
        content.clear();
        backup.of("open and read", || File::open(path)?.read_to_end(&mut content))?;
        black_box(backup.of("hash", || Sha256::digest(&content)));
        // What a header and the rest of its last block take.
        let blocks = [&[0; 512][..], &content, &vec![0; content.len().next_multiple_of(512) - content.len()]];
        for mut rest in blocks {
            while !rest.is_empty() {
                let fits = rest.len().min(FRAME_BYTES - frame.len());
                frame.extend_from_slice(&rest[..fits]);
                rest = &rest[fits..];
                if frame.len() == FRAME_BYTES {
                    seal(&mut backup, &frame, false)?;
                    frame.clear();
                }
            }
        }
    }
    seal(&mut backup, &frame, true)?;
    backup.print("backup", cores);

    let mut restore = Times::default();
    let mut reader = ArchiveReader::open(File::open(&archive_path)?, &name, &key.into())?;
    while restore.of("read, open and inflate", || reader.next_frame())?.is_some() {}
    let out = scratch.join("out");
    for path in &files {
        content.clear();
        File::open(path)?.read_to_end(&mut content)?;
        black_box(restore.of("hash", || Sha256::digest(&content)));
        let target = out.join(path.strip_prefix(folder)?);
        let parent = target.parent().unwrap_or(&out);
        restore.of("write and name", || -> std::io::Result<()> {
            if !parent.is_dir() {
                fs::create_dir_all(parent)?;
            }
            let temporary = parent.join(".part");
            let mut file = File::create(&temporary)?;
            file.write_all(&content)?;
            file.set_modified(std::time::UNIX_EPOCH)?;
            drop(file);
            fs::rename(&temporary, &target)
        })?;
    }
    restore.print("restore", cores);
    Ok(())
}

/// The regular files below a folder, in the order of their names.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        match entry.metadata()?.file_type() {
            kind if kind.is_dir() => find(&entry.path(), files)?,
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    Ok(())
}
