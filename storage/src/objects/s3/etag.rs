//! Entity tags, as stores write them.

/// One form for what stores write with quotes, without them, or as a weak tag.
pub(super) fn quoted(etag: Option<&str>) -> String {
    let etag = etag.unwrap_or_default().trim();
    let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    if etag.is_empty() { String::new() } else { format!("\"{etag}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_the_same_in_every_form() {
        for etag in ["abc-1", "\"abc-1\"", "W/\"abc-1\"", " abc-1 "] {
            assert_eq!(quoted(Some(etag)), "\"abc-1\"");
        }
        assert_eq!((quoted(None), quoted(Some("\"\""))), (String::new(), String::new()));
    }
}
