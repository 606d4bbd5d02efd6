//! `run_<policy_id>.cmd`: what a task runs.
//!
//! A task inherits nothing of the console in which it was scheduled: neither variables nor the current folder. The wrapper
//! passes absolute paths, and ends with the run's exit code, so that the task's "last result" is the run's. It contains
//! no secret: the key and the store's credentials stay in the file of `--env-file`.
//!
//! The file is UTF-8 without a byte order mark (`cmd` would take it for a command) with CRLF, and switches the
//! console to UTF-8 before the first line that needs it: `cmd` reads and decodes line by line.
//!
//! Inside quotes in a batch file only `%` (doubled here) and, with delayed expansion (turned off here), `!` mean
//! something to `cmd`; `& | < > ( ) ^` and spaces do not. A `"` can be in no Windows path and is refused, and so are
//! control characters. The agent splits its arguments by the rules of Microsoft's C runtime: backslashes before the
//! closing quote are doubled.

use std::path::Path;

use crate::schedule::error::{Result, ScheduleError};
use crate::schedule::spec::ScheduleSpec;

/// What the task for the start of the machine passes to the wrapper, which passes on nothing else.
pub(crate) const ONLY_UNFINISHED: &str = "--only-unfinished";

pub(crate) fn wrapper_name(policy_id: &str) -> String {
    format!("run_{policy_id}.cmd")
}

