//! Variables: those of the process, then those of `--env-file` or of `.env` in the current directory.

mod parser;
pub(crate) mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::screen::Screen;
use crate::{plain_text, trusted};

/// The variable with a passphrase, from which a key is made.
pub(crate) const PASSPHRASE: &str = "INTELLISTOR_PASSPHRASE";
const IMPLICIT: &str = ".env";
const MOST_BYTES: usize = 1 << 20;

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;
type Variables = BTreeMap<String, Zeroizing<String>>;

/// Where variables are looked up.
#[derive(Clone)]
pub(crate) struct Environment(Arc<Lookup>);

impl Environment {
    /// The process's own, and secrets that were taken out of it.
    fn of_process(secrets: BTreeMap<String, OsString>) -> Self {
        Self(Arc::new(move |name| secrets.get(name).cloned().or_else(|| std::env::var_os(name))))
    }

    /// The process's own, for what needs no settings.
    pub(crate) fn of_process_alone() -> Self {
        Self::of_process(BTreeMap::new())
    }

    /// Those of a file, and the process's own for what is no store's.
    fn of_file(variables: Variables) -> Self {
        let is_of_a_store =
            |name: &str| ["AWS_", "INTELLISTOR_"].iter().any(|prefix| name.starts_with(prefix));
        Self(Arc::new(move |name| match variables.get(name) {
            Some(value) => Some(OsString::from(value.as_str())),
            None if is_of_a_store(name) => None,
            None => std::env::var_os(name),
        }))
    }

    /// The variables as those of one store; one whose value is not Unicode is none.
    pub(crate) fn for_store(&self) -> intellistor::Variables {
        let look_up = self.0.clone();
        intellistor::Variables::new(move |name| look_up(name)?.into_string().ok())
    }

    /// The value of a variable; an empty one counts as not set.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, Failure> {
        match (self.0)(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(Zeroizing::new(value)).filter(|value| !value.is_empty())),
            Some(Err(_)) => Err(Failure::configuration(format!("the value of {name} is not valid Unicode"))
                .hint("correct the variable, or unset it")),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned: BTreeMap<String, OsString> =
            variables.iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        Self(Arc::new(move |name| owned.get(name).cloned()))
    }
}

/// Who starts the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// A person, who decides about the files that they name.
    ByHand,
    /// A scheduler: a file may have changed hands since it was named.
    Unattended,
}

impl Start {
    /// Warns of a file that others can write, or refuses it where no person would see the warning.
    pub(crate) fn trust(self, what: &str, path: &Path, screen: &Screen) -> Result<(), Failure> {
        match self {
            Self::Unattended => trusted::require(what, path),
            Self::ByHand => {
                trusted::warn(what, path, screen);
                Ok(())
            }
        }
    }
}

/// The variables of the process and of the file, of which the process's win. Call it from `main` before anything that may
/// start a thread. Secrets leave the process's environment, so that no program which is started from here gets them.
pub(crate) fn load(given: Option<&Path>, start: Start, screen: &Screen) -> Result<Environment, Failure> {
    let variables = match (given, file(given)) {
        (None, Some(implicit)) => read_implicit(implicit, screen)?,
        (Some(path), _) => {
            start.trust("the environment file", path, screen)?;
            read(path, |file| warn_if_others_read(path, file, screen))?
        }
        (None, None) => Variables::new(),
    };
    let file = file(given).unwrap_or(Path::new(IMPLICIT));
    for name in overridden(&variables, |name| std::env::var_os(name)) {
        screen.warn(format_args!(
            "{name} has one value in this shell and another in {}: the shell's is used",
            file.display()
        ));
    }
    Ok(Environment::of_process(apply(variables)))
}

/// Variables that decide where backups go and what opens them, and that the process has otherwise than the file.
fn overridden(file: &Variables, process: impl Fn(&str) -> Option<OsString>) -> Vec<String> {
    let differs = |name: &str, value: &str| {
        let other = process(name).filter(|other| !other.is_empty());
        !value.is_empty() && other.is_some_and(|other| other != value)
    };
    let needed: Vec<_> = variables::needed_by_runs().collect();
    let of_file = file.iter().filter(|(name, _)| needed.contains(&name.as_str()));
    of_file.filter(|(name, value)| differs(name, value.as_str())).map(|(name, _)| name.clone()).collect()
}

/// The variables of a file for one store alone: its own settings come from the file and from nowhere else, what all connections
/// of this machine share (proxies, authorities) from the process where the file has none.
pub(crate) fn of_one_store(path: &Path, start: Start, screen: &Screen) -> Result<Environment, Failure> {
    start.trust("the environment file", path, screen)?;
    let variables = read(path, |file| warn_if_others_read(path, file, screen))?;
    Ok(Environment::of_file(variables))
}

