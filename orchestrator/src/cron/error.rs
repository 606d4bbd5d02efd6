//! Why a cron expression is refused.

/// Why an expression is refused, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CronError {
    /// Occurs when an expression does not have five fields and is not an `@word`.
    #[error(
        "{cron:?} is not a cron expression: {reason}. Write five fields, minute hour day-of-month month day-of-week, as in \"0 2 * * *\" (every night at two), or one of @hourly @daily @midnight @weekly @monthly @yearly @annually"
    )]
    NotCron {
        /// As given.
        cron: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Occurs when one field of an expression is wrong.
    #[error("{cron:?}: the {field} field {text:?} is wrong: {reason}. Allowed: {allowed}")]
    BadField {
        /// As given.
        cron: String,
        /// The field's name.
        field: &'static str,
        /// The field's text.
        text: String,
        /// What is wrong with it.
        reason: String,
        /// Bounds and examples.
        allowed: &'static str,
    },
    /// Occurs when cron implementations read an expression in different ways.
    #[error(
        "{cron:?} is ambiguous: with `{stepped}` and `{other}`, some cron implementations run when both days match, others when either does. For either, write the range: `{clear}`; cron has no way to ask for both"
    )]
    Ambiguous {
        /// As given.
        cron: String,
        /// The day field that begins with a star.
        stepped: String,
        /// The other restricted day field.
        other: String,
        /// `stepped` without the star.
        clear: String,
    },
    /// Occurs when no date ever matches.
    #[error("{cron:?} never runs: none of its months has a day {day}. Correct the day or the month")]
    Never {
        /// As given.
        cron: String,
        /// Its earliest day of the month.
        day: u8,
    },
}
