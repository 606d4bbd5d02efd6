//! What a person meant by a line that YAML reads otherwise.

/// The same line with quotes where YAML needs them; `None` where that changes nothing.
pub(super) fn corrected(line: &str) -> Option<String> {
    // YAML takes no tab for an indentation.
    let indent = line.len() - line.trim_start().len();
    let (indent, rest) = line.split_at(indent);
    let mut right = indent.replace('\t', "  ");
    let (content, comment) = without_comment(rest);
    if content.is_empty() {
        return None;
    }
    let mut value = content;
    while let Some(item) = value.strip_prefix("- ") {
        right.push_str("- ");
        value = item.trim_start();
    }
    if let Some((key, behind)) = field(value) {
        right.push_str(key);
        right.push_str(": ");
        value = behind.trim();
    }
    match value.strip_prefix('[').and_then(|list| list.strip_suffix(']')) {
        // Commands of hooks are lists in a list.
        Some(list) if list.trim_start().starts_with('[') && is_hook(&right) => return None,
        Some(list) => {
            let items: Vec<_> = items(list).into_iter().map(quoted_where_needed).collect();
            right.push_str(&format!("[{}]", items.join(", ")));
        }
        None => right.push_str(&quoted_where_needed(value)),
    }
    if !comment.is_empty() {
        right.push(' ');
        right.push_str(comment);
    }
    let right = right.trim_end();
    (right != line.trim_end()).then(|| right.to_owned())
}

fn is_hook(before: &str) -> bool {
    ["before: ", "after: ", "on_failure: "].iter().any(|name| before.ends_with(name))
}

/// A field's name and its value.
fn field(text: &str) -> Option<(&str, &str)> {
    let (key, behind) = text.split_once(':')?;
    let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_end = behind.is_empty() || behind.starts_with([' ', '\t']);
    (is_name && is_end).then_some((key, behind))
}

/// A line's content, and the comment behind it.
fn without_comment(line: &str) -> (&str, &str) {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            // An apostrophe within a word quotes nothing.
            None if matches!(c, '\'' | '"') && matches!(before, ' ' | '[' | ',') => quote = Some(c),
            None if c == '#' && matches!(before, ' ' | '\t') => return (line[..at].trim_end(), &line[at..]),
            None => {}
        }
        before = c;
    }
    (line.trim_end(), "")
}

/// The items of a list in brackets. A comma within quotes or braces parts nothing.
fn items(list: &str) -> Vec<&str> {
    let (mut items, mut start, mut quote, mut braces) = (Vec::new(), 0, None, 0_u32);
    for (at, c) in list.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if list[start..at].trim().is_empty() => quote = Some(c),
            (None, '{') => braces += 1,
            (None, '}') => braces = braces.saturating_sub(1),
            (None, ',') if braces == 0 => {
                items.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items.push(list[start..].trim());
    items.retain(|item| !item.is_empty());
    items
}

fn quoted_where_needed(value: &str) -> String {
    let within = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    if let Some(text) = within('"').filter(|text| text.contains('\\')) {
        // In double quotes a backslash begins an escape, and Windows' paths are full of them.
        return single_quoted(&text.replace("\\\\", "\\"));
    }
    if value.is_empty() || within('"').is_some() || within('\'').is_some() {
        return value.to_owned();
    }
    let is_special =
        value.starts_with(['*', '&', '!', '@', '%', '`', '{', '[', '|', '>', '?', ',', '\'', '"']);
    let is_split =
        value.contains(": ") || value.contains(" #") || value.ends_with(':') || value.contains(['{', '[']);
    if is_special || is_split { single_quoted(value) } else { value.to_owned() }
}

fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_stand_where_yaml_needs_them() {
        for (line, right) in [
            ("exclude: [*.tmp, cache, 'a, b']  # temporary", "exclude: ['*.tmp', cache, 'a, b'] # temporary"),
            ("exclude: *.tmp", "exclude: '*.tmp'"),
            ("  - **/cache", "  - '**/cache'"),
            ("exclude: [!x, {a,b}.txt]", "exclude: ['!x', '{a,b}.txt']"),
            ("schedule: @daily", "schedule: '@daily'"),
            (r#"paths: ["C:\Users\ana"]"#, r"paths: ['C:\Users\ana']"),
            (r#"- "C:\\Users""#, r"- 'C:\Users'"),
            ("- Relatório: final", "- 'Relatório: final'"),
            ("paths: [%TEMP%, /a: b]", "paths: ['%TEMP%', '/a: b']"),
            ("\t- /tmp", "  - /tmp"),
            ("- [2024] it's", "- '[2024] it''s'"),
        ] {
            assert_eq!(corrected(line).as_deref(), Some(right), "{line}");
        }
        for line in
            ["policy_id: a", "paths: [/tmp, 'C:\\x']", "exclude: []", "", "# *", "schedule: \"0 2 * * *\""]
        {
            assert_eq!(corrected(line), None, "{line}");
        }
    }
}
