//! Fields of a policy, checked as they are read: an error from here carries the line and column of its value.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use intellistor_storage::objects::StoreUrl;
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::error::PolicyError;
use super::rules::{
    calendar, check_glob, check_id, check_keep_within, check_lock_days, check_path, check_prune_after,
    check_repeated, check_storage_class, parse_duration,
};
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
    let span = duration(from)?.unwrap_or(PRUNE_AFTER);
    check_prune_after(span).map_err(D::Error::custom)?;
    Ok(span)
}

/// A field without a value is no rule.
pub(super) fn count<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    Ok(number(from)?.unwrap_or_default())
}

/// Read as text: the reader of numbers does not say what is wrong with one.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u32>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let bad = |text: String| D::Error::custom(PolicyError::BadNumber { text });
    text.map(|text| text.trim().parse().map_err(|_| bad(text))).transpose()
}

pub(super) fn keep_within<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let span = duration(from)?;
    span.map_or(Ok(()), check_keep_within).map_err(D::Error::custom)?;
    Ok(span)
}

pub(super) fn timezone<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let zone = Option::<String>::deserialize(from)?;
    calendar(zone.as_deref()).map_err(D::Error::custom)?;
    Ok(zone)
}

pub(super) fn lock_days<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let days = number(from)?.unwrap_or_default();
    check_lock_days(days).map_err(D::Error::custom)?;
    Ok(days)
}

pub(super) fn storage_class<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let class = Option::<String>::deserialize(from)?;
    class.as_deref().map_or(Ok(()), check_storage_class).map_err(D::Error::custom)?;
    Ok(class)
}

pub(super) fn default_prune_after() -> Duration {
    PRUNE_AFTER
}

/// A time as people write it: `30d`, `6h`.
pub(super) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| parse_duration(&text)).transpose().map_err(D::Error::custom)
}

/// A field without a value has its default.
pub(super) fn keep_days<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    Ok(number(from)?.unwrap_or(KEEP_DAYS))
}

/// Last night's job does not replace tonight's backup.
pub(super) const FRESH_AFTER: Duration = Duration::from_secs(6 * 3600);
pub(super) const KEEP_DAYS: u32 = 90;
/// A week, and a day to notice it.
pub(crate) const PRUNE_AFTER: Duration = Duration::from_secs(8 * 24 * 3600);

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
