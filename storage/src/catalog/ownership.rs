//! Which machine a policy belongs to in a store: `backups/<policy_id>/machine.json`.
//!
//! ```json
//! {"machine":"5e0c1f7a9b3d4c6e8f00112233445566","host":"db01","since":"2026-11-26T02:00:00Z","tool":"intellistor 0.1.0"}
//! ```
//! The first run of a policy writes it. Another machine that runs the same policy against the same store is refused
//! before it writes anything, until it takes the policy over. Readers need none of this.
//!
//! Law (must): of two machines that claim a policy at once, at most one continues. Where a store honours
//! [`PutOptions::if_absent`], it decides. Where it ignores the condition, the later object replaces the earlier one; each
//! claimant waits `SETTLING` and reads back whose is there in the end. [`confirm`] looks once more before a manifest.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::catalog::layout::machine_key;
use crate::error::{Error, Result};
use crate::objects::error::StoreErrorKind;
use crate::objects::options::PutOptions;
use crate::objects::store::{ObjectStore, ObjectStoreExt as _};

/// An owner's file has some 200 bytes.
const MOST_BYTES: u64 = 4 << 10;
/// Longest names of hosts and tools that are taken from a store.
const MOST_TEXT: usize = 256;
/// Between the look that found no owner and the put that follows it lie two requests; a claimant that has waited this
/// long sees whoever looked before it put.
const SETTLING: Duration = Duration::from_secs(2);
/// What a machine's own id is hashed with, as systemd's `sd_id128_get_machine_app_specific` does, so that it is not
/// published.
const APPLICATION: &[u8] = b"intellistor/v1/machine/";

/// A machine, as stores know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    id: String,
    host: String,
}

impl Machine {
    /// The machine with this system id (`/etc/machine-id`, `MachineGuid`), whose name is `host`.
    pub fn of_system(system_id: &str, host: impl Into<String>) -> Self {
        Self { id: hashed("system", system_id), host: host.into() }
    }

    /// A machine that has no id of its own and is known by its name.
    pub fn of_host(host: impl Into<String>) -> Self {
        let host = host.into();
        Self { id: hashed("host", &host), host }
    }

    /// Any machine that goes by this name: containers that come and go.
    pub fn named(name: impl Into<String>) -> Self {
        let host = name.into();
        Self { id: hashed("name", &host), host }
    }

    /// 16 bytes in hex; says nothing about what it was made from.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its name, for people.
    pub fn host(&self) -> &str {
        &self.host
    }
}

fn hashed(kind: &str, id: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(id.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(APPLICATION);
    mac.update(kind.as_bytes());
    hex::encode(&mac.finalize().into_bytes()[..16])
}

/// What `machine.json` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// [`Machine::id`].
    pub machine: String,
    /// [`Machine::host`].
    pub host: String,
    /// When it claimed the policy, in RFC 3339.
    pub since: String,
    /// Program and version that wrote it.
    pub tool: String,
}

impl Owner {
    fn new(machine: &Machine, tool: &str) -> Self {
        let since = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
        Self { machine: machine.id.clone(), host: machine.host.clone(), since, tool: tool.to_owned() }
    }

    fn encoded(&self) -> Result<Bytes> {
        let mut json = serde_json::to_vec(self).map_err(|e| Error::io("write", "machine.json")(e.into()))?;
        json.push(b'\n');
        Ok(json.into())
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > MOST_BYTES {
            return Err(format!("it is larger than {} KiB", MOST_BYTES >> 10));
        }
        let owner: Self = serde_json::from_slice(bytes).map_err(|e| format!("it cannot be read ({e})"))?;
        let is_id = owner.machine.len() == 32 && owner.machine.bytes().all(|b| b.is_ascii_hexdigit());
        let is_short = [&owner.host, &owner.tool].iter().all(|text| text.len() <= MOST_TEXT);
        if !is_id || !is_short || DateTime::parse_from_rfc3339(&owner.since).is_err() {
            return Err("it does not have the form in which this program writes it".to_owned());
        }
        Ok(owner)
    }
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The policy is this machine's.
    Owned,
    /// It is; but the machine of the same id that ran it before had another name: it was renamed, or one is a clone of
    /// the other.
    Renamed(Owner),
    /// It was another machine's until now, or it is not known whose.
    TakenOver(Option<Owner>),
}

/// What is found under an owner's key.
enum Found {
    Nothing,
    Owner(Owner),
    Unreadable(String),
    /// The store refuses to say: without the permission to list, a missing object is forbidden rather than missing.
    Forbidden(Error),
}

async fn find(store: &dyn ObjectStore, policy_id: &str) -> Result<Found> {
    match store.get_range(&machine_key(policy_id), 0..MOST_BYTES + 1).await {
        Ok(bytes) => Ok(Owner::decode(&bytes).map_or_else(Found::Unreadable, Found::Owner)),
        Err(Error::Store(error)) if error.kind == StoreErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) if is(&error, StoreErrorKind::AccessDenied) => Ok(Found::Forbidden(error)),
        Err(error) => Err(error),
    }
}

fn is(error: &Error, kind: StoreErrorKind) -> bool {
    matches!(error, Error::Store(store) if store.kind == kind)
}

/// The owner of a policy; `None` where no run has claimed it yet.
///
/// # Errors
/// Those of the store; [`Error::UnreadableOwner`].
pub async fn owner(store: &dyn ObjectStore, policy_id: &str) -> Result<Option<Owner>> {
    match find(store, policy_id).await? {
        Found::Nothing => Ok(None),
        Found::Owner(owner) => Ok(Some(owner)),
        Found::Unreadable(reason) => Err(unreadable(store, policy_id, reason)),
        Found::Forbidden(error) => Err(error),
    }
}

