//! Which backup a person means: a key, the beginning of an id or of a timestamp, the newest, the newest at some time.
//!
//! **In:** a word of the command line, and the catalog. **Out:** one [`BackupName`]. **Guarantee:** a word that more than one
//! backup answers to is refused, and never resolved by order: what is forgotten or restored is what was meant. A whole key needs
//! no request. Nothing is written, and nothing is kept between two calls.
//!
//! | word | backup |
//! | --- | --- |
//! | `backups/<policy>/<timestamp>/<id>/backup.tar.gz.enc` | that one, forgotten or not, if it is of that policy |
//! | `019f9d3e`, at least 4 characters | whose id or timestamp begins so, forgotten or not |
//! | `20261126T050000Z`, or its beginning | the same |
//! | `latest`, `latest~2` | the newest; two before it |
//! | a time ([`parse_time`]) | the newest that there was at that time |
//!
//! `latest~N` and times count neither forgotten backups nor those dated in the future, as [`Catalog::latest`] does not.

pub(crate) mod error;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, Local, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use intellistor_storage::catalog::contents::Contents;
use intellistor_storage::catalog::layout::{BackupName, TIMESTAMP};
use intellistor_storage::keys::OpensBackups;

use self::error::{BadSelector, FEWEST_CHARACTERS, SelectionError};
use crate::catalog::Catalog;
use crate::error::{Error, Result};

/// Candidates that an error names.
const MOST_NAMED: usize = 10;

/// Which of a policy's backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupSelector {
    /// The one with this key.
    Key(BackupName),
    /// The one whose id or timestamp begins so, without regard to case.
    Prefix(String),
    /// So many before the newest.
    Latest(usize),
    /// The newest that there was at that time.
    At(DateTime<Utc>),
}

impl FromStr for BackupSelector {
    type Err = BadSelector;

    fn from_str(text: &str) -> Result<Self, BadSelector> {
        if let Some(name) = BackupName::from_archive_key(text) {
            return Ok(Self::Key(name));
        }
        if let Some(name) = BackupName::from_manifest_key(text) {
            return Err(BadSelector::Manifest { given: text.to_owned(), archive: name.archive_key() });
        }
        if text.contains(['/', '\\', ':']) {
            return Err(BadSelector::Key(text.to_owned()));
        }
        let lower = text.to_ascii_lowercase();
        if let Some(back) = lower.strip_prefix("latest") {
            let unknown = || BadSelector::Unknown(text.to_owned());
            return match back.strip_prefix('~') {
                None if back.is_empty() => Ok(Self::Latest(0)),
                Some(number) if number.bytes().all(|b| b.is_ascii_digit()) => {
                    number.parse().map(Self::Latest).map_err(|_| unknown())
                }
                _ => Err(unknown()),
            };
        }
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(BadSelector::Unknown(text.to_owned()));
        }
        if text.len() < FEWEST_CHARACTERS {
            return Err(BadSelector::Short(text.to_owned()));
        }
        Ok(Self::Prefix(lower))
    }
}

impl fmt::Display for BackupSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(name) => f.write_str(&name.archive_key()),
            Self::Prefix(text) => f.write_str(text),
            Self::Latest(0) => f.write_str("latest"),
            Self::Latest(back) => write!(f, "latest~{back}"),
            Self::At(time) => f.write_str(&local(*time)),
        }
    }
}

/// Reads a time as a person writes it. A date means its end, and a time without seconds the end of its minute: what a list shows
/// selects the backup that it shows. Without a zone it is this machine's time.
///
/// # Errors
/// [`BadSelector::Time`].
pub fn parse_time(text: &str) -> Result<DateTime<Utc>, BadSelector> {
    parse_time_in(&Local, text)
}

