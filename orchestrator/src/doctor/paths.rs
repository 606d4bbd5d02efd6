//! The policy's folders: they are there, they can be read, how much they hold.
//!
//! The walk is the one of a backup. It opens no file: whether one may be read is asked of the system.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use intellistor_actors::source::{Excludes, SourceKind, Walk, Walked, make_roots};
use intellistor_storage::objects::StoreUrl;

use super::examination::Examination;
use super::finding::Finding;
use super::free_space;
use super::sizes::{bytes, counted};
use crate::error::Error;
use crate::operations::sources::own_folders;
use crate::policy::Policy;
use crate::system_files::system_files;

/// Files that are named; the rest is counted.
const NAMED: usize = 5;

/// What a walk has seen.
#[derive(Debug, Default)]
struct Walkthrough {
    files: u64,
    bytes: u64,
    /// What cannot be read, with the reason: the first few, and how many in all.
    unreadable: (Vec<String>, u64),
    /// Patterns that matched nothing.
    unmatched: Vec<String>,
    /// Whether it was ended by the time limit.
    is_cut: bool,
}

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let Some(policy) = examination.policy.clone() else { return Finding::skipped("there is no policy") };
    if let Err(error) = policy.check_overlap() {
        return Finding::of(&Error::Policy(error));
    }
    if let Err(error) = policy.check_paths() {
        return Finding::of(&Error::Policy(error)).for_now();
    }
    let missing = policy.missing_paths();
    let home = examination.subject.agent.as_ref().and_then(|agent| agent.home.clone().ok());
    let mut stores = Vec::new();
    if let Some(StoreUrl::Local(folder)) = &policy.store {
        stores.push(folder.clone());
    }
    stores.extend(examination.subject.copy_to.clone());
    let limit = examination.subject.count_for;
    let walked = tokio::task::spawn_blocking(move || walk(&policy, stores, home.as_deref(), limit)).await;
    let seen = match walked {
        Ok(Ok(seen)) => seen,
        Ok(Err(finding)) => return finding,
        Err(error) => return Finding::failed(format!("the paths could not be walked: {error}")),
    };
    examination.source_bytes = seen.bytes;
    said(&seen, &missing, limit)
}

fn walk(
    policy: &Policy,
    stores: Vec<PathBuf>,
    home: Option<&Path>,
    limit: Duration,
) -> Result<Walkthrough, Finding> {
    let began = Instant::now();
    let excludes = Excludes::new(&policy.exclude).map_err(|error| Finding::of(&Error::Pattern(error)))?;
    let own = own_folders(policy, stores, home).map_err(|error| Finding::of(&Error::Policy(error)))?;
    let excludes = excludes
        .and_system_files(system_files(policy))
        .and_folders(own)
        .one_file_system(policy.one_file_system);
    let excludes = excludes.and_caches(policy.exclude_caches);
    let mut seen = Walkthrough::default();
    for step in Walk::new(make_roots(&policy.paths), excludes.clone()) {
        if began.elapsed() >= limit {
            seen.is_cut = true;
            break;
        }
        let unreadable = match step {
            Err(error) => return Err(Finding::of_storage(error)),
            Ok(Walked::LeftOut { problem, .. }) => {
                Some(format!("{} ({})", problem.relative_path, problem.reason))
            }
            Ok(Walked::Entry(entry)) if entry.metadata.kind == SourceKind::File => {
                seen.files += 1;
                seen.bytes = seen.bytes.saturating_add(entry.metadata.size);
                let path = entry.source.as_path();
                free_space::may_read(path).err().map(|error| format!("{} ({error})", path.display()))
            }
            // Nothing is fetched to find out whether it could be.
            Ok(Walked::Entry(_) | Walked::InCloud(_)) => None,
        };
        if let Some(name) = unreadable {
            seen.unreadable.1 += 1;
            if seen.unreadable.0.len() < NAMED {
                seen.unreadable.0.push(name);
            }
        }
    }
    if !seen.is_cut {
        seen.unmatched = excludes.unmatched();
    }
    Ok(seen)
}

fn said(seen: &Walkthrough, missing: &[crate::policy::PolicyError], limit: Duration) -> Finding {
    let least = if seen.is_cut { "at least " } else { "" };
    let mut text = format!("{least}{}, {}", counted(seen.files, "file"), bytes(seen.bytes));
    if seen.is_cut {
        text += &format!(" (counted for {} s)", limit.as_secs());
    }
    if !missing.is_empty() {
        let all: Vec<_> = missing.iter().map(ToString::to_string).collect();
        return Finding::warning(format!("{text}; {}", all.join("; ")));
    }
    let (named, count) = &seen.unreadable;
    if *count > 0 {
        let more = count - named.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Finding::warning(format!(
            "{text}; this account cannot read {}: {}{more}",
            counted(*count, "entry").replace("entrys", "entries"),
            named.join(", ")
        ))
        .advise(
            "They will be missing from each backup, which then ends with exit code 3. Back up as another account (root, \
             SYSTEM), let this one read them, or name them in `exclude`",
        );
    }
    if !seen.is_cut && seen.files == 0 {
        return Finding::warning(format!("{text}: there is nothing to back up"))
            .advise("If a disk should be mounted there, mount it; else correct `paths` or `exclude`");
    }
    if let [first, rest @ ..] = &seen.unmatched[..] {
        let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
        return Finding::warning(format!("{text}; the pattern {first:?}{more} in `exclude` matched nothing"))
            .advise("Patterns are matched on the path below each of `paths`; correct it, or leave it out");
    }
    Finding::ok(text)
}
