//! `docs/decrypt.py`, which opens a backup with no code of Intellistor.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::program::finish;

/// A Python that has what `decrypt.py` needs.
///
/// # Panics
/// When there is none: what a user's last resort is must not go untested in silence.
fn python() -> PathBuf {
    let python = std::env::var_os("INTELLISTOR_TEST_PYTHON").map_or("python3".into(), PathBuf::from);
    let probe = "from cryptography.hazmat.primitives.kdf.argon2 import Argon2id";
    let found = Command::new(&python).args(["-c", probe]).output();
    let why = match found {
        Ok(done) if done.status.success() => return python,
        Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
        Err(e) => e.to_string(),
    };
    panic!(
        "{} cannot run docs/decrypt.py; install what it needs with `{0} -m pip install 'cryptography>=44'`, or set \
         INTELLISTOR_TEST_PYTHON to a Python that has it: {why}",
        python.display()
    );
}

/// `by_hand.py FOLDER KIND`: writes backups as `docs/FORMAT.md` says, and the tree that they are of.
///
/// # Panics
/// When it fails.
pub fn write_by_hand(folder: &Path, kind: &str) {
    let mut command = Command::new(python());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("verifiers/by_hand.py")).arg(folder).arg(kind);
    finish(command).expect(0);
}

/// `decrypt.py` with these arguments, and a key or passphrase in a variable.
pub fn command(args: &[&Path], (name, value): (&str, &str)) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/decrypt.py");
    let mut command = Command::new(python());
    for name in ["INTELLISTOR_KEY", "INTELLISTOR_KEY_FILE", "INTELLISTOR_PASSPHRASE"] {
        command.env_remove(name);
    }
    command.arg(script).args(args).env(name, value).stdin(Stdio::null());
    command
}

/// `decrypt.py ARCHIVE | tar xz` into a new folder `out`.
///
/// # Panics
/// When either fails, or `tar` has a complaint.
pub fn unpack(archive: &Path, out: &Path, secret: (&str, &str)) {
    // Chunk lists and pieces, which are not for people.
    let ours = ["--exclude=.intellistor/chunks", "--exclude=.intellistor/pieces"];
    pipe_to_tar(command(&[archive], secret), &[&["xz", "--anchored"], &ours[..]].concat(), out);
}

/// `decrypt.py MANIFEST STORE | tar x` into a new folder `out`.
///
/// # Panics
/// When either fails, or `tar` has a complaint.
pub fn restore(manifest: &Path, store: &Path, out: &Path, secret: (&str, &str)) {
    pipe_to_tar(command(&[manifest, store], secret), &["x"], out);
}

fn pipe_to_tar(mut decrypt: Command, how: &[&str], out: &Path) {
    fs::create_dir(out).unwrap();
    let mut decrypt = decrypt.stdout(Stdio::piped()).spawn().unwrap();
    let mut tar = Command::new("tar");
    // What `tar x` leaves out unless asked: extended attributes. As root it applies owners and modes by itself.
    // It warns of times before 1970 and in the future, and of records that are not its own.
    tar.args(how)
        .args([
            "--xattrs",
            "--xattrs-include=*",
            "--warning=no-timestamp",
            "--warning=no-unknown-keyword",
            "-C",
        ])
        .arg(out)
        .stdin(decrypt.stdout.take().unwrap());
    let unpacked = finish(tar).expect(0);
    assert_eq!(unpacked.stderr, "", "tar has nothing to complain of");
    assert!(decrypt.wait().unwrap().success());
}