fn parse_time_in<Z: TimeZone>(zone: &Z, text: &str) -> Result<DateTime<Utc>, BadSelector> {
    let text = text.trim();
    let bad = || BadSelector::Time(text.to_owned());
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, TIMESTAMP) {
        return Ok(time.and_utc());
    }
    let to_its_end = |minute: DateTime<Utc>| minute + TimeDelta::seconds(59);
    for form in ["%Y-%m-%d %H:%M %:z", "%Y-%m-%dT%H:%M%:z"] {
        if let Ok(time) = DateTime::parse_from_str(text, form) {
            return Ok(to_its_end(time.to_utc()));
        }
    }
    for form in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return at_local(zone, time).ok_or_else(bad);
        }
    }
    for form in ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return at_local(zone, time).map(to_its_end).ok_or_else(bad);
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| bad())?;
    let next = date.checked_add_days(Days::new(1)).and_then(|next| next.and_hms_opt(0, 0, 0));
    let next = next.and_then(|next| at_local(zone, next)).ok_or_else(bad)?;
    Ok(next - TimeDelta::seconds(1))
}

/// A time of the zone's clocks: the later one where they show it twice, the same distance after the jump where they never do.
fn at_local<Z: TimeZone>(zone: &Z, time: NaiveDateTime) -> Option<DateTime<Utc>> {
    if let Some(found) = zone.from_local_datetime(&time).latest() {
        return Some(found.to_utc());
    }
    // Clocks jump by an hour almost everywhere; by the offset before the jump it is the moment that was meant.
    let before = zone.from_local_datetime(&(time - TimeDelta::hours(3))).latest()?;
    Some(before.to_utc() + TimeDelta::hours(3))
}

/// As people read it.
fn local(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M %:z").to_string()
}

fn local_to_seconds(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z").to_string()
}

fn local_of(name: &BackupName) -> String {
    crate::clock::parse(&name.timestamp).map_or_else(|| name.timestamp.clone(), local)
}

impl Catalog {
    /// The backup that a selector means, among those of a policy that have a manifest.
    ///
    /// # Errors
    /// [`Error::NoBackup`]; [`Error::OtherPolicy`]; [`Error::Selection`]; those of the store.
    pub async fn select(
        &self,
        policy_id: &str,
        keys: &dyn OpensBackups,
        selector: &BackupSelector,
    ) -> Result<BackupName> {
        match selector {
            BackupSelector::Key(name) => Ok(name.clone()),
            BackupSelector::Latest(0) => self.latest(policy_id, keys).await,
            BackupSelector::Prefix(prefix) => {
                let contents = self.contents(policy_id).await?;
                let names = contents.backups().map(|backup| backup.name).collect();
                self.begins(policy_id, prefix, names, &contents)
            }
            BackupSelector::Latest(_) | BackupSelector::At(_) => {
                let contents = self.contents(policy_id).await?;
                let (mut passed, mut oldest) = (0, None);
                for name in self.in_order(&contents) {
                    let Ranked::Candidate = rank(selector, &name, passed) else {
                        // One too many to skip, or too new: only whether it counts is of interest.
                        if !self.is_forgotten(&contents, &name, keys).await? {
                            passed += 1;
                            oldest = Some(name);
                        }
                        continue;
                    };
                    if !self.is_forgotten(&contents, &name, keys).await? {
                        return Ok(name);
                    }
                }
                Err(self.out_of_reach(policy_id, selector, passed, oldest, contents.orphans().count()))
            }
        }
    }

    /// As [`select`](Self::select), among archives, with or without a manifest, forgotten or not: no key is needed.
    ///
    /// # Errors
    /// Those of [`select`](Self::select).
    pub async fn select_archive(&self, policy_id: &str, selector: &BackupSelector) -> Result<BackupName> {
        match selector {
            BackupSelector::Key(name) => Ok(name.clone()),
            BackupSelector::Latest(0) => self.latest_archive(policy_id).await,
            BackupSelector::Prefix(prefix) => {
                let contents = self.contents(policy_id).await?;
                self.begins(policy_id, prefix, contents.archives().cloned().collect(), &contents)
            }
            BackupSelector::Latest(_) | BackupSelector::At(_) => {
                let contents = self.contents(policy_id).await?;
                let names = self.newest_first(contents.archives().cloned().collect());
                let found = names
                    .iter()
                    .enumerate()
                    .find(|(passed, name)| matches!(rank(selector, name, *passed), Ranked::Candidate));
                if let Some((_, name)) = found {
                    return Ok(name.clone());
                }
                Err(self.out_of_reach(policy_id, selector, names.len(), names.last().cloned(), 0))
            }
        }
    }

