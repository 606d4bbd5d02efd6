//! A small disk, to fill it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system in memory, unmounted in the end.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a disk of `size`, such as `12m`, in the folder `at`. `None` where this user may not, and not all tests need run.
    ///
    /// # Panics
    /// Where all tests must run.
    pub fn mount(at: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&at).unwrap();
        // The agent uses no home that others can write.
        let options = format!("size={size},mode=0700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&at).output();
        let why = match mounted {
            Ok(done) if done.status.success() => return Some(Self(at)),
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(e) => e.to_string(),
        };
        crate::cannot_run(&format!("a full disk needs a tmpfs, and mount says: {why}"));
        None
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves no room on it: what holds the room is the file that is returned.
    pub fn fill_up(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = File::create(&filler).unwrap();
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let done = Command::new("umount").arg(&self.0).status();
        assert!(std::thread::panicking() || done.is_ok_and(|status| status.success()), "{:?} stays", self.0);
    }
}
