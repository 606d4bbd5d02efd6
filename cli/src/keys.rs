//! Where the key comes from: exactly one of three variables.

use std::fs;
use std::path::{Path, PathBuf};

use intellistor::UserKey;
use intellistor::doctor::ConfiguredKey;
use zeroize::Zeroizing;

use crate::environment::{Environment, PASSPHRASE, warn_if_others_read};
use crate::failure::Failure;
use crate::screen::Screen;
use crate::{hints, plain_text, trusted};

const KEY: &str = "INTELLISTOR_KEY";
const KEY_FILE: &str = "INTELLISTOR_KEY_FILE";

/// A key is 44 characters; whatever is much larger is another file.
const MOST_BYTES: usize = 4096;

/// Whether the environment names a key.
pub(crate) fn is_configured(environment: &Environment) -> Result<bool, Failure> {
    for name in [KEY, KEY_FILE, PASSPHRASE] {
        if environment.get(name)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The key that seals backups and where it is from, without a word on the screen.
pub(crate) fn configured(environment: &Environment) -> Result<ConfiguredKey, Failure> {
    let key = user_key(environment, Purpose::Seal, &Screen::silent())?;
    for variable in [KEY, KEY_FILE, PASSPHRASE] {
        if let Some(value) = environment.get(variable)? {
            let file = (variable == KEY_FILE).then(|| PathBuf::from(value.as_str()));
            return Ok(ConfiguredKey { key, variable, file });
        }
    }
    Ok(ConfiguredKey { key, variable: KEY, file: None })
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A new backup: a new key will do.
    Seal,
    /// Backups that exist: a new key opens none of them.
    Open,
}

/// The key that the environment names.
pub(crate) fn user_key(
    environment: &Environment,
    purpose: Purpose,
    screen: &Screen,
) -> Result<UserKey, Failure> {
    let mut set = Vec::new();
    for name in [KEY, KEY_FILE, PASSPHRASE] {
        if let Some(value) = environment.get(name)? {
            set.push((name, value));
        }
    }
    match (set.pop(), set.is_empty()) {
        (None, _) => Err(Failure::configuration("no key is configured, and backups are always encrypted")
            .hint(missing(purpose))),
        (Some((name, value)), true) => from(name, value, screen),
        (Some((last, _)), false) => {
            let mut names: Vec<_> = set.iter().map(|(name, _)| *name).collect();
            names.push(last);
            Err(Failure::configuration(format!("more than one key is configured: {}", names.join(" and ")))
                .hint("keep the one that sealed your backups, and unset the others"))
        }
    }
}

/// What to do where no key is configured.
fn missing(purpose: Purpose) -> String {
    match purpose {
        Purpose::Seal => format!(
            "create a key with `backup-client key-create --out intellistor.key`, then set {KEY_FILE}=intellistor.key \
             in the environment or in a file named .env; {KEY} (the key itself) and {PASSPHRASE} work too"
        ),
        Purpose::Open => format!(
            "set the key that the backups were sealed with, in the environment or in a file named .env: {KEY_FILE} (its file), \
             {KEY} (the key itself) or {PASSPHRASE}"
        ),
    }
}

fn from(name: &str, mut value: Zeroizing<String>, screen: &Screen) -> Result<UserKey, Failure> {
    let key = match name {
        KEY_FILE => return from_file(Path::new(value.as_str()), screen),
        PASSPHRASE => UserKey::from_passphrase(name, std::mem::take(&mut *value)),
        _ => UserKey::from_base64(name, &value),
    };
    key.map_err(|e| Failure::configuration(hints::with_storage_hint(&e)))
}

fn from_file(path: &Path, screen: &Screen) -> Result<UserKey, Failure> {
    let unreadable = |e: std::io::Error| {
        Failure::configuration(format!("cannot read the key file {path:?}, which {KEY_FILE} names: {e}"))
            .hint("check the path; if you never had a key, `backup-client key-create` creates a key file")
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    warn_if_others_read(path, &file, screen);
    trusted::warn("the key file", path, screen);
    let text = plain_text::read(&file, MOST_BYTES).map_err(unreadable)?;
    UserKey::from_base64(&format!("the key file {path:?}"), &text)
        .map_err(|e| Failure::configuration(hints::with_storage_hint(&e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn chosen(variables: &[(&str, &str)]) -> Result<UserKey, Failure> {
        user_key(&Environment::of(variables), Purpose::Seal, &Screen::default())
    }

    #[test]
    fn each_source_gives_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a key");
        fs::write(&file, format!("{TEXT}\n")).unwrap();
        let direct = chosen(&[(KEY, TEXT)]).unwrap();
        let from_file = chosen(&[(KEY_FILE, file.to_str().unwrap()), (PASSPHRASE, "")]).unwrap();
        assert_eq!(direct.id().unwrap(), from_file.id().unwrap());
        assert!(chosen(&[(PASSPHRASE, "maçã verde")]).unwrap().id().is_none());
    }

    #[test]
    fn none_and_several_are_configuration_errors_that_say_what_to_do() {
        let none = chosen(&[]).unwrap_err();
        assert!(none.to_string().contains("key-create"), "{none}");
        let none = user_key(&Environment::of(&[]), Purpose::Open, &Screen::default()).unwrap_err();
        let text = none.to_string();
        assert!(
            text.contains("sealed with") && !text.contains("key-create"),
            "a new key opens nothing: {text}"
        );
        let several = chosen(&[(KEY, TEXT), (PASSPHRASE, "hush")]).unwrap_err();
        let text = several.to_string();
        assert!(
            text.contains("INTELLISTOR_KEY and INTELLISTOR_PASSPHRASE") && !text.contains("hush"),
            "{text}"
        );
        assert_eq!([none.exit(), several.exit()], [crate::exit::Exit::Configuration; 2]);
    }

    #[test]
    fn a_bad_key_is_named_by_its_source_alone() {
        let text = chosen(&[(KEY, "hush")]).unwrap_err().to_string();
        assert!(text.contains("INTELLISTOR_KEY") && !text.contains("hush"), "{text}");
        let text = chosen(&[(KEY_FILE, "/nowhere/key")]).unwrap_err().to_string();
        assert!(text.contains("/nowhere/key") && text.contains("INTELLISTOR_KEY_FILE"), "{text}");
    }
}