/// Makes sure that the policy is `machine`'s, before a run writes anything else. `take_over` takes it from another.
///
/// # Errors
/// Those of the store; [`Error::NotOwner`]; [`Error::UnreadableOwner`].
pub async fn claim(
    store: &dyn ObjectStore,
    policy_id: &str,
    machine: &Machine,
    tool: &str,
    take_over: bool,
) -> Result<Claim> {
    let key = machine_key(policy_id);
    let mine = Owner::new(machine, tool);
    let claimed = match find(store, policy_id).await? {
        Found::Owner(owner) if owner.machine == machine.id && owner.host == machine.host => {
            return Ok(Claim::Owned);
        }
        Found::Owner(owner) if owner.machine == machine.id => {
            let renamed = Owner { since: owner.since.clone(), ..mine };
            store.put(&key, renamed.encoded()?).await?;
            return Ok(Claim::Renamed(owner));
        }
        Found::Owner(owner) if !take_over => return Err(not_owner(store, policy_id, owner, machine)),
        Found::Unreadable(reason) if !take_over => return Err(unreadable(store, policy_id, reason)),
        Found::Owner(owner) => {
            replace(store, &key, &mine).await?;
            Claim::TakenOver(Some(owner))
        }
        Found::Unreadable(_) => {
            replace(store, &key, &mine).await?;
            Claim::TakenOver(None)
        }
        Found::Nothing => {
            put_first(store, &key, &mine, true).await?;
            Claim::Owned
        }
        Found::Forbidden(error) => {
            // A listing that is allowed says that only reading is not: then the object may be there.
            match store.list(&key, None).await {
                Ok(page) if page.objects.iter().any(|object| object.key == key) => return Err(error),
                _ => put_first(store, &key, &mine, false).await?,
            }
            Claim::Owned
        }
    };
    match find(store, policy_id).await? {
        Found::Owner(owner) if owner.machine == machine.id => Ok(claimed),
        Found::Owner(owner) => Err(not_owner(store, policy_id, owner, machine)),
        Found::Unreadable(reason) => Err(unreadable(store, policy_id, reason)),
        Found::Nothing => {
            Err(unreadable(store, policy_id, "the store does not return what was written there".to_owned()))
        }
        Found::Forbidden(error) => Err(error),
    }
}

/// Makes a policy in this store that of its owner in another store, where it has none here.
///
/// # Errors
/// Those of the store; [`Error::NotOwner`] when it became another's at the same moment; [`Error::UnreadableOwner`].
pub async fn adopt(store: &dyn ObjectStore, policy_id: &str, owner: &Owner) -> Result<()> {
    put_first(store, &machine_key(policy_id), owner, true).await?;
    match self::owner(store, policy_id).await? {
        Some(found) if found.machine == owner.machine => Ok(()),
        Some(Owner { host, since, .. }) => {
            let (policy_id, store, this_host) = (policy_id.to_owned(), store.url(), owner.host.clone());
            Err(Error::NotOwner { policy_id, store, host, since, this_host })
        }
        None => {
            Err(unreadable(store, policy_id, "the store does not return what was written there".to_owned()))
        }
    }
}

/// Puts the first owner. `is_missing`: the store has said that there is none.
async fn put_first(store: &dyn ObjectStore, key: &str, owner: &Owner, is_missing: bool) -> Result<()> {
    let body = owner.encoded()?;
    let only_if_absent = PutOptions::if_absent();
    match store.put_with(key, body.clone(), &only_if_absent).await {
        Ok(()) => {}
        // Another machine's, or our own whose answer was lost: what is there decides.
        Err(error) if is(&error, StoreErrorKind::AlreadyExists) => return Ok(()),
        // It knows no conditions.
        Err(error) if knows_no_conditions(&error) && is_missing => return replace(store, key, owner).await,
        Err(error) => return Err(error),
    }
    match store.put_with(key, body, &only_if_absent).await {
        Err(error) if is(&error, StoreErrorKind::AlreadyExists) => Ok(()),
        Err(error) => Err(error),
        // A store that takes it twice has ignored the condition both times.
        Ok(()) => {
            tokio::time::sleep(SETTLING).await;
            Ok(())
        }
    }
}

fn knows_no_conditions(error: &Error) -> bool {
    is(error, StoreErrorKind::Rejected) || is(error, StoreErrorKind::Unsupported)
}

async fn replace(store: &dyn ObjectStore, key: &str, owner: &Owner) -> Result<()> {
    store.put(key, owner.encoded()?).await?;
    tokio::time::sleep(SETTLING).await;
    Ok(())
}

/// Makes sure that the policy is still `machine`'s. One without an owner may be used: the person who removed the owner's file
/// has decided so.
///
/// # Errors
/// Those of the store; [`Error::NotOwner`]; [`Error::UnreadableOwner`].
pub async fn confirm(store: &dyn ObjectStore, policy_id: &str, machine: &Machine) -> Result<()> {
    match owner(store, policy_id).await? {
        Some(owner) if owner.machine != machine.id => Err(not_owner(store, policy_id, owner, machine)),
        _ => Ok(()),
    }
}

fn not_owner(store: &dyn ObjectStore, policy_id: &str, owner: Owner, machine: &Machine) -> Error {
    let Owner { host, since, .. } = owner;
    let (policy_id, store, this_host) = (policy_id.to_owned(), store.url(), machine.host.clone());
    Error::NotOwner { policy_id, store, host, since, this_host }
}

fn unreadable(store: &dyn ObjectStore, policy_id: &str, reason: String) -> Error {
    Error::UnreadableOwner { key: machine_key(policy_id), store: store.url(), reason }
}

// They move a clock that tests for Windows are built without: see Cargo.toml.
#[cfg(all(test, not(windows)))]
mod tests;
