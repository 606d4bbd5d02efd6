//! A policy from YAML. Errors name the file, the line and, where it can be guessed, the line that was meant.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use intellistor_telemetry::Escaped;
use serde_yaml::{Budget, Location, MergeKeyPolicy, MessageFormatter, Options};

use super::correction::corrected;
use super::definition::Policy;
use super::error::{PolicyError, PolicyLocation};
use super::masking::{MASK, masked, masked_message};
use crate::nearest::nearest;

/// Bounds memory when another file is named by mistake.
pub(super) const MOST_BYTES: usize = 1 << 20;

impl Policy {
    /// Reads a policy's file.
    ///
    /// # Errors
    /// [`PolicyError`], which names the file and, where it can, the line.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |source| PolicyError::Unreadable { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        // Opening a pipe waits for a writer, and reading a terminal for a person, which no scheduled run has.
        let kind = fs::metadata(path).map_err(unreadable)?;
        if !kind.is_file() {
            return Err(PolicyError::NotAFile { path: path.to_owned(), is_folder: kind.is_dir() });
        }
        let file = fs::File::open(path).map_err(unreadable)?;
        file.take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::from_yaml(path, &text),
            Err(_) => Err(PolicyError::NotUtf8 { path: path.to_owned() }),
        }
    }

    /// Reads a policy from text. `origin` names the text in errors. Touches neither disk nor environment.
    ///
    /// # Errors
    /// [`PolicyError`], with the line.
    pub fn from_yaml(origin: &Path, text: &str) -> Result<Self, PolicyError> {
        if text.len() > MOST_BYTES {
            return Err(PolicyError::TooLarge { path: origin.to_owned(), most_kib: MOST_BYTES >> 10 });
        }
        // Windows editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        serde_yaml::from_str_with_options(text, bounded()).map_err(|error| {
            let at = error.location().unwrap_or(Location::UNKNOWN);
            let at = PolicyLocation::new(origin.to_owned(), text, at.line(), at.column());
            let correction = correction(text, at.line, &error).map(|line| {
                // As the line that it replaces, which may only continue a secret.
                let is_secret = at.text.trim() == MASK;
                if is_secret { MASK.to_owned() } else { masked(&line) }
            });
            PolicyError::Invalid { at: Box::new(at), reason: reason(&error, text), correction }
        })
    }
}

/// The line that was probably meant where an error was found: with it the error is gone, or comes only later.
fn correction(text: &str, line: u64, error: &serde_yaml::Error) -> Option<String> {
    let line = usize::try_from(line).ok()?;
    let with = |line: usize, right: String| {
        let lines: Vec<_> = text
            .lines()
            .enumerate()
            .map(|(i, old)| if i + 1 == line { right.as_str() } else { old })
            .collect();
        let parsed = serde_yaml::from_str_with_options::<Policy>(&lines.join("\n"), bounded());
        let gone = match parsed {
            Ok(_) => true,
            Err(e) => e.location().is_some_and(|at| at.line() > line as u64 + 1),
        };
        gone.then_some(right)
    };
    let old = |line: usize| text.lines().nth(line.checked_sub(1)?);
    let renamed = old(line).and_then(|old| with(line, renamed(old, error)?));
    // A mistake in one line may be found only in the next.
    renamed.or_else(|| {
        [line, line.saturating_sub(1)].into_iter().find_map(|line| with(line, corrected(old(line)?)?))
    })
}

/// The line with the known name that is most like an unknown one.
fn renamed(line: &str, error: &serde_yaml::Error) -> Option<String> {
    use serde_yaml::Error as Yaml;
    let (unknown, known) = match error.without_snippet() {
        Yaml::SerdeUnknownField { field, expected, .. } => (field, expected),
        Yaml::SerdeUnknownVariant { variant, expected, .. } => (variant, expected),
        _ => return None,
    };
    let known = nearest(unknown, known.iter().copied())?;
    line.contains(unknown.as_str()).then(|| line.replacen(unknown.as_str(), known, 1))
}

/// A policy is five levels deep, in the mails of `notify`, and needs no anchors; a file that exceeds this is hostile or not a policy.
fn bounded() -> Options {
    let mut budget = Budget::default();
    budget.max_depth = 8;
    budget.flow_nesting_limit = 8;
    budget.max_aliases = 16;
    budget.max_anchors = 16;
    budget.max_documents = 1;
    budget.max_nodes = 50_000;
    budget.max_events = 200_000;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits.max_total_replayed_events = 1_000;
    options.merge_keys = MergeKeyPolicy::Error;
    options.with_snippet = false;
    options
}

fn reason(error: &serde_yaml::Error, text: &str) -> String {
    use serde_yaml::Error as Yaml;
    let error = error.without_snippet();
    match error {
        Yaml::SerdeUnknownField { field, expected, .. } => {
            format!("unknown field {:?}. Known fields: {}", masked(field), expected.join(", "))
        }
        Yaml::SerdeUnknownVariant { variant, expected, .. } => {
            format!("{:?} is not one of {}", masked(variant), expected.join(", "))
        }
        Yaml::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        Yaml::Unexpected { expected: "mapping start", location, .. } => {
            let line = usize::try_from(location.line()).unwrap_or(usize::MAX);
            format!("here belong fields and their values, as in {}", example(text, line))
        }
        // From `fields`, with the values quoted.
        Yaml::Message { msg, .. } => Escaped(masked_message(msg)).to_string(),
        _ => {
            let message = serde_yaml::UserMessageFormatter.format_message(error);
            let message = masked_message(&message).escape_debug().to_string();
            let in_double_quotes = message.contains("escape");
            let hint =
                ". In double quotes a backslash begins an escape: write Windows paths in single quotes";
            format!("{message}{}", if in_double_quotes { hint } else { "" })
        }
    }
}

/// What to write into the block that a line belongs to.
fn example(text: &str, line: usize) -> &'static str {
    const BLOCKS: [(&str, &str); 7] = [
        ("retention:", "`retention: { keep_daily: 7, keep_weekly: 5 }`"),
        ("lock:", "`lock: { mode: governance, days: 30 }`"),
        ("logs:", "`logs: { keep_days: 90 }`"),
        ("resume:", "`resume: { fresh_after: 6h }`"),
        ("notify:", "`notify: [{ url: 'https://hooks.example/backup' }]`"),
        ("hooks:", "`hooks: { before: [pg_dump, --file=/srv/dump/shop.sql, shop] }`"),
        ("limits:", "`limits: { upload: 10MiB }`"),
    ];
    let lines: Vec<_> = text.lines().take(line).collect();
    let begins_block = |line: &&&str| !line.starts_with([' ', '-', '#']) && !line.trim().is_empty();
    let block = lines.iter().rev().find(begins_block);
    let known = BLOCKS.iter().find(|(name, _)| block.is_some_and(|line| line.starts_with(name)));
    known.map_or("`policy_id: documents`, each in a line of its own", |(_, example)| example)
}
