//! The agent's folder, with queues and logs: it can be written, by this account alone, and has room.

use std::fs;
use std::path::Path;

use intellistor_storage::disk::trust;
use uuid::Uuid;

use super::examination::Examination;
use super::finding::Finding;
use super::free_space;
use super::sizes::bytes;

/// A run that cannot record its parts fails.
const LEAST: u64 = 16 << 20;
/// Records of a first backup of ten million files, and logs.
const NOTED: u64 = 256 << 20;
const ADVICE: &str = "Let this account write there, or name another folder with INTELLISTOR_HOME";

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let home = match examination.subject.agent.as_ref().map(|agent| agent.home.clone()) {
        Some(Ok(home)) => home,
        Some(Err(finding)) => return finding,
        None => return Finding::skipped("only the agent has one"),
    };
    let looked = tokio::task::spawn_blocking(move || look(&home)).await;
    looked.unwrap_or_else(|error| Finding::failed(format!("the folder could not be examined: {error}")))
}

fn look(home: &Path) -> Finding {
    let place = home.display();
    if let Err(others) = trust::check_folder(home) {
        return Finding::failed(format!("other accounts can write to {place}: {others}"))
            .advise("Make it and the folders above it writable only by the account that runs this (`chown`, `chmod go-w`)");
    }
    let Some(existing) = free_space::existing(home) else {
        return Finding::failed(format!("{place} does not exist, nor does anything above it")).advise(ADVICE);
    };
    let is_new = existing != home;
    if let Err(error) = if is_new { free_space::may_write(existing) } else { write_in(home) } {
        let what =
            if is_new { format!("{place} cannot be created") } else { format!("{place} cannot be written") };
        return Finding::failed(format!("{what}: {error}")).advise(ADVICE);
    }
    let made = if is_new { ", created by the first run" } else { "" };
    match free_space::of(existing) {
        Err(error) => Finding::warning(format!("{place}{made}; its free space is unknown: {error}")),
        Ok(free) if free < LEAST => Finding::failed(format!("{place}{made}, {} free", bytes(free)))
            .advise("Free some space on that disk"),
        Ok(free) if free < NOTED => Finding::warning(format!("{place}{made}, {} free", bytes(free)))
            .advise("Free some space on that disk"),
        Ok(free) => Finding::ok(format!("{place}{made}, {} free", bytes(free))),
    }
}

/// A file system may be read-only, and a quota used up, whatever the modes say.
fn write_in(folder: &Path) -> std::io::Result<()> {
    let file = folder.join(format!(".doctor-{}", Uuid::new_v4().simple()));
    let written =
        fs::File::create_new(&file).and_then(|mut new| std::io::Write::write_all(&mut new, b"doctor\n"));
    let removed = match fs::remove_file(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    written.and(removed)
}