/// The file's text, with CRLF.
///
/// # Errors
/// [`ScheduleError::Unusable`] for a path that is not absolute, not Unicode or cannot be quoted.
pub(crate) fn wrapper(spec: &ScheduleSpec) -> Result<String> {
    let mut run = quoted_program(&spec.program)?;
    run.push_str(" run");
    for (flag, what, path) in spec.path_arguments() {
        run.push_str(&format!(" {flag} {}", quoted(what, path)?));
    }
    run.push_str(spec.switches());
    // A variable, since `goto` reads the file again from its start, in the other encoding.
    run.push_str(" %_MORE%");
    let more = format!(r#"if "%~1"=="{ONLY_UNFINISHED}" set "_MORE={ONLY_UNFINISHED}""#);
    // A variable named ERRORLEVEL would hide the exit code.
    let lines = [
        "@echo off",
        "rem Written by intellistor-agent apply-schedule, which replaces it; remove-schedule removes it.",
        "setlocal DisableDelayedExpansion",
        "set \"ERRORLEVEL=\"",
        "set \"_MORE=\"",
        &more,
        "chcp 65001 >nul",
        &run,
        "exit /b %ERRORLEVEL%",
    ];
    Ok(lines.iter().map(|line| format!("{line}\r\n")).collect())
}

fn quoted_program(path: &Path) -> Result<String> {
    let text = windows_path("the agent", path)?;
    if text.starts_with(r"\\") {
        let reason =
            "it is on another machine, which SYSTEM may not reach. Install the agent on a local disk";
        return Err(ScheduleError::unusable("the agent", text, reason));
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

fn quoted(what: &'static str, path: &Path) -> Result<String> {
    let text = windows_path(what, path)?;
    let trailing = text.len() - text.trim_end_matches('\\').len();
    Ok(format!("\"{}{}\"", text.replace('%', "%%"), "\\".repeat(trailing)))
}

fn windows_path<'a>(what: &'static str, path: &'a Path) -> Result<&'a str> {
    let Some(text) = path.to_str() else {
        return Err(ScheduleError::unusable(
            what,
            path.to_string_lossy(),
            "its name is not Unicode. Rename it",
        ));
    };
    let absolute = match text.as_bytes() {
        [b'\\', b'\\', ..] => true,
        [drive, b':', b'\\' | b'/', ..] => drive.is_ascii_alphabetic(),
        _ => false,
    };
    if !absolute {
        return Err(ScheduleError::unusable(
            what,
            text,
            "a scheduled run has no current folder. Give its absolute path",
        ));
    }
    if text.contains('"') || text.chars().any(char::is_control) {
        return Err(ScheduleError::unusable(
            what,
            text,
            "a path cannot contain a quote or a control character. Correct it",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::schedule::scheduled_command::{Dialect, ScheduledCommand};
    use crate::schedule::tests::spec;

    /// What `cmd` makes of a batch file's line, without variables: `%%` becomes `%`; outside quotes a caret escapes
    /// and an operator would end the command.
    fn cmd(line: &str) -> String {
        let (mut out, mut quoted, mut chars) = (String::new(), false, line.chars().peekable());
        while let Some(c) = chars.next() {
            match c {
                '%' => assert_eq!(chars.next(), Some('%'), "cmd would look for a variable in {line}"),
                '"' => quoted = !quoted,
                '^' | '&' | '|' | '<' | '>' | '(' | ')' if !quoted => {
                    panic!("cmd would act on {c} in {line}")
                }
                _ => {}
            }
            out.push(c);
        }
        assert!(!quoted, "{line}");
        out
    }

    /// Arguments by the rules of Microsoft's C runtime; the first word ends at its closing quote.
    fn arguments(line: &str) -> Vec<String> {
        let (program, rest) = line.strip_prefix('"').unwrap().split_once('"').unwrap();
        let mut words = vec![program.to_owned()];
        let (mut word, mut quoted, mut backslashes) = (None::<String>, false, 0);
        for c in rest.chars() {
            if c == '\\' {
                backslashes += 1;
                continue;
            }
            let mut literal = std::mem::take(&mut backslashes);
            let mut quote = c == '"';
            if quote {
                quote = literal % 2 == 0;
                literal /= 2;
            }
            if literal > 0 {
                word.get_or_insert_default().push_str(&"\\".repeat(literal));
            }
            match c {
                '"' if quote => {
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

    fn received(spec: &ScheduleSpec) -> Vec<String> {
        let text = wrapper(spec).unwrap();
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines[0], "@echo off");
        assert_eq!(lines[2..4], ["setlocal DisableDelayedExpansion", "set \"ERRORLEVEL=\""]);
        let more = r#"if "%~1"=="--only-unfinished" set "_MORE=--only-unfinished""#;
        assert_eq!(lines[4..7], ["set \"_MORE=\"", more, "chcp 65001 >nul"]);
        assert_eq!(lines[8..], ["exit /b %ERRORLEVEL%"]);
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
        let run = lines[7].strip_suffix(" %_MORE%").unwrap();
        let read_back = ScheduledCommand::parse(lines[7], Dialect::Batch).unwrap();
        assert_eq!(read_back.policy, spec.policy);
        arguments(&cmd(run))
    }

    const NASTY: [&str; 10] = [
        r"C:\Program Files (x86)\a & b\agent.exe",
        r"C:\100%\%PATH%\x",
        r"C:\a^b\c!d!\e'f`g",
        r"C:\ação\日本\🦀.yaml",
        r"D:\ends with\",
        r"D:\",
        r"C:\a;b,c=d\x y.env",
        r"C:\%%\~\$x",
        r"C:\a>b<c|d",
        "C:/forward/slashes",
    ];

    #[test]
    fn paths_come_through_cmd_unchanged() {
        for path in NASTY {
            let mut spec = spec("0 2 * * *");
            if !path.ends_with('\\') {
                spec.program = PathBuf::from(path);
            }
            spec.policy = PathBuf::from(path);
            spec.env_file = Some(PathBuf::from(path));
            spec.out = Some(PathBuf::from(path));
            let program = spec.program.to_str().unwrap();
            let words = [program, "run", "--policy", path, "--env-file", path, "--out", path];
            assert_eq!(received(&spec), words);
        }
    }

    #[test]
    fn the_policy_names_the_file() {
        assert_eq!(wrapper_name("mvp-default"), "run_mvp-default.cmd");
    }

    #[test]
    fn what_was_not_given_is_not_passed() {
        let mut spec = spec("0 2 * * *");
        (spec.env_file, spec.out) = (None, None);
        assert_eq!(received(&spec)[1..], ["run", "--policy", r"C:\Backup\policy.yaml"]);
        spec.weak_passphrase = true;
        assert_eq!(received(&spec)[2..], ["--policy", r"C:\Backup\policy.yaml", "--weak-passphrase"]);
    }

    #[test]
    fn what_cannot_be_quoted_is_refused() {
        for (path, reason) in [
            ("policy.yaml", "absolute path"),
            (r"\policy.yaml", "absolute path"),
            (r"C:policy.yaml", "absolute path"),
            ("C:\\a\"b", "a quote"),
            ("C:\\a\nb", "control character"),
        ] {
            let mut spec = spec("0 2 * * *");
            spec.policy = PathBuf::from(path);
            let error = wrapper(&spec).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains("the policy"), "{error}");
        }
        let mut spec = spec("0 2 * * *");
        spec.program = PathBuf::from(r"\\server\share\agent.exe");
        assert!(wrapper(&spec).unwrap_err().to_string().contains("local disk"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

        #[test]
        fn any_path_comes_through(tail in "[a-z %&^!<>|()\\\\;,='~$é]{0,24}") {
            let mut spec = spec("0 2 * * *");
            let path = format!(r"C:\{tail}");
            spec.policy = PathBuf::from(&path);
            spec.out = Some(PathBuf::from(&path));
            let words = received(&spec);
            prop_assert_eq!(&words[3], &path);
            prop_assert_eq!(words.last(), Some(&path));
        }
    }
}
