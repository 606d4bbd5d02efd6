//! What a schedule runs, read back from its scheduler.
//!
//! **In:** the command as a unit, a crontab or a wrapper has it. **Out:** the files that it needs. **Guarantees:** reads no more
//! than the command, and runs nothing; text that was not written by us gives nothing.

use std::path::{Path, PathBuf};

/// The quoting of a scheduler's commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// A shell's: single quotes, and backslashes outside of them.
    #[cfg_attr(windows, allow(dead_code, reason = "crontabs are read on Unix alone"))]
    Shell,
    /// systemd's: double quotes, with backslashes, `%%` and `$$` in them.
    #[cfg_attr(windows, allow(dead_code, reason = "units are read on Unix alone"))]
    Unit,
    /// A batch file's: double quotes, with `%%` in them and backslashes doubled before the last one.
    #[cfg_attr(not(any(windows, test)), allow(dead_code, reason = "wrappers are read on Windows alone"))]
    Batch,
}

/// The files of a scheduled run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScheduledCommand {
    pub(crate) program: PathBuf,
    pub(crate) policy: PathBuf,
    pub(crate) env_file: Option<PathBuf>,
}

impl ScheduledCommand {
    /// `None` where it is no command of ours.
    pub(super) fn parse(line: &str, dialect: Dialect) -> Option<Self> {
        let words = words(line, dialect);
        let after = |flag: &str| {
            let at = words.iter().position(|word| word == flag)?;
            words.get(at + 1).map(PathBuf::from)
        };
        let (program, policy) = (words.first()?.into(), after("--policy")?);
        (words.get(1)? == "run").then(|| Self { program, policy, env_file: after("--env-file") })
    }

    /// What its next run will not find. A file that this account may not look at is not missed.
    pub(crate) fn missing(&self) -> Vec<String> {
        let is_missing = |path: &Path| path.try_exists().is_ok_and(|there| !there);
        let named = [
            (
                "the program",
                Some(&self.program),
                "install it there, or run `apply-schedule` of the installed one",
            ),
            (
                "the policy file",
                Some(&self.policy),
                "put it back, or run `apply-schedule` with its new --policy-path",
            ),
            (
                "the environment file",
                self.env_file.as_ref(),
                "put it back, or run `apply-schedule` with its new --env-file",
            ),
        ];
        let missing = named.into_iter().filter_map(|(what, path, action)| Some((what, path?, action)));
        missing
            .filter(|(_, path, _)| is_missing(path))
            .map(|(what, path, action)| {
                format!("{what} of the schedule, {}, does not exist: {action}", path.display())
            })
            .collect()
    }
}

/// Whether two of it stand for one.
fn is_doubled(c: char, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Shell => false,
        Dialect::Unit => true,
        Dialect::Batch => c == '%',
    }
}

/// The words of a command, without their quotes.
fn words(line: &str, dialect: Dialect) -> Vec<String> {
    let quote = if dialect == Dialect::Shell { '\'' } else { '"' };
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let escapes = match dialect {
            Dialect::Shell => !quoted,
            Dialect::Unit => quoted,
            // The quote that ends a word has no backslash before it that is not doubled.
            Dialect::Batch => {
                quoted && chars.peek() == Some(&'\\') && {
                    let mut ahead = chars.clone();
                    ahead.find(|c| *c != '\\') == Some('"')
                }
            }
        };
        match c {
            '\\' if escapes => word.get_or_insert_default().extend(chars.next()),
            '%' | '$' if is_doubled(c, dialect) && chars.peek() == Some(&c) => {
                chars.next();
                word.get_or_insert_default().push(c);
            }
            c if c == quote => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' | '\t' if !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("agent"), "").unwrap();
        let (program, policy) = (at("agent"), at("policy.yaml"));
        let command = ScheduledCommand { program, policy, env_file: Some(at("b.env")) };
        let [policy, env] = &command.missing()[..] else { panic!("{:?}", command.missing()) };
        assert!(
            policy.contains("policy.yaml, does not exist") && policy.contains("--policy-path"),
            "{policy}"
        );
        assert!(env.contains("b.env") && env.contains("--env-file"), "{env}");
        assert!(ScheduledCommand { policy: at("agent"), env_file: None, ..command }.missing().is_empty());
    }

    #[test]
    fn commands_of_others_are_none_of_ours() {
        for line in ["", "true", "'/usr/bin/agent' status --policy x", "'/usr/bin/agent' run --policy"] {
            assert_eq!(ScheduledCommand::parse(line, Dialect::Shell), None, "{line}");
        }
    }

    #[test]
    fn a_batch_file_is_read_back() {
        let line = r#""C:\100%%\agent.exe" run --policy "C:\a b\p.yaml" --env-file "D:\x\\" --out "C:\o""#;
        let command = ScheduledCommand::parse(line, Dialect::Batch).unwrap();
        assert_eq!(command.program, PathBuf::from(r"C:\100%\agent.exe"));
        assert_eq!(command.policy, PathBuf::from(r"C:\a b\p.yaml"));
        assert_eq!(command.env_file, Some(PathBuf::from(r"D:\x\")));
    }
}
