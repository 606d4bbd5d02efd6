//! Command lines that work when they are pasted into the shell of this system.

use std::path::Path;

/// One line for the shell of this system.
pub(crate) fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quote = if cfg!(windows) { quote_cmd } else { quote_sh };
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// How to call a program in this one's folder: by its name where the shell finds it, else by its path.
pub(crate) fn program(name: &str) -> String {
    let Ok(this) = std::env::current_exe() else { return name.to_owned() };
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let beside = this.with_file_name(&file);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let first = std::env::split_paths(&path).map(|folder| folder.join(&file)).find(|found| found.is_file());
    if first.is_some_and(|found| same_file(&found, &beside)) {
        name.to_owned()
    } else {
        beside.display().to_string()
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

fn quote_sh(word: &str) -> String {
    // A NUL is in no path and no argument; without it nothing is left to fail.
    shlex::try_quote(&word.replace('\0', "")).map(Into::into).unwrap_or_default()
}

/// For `cmd.exe`, whose own rules come before those by which a program splits its arguments.
fn quote_cmd(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '\\' | '/' | '.' | '_' | '-' | ':' | '+' | '@');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    let mut line = String::from("\"");
    let mut backslashes = 0;
    for c in word.chars() {
        match c {
            '\\' => backslashes += 1,
            '"' => {
                // Backslashes before a quote are halved by the program; one more keeps the quote.
                line.push_str(&"\\".repeat(backslashes + 1));
                backslashes = 0;
            }
            '%' => {
                // Quotes do not keep `%NAME%` from being replaced; a caret outside of them does.
                line.push_str(&"\\".repeat(backslashes));
                line.push_str("\"^%\"");
                backslashes = 0;
                continue;
            }
            _ => backslashes = 0,
        }
        line.push(c);
    }
    line.push_str(&"\\".repeat(backslashes));
    line + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 12] = [
        "plain",
        "/home/ana/Cópia de ação.yaml",
        "it's",
        "say \"hi\"",
        "$HOME `id` $(id) !x",
        "a\\b\\",
        "",
        "*?[a]{b,c}~",
        "a;b|c&d>e<f #g",
        "-x=y",
        "tab\tand\nnewline",
        "100%PATH%",
    ];

    #[cfg(unix)]
    #[test]
    fn words_come_through_sh_unchanged() {
        let script = format!("printf '%s\\037' {}", command_line(WORDS));
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        assert_eq!(words.split_terminator('\u{1f}').collect::<Vec<_>>(), WORDS);
    }

    /// What `cmd.exe` hands to the program: carets outside quotes go, nothing is expanded after `^%`.
    fn cmd(line: &str) -> String {
        let (mut out, mut quoted, mut chars) = (String::new(), false, line.chars());
        while let Some(c) = chars.next() {
            match c {
                '"' => quoted = !quoted,
                '^' if !quoted => {
                    out.extend(chars.next());
                    continue;
                }
                '%' => panic!("cmd would look for a variable in {line}"),
                _ => {}
            }
            out.push(c);
        }
        out
    }

    /// The rules of Microsoft's C runtime, for one word.
    fn msvcrt(text: &str) -> String {
        let (mut out, mut backslashes) = (String::new(), 0);
        for c in text.chars() {
            match c {
                '\\' => backslashes += 1,
                '"' => {
                    out.push_str(&"\\".repeat(backslashes / 2));
                    if backslashes % 2 == 1 {
                        out.push('"');
                    }
                    backslashes = 0;
                }
                _ => {
                    out.push_str(&"\\".repeat(backslashes));
                    backslashes = 0;
                    out.push(c);
                }
            }
        }
        out + &"\\".repeat(backslashes)
    }

    #[test]
    fn words_come_through_cmd_unchanged() {
        for word in WORDS.into_iter().chain([
            r"C:\Program Files\x\",
            r"C:\100%\dir\",
            r"C:\a\%b%",
            r"C:\plain\x.yaml",
        ]) {
            if !word.contains('"') {
                assert_eq!(msvcrt(&cmd(&quote_cmd(word))), word, "{}", quote_cmd(word));
            }
        }
        assert_eq!(quote_cmd(r"C:\plain\x.yaml"), r"C:\plain\x.yaml");
        assert_eq!(quote_cmd(r"C:\a b\"), r#""C:\a b\\""#);
        assert_eq!(quote_cmd(r"C:\100%"), r#""C:\100"^%"""#);
    }
}
