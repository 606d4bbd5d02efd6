//! How an event's values are written, on the console and in a run's log alike.
//!
//! ```text
//! trying again attempt=2 store=s3://b path="a b" error=gone
//! ```
//! Every value passes through [`Escaped`]: none starts a line, moves the cursor or turns the text around. Text that
//! would run into its neighbours is quoted.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::escape::Escaped;

/// The message, then `name=value` for each other field.
pub(crate) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Values { writer, first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

/// Text as the value of a field.
pub(crate) struct Text<'t>(pub(crate) &'t str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = !self.0.is_empty() && !self.0.contains([' ', '"', '=']);
        if bare { Escaped(self.0).fmt(f) } else { Escaped(format_args!("{:?}", self.0)).fmt(f) }
    }
}

struct Values<'w> {
    writer: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

impl Values<'_> {
    fn put(&mut self, field: &Field, value: impl fmt::Display) {
        if self.result.is_err() {
            return;
        }
        let space = if std::mem::take(&mut self.first) { "" } else { " " };
        self.result = match field.name() {
            "message" => write!(self.writer, "{space}{}", Escaped(value)),
            name => write!(self.writer, "{space}{name}={}", Escaped(value)),
        };
    }
}

impl Visit for Values<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" { self.put(field, value) } else { self.put(field, Text(value)) }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn StdError + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            // Many errors repeat their cause in their own text.
            let reason = error.to_string();
            if !text.contains(&reason) {
                let _ = write!(text, ": {reason}");
            }
            cause = error.source();
        }
        self.put(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format_args!("{value:?}"));
    }
}
