//! `key-create`: makes a key. Into a file only: what a terminal shows stays in its scrollback, and what is
//! piped ends in a shell's history or a file that others can read.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use intellistor::UserKey;
use serde_json::json;
use zeroize::Zeroizing;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::session::Session;

/// Create a key. Whoever has it can read your backups; without it, they cannot be read
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  backup-client key-create --out ~/intellistor.key
  export INTELLISTOR_KEY_FILE=~/intellistor.key

Keep a copy of the key somewhere other than on this machine: without it, the backups of a lost machine are useless.")]
pub(crate) struct KeyCreate {
    /// The file to write, which only you can read. An existing file is never replaced
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(command: &KeyCreate, session: &Session) -> Result<Done, Failure> {
    let out = &command.out;
    let key = UserKey::generate();
    let (Some(text), Some(id)) = (key.to_base64(), key.id()) else {
        return Err(Failure::new(
            Exit::Failed,
            "the new key cannot be written as text. This is a bug; please report it",
        ));
    };
    let line = Zeroizing::new([text.as_bytes(), b"\n"].concat());
    create(out, &line).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Failed, format!("{} exists already", out.display()))
            .hint("name another file with --out. A key is never replaced: the backups that it sealed would be lost"),
        _ => Failure::new(Exit::Failed, format!("cannot write {}: {e}", out.display()))
            .hint("check that its folder exists, that you may write to it, and that the disk is not full"),
    })?;
    let absolute = std::path::absolute(out).unwrap_or_else(|_| out.clone());
    // Single quotes suit a shell and a .env alike, Windows paths too.
    let setting = format!("INTELLISTOR_KEY_FILE='{}'", absolute.display());
    session.screen.say(tracing::Level::WARN, format_args!(
        "KEEP THIS KEY. If it is lost, every backup that it seals is lost: they cannot be opened without it.\n\
         Copy it now to a place away from this machine, such as a password manager or a sheet of paper in a safe.\n\
         To use it, set this in the environment or in a file named .env:\n  {}",
        intellistor_telemetry::Escaped(setting)
    ));
    Done::document(&json!({ "created": out.to_string_lossy(), "key_id": id.to_string() }), Exit::Success)
}

fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key would look like one.
        let _ = fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::{Environment, Start};
    use crate::keys;
    use crate::screen::Screen;
    use intellistor::CancellationToken;

    #[test]
    fn the_key_works_is_private_and_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a key");
        let session = Session {
            is_of_one_store: false,
            environment: Environment::of(&[("INTELLISTOR_KEY_FILE", out.to_str().unwrap())]),
            env_file: None,
            screen: Screen::default(),
            start: Start::ByHand,
            cancel: CancellationToken::new(),
        };
        let Ok(Done::Document(text, Exit::Success)) = run(&KeyCreate { out: out.clone() }, &session) else {
            panic!("no document");
        };
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let key = keys::user_key(&session.environment, keys::Purpose::Open, &session.screen).unwrap();
        assert_eq!(document["key_id"], key.id().unwrap().to_string());
        assert!(!text.contains(key.to_base64().unwrap().as_str()));
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&out).unwrap().permissions()) & 0o777,
            0o600
        );
        let before = fs::read(&out).unwrap();
        let text = run(&KeyCreate { out: out.clone() }, &session).unwrap_err().to_string();
        assert!(text.contains("exists already"), "{text}");
        assert_eq!(fs::read(&out).unwrap(), before);
    }
}
