//! Answers from something that is not an S3 store: a network's login page, a proxy, a redirect, another program at the
//! endpoint.
//!
//! They say nothing of what the store holds, whatever their status: a page with 200 has stored nothing, and one with
//! 404 has looked for nothing. S3 answers in XML, and its own headers begin with `x-amz-`; compatible stores may lack the
//! headers, so each is judged by what it should have and has not.

use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_smithy_runtime_api::http::Headers;

use super::causes::one_line;

/// Longer ones carry tokens, which belong in no log.
const MOST_LOCATION: usize = 100;

const NETWORK: &str = "a proxy or the login page of a network";
/// XML that is none of S3's for the request, from a server that claims to have done what was asked.
const OTHER_FORM: &str =
    "a compatible one whose XML for this request has another form than S3's: look for a newer version of it";

/// An answer that is not S3's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotS3 {
    /// What it is instead.
    what: String,
    /// What it may be.
    perhaps: &'static str,
}

impl NotS3 {
    pub(super) fn of(raw: &HttpResponse) -> Self {
        let headers = raw.headers();
        let mut what = format!("HTTP status {}", raw.status().as_u16());
        for (name, before) in
            [("content-type", ", "), ("server", " from "), ("location", ", redirecting to ")]
        {
            if let Some(value) = headers.get(name) {
                let value = value.split(['?', '#', ';']).next().unwrap_or_default();
                let value: String = one_line(value).chars().take(MOST_LOCATION).collect();
                what += &format!("{before}{value}");
            }
        }
        let kind = headers.get("content-type").unwrap_or_default().to_ascii_lowercase();
        let is_xml = kind.starts_with("application/xml") || kind.starts_with("text/xml");
        let perhaps = if is_xml && raw.status().is_success() { OTHER_FORM } else { NETWORK };
        Self { what, perhaps }
    }

    /// An answer that lacks what S3 sends with it.
    pub(super) fn without(header: &str) -> Self {
        Self { what: format!("an answer without {header}"), perhaps: NETWORK }
    }
}

impl fmt::Display for NotS3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what answered is not an S3 store, but perhaps {} ({})", self.perhaps, self.what)
    }
}

impl std::error::Error for NotS3 {}

/// Whether headers are S3's own.
pub(super) fn is_s3(headers: &Headers) -> bool {
    headers.iter().any(|(name, _)| name.starts_with("x-amz-"))
}

/// Whether it is a web page, and not an object that was stored as one, nor an answer that says nothing: some servers
/// call that a page, too. What is stored is believed only with its `ETag`.
pub(super) fn is_page(status: u16, headers: &Headers) -> bool {
    let kind = headers.get("content-type").unwrap_or_default().to_ascii_lowercase();
    let is_empty = status == 204 || headers.get("content-length") == Some("0");
    (kind.starts_with("text/html") || kind.starts_with("application/xhtml")) && !is_empty && !is_s3(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_of_another_form_is_no_login_page() {
        for (status, kind, is_form) in [
            (200_u16, "application/xml", true),
            (200, "text/html", false),
            (403, "application/xml", false),
            (200, "application/xhtml+xml", false),
        ] {
            let mut raw = HttpResponse::new(status.try_into().unwrap(), "<ListPartsResponse/>".into());
            raw.headers_mut().insert("content-type", kind);
            let shown = NotS3::of(&raw).to_string();
            assert_eq!(shown.contains("another form"), is_form, "{status} {kind}: {shown}");
            assert_ne!(shown.contains("login page"), is_form, "{status} {kind}: {shown}");
        }
    }

    #[test]
    fn a_page_is_no_object() {
        let cases: [(&[(&'static str, &'static str)], bool); 6] = [
            (&[("content-type", "text/html; charset=utf-8")], true),
            (&[("content-type", "Text/HTML"), ("etag", "1"), ("content-length", "9")], true),
            (&[("content-type", "text/html"), ("content-length", "0")], false),
            (&[("content-type", "text/html"), ("x-amz-request-id", "1")], false),
            (&[("content-type", "application/xml")], false),
            (&[], false),
        ];
        for (lines, page) in cases {
            let mut headers = Headers::new();
            for (name, value) in lines {
                headers.insert(*name, *value);
            }
            assert_eq!(is_page(200, &headers), page, "{lines:?}");
            assert!(!is_page(204, &headers), "{lines:?}");
        }
    }
}
