//! The requests of healthchecks.io, which other monitors take, too: `/start` when a run begins, none when a backup was made,
//! `/fail` when there is none. The body is the summary, which is shown beside the check.

use super::event::Event;
use super::http::{Post, post};
use super::sender::Sender;
use super::text;
use crate::policy::{Occasion, Secret};

/// No event is a start. `failures`: which results are failures to the check.
pub(super) fn ping(
    sender: &Sender,
    url: &Secret,
    failures: &[Occasion],
    event: Option<&Event>,
) -> Result<(), String> {
    let url = sender.url(url, false)?;
    let suffix = match event {
        None => "/start",
        Some(event) if failures.contains(&event.occasion) => "/fail",
        Some(_) => "",
    };
    let body = event.map_or_else(String::new, text::body);
    let url = with_suffix(&url, suffix);
    post(
        sender,
        &Post { url: &url, content_type: "text/plain; charset=utf-8", token: None, body: body.as_bytes() },
    )
}

/// Before a query, if there is one.
fn with_suffix(url: &str, suffix: &str) -> String {
    let (path, query) = url.find('?').map_or((url, ""), |at| url.split_at(at));
    format!("{}{suffix}{query}", path.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_stays_last() {
        assert_eq!(with_suffix("https://hc-ping.com/0f1e", "/fail"), "https://hc-ping.com/0f1e/fail");
        assert_eq!(
            with_suffix("https://hc/ping/key/slug/?create=1", "/start"),
            "https://hc/ping/key/slug/start?create=1"
        );
        assert_eq!(with_suffix("https://hc/0f1e", ""), "https://hc/0f1e");
    }
}
