//! Command lines that work when they are pasted into the shell of this system.
//!
//! Windows has two, and most lines work in both: quotes are double ones, and a program is not quoted as a whole, since
//! PowerShell takes a line that begins with a quote for a text (`&` before it would call it, and `cmd` refuses that). What
//! has `$`, a backtick or a curly quote in it needs a line for each. The rules of PowerShell are those of 5.1 and 7:
//!
//! | | `cmd` at its prompt | PowerShell |
//! | --- | --- | --- |
//! | `&` `|` `<` `>` `(` `)` `^` `;` `,` `#` `@` | plain in double quotes | plain in double quotes |
//! | `%NAME%` | replaced, also in quotes; not where the name has a quote in it | plain |
//! | `$name`, backtick | plain | active in double quotes, plain in single ones |
//! | `'` | plain | a quote outside of double ones; doubled inside single ones |
//! | curly quotes | plain | as straight ones, double and single |
//! | `!` | plain, without delayed expansion | plain |
//! | `--%` | plain | plain in quotes |
//! | backslashes before the closing quote | doubled: the program halves them | the same; from 7.3 on, a path with one too many at its end |

use std::path::Path;

/// One line for the shell of this system.
pub(crate) fn command_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    if cfg!(windows) {
        cmd_line(words)
    } else {
        words.into_iter().map(quote_sh).collect::<Vec<_>>().join(" ")
    }
}

/// The same for PowerShell, on Windows, where [`command_line`]'s works in `cmd` alone.
pub(crate) fn powershell_line<'a>(words: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    (cfg!(windows) && is_cmds_line(words.clone())).then(|| words_of_powershell(words))
}

/// Whether [`cmd_line`] works in `cmd` alone.
fn is_cmds_line<'a>(words: impl IntoIterator<Item = &'a str> + Clone) -> bool {
    words.clone().into_iter().any(is_cmds_alone) || cmd_line(words).starts_with('"')
}

/// Whether what `cmd` needs for a word means something else to PowerShell.
fn is_cmds_alone(word: &str) -> bool {
    word.contains(['$', '`', '"']) || word.contains(DOUBLE_QUOTES)
}

fn cmd_line<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut words = words.into_iter();
    let program = words.next().map(quote_program);
    program.into_iter().chain(words.map(quote_cmd)).collect::<Vec<_>>().join(" ")
}

fn words_of_powershell<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let line = words.into_iter().map(quote_powershell).collect::<Vec<_>>().join(" ");
    // A quoted text is called only with this before it.
    if line.starts_with('\'') { format!("& {line}") } else { line }
}

/// What PowerShell takes for a double quote, and for a single one.
const DOUBLE_QUOTES: [char; 3] = ['\u{201c}', '\u{201d}', '\u{201e}'];
const SINGLE_QUOTES: [char; 5] = ['\'', '\u{2018}', '\u{2019}', '\u{201a}', '\u{201b}'];

/// What no shell of Windows looks at, at the beginning of a word or in it.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '\\' | '/' | '.' | '_' | '-' | ':' | '+');
    !word.is_empty() && word.chars().all(plain)
}

/// The path of a program, with quotes around the names that need them: both shells take `C:\"Program Files"\x.exe`.
fn quote_program(path: &str) -> String {
    path.split('\\')
        .map(|name| if name.is_empty() { String::new() } else { quote_cmd(name) })
        .collect::<Vec<_>>()
        .join("\\")
}

