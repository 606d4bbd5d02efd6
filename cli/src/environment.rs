//! Variables: those of the process, then those of `--env-file` or of `.env` in the current directory.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, ErrorKind, Read};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::failure::Failure;
use crate::screen::Screen;

/// The variable whose value must not be changed by substitution.
pub(crate) const PASSPHRASE: &str = "INTELLISTOR_PASSPHRASE";
const IMPLICIT: &str = ".env";
const MOST_BYTES: u64 = 1 << 20;

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// Where variables are looked up.
#[derive(Clone)]
pub(crate) struct Environment(Arc<Lookup>);

impl Environment {
    /// The process's own.
    pub(crate) fn of_process() -> Self {
        Self(Arc::new(|name| std::env::var_os(name)))
    }

    /// The value of a variable; an empty one counts as not set.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Zeroizing<String>>, Failure> {
        match (self.0)(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(Zeroizing::new(value)).filter(|value| !value.is_empty())),
            Some(Err(_)) => Err(Failure::configuration(format!("{name} is not Unicode"))),
        }
    }

    #[cfg(test)]
    pub(crate) fn of(variables: &[(&str, &str)]) -> Self {
        let owned: BTreeMap<String, OsString> =
            variables.iter().map(|(name, value)| (name.to_string(), value.into())).collect();
        Self(Arc::new(move |name| owned.get(name).cloned()))
    }
}

/// Adds the variables of the file to those of the process, which win. Call it from `main` before anything
/// that may start a thread.
pub(crate) fn load(given: Option<&Path>, screen: &Screen) -> Result<(), Failure> {
    let Some(path) = file(given) else { return Ok(()) };
    set(read(path, |file| warn_if_others_read(path, file, screen))?);
    Ok(())
}

/// The file that `load` reads: the one that was given, else `.env`, if it is there.
pub(crate) fn file(given: Option<&Path>) -> Option<&Path> {
    // A folder named .env is some Python's virtual environment.
    given.or(Some(Path::new(IMPLICIT)).filter(|path| path.is_file()))
}

/// The names of the variables in a file.
pub(crate) fn names_in_file(path: &Path) -> Result<BTreeSet<String>, Failure> {
    Ok(read(path, |_| ())?.into_keys().collect())
}

fn read(path: &Path, look: impl FnOnce(&fs::File)) -> Result<BTreeMap<String, String>, Failure> {
    let unreadable = |e: io::Error| {
        Failure::configuration(format!("cannot read the environment file {}: {e}", path.display()))
    };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    look(&file);
    let mut text = Zeroizing::new(String::new());
    match (&mut file).take(MOST_BYTES + 1).read_to_string(&mut text) {
        Ok(bytes) if bytes as u64 > MOST_BYTES => {
            Err(unreadable(io::Error::other("it is larger than 1 MiB")))
        }
        Ok(_) => Ok(()),
        Err(e) if e.kind() == ErrorKind::InvalidData => Err(unreadable(io::Error::other("it is not UTF-8"))),
        Err(e) => Err(unreadable(e)),
    }?;
    parse(path, &text)
}

#[allow(unsafe_code)]
fn set(variables: BTreeMap<String, String>) {
    for (name, value) in variables {
        if std::env::var_os(&name).is_none() {
            // SAFETY: `set_var` is unsound only while another thread reads or writes the environment, and
            // there is no other thread: `load` has one caller, `program::start`, which `main` reaches
            // first of all and which starts the runtime, the only maker of threads, after this has returned.
            unsafe { std::env::set_var(name, value) }
        }
    }
}

