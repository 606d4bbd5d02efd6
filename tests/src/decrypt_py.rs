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
    fs::create_dir(out).unwrap();
    let mut decrypt = command(&[archive], secret).stdout(Stdio::piped()).spawn().unwrap();
    let mut tar = Command::new("tar");
    // What `tar xz` leaves out unless asked: extended attributes. As root it applies owners and modes by itself.
    // It warns of times before 1970 and in the future.
    tar.args(["xz", "--xattrs", "--xattrs-include=*", "--warning=no-timestamp", "-C"])
        .arg(out)
        .stdin(decrypt.stdout.take().unwrap());
    let unpacked = finish(tar).expect(0);
    assert_eq!(unpacked.stderr, "", "tar has nothing to complain of");
    assert!(decrypt.wait().unwrap().success());
}