fn quote_powershell(word: &str) -> String {
    if is_plain(word) {
        return word.to_owned();
    }
    // The program's own rules come after the shell's: as in `quote_cmd`, for a word that the shell passes on in quotes.
    let trailing = word.len() - word.trim_end_matches('\\').len();
    let doubled = |c: char| std::iter::repeat_n(c, if SINGLE_QUOTES.contains(&c) { 2 } else { 1 });
    let text: String = word.chars().flat_map(doubled).collect();
    let passed_in_quotes = word.contains(char::is_whitespace);
    format!("'{text}{}'", "\\".repeat(if passed_in_quotes { trailing } else { 0 }))
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
    if is_plain(word) {
        return word.to_owned();
    }
    // PowerShell ends a word that begins with a quote where that is closed; one that begins with a letter goes on.
    let is_open = |c: char| is_plain(c.encode_utf8(&mut [0; 4])) || c == '=';
    let bare = &word[..word.len() - word.trim_start_matches(is_open).len()];
    // A backslash before the quote would keep it.
    let bare = if word.contains('%') { bare.trim_end_matches('\\').len() } else { 0 };
    let mut line = format!("{}\"", &word[..bare]);
    let (mut backslashes, mut in_name) = (0, false);
    for c in word[bare..].chars() {
        if in_name && c.is_alphanumeric() {
            // Quotes do not keep `%NAME%` from being replaced; no variable has a quote in its name.
            line.push_str(&format!("{}\"{c}\"", "\\".repeat(backslashes)));
            (backslashes, in_name) = (0, false);
            continue;
        }
        match c {
            '\\' => backslashes += 1,
            '"' => {
                // Backslashes before a quote are halved by the program; one more keeps the quote.
                line.push_str(&"\\".repeat(backslashes + 1));
                backslashes = 0;
            }
            _ => backslashes = 0,
        }
        in_name |= c == '%';
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

    /// What `cmd.exe` hands to the program: carets outside quotes go, and what is between percent signs is looked up.
    fn cmd(line: &str) -> String {
        let between: Vec<_> = line.split('%').collect();
        for name in between.get(1..between.len() - 1).unwrap_or_default() {
            let is_variable = !name.contains('"') && name.contains(char::is_alphanumeric);
            assert!(!is_variable, "cmd would look for the variable {name} in {line}");
        }
        let (mut out, mut quoted, mut chars) = (String::new(), false, line.chars());
        while let Some(c) = chars.next() {
            match c {
                '"' => quoted = !quoted,
                '^' if !quoted => {
                    out.extend(chars.next());
                    continue;
                }
                '&' | '|' | '<' | '>' | '(' | ')' if !quoted => panic!("cmd would act on {c} in {line}"),
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
        assert_eq!(quote_cmd(r"C:\100%"), r#"C:\100"%""#);
        assert_eq!(quote_cmd(r"C:\%PATH%x"), r#"C:"\%"P"ATH%"x"""#);
    }

    /// The words that PowerShell makes of a line: barewords with quotes in them, expandable and literal texts. What would be
    /// expanded, called or ended fails the test.
    fn powershell(line: &str) -> Vec<String> {
        let is_double = |c: char| c == '"' || DOUBLE_QUOTES.contains(&c);
        let is_single = |c: char| SINGLE_QUOTES.contains(&c);
        let line = match line.strip_prefix("& ") {
            Some(called) => called,
            None => {
                assert!(!line.starts_with(is_double) && !line.starts_with(is_single), "a text alone: {line}");
                line
            }
        };
        let (mut words, mut word, mut chars) = (Vec::new(), None::<String>, line.chars().peekable());
        while let Some(c) = chars.next() {
            if c == ' ' {
                words.extend(word.take());
                continue;
            }
            let is_first = word.is_none();
            let word = word.get_or_insert_default();
            if is_double(c) || is_single(c) {
                let of_same_kind = |c: char| if is_double(c) { 2 } else { u8::from(is_single(c)) };
                let kind = of_same_kind(c);
                loop {
                    let c = chars.next().unwrap_or_else(|| panic!("not ended: {line}"));
                    if of_same_kind(c) == kind {
                        if chars.peek().is_some_and(|&next| of_same_kind(next) == kind) {
                            chars.next();
                        } else {
                            break;
                        }
                    }
                    assert!(kind == 1 || !matches!(c, '$' | '`'), "expanded: {line}");
                    word.push(c);
                }
            } else {
                let is_special = "$`&|<>(){};,#".contains(c) || is_first && "@%".contains(c);
                assert!(!is_special, "{c} in {line}");
                word.push(c);
            }
        }
        words.extend(word);
        assert!(!words.iter().any(|word| word == "--%"), "{line}");
        words
    }

    const PATHS: [&str; 16] = [
        r"C:\plain\x.yaml",
        r"C:\Program Files (x86)\Intellistor\backup-client.exe",
        r"C:\a & b\c^d!e;f,g#h@i{j}[k]=l.yaml",
        "D:\\Relat\u{f3}rio de a\u{e7}\u{e3}o\\M\u{fc}ller's.yaml",
        r"C:\it's",
        r"C:\100%\%PATH%\%x",
        r"C:\$HOME\$(x)\`n",
        "C:\\\u{201c}curly\u{201d} \u{201e}x\u{2018}y\u{2019}z",
        "\u{2019}",
        "$x",
        "@x",
        "%PATH%",
        "--only=*.png",
        "-x.y:z",
        r"\\server\share name\x",
        r"C:\ends with\",
    ];

    #[test]
    fn a_line_works_in_both_shells_or_each_has_its_own() {
        for path in PATHS {
            for words in [[path, "restore", "--policy", "x"], ["backup-client", "--policy", path, "x"]] {
                let line = cmd_line(words);
                let in_cmd = cmd_words(&cmd(&line));
                // In the path of a program, a backslash never keeps a quote.
                let program = in_cmd.first().map(|path| path.replace('"', ""));
                let in_cmd: Vec<_> =
                    program.into_iter().chain(in_cmd[1..].iter().map(|word| msvcrt(word))).collect();
                assert_eq!(in_cmd, words, "{line}");
                let of_powershell = words_of_powershell(words);
                let is_own = is_cmds_line(words);
                for line in [Some(of_powershell), (!is_own).then_some(line)].into_iter().flatten() {
                    // A backslash too many at the end of a path names the same folder.
                    let ends = |word: &str| word.trim_end_matches('\\').to_owned();
                    let found = powershell(&line);
                    assert_eq!(
                        found.iter().map(|word| ends(word)).collect::<Vec<_>>(),
                        words.map(ends),
                        "{line}"
                    );
                }
            }
        }
        assert_eq!(
            cmd_line([r"C:\Program Files\Intellistor\backup-client.exe", "restore"]),
            r#"C:\"Program Files"\Intellistor\backup-client.exe restore"#
        );
        assert_eq!(words_of_powershell([r"C:\a $b\x.exe", "it's"]), r"& 'C:\a $b\x.exe' 'it''s'");
    }

    /// Words of a line, with their quotes.
    fn cmd_words(line: &str) -> Vec<String> {
        let (mut words, mut quoted) = (vec![String::new()], false);
        for c in line.chars() {
            quoted ^= c == '"';
            match c {
                ' ' if !quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words
    }
}
