//! The YAML of a policy, both ways.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use intellistor_storage::archive::Compression;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::{Budget, Location, MergeKeyPolicy, MessageFormatter, Options, Spanned};

use super::correction::corrected;
use super::{
    LogPolicy, Policy, Result, ResumePolicy, check_duration, check_glob, check_id, check_path,
    check_repeated, check_schedule, check_store,
};
use crate::policy::error::{Place, PolicyError};

/// A policy's members as they stand in the text.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    policy_id: Spanned<String>,
    paths: Spanned<List>,
    #[serde(default)]
    schedule: Option<Spanned<String>>,
    #[serde(default)]
    exclude: Option<Spanned<List>>,
    #[serde(default)]
    compression: Compression,
    #[serde(default)]
    store: Option<Spanned<String>>,
    #[serde(default)]
    resume: ResumeDocument,
    #[serde(default)]
    logs: LogDocument,
    #[serde(default)]
    one_file_system: bool,
    #[serde(default)]
    exclude_caches: bool,
}

/// Texts, as a list, or one alone without the brackets. What is left empty is an empty list.
#[derive(Default)]
struct List(Vec<Spanned<String>>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;

        impl<'de> Visitor<'de> for Texts {
            type Value = List;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of texts, as in ['one', 'another']")
            }

            fn visit_unit<E: de::Error>(self) -> Result<List, E> {
                Ok(List::default())
            }

            fn visit_none<E: de::Error>(self) -> Result<List, E> {
                Ok(List::default())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<List, E> {
                // Its place is that of the list.
                Ok(List(vec![Spanned {
                    value: text.to_owned(),
                    referenced: Location::UNKNOWN,
                    defined: Location::UNKNOWN,
                }]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<List, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(List(list))
            }
        }

        deserializer.deserialize_any(Texts)
    }
}

/// A list's texts, each with its place.
fn texts(list: Spanned<List>) -> impl Iterator<Item = (String, Location)> {
    let Spanned { value: List(items), referenced: whole, .. } = list;
    items.into_iter().map(move |item| {
        let at = if item.referenced == Location::UNKNOWN { whole } else { item.referenced };
        (item.value, at)
    })
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
        let at = place(e.location().unwrap_or(Location::UNKNOWN));
        let correction = correction(text, at.line);
        PolicyError::Yaml { at, reason: reason(&e), correction }
    })?;
    let at = |at: Location| move |error| PolicyError::At { at: place(at), error: Box::new(error) };

    let Document { policy_id, paths, schedule, exclude, compression, store, resume, logs, .. } = document;
    check_id(&policy_id.value).map_err(at(policy_id.referenced))?;
    let (all_paths, mut read) = (paths.referenced, Vec::new());
    for (path, place) in texts(paths) {
        let path = PathBuf::from(path);
        check_path(&path).and_then(|()| check_repeated(&path, &read)).map_err(at(place))?;
        read.push(path);
    }
    if read.is_empty() {
        return Err(at(all_paths)(PolicyError::NoPaths));
    }
    let mut globs = Vec::new();
    for (glob, place) in exclude.into_iter().flat_map(texts) {
        check_glob(&glob).map_err(at(place))?;
        globs.push(glob);
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
        paths: read,
        schedule: schedule.map(|schedule| schedule.value),
        exclude: globs,
        compression,
        store,
        resume,
        logs,
        one_file_system: document.one_file_system,
        exclude_caches: document.exclude_caches,
    })
}

/// The line that was meant where YAML found an error, if with it there is none, or none before the lines that follow.
fn correction(text: &str, line: u64) -> Option<String> {
    let line = usize::try_from(line).ok()?;
    // What is wrong with a line may show only in the next one.
    [line, line.saturating_sub(1)].into_iter().filter(|&line| line > 0).find_map(|line| {
        let right = corrected(text.lines().nth(line - 1)?)?;
        let lines: Vec<_> = text
            .lines()
            .enumerate()
            .map(|(i, old)| if i + 1 == line { right.as_str() } else { old })
            .collect();
        let parsed = serde_yaml::from_str_with_options::<Document>(&lines.join("\n"), bounded());
        let gone = match parsed {
            Ok(_) => true,
            Err(e) => e.location().is_some_and(|at| at.line() > line as u64 + 1),
        };
        gone.then_some(right)
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
            format!("unknown field {field:?}. Known fields: {}", expected.join(", "))
        }
        Yaml::SerdeUnknownVariant { variant, expected, .. } => {
            format!("{variant:?} is not one of {}", expected.join(", "))
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
    for (field, is_set) in
        [("one_file_system", policy.one_file_system), ("exclude_caches", policy.exclude_caches)]
    {
        if is_set {
            let _ = writeln!(yaml, "{field}: true");
        }
    }
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
