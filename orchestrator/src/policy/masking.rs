//! What of a policy's text may be a secret, and is in no error: errors reach logs, records, notices and screens of others.
//!
//! **In:** the text of a policy, or of a message about it. **Out:** the same text with [`MASK`] instead of what follows the
//! host of a URL, of users and passwords before `@`, and of the values of fields that are named like a secret, also where
//! the name is misspelled, and in the lines that such a value continues in. It masks rather too much than too little.

use crate::nearest::nearest;

/// Instead of a secret.
pub(super) const MASK: &str = "***";
/// What the name of a field, a variable or an argument with a secret contains.
const NAMES: [&str; 11] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "credential",
    "authorization",
    "api_key",
    "access_key",
    "url",
    "healthchecks",
];
/// Those that people misspell.
const FIELDS: [&str; 4] = ["token", "password", "healthchecks", "secret"];

/// The lines of a policy without its secrets, one for each line.
pub(super) fn masked_lines(text: &str) -> Vec<String> {
    let mut open = None;
    text.lines().map(|line| masked_line(line, &mut open)).collect()
}

/// A message, in which only what it quotes may be a secret.
pub(super) fn masked_message(text: &str) -> String {
    const QUOTE: &str = "\u{1}";
    let text = text.replace("\\\"", QUOTE);
    let parts = text.split('"').enumerate();
    let parts: Vec<_> =
        parts.map(|(at, part)| if at % 2 == 1 { masked(part) } else { without_urls(part) }).collect();
    parts.join("\"").replace(QUOTE, "\\\"")
}

/// One value, or one line.
pub(super) fn masked(text: &str) -> String {
    masked_lines(text).join("\n")
}

/// A value that goes on in the next line.
enum Open {
    /// As long as lines are indented by more than this.
    Block(usize),
    /// Up to the end of the braces.
    Flow,
}

fn masked_line(line: &str, open: &mut Option<Open>) -> String {
    let indent = line.len() - line.trim_start().len();
    let is_item = line.trim_start().starts_with('-');
    let continues = match open {
        None => false,
        Some(Open::Block(of)) => line.trim().is_empty() || indent > *of || (is_item && indent == *of),
        Some(Open::Flow) => true,
    };
    let ends_braces = line.contains(['}', ']']);
    if continues {
        if matches!(open, Some(Open::Flow)) && ends_braces {
            *open = None;
        }
        let shown = if line.trim().is_empty() { "" } else { MASK };
        return format!("{}{shown}", &line[..indent]);
    }
    *open = None;
    // First, since a user or a path may look like a field.
    let line = &*without_urls(line);
    let (mut shown, mut rest) = (String::new(), line);
    while let Some((name_at, value_at)) = secret_field(rest, shown.is_empty()) {
        let is_flow = shown.contains(['{', '[']) || rest[..name_at].contains(['{', '[']);
        let at = line.len() - rest.len() + name_at;
        let value = &rest[value_at..];
        let end = end_of_value(value, is_flow);
        let value = &value[..end];
        shown += &rest[..value_at];
        shown += &masked_value(value);
        *open = match is_flow {
            false => Some(Open::Block(at)),
            true if end == rest[value_at..].len() => Some(Open::Flow),
            true => None,
        };
        rest = &rest[value_at + end..];
    }
    shown + rest
}

/// Where the name of the first field with a secret begins, and where its value begins.
fn secret_field(text: &str, is_line: bool) -> Option<(usize, usize)> {
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    let mut from = 0;
    while let Some(begin) = text[from..].find(is_of_name).map(|at| from + at) {
        let end = text[begin..].find(|c| !is_of_name(c)).map_or(text.len(), |at| begin + at);
        from = end;
        let behind = text[end..].trim_start_matches(['"', '\'', ' ']);
        let is_named = behind.starts_with([':', '=']) && !behind.starts_with("://");
        // The colon may have been forgotten.
        let before = text[..begin].trim_end_matches([' ', '"', '\'']);
        let is_first = (is_line && before.is_empty()) || before.ends_with([',', '{', '-']);
        if is_secret_name(&text[begin..end]) && (is_named || (is_first && text[end..].starts_with(' '))) {
            let value = behind.trim_start_matches([':', '=']).trim_start();
            return Some((begin, text.len() - value.len()));
        }
    }
    None
}

fn is_secret_name(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase().replace('-', "_");
    NAMES.iter().any(|secret| name.contains(secret)) || nearest(&name, FIELDS).is_some()
}

