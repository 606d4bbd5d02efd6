//! Fields of a policy, checked as they are read: an error from here carries the line and column of its value.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use intellistor_storage::objects::StoreUrl;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::PolicyError;
use super::rules::{check_glob, check_id, check_path, check_repeated};
use crate::cron::Cron;

pub(super) fn policy_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let id = String::deserialize(from)?;
    check_id(&id).map_err(D::Error::custom)?;
    Ok(id)
}

pub(super) fn paths<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    let mut paths = Vec::new();
    from.deserialize_any(OneOrMany(|text: String| {
        let path = PathBuf::from(text);
        check_path(&path)?;
        check_repeated(&path, &paths)?;
        paths.push(path);
        Ok(())
    }))?;
    if paths.is_empty() { Err(D::Error::custom(PolicyError::NoPaths)) } else { Ok(paths) }
}

pub(super) fn globs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let mut globs = Vec::new();
    from.deserialize_any(OneOrMany(|glob: String| {
        check_glob(&glob)?;
        globs.push(glob);
        Ok(())
    }))?;
    Ok(globs)
}

pub(super) fn schedule<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let schedule = Option::<String>::deserialize(from)?;
    let checked = schedule.as_deref().map(Cron::parse).transpose();
    checked.map_err(PolicyError::from).map_err(D::Error::custom)?;
    Ok(schedule)
}

pub(super) fn store<'de, D: Deserializer<'de>>(from: D) -> Result<Option<StoreUrl>, D::Error> {
    let url = Option::<String>::deserialize(from)?;
    url.map(|url| StoreUrl::parse(&url)).transpose().map_err(D::Error::custom)
}

/// A field without a value has its default.
pub(super) fn fresh_after<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Ok(duration(from)?.unwrap_or(FRESH_AFTER))
}

/// A field without a value has its default.
pub(super) fn prune_after<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Ok(duration(from)?.unwrap_or(PRUNE_AFTER))
}

pub(super) fn default_prune_after() -> Duration {
    PRUNE_AFTER
}

/// A time as people write it: `30d`, `6h`.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| {
        humantime::parse_duration(&text)
            .map_err(|error| PolicyError::BadDuration { text, reason: error.to_string() })
            .map_err(D::Error::custom)
    })
    .transpose()
}

/// A field without a value has its default.
pub(super) fn keep_days<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(KEEP_DAYS))
}

/// Last night's job does not replace tonight's backup.
pub(super) const FRESH_AFTER: Duration = Duration::from_secs(6 * 3600);
pub(super) const KEEP_DAYS: u32 = 90;
/// A week, and a day to notice it.
pub(super) const PRUNE_AFTER: Duration = Duration::from_secs(8 * 24 * 3600);

/// A list of texts, or one text without brackets, each handed to a function. No value is an empty list.
struct OneOrMany<F>(F);

impl<'de, F: FnMut(String) -> Result<(), PolicyError>> Visitor<'de> for OneOrMany<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of strings, as in ['one', 'another']")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(mut self, text: &str) -> Result<(), E> {
        (self.0)(text.to_owned()).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Item(&mut self.0))?.is_some() {}
        Ok(())
    }
}

/// One text of a list. It is checked here, while the deserializer knows its place.
struct Item<'f, F>(&'f mut F);

impl<'de, F: FnMut(String) -> Result<(), PolicyError>> DeserializeSeed<'de> for Item<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        (self.0)(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
