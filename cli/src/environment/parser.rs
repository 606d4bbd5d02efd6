//! The grammar of an environment file: a line is read as it is written, or refused.
//!
//! ```text
//! line    := blank | "#" comment | ["export "] NAME "=" value
//! value   := bare | 'literal' | "plain"        an optional comment after a quoted value: 'x' # comment
//! bare    := no blank, quote, backslash, `$`, and no `#` at its start
//! literal := everything but a single quote
//! plain   := everything but a double quote, a backslash and `$`
//! ```
//! Shells, docker and the many readers of `.env` disagree about everything else (escapes, substitution, where a comment
//! begins). A value that is read in another way than its writer meant is a key or a passphrase that is unknown, found out
//! when a restore fails. So what two of them would read differently is an error here, and single quotes say everything.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

/// Why a line is refused. It never shows a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// From 1.
    pub(super) number: usize,
    /// The variable, where the line has one.
    pub(super) name: Option<String>,
    pub(super) reason: &'static str,
}

/// The variables of a file. Of two with one name the last holds, as in a shell.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, Zeroizing<String>>, BadLine> {
    let mut variables = BTreeMap::new();
    for (at, line) in text.split('\n').enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line).trim_matches(BLANKS);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refused =
            |name: Option<&str>, reason| BadLine { number: at + 1, name: name.map(str::to_owned), reason };
        let (name, rest) = line.split_once('=').ok_or_else(|| refused(None, "it is not NAME=value"))?;
        let name = name.strip_prefix("export").filter(|name| name.starts_with(BLANKS)).unwrap_or(name);
        let name = name.trim_matches(BLANKS);
        if !is_name(name) {
            return Err(refused(None, "it is not NAME=value"));
        }
        let value = value(rest.trim_matches(BLANKS)).map_err(|reason| refused(Some(name), reason))?;
        variables.insert(name.to_owned(), Zeroizing::new(value.to_owned()));
    }
    Ok(variables)
}

const BLANKS: [char; 2] = [' ', '\t'];

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn value(text: &str) -> Result<&str, &'static str> {
    let (quote, rest) = match text.chars().next() {
        Some('\'') => ('\'', &text[1..]),
        Some('"') => ('"', &text[1..]),
        _ => return bare(text),
    };
    let (value, after) = rest.split_once(quote).ok_or("its quote is not closed on the same line")?;
    if value.contains(|c: char| c.is_control() && c != '\t') {
        return Err("it contains a control character");
    }
    if quote == '"' && value.contains(['\\', '$']) {
        return Err("programs disagree about what `\\` and `$` mean between double quotes");
    }
    let comment = after.trim_start_matches(BLANKS);
    let is_comment = comment.starts_with('#') && comment.len() < after.len();
    if after.is_empty() || is_comment { Ok(value) } else { Err("something follows its closing quote") }
}

fn bare(text: &str) -> Result<&str, &'static str> {
    if text.starts_with('#') || text.contains(" #") || text.contains("\t#") {
        return Err("programs disagree about whether `#` begins a comment there");
    }
    if text.contains(char::is_whitespace) {
        return Err("its value contains a space and is not quoted");
    }
    if text.contains(char::is_control) {
        return Err("it contains a control character");
    }
    if text.contains(['\'', '"', '\\', '$']) {
        return Err("programs disagree about what quotes, `\\` and `$` mean in a value that is not quoted");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> BTreeMap<String, String> {
        parse(text).unwrap().into_iter().map(|(name, value)| (name, value.to_string())).collect()
    }

    #[test]
    fn the_usual_forms_are_read() {
        let text = "# comment\r\n\r\nA=1\r\nexport B='two words'\r\n  C = \"x y\"  # why\r\nD=\r\nE='a#$\\\"b'\t#\nA=3";
        let expected = [("A", "3"), ("B", "two words"), ("C", "x y"), ("D", ""), ("E", "a#$\\\"b")];
        assert_eq!(parsed(text), expected.map(|(n, v)| (n.to_owned(), v.to_owned())).into());
        let url = "OTEL_EXPORTER_OTLP_ENDPOINT=https://a.example:4317/x?b=c&d=e#f";
        assert_eq!(parsed(url).into_values().next().unwrap(), "https://a.example:4317/x?b=c&d=e#f");
        assert_eq!(parsed("exported=1")["exported"], "1");
    }

    #[test]
    fn a_value_that_could_become_another_is_refused_with_its_line() {
        for line in [
            r#"P="D:\net""#,
            r"P=two\ words",
            r"P=C:\keys\new.key",
            r#"P=it"s"me"#,
            "P=it's",
            "P=pass #word",
            "P=pass\t#word",
            "P=#word",
            "P=$x",
            "P=pa${x}ss",
            "P=\"pa$x\"",
            "P=two words",
            "P=nobreak\u{a0}space",
            "P='it'\"'\"'s'",
            "P='x'y",
            "P='x'#y",
            "P='open",
            "P=\"open",
            "P='a\u{0}b'",
            "P='a\rb'",
        ] {
            let refused = parse(&format!("A=1\n\n{line}\nB=2\n")).unwrap_err();
            assert_eq!((refused.number, refused.name.as_deref()), (3, Some("P")), "{line}");
        }
        for line in ["hush", "1A=x", "A B=x", "=x", "A-B=x", "'A'=x"] {
            assert_eq!(
                parse(line).unwrap_err(),
                BadLine { number: 1, name: None, reason: "it is not NAME=value" }
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_read_is_what_is_written(value in "[a-zé0-9 #$\\\\'\"=/+]{0,12}") {
            for written in [format!("P={value}"), format!("P='{value}'"), format!("P=\"{value}\"")] {
                if let Ok(read) = parse(&written) {
                    // Nothing was taken away but blanks around it, one pair of quotes, and a comment after them.
                    let read = read["P"].as_str();
                    let rest = written[2..].trim_matches(' ');
                    let quoted = ['\'', '"'].iter().any(|q| rest.strip_prefix(*q)
                        .is_some_and(|rest| rest.strip_prefix(read).is_some_and(|rest| rest.starts_with(*q))));
                    prop_assert!(read == rest || quoted, "{written:?} became {read:?}");
                }
            }
        }

        #[test]
        fn single_quotes_say_everything_but_themselves(value in "[^'\\p{C}]{0,20}") {
            prop_assert_eq!(&parsed(&format!("P='{value}'"))["P"], &value);
        }
    }
}