/// The file that `load` reads: the one that was given, else `.env`, if it is there.
pub(crate) fn file(given: Option<&Path>) -> Option<&Path> {
    // A folder named .env is some Python's virtual environment.
    given.or(Some(Path::new(IMPLICIT)).filter(|path| path.is_file()))
}

/// The variables in a file.
pub(crate) fn variables_in_file(path: &Path) -> Result<Variables, Failure> {
    read(path, |_| ())
}

/// Whoever can write the current directory could decide what runs, and where backups go.
fn read_implicit(path: &Path, screen: &Screen) -> Result<Variables, Failure> {
    let mut check = Ok(());
    let variables = read(path, |file| {
        warn_if_others_read(path, file, screen);
        check = trusted::check_open(path, file);
    });
    check.map_err(|others| {
        Failure::configuration(format!("the file {IMPLICIT} in the current directory was not read"))
            .because(others)
            .hint("run this from another folder, or name the file that you trust with --env-file FILE")
    })?;
    variables
}

fn read(path: &Path, look: impl FnOnce(&fs::File)) -> Result<Variables, Failure> {
    let unreadable = |e: io::Error| {
        Failure::configuration(format!("cannot read the environment file {}: {e}", path.display()))
    };
    let file = fs::File::open(path).map_err(unreadable)?;
    look(&file);
    let text = plain_text::read(&file, MOST_BYTES).map_err(unreadable)?;
    let variables = parser::parse(&text).map_err(|bad| {
        let of = bad.name.map(|name| format!(" ({name})")).unwrap_or_default();
        Failure::configuration(format!("{}, line {}{of}: {}", path.display(), bad.number, bad.reason))
            .hint("put the value in single quotes: NAME='value'. What is between them is taken literally")
    })?;
    let others: Vec<_> =
        variables.keys().filter(|name| !variables::may_come_from_a_file(name)).map(String::as_str).collect();
    if others.is_empty() {
        return Ok(variables);
    }
    Err(Failure::configuration(format!(
        "the environment file {} sets variables that such a file may not set: {}",
        path.display(),
        others.join(", ")
    ))
    .hint(
        "correct their names, or remove them from the file and set them in the environment itself; or name another \
         file with --env-file. docs/SETTINGS.md lists the variables that a file may set",
    ))
}

/// Sets what libraries read from the process's environment. Answers the secrets, which they do not read.
/// To the libraries that read these themselves an empty value is one: a file without a name, a URL that is none.
#[allow(unsafe_code)]
fn unset_empty() {
    let of_libraries = |name: &str| {
        name.starts_with("AWS_")
            || ["SSL_CERT_FILE", "SSL_CERT_DIR"].contains(&name)
            || name.to_ascii_uppercase().ends_with("_PROXY")
    };
    let empty = std::env::vars_os().filter(|(_, value)| value.is_empty());
    let names: Vec<_> = empty.filter(|(name, _)| name.to_str().is_some_and(of_libraries)).collect();
    for (name, _) in names {
        // SAFETY: as in `apply`.
        unsafe { std::env::remove_var(name) }
    }
}

#[allow(unsafe_code)]
fn apply(mut variables: Variables) -> BTreeMap<String, OsString> {
    unset_empty();
    let mut secrets = BTreeMap::new();
    let of_file: Vec<_> = variables.keys().filter(|name| variables::is_secret(name)).cloned().collect();
    for name in of_file {
        let value = variables.remove(&name).map(|value| OsString::from(value.as_str()));
        secrets.extend(value.map(|value| (name, value)));
    }
    let of_process: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| variables::is_secret(name))
        .collect();
    for (name, value) in of_process {
        // SAFETY: as below.
        unsafe { std::env::remove_var(&name) }
        secrets.insert(name, value);
    }
    for (name, value) in variables {
        if std::env::var_os(&name).is_none() && !value.is_empty() {
            // SAFETY: `set_var` and `remove_var` are unsound only while another thread reads or writes the environment,
            // and there is no other thread: `load` has one caller, `program::start`, which `main` reaches first of all
            // and which starts the runtime, the only maker of threads, after this has returned.
            unsafe { std::env::set_var(name, value.as_str()) }
        }
    }
    secrets
}

