//! The mark of a folder store: a file in its root that says which store it is.
//!
//! A disk that is not mounted leaves an empty folder behind, and what is written there is no backup. The mark is
//! made when the store is first written to, and whoever has seen it misses it from then on.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::files::{new_file, sync_folder};

/// The name of the file. It is hidden, so that no listing takes it for an object.
pub const FILE: &str = ".intellistor-store";
/// Another run that makes the mark has written it within this time.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
struct Mark {
    store_id: String,
    /// For whoever finds the file.
    about: String,
}

/// The store's id; `None` where the folder bears no mark that can be read.
pub(super) fn read(root: &Path) -> io::Result<Option<String>> {
    match fs::read(root.join(FILE)) {
        Ok(bytes) => Ok(serde_json::from_slice::<Mark>(&bytes).ok().map(|mark| mark.store_id)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The store's id, made now where it has none. Of two runs that make it at the same time both get the same one.
pub(super) fn read_or_make(root: &Path) -> io::Result<String> {
    if let Some(found) = read(root)? {
        return Ok(found);
    }
    match new_file(&root.join(FILE)) {
        Ok(file) => make(file, root),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            const STEP: Duration = Duration::from_millis(20);
            for _ in 0..WRITE_TIMEOUT.as_millis() / STEP.as_millis() {
                if let Some(found) = read(root)? {
                    return Ok(found);
                }
                std::thread::sleep(STEP);
            }
            // A crash has left it without its content.
            make(File::create(root.join(FILE))?, root)
        }
        Err(e) => Err(e),
    }
}

fn make(mut file: File, root: &Path) -> io::Result<String> {
    let store_id = Uuid::new_v4().to_string();
    let about =
        "Intellistor keeps backups in this folder. Leave this file here: a run that does not find it takes the folder \
         for a different one, and stops"
            .to_owned();
    let mark = Mark { store_id, about };
    file.write_all(&serde_json::to_vec(&mark)?)?;
    file.sync_all()?;
    sync_folder(root)?;
    Ok(mark.store_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), None);
        let made = read_or_make(dir.path()).unwrap();
        assert_eq!(read_or_make(dir.path()).unwrap(), made);
        assert_eq!(read(dir.path()).unwrap(), Some(made));
        assert_eq!(read(&dir.path().join("none")).unwrap(), None);
    }

    #[test]
    fn runs_that_make_it_at_the_same_time_agree() {
        let dir = tempfile::tempdir().unwrap();
        let ids: Vec<_> = std::thread::scope(|threads| {
            let made: Vec<_> = (0..8).map(|_| threads.spawn(|| read_or_make(dir.path()).unwrap())).collect();
            made.into_iter().map(|made| made.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}