fn end_of_value(value: &str, is_flow: bool) -> usize {
    if let Some(quote) = value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        // A quote within a value is escaped by a backslash or by another quote.
        let mut before = quote;
        for (at, c) in value.char_indices().skip(1) {
            let is_doubled = value[at + c.len_utf8()..].starts_with(quote) || before == quote && at > 1;
            if c == quote && before != '\\' && !is_doubled {
                return at + 1;
            }
            before = c;
        }
        return value.len();
    }
    if !is_flow {
        return value.len();
    }
    let is_end = |(at, c): &(usize, char)| match c {
        ',' => value[at + 1..].starts_with([' ', '\t']),
        '}' | ']' => value[*at..].trim_end_matches(['}', ']', ' ', ',', '\t']).is_empty(),
        _ => false,
    };
    let closing = value.char_indices().find(is_end).map(|(at, _)| at);
    // Behind the braces of one rule there may be another.
    closing.or_else(|| value.find("},")).unwrap_or(value.len())
}

/// Names of variables are no secret, and a URL is shown up to its host.
fn masked_value(value: &str) -> String {
    let plain = value.trim().trim_matches(['"', '\'']);
    let is_variable = plain.strip_prefix("env:INTELLISTOR_").is_some_and(|name| {
        name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') && name.len() <= 64
    });
    if value.trim().is_empty() || is_variable {
        return value.to_owned();
    }
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let quote = quote.map(String::from).unwrap_or_default();
    let url = plain.split_once("://");
    let url = url.filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
    let host = url.map(|(scheme, rest)| {
        let authority = rest.split(['/', '?', '#', ' ', '\\']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        format!("{scheme}://{host}/")
    });
    format!("{quote}{}{MASK}{quote}", host.unwrap_or_default())
}

/// Masks, in text outside of fields with secrets, what follows the host of a URL, and what is before `@`.
fn without_urls(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>');
    text.split_inclusive(is_end).map(|word| without_url(word, is_end)).collect()
}

fn without_url(word: &str, is_end: impl Fn(char) -> bool) -> String {
    let end = word.trim_end_matches(|c| is_end(c) || matches!(c, ',' | ']' | '}' | ')'));
    let tail = &word[end.len()..];
    // As the correction of a pattern has it, which has no empty parts.
    let is_web = |parts: &(&str, &str)| parts.0.ends_with("http") || parts.0.ends_with("https");
    let parts = end.split_once("://").or_else(|| end.split_once(":/").filter(is_web));
    let Some((scheme, rest)) = parts else {
        return match end.split_once(':').zip(end.rsplit_once('@')) {
            Some(((user, behind), (_, host))) if behind.contains('@') => {
                format!("{user}:{MASK}@{host}{tail}")
            }
            _ => word.to_owned(),
        };
    };
    let authority_end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let user = if host.len() < authority.len() { format!("{MASK}@") } else { String::new() };
    // The path of a store is its place, and no secret; no password of one belongs into its URL.
    let is_store = scheme.ends_with("s3") || scheme.ends_with("file");
    let path = match (is_store, path) {
        (true, path) => path.split(['?', '#', '@']).next().unwrap_or_default().to_owned(),
        (false, "" | "/") => path.to_owned(),
        (false, _) => format!("/{MASK}"),
    };
    format!("{scheme}://{user}{host}{path}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_secret_stays_readable() {
        for (line, shown) in [
            ("paths: ['/srv/a']  # x", "paths: ['/srv/a']  # x"),
            ("store: s3://bucket/prefix", "store: s3://bucket/prefix"),
            ("- { url: 'https://h:8/S', on: [nope] }", "- { url: 'https://h:8/***', on: [nope] }"),
            ("  token: S, S", "  token: ***"),
            ("  tokn: S", "  tokn: ***"),
            ("token: 'env:INTELLISTOR_NOTIFY_A'", "token: 'env:INTELLISTOR_NOTIFY_A'"),
            ("x: https://S:S@h/S?S", "x: https://***@h/***"),
            (
                "mail: { to: [a@b.c], smtp: 'S:S@h', on: [x] }",
                "mail: { to: [a@b.c], smtp: 'S:***@h', on: [x] }",
            ),
            ("before: [x, --db-password=S, y]", "before: [x, --db-password=***, y]"),
        ] {
            assert_eq!(masked(line), shown, "{line}");
        }
        let message = "the command \"x --token=S S\" in `hooks` cannot be run: write https://";
        let shown = "the command \"x --token=***\" in `hooks` cannot be run: write https://";
        assert_eq!(masked_message(message), shown);
    }
}