/// Tells when a file with secrets can be read by other people.
pub(crate) fn warn_if_others_read(path: &Path, file: &fs::File, screen: &Screen) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // A folder that was named by mistake would no longer be usable.
        if file.metadata().is_ok_and(|of| of.is_file() && of.permissions().mode() & 0o044 != 0) {
            let path = path.display();
            screen.warn(format_args!(
                "{path} can be read by other users of this system; `chmod 600` prevents that"
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = (path, file, screen);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.env");
        fs::write(&path, text).unwrap();
        variables_in_file(&path).unwrap_err().to_string()
    }

    #[test]
    fn a_value_of_the_shell_that_wins_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my.env");
        fs::write(&path, "INTELLISTOR_KEY_FILE=/a\nAWS_S3_BUCKET=b\nAWS_REGION=r\nTZ=UTC\n").unwrap();
        let process = |name: &str| match name {
            "INTELLISTOR_KEY_FILE" | "TZ" => Some("/other".into()),
            "AWS_S3_BUCKET" => Some("b".into()),
            _ => None,
        };
        assert_eq!(overridden(&variables_in_file(&path).unwrap(), process), ["INTELLISTOR_KEY_FILE"]);
    }

    #[test]
    fn errors_name_the_line_and_show_no_value() {
        let unquoted = refusal("TZ=1\n\n# c\nAWS_SECRET_ACCESS_KEY=hush hush\nTZ=2\n");
        assert!(unquoted.contains("my.env, line 4 (AWS_SECRET_ACCESS_KEY)"), "{unquoted}");
        assert!(unquoted.contains("single quotes") && !unquoted.contains("hush"), "{unquoted}");
        let no_name = refusal("TZ=1\nhush\n");
        assert!(no_name.contains("line 2:") && !no_name.contains("hush"), "{no_name}");
        let long = refusal(&"x".repeat(MOST_BYTES + 1));
        assert!(long.contains("larger than 1024 KiB"), "{long}");
    }

    #[test]
    fn a_variable_that_no_file_may_set_is_refused_by_name() {
        let refused = refusal("AWS_REGION=x\nLD_PRELOAD=hush\nexport AWS_CONFIG_FILE=hush\n");
        assert!(refused.contains("AWS_CONFIG_FILE, LD_PRELOAD") && !refused.contains("hush"), "{refused}");
        assert!(!refused.contains("AWS_REGION"), "{refused}");
    }

    #[test]
    fn a_variable_of_the_process_wins_over_the_file() {
        // PATH is set wherever tests run; `apply` leaves it alone.
        let before = std::env::var_os("PATH").unwrap();
        apply(BTreeMap::from([("PATH".to_owned(), Zeroizing::new("from the file".to_owned()))]));
        assert_eq!(std::env::var_os("PATH").unwrap(), before);
    }

    #[test]
    fn secrets_are_found_and_not_in_the_environment() {
        let file = BTreeMap::from([(PASSPHRASE.to_owned(), Zeroizing::new("hush".to_owned()))]);
        let environment = Environment::of_process(apply(file));
        assert_eq!(environment.get(PASSPHRASE).unwrap().unwrap().as_str(), "hush");
        assert!(std::env::var_os(PASSPHRASE).is_none());
    }

    #[test]
    fn what_one_store_is_reached_with_comes_from_its_file_alone() {
        let file = [("AWS_REGION", "sa-east-1")].map(|(n, v)| (n.to_owned(), Zeroizing::new(v.to_owned())));
        let environment = Environment::of_file(BTreeMap::from(file));
        assert_eq!(environment.get("AWS_REGION").unwrap().unwrap().as_str(), "sa-east-1");
        // Set wherever tests run, and of no store.
        assert!(environment.get("PATH").unwrap().is_some());
        let listed =
            std::env::vars().filter(|(name, _)| name.starts_with("AWS_") || name.starts_with("INTELLISTOR_"));
        for (name, _) in listed.filter(|(name, _)| name != "AWS_REGION") {
            assert!(environment.get(&name).unwrap().is_none(), "{name}");
        }
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let environment = Environment::of(&[("A", ""), ("B", "b")]);
        assert!(environment.get("A").unwrap().is_none() && environment.get("C").unwrap().is_none());
        assert_eq!(environment.get("B").unwrap().unwrap().as_str(), "b");
    }

    #[test]
    fn a_file_that_was_asked_for_must_exist() {
        for start in [Start::ByHand, Start::Unattended] {
            let refused = load(Some(Path::new("/nowhere/x.env")), start, &Screen::default()).err().unwrap();
            assert!(refused.to_string().contains("/nowhere/x.env"), "{refused}");
            assert_eq!(refused.exit(), crate::exit::Exit::Configuration);
        }
    }
}