    /// The only one of `names` whose id or timestamp begins so.
    fn begins(
        &self,
        policy_id: &str,
        prefix: &str,
        names: Vec<BackupName>,
        contents: &Contents,
    ) -> Result<BackupName> {
        let begins = |text: &str| {
            text.get(..prefix.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
        };
        let matches = |name: &BackupName| begins(&name.backup_id) || begins(&name.timestamp);
        let mut found: Vec<_> = names.into_iter().filter(matches).collect();
        // An id may be the beginning of another one.
        if let Some(whole) = found.iter().position(|name| name.backup_id.eq_ignore_ascii_case(prefix)) {
            return Ok(found.swap_remove(whole));
        }
        let error = match found.len() {
            1 => return Ok(found.swap_remove(0)),
            0 => SelectionError::NoneBegins {
                prefix: prefix.to_owned(),
                policy_id: policy_id.to_owned(),
                store: self.url(),
                is_archive: contents.archives().any(matches),
            },
            count => {
                let shown = |name: &BackupName| format!("{}  {}", local_of(name), name.archive_key());
                let mut candidates: Vec<_> = found.iter().rev().take(MOST_NAMED).map(shown).collect();
                if count > MOST_NAMED {
                    candidates.push(format!("and {} more", count - MOST_NAMED));
                }
                SelectionError::Ambiguous { prefix: prefix.to_owned(), count, candidates }
            }
        };
        Err(error.into())
    }

    /// Why none of `count` backups was selected; the last of them is `oldest`.
    fn out_of_reach(
        &self,
        policy_id: &str,
        selector: &BackupSelector,
        count: usize,
        oldest: Option<BackupName>,
        orphans: usize,
    ) -> Error {
        let (policy_id, store) = (policy_id.to_owned(), self.url());
        match (selector, oldest) {
            (_, None) => Error::NoBackup { policy_id, store, orphans },
            (BackupSelector::At(time), Some(oldest)) => {
                let (key, mut shown, mut of_oldest) = (oldest.archive_key(), local(*time), local_of(&oldest));
                if let Some(made) = crate::clock::parse(&oldest.timestamp).filter(|_| shown == of_oldest) {
                    // They differ in their seconds alone.
                    (shown, of_oldest) = (local_to_seconds(*time), local_to_seconds(made));
                }
                SelectionError::TooEarly { time: shown, oldest: of_oldest, key, policy_id, store }.into()
            }
            (BackupSelector::Latest(back), Some(_)) => {
                SelectionError::TooFar { back: *back, count, policy_id, store }.into()
            }
            (BackupSelector::Key(_) | BackupSelector::Prefix(_), Some(_)) => {
                Error::NoBackup { policy_id, store, orphans }
            }
        }
    }
}

/// That the backup is the policy's own. A full key selects any backup of the store, to be read; what is said about one, and a
/// restore in place, which would go over the files of the other policy, ask this first.
///
/// # Errors
/// [`Error::OtherPolicy`].
pub fn check_policy(name: &BackupName, policy_id: &str) -> Result<()> {
    if name.policy_id == policy_id {
        return Ok(());
    }
    let (key, found, policy_id) = (name.archive_key(), name.policy_id.clone(), policy_id.to_owned());
    Err(Error::OtherPolicy { key, found, policy_id })
}

/// Whether a backup may be the one, when so many newer ones that count have been passed.
enum Ranked {
    Candidate,
    Passed,
}

fn rank(selector: &BackupSelector, name: &BackupName, passed: usize) -> Ranked {
    let is_candidate = match selector {
        BackupSelector::Latest(back) => passed >= *back,
        BackupSelector::At(time) => name.timestamp <= time.format(TIMESTAMP).to_string(),
        BackupSelector::Key(_) | BackupSelector::Prefix(_) => true,
    };
    if is_candidate { Ranked::Candidate } else { Ranked::Passed }
}

#[cfg(test)]
mod tests;