/// Tells when a file with secrets can be read by other people.
pub(crate) fn warn_if_others_read(path: &Path, file: &fs::File, screen: &Screen) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if file.metadata().is_ok_and(|of| of.permissions().mode() & 0o044 != 0) {
            let path = path.display();
            screen.warn(format_args!(
                "{path} can be read by other users of this system; `chmod 600` keeps them out"
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = (path, file, screen);
}

/// The variables of a file. Of two with one name the last holds, as in a shell. Errors never show a value.
fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, String>, Failure> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines_read = Rc::new(Cell::new(0));
    let reader = LineReader { rest: text.as_bytes(), lines_read: lines_read.clone() };
    let refused = |line: usize, reason: &str| {
        let line_text = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
        let of = name_in(line_text).map(|name| format!(" ({name})")).unwrap_or_default();
        Failure::configuration(format!("{}, line {line}{of}: {reason}", path.display()))
            .hint("put the value in single quotes if it holds a space, a backslash, `$`, `#` or quotes: NAME='value'")
    };
    let mut variables = BTreeMap::new();
    for pair in dotenvy::Iter::new(reader) {
        match pair {
            Ok((_, value)) if value.contains('\0') => {
                return Err(refused(lines_read.get(), "it holds a NUL character"));
            }
            // `$` stands for a variable: a passphrase that has one would silently become another passphrase.
            Ok((name, value)) if name == PASSPHRASE && was_substituted(text, lines_read.get(), &value) => {
                return Err(refused(lines_read.get(), "`$` would be replaced by a variable's value"));
            }
            Ok((name, value)) => drop(variables.insert(name, value)),
            Err(dotenvy::Error::LineParse(part, _)) => {
                let line = lines_read.get() + 1 - part.lines().count().clamp(1, lines_read.get().max(1));
                return Err(refused(line, "it is not NAME=value"));
            }
            Err(e) => return Err(refused(lines_read.get(), &e.to_string())),
        }
    }
    Ok(variables)
}

fn was_substituted(text: &str, line: usize, value: &str) -> bool {
    let raw = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let raw = if value.contains('#') { raw } else { raw.split(" #").next().unwrap_or(raw) };
    raw.matches('$').count() > value.matches('$').count()
}

fn name_in(line: &str) -> Option<&str> {
    let name = line.split_once('=')?.0.trim().trim_start_matches("export ").trim();
    (!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')).then_some(name)
}

/// Hands out a line at a time, so that the number of lines read tells where the parser is.
struct LineReader<'a> {
    rest: &'a [u8],
    lines_read: Rc<Cell<usize>>,
}

impl Read for LineReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = self.rest.iter().position(|b| *b == b'\n').map_or(self.rest.len(), |end| end + 1);
        let n = line.min(buffer.len());
        buffer[..n].copy_from_slice(&self.rest[..n]);
        self.rest.consume(n);
        if n == line && n > 0 {
            self.lines_read.set(self.lines_read.get() + 1);
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> BTreeMap<String, String> {
        parse(Path::new(".env"), text).unwrap()
    }

    fn told(text: &str) -> String {
        parse(Path::new("my.env"), text).unwrap_err().to_string()
    }

    #[test]
    fn the_usual_forms_are_read() {
        let text = "\u{feff}# comment\r\n\r\nA=1\r\nexport B='two words'\r\nC=\"x\"\r\nD=\r\nA=3";
        let expected = [("A", "3"), ("B", "two words"), ("C", "x"), ("D", "")];
        assert_eq!(parsed(text), expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
        assert_eq!(parsed(r"INTELLISTOR_KEY_FILE='C:\new\key'")["INTELLISTOR_KEY_FILE"], r"C:\new\key");
    }

    #[test]
    fn errors_name_the_line_and_show_no_value() {
        let unquoted = told("A=1\n\n# c\nAWS_SECRET_ACCESS_KEY=hush hush\nB=2\n");
        assert!(unquoted.contains("my.env, line 4 (AWS_SECRET_ACCESS_KEY)"), "{unquoted}");
        assert!(unquoted.contains("single quotes") && !unquoted.contains("hush"), "{unquoted}");
        let no_name = told("A=1\nhush\n");
        assert!(no_name.contains("line 2:") && !no_name.contains("hush"), "{no_name}");
        let open = told("A=1\nB='hush\nC=2\nD=3\n");
        assert!(open.contains("line 2 (B)") && !open.contains("hush"), "{open}");
        let long = told(&format!("A={}\nhush\n", "x".repeat(100_000)));
        assert!(long.contains("line 2:"), "{long}");
    }

    #[test]
    fn a_passphrase_with_a_dollar_is_not_silently_another_one() {
        for line in ["INTELLISTOR_PASSPHRASE=pa$word", "INTELLISTOR_PASSPHRASE=\"pa${x}word\""] {
            assert!(told(line).contains("line 1 (INTELLISTOR_PASSPHRASE): `$`"), "{line}");
        }
        assert_eq!(parsed("INTELLISTOR_PASSPHRASE='pa$word'")["INTELLISTOR_PASSPHRASE"], "pa$word");
        assert_eq!(parsed("INTELLISTOR_PASSPHRASE=password # $5")["INTELLISTOR_PASSPHRASE"], "password");
    }

    #[test]
    fn a_variable_of_the_process_wins_over_the_file() {
        // PATH is set wherever tests run; `set` leaves it alone.
        let before = std::env::var_os("PATH").unwrap();
        set(BTreeMap::from([("PATH".to_owned(), "from the file".to_owned())]));
        assert_eq!(std::env::var_os("PATH").unwrap(), before);
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        let environment = Environment::of(&[("A", ""), ("B", "b")]);
        assert!(environment.get("A").unwrap().is_none() && environment.get("C").unwrap().is_none());
        assert_eq!(environment.get("B").unwrap().unwrap().as_str(), "b");
    }

    #[test]
    fn a_file_that_was_asked_for_must_exist() {
        let told = load(Some(Path::new("/nowhere/x.env")), &Screen::default()).unwrap_err();
        assert!(told.to_string().contains("/nowhere/x.env"), "{told}");
        assert_eq!(told.exit(), crate::exit::Exit::Configuration);
    }
}
