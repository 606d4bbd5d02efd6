//! A POST with the event as JSON. Its member `text` is the summary, which Slack, Mattermost and Google Chat show.

use super::event::Event;
use super::http::{Post, post as send};
use super::sender::Sender;
use crate::policy::{Secret, Variable};

pub(super) fn post(
    sender: &Sender,
    url: &Secret,
    token: Option<&Variable>,
    event: &Event,
) -> Result<(), String> {
    let url = sender.url(url, token.is_some())?;
    let token = token.map(|token| sender.secret(token)).transpose()?;
    let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
    send(
        sender,
        &Post {
            url: &url,
            content_type: "application/json",
            token: token.as_ref().map(|token| token.as_str()),
            body: &body,
        },
    )
}
