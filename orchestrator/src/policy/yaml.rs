//! The YAML of a policy, both ways.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use intellistor_storage::archive::Compression;
use serde::Deserialize;
use serde_yaml::{Budget, Location, MergeKeyPolicy, MessageFormatter, Options, Spanned};

use super::{
    LogPolicy, Place, Policy, PolicyError, Result, ResumePolicy, check_duration, check_glob, check_id,
    check_path, check_schedule, check_store,
};

/// A policy's members as they stand in the text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    policy_id: Spanned<String>,
    paths: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    schedule: Option<Spanned<String>>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
    #[serde(default)]
    compression: Compression,
    #[serde(default)]
    store: Option<Spanned<String>>,
    #[serde(default)]
    resume: ResumeDocument,
    #[serde(default)]
    logs: LogDocument,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeDocument {
    fresh_after: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogDocument {
    keep_days: Option<u32>,
}

pub(super) fn parse(origin: &Path, text: &str) -> Result<Policy> {
    // Windows editors begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let place = |at: Location| Box::new(Place::new(origin.to_owned(), text, at.line(), at.column()));
    let document: Document = serde_yaml::from_str_with_options(text, bounded()).map_err(|e| {
        PolicyError::Yaml { at: place(e.location().unwrap_or(Location::UNKNOWN)), reason: reason(&e) }
    })?;
    let at = |at: Location| move |error| PolicyError::At { at: place(at), error: Box::new(error) };

    let Document { policy_id, paths, schedule, exclude, compression, store, resume, logs } = document;
    check_id(&policy_id.value).map_err(at(policy_id.referenced))?;
    if paths.value.is_empty() {
        return Err(at(paths.referenced)(PolicyError::NoPaths));
    }
    for path in &paths.value {
        check_path(Path::new(&path.value)).map_err(at(path.referenced))?;
    }
    for glob in &exclude {
        check_glob(&glob.value).map_err(at(glob.referenced))?;
    }
    if let Some(schedule) = &schedule {
        check_schedule(&schedule.value).map_err(at(schedule.referenced))?;
    }
    let store = store.map(|url| check_store(&url.value).map_err(at(url.referenced))).transpose()?;
    let fresh_after = resume.fresh_after;
    let fresh_after =
        fresh_after.map(|span| check_duration(&span.value).map_err(at(span.referenced))).transpose()?;
    let resume = fresh_after.map_or_else(ResumePolicy::default, |fresh_after| ResumePolicy { fresh_after });
    let logs = logs.keep_days.map_or_else(LogPolicy::default, |keep_days| LogPolicy { keep_days });
    Ok(Policy {
        policy_id: policy_id.value,
        paths: paths.value.into_iter().map(|path| PathBuf::from(path.value)).collect(),
        schedule: schedule.map(|schedule| schedule.value),
        exclude: exclude.into_iter().map(|glob| glob.value).collect(),
        compression,
        store,
        resume,
        logs,
    })
}

/// A policy is two levels deep and needs no anchors: whatever asks for more is not one.
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

fn reason(error: &serde_yaml::Error) -> String {
    use serde_yaml::Error as Yaml;
    let error = error.without_snippet();
    match error {
        Yaml::SerdeUnknownField { field, expected, .. } => {
            format!("unknown field {field:?}. Known here are {}", expected.join(", "))
        }
        Yaml::SerdeUnknownVariant { variant, expected, .. } => {
            format!("{variant:?} is none of {}", expected.join(", "))
        }
        Yaml::SerdeMissingField { field, .. } => format!("`{field}` is missing"),
        _ => {
            let told = serde_yaml::UserMessageFormatter.format_message(error).escape_debug().to_string();
            let in_double_quotes = told.contains("escape");
            let hint =
                ". In double quotes a backslash begins an escape: write Windows paths in single quotes";
            format!("{told}{}", if in_double_quotes { hint } else { "" })
        }
    }
}

pub(super) fn write(policy: &Policy) -> String {
    let list =
        |texts: &mut dyn Iterator<Item = String>| format!("[{}]", texts.collect::<Vec<_>>().join(", "));
    let paths = list(&mut policy.paths.iter().map(|path| quoted(&path.to_string_lossy())));
    let exclude = list(&mut policy.exclude.iter().map(|glob| quoted(glob)));
    let compression = match policy.compression {
        Compression::Fast => "fast",
        Compression::Balanced => "balanced",
        Compression::Best => "best",
    };
    let mut yaml = format!("policy_id: {}\npaths: {paths}\n", plain_or_quoted(&policy.policy_id));
    // Writing to a String cannot fail.
    let _ = match &policy.schedule {
        Some(schedule) => writeln!(yaml, "schedule: {}", double_quoted(schedule)),
        None => writeln!(yaml, "# schedule: \"0 2 * * *\""),
    };
    let _ = writeln!(yaml, "{:<26} # globs on relative_path", format!("exclude: {exclude}"));
    let _ = writeln!(yaml, "{:<26} # fast | balanced | best", format!("compression: {compression}"));
    let _ = match &policy.store {
        Some(store) => writeln!(yaml, "store: {}", quoted(&store.to_string())),
        None => {
            writeln!(yaml, "# store: s3://bucket/prefix or file:///mnt/nas; default from the environment")
        }
    };
    // What most policies leave alone is not worth a line.
    if policy.resume != ResumePolicy::default() {
        let fresh_after = humantime::format_duration(policy.resume.fresh_after).to_string();
        let _ = writeln!(yaml, "resume: {{ fresh_after: {} }}", quoted(&fresh_after));
    }
    if policy.logs != LogPolicy::default() {
        let _ = writeln!(yaml, "logs: {{ keep_days: {} }}", policy.logs.keep_days);
    }
    yaml
}

/// A name that YAML would take for a number, a truth value or nothing needs quotes.
fn plain_or_quoted(policy_id: &str) -> String {
    const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = policy_id.starts_with(|c: char| c.is_ascii_alphabetic())
        && !RESERVED.contains(&policy_id.to_ascii_lowercase().as_str());
    if plain { policy_id.to_owned() } else { quoted(policy_id) }
}

/// Single quotes keep backslashes and accents as they are; only what they cannot hold is escaped.
fn quoted(text: &str) -> String {
    let fits = |c: char| {
        !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    if text.chars().all(fits) { format!("'{}'", text.replace('\'', "''")) } else { double_quoted(text) }
}

fn double_quoted(text: &str) -> String {
    let mut yaml = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(yaml, "\\{c}"),
            ' '..='~' => write!(yaml, "{c}"),
            _ => write!(yaml, "\\U{:08x}", u32::from(c)),
        };
    }
    yaml + "\""
}
