#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join;

use super::*;
use crate::objects::faulty::{Fault, Faulty, Operation};
use crate::objects::memory::MemoryStore;
use crate::objects::retry::{Retry, RetryPolicy};
use crate::objects::store::SharedStore;
use crate::objects::upload::{PartReceipt, Upload};

const TOOL: &str = "intellistor test";

fn machine(name: &str) -> Machine {
    Machine::named(name)
}

async fn claimed(store: &dyn ObjectStore, name: &str, take_over: bool) -> Result<Claim> {
    claim(store, "p", &machine(name), TOOL, take_over).await
}

/// As NetApp StorageGRID: a condition is taken and not kept.
#[derive(Debug)]
struct Unconditional {
    store: MemoryStore,
}

#[async_trait]
impl ObjectStore for Unconditional {
    crate::forward!(store: url folders capabilities now_ms prepare head list delete begin_with put_part list_parts);
    crate::forward!(store: last_part_ms composite list_uploads abort_upload);
    crate::forward!(store: erase attributes retain set_legal_hold check_object_lock);

    async fn put_with(&self, key: &str, body: Bytes, _: &PutOptions) -> Result<()> {
        // Another request may be carried out between any two of one client.
        tokio::task::yield_now().await;
        self.store.put(key, body).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes> {
        let found = self.store.get_range(key, range).await;
        tokio::task::yield_now().await;
        found
    }

    async fn complete_with(&self, upload: &Upload, parts: &[PartReceipt], _: bool) -> Result<()> {
        self.store.complete_upload(upload, parts).await
    }
}

#[test]
fn an_id_tells_machines_apart_and_publishes_nothing() {
    let system = "b08dfa6083e7567a1921a715000001fb";
    let id = |machine: &Machine| machine.id().to_owned();
    let this = Machine::of_system(system, "db01");
    assert_eq!(id(&this), id(&Machine::of_system(system, "renamed")));
    assert!(!id(&this).contains(&system[..8]) && id(&this).len() == 32);
    let all =
        [this, Machine::of_host(system), Machine::named(system), Machine::of_host("db01")].map(|m| id(&m));
    for (i, one) in all.iter().enumerate() {
        assert!(!all[i + 1..].contains(one), "{all:?}");
    }
    // A store that was claimed once must know its machine again.
    assert_eq!(all[2], "fc58c5fb12f4acbaf02f2e247c48568d");
}

#[tokio::test(start_paused = true)]
async fn the_first_machine_owns_the_policy_and_the_second_is_refused() {
    let store = MemoryStore::default();
    assert_eq!(claimed(&store, "a", false).await.unwrap(), Claim::Owned);
    assert_eq!(claimed(&store, "a", false).await.unwrap(), Claim::Owned);
    let before = store.get_range(&machine_key("p"), 0..9999).await.unwrap();
    let message = claimed(&store, "b", false).await.unwrap_err().to_string();
    for part in ["the machine a since 20", "this one is b"] {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
    assert_eq!(store.get_range(&machine_key("p"), 0..9999).await.unwrap(), before, "nothing was written");
    assert!(matches!(confirm(&store, "p", &machine("b")).await, Err(Error::NotOwner { .. })));
    confirm(&store, "p", &machine("a")).await.unwrap();
    confirm(&store, "unclaimed", &machine("b")).await.unwrap();
    claim(&store, "other", &machine("b"), TOOL, false).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_replaces_another_takes_over_once() {
    let store = MemoryStore::default();
    claimed(&store, "a", false).await.unwrap();
    let Claim::TakenOver(Some(from)) = claimed(&store, "b", true).await.unwrap() else {
        panic!("it was a's")
    };
    assert_eq!(from.host, "a");
    assert_eq!(claimed(&store, "b", false).await.unwrap(), Claim::Owned);
    assert!(matches!(claimed(&store, "a", false).await, Err(Error::NotOwner { .. })));
}

#[tokio::test(start_paused = true)]
async fn of_two_machines_at_once_exactly_one_wins() {
    for take_over in [false, true] {
        let honest: SharedStore = Arc::new(MemoryStore::default());
        let deaf: SharedStore = Arc::new(Unconditional { store: MemoryStore::default() });
        for store in [honest, deaf] {
            if take_over {
                claimed(&*store, "c", false).await.unwrap();
            }
            let (a, b) = join(claimed(&*store, "a", take_over), claimed(&*store, "b", take_over)).await;
            assert_eq!(u8::from(a.is_ok()) + u8::from(b.is_ok()), 1, "{a:?} {b:?}");
            let owner = owner(&*store, "p").await.unwrap().unwrap();
            assert_eq!(owner.host == "a", a.is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_whose_answer_was_lost_is_found_to_be_ours() {
    let faulty = Arc::new(Faulty::new(Arc::new(MemoryStore::default())));
    faulty.fail(Operation::Put, 1, Fault::AnswerLost(StoreErrorKind::Timeout));
    let retry = Retry::new(faulty, RetryPolicy::default());
    assert_eq!(claimed(&retry, "a", false).await.unwrap(), Claim::Owned);
}

#[tokio::test(start_paused = true)]
async fn a_store_without_conditional_puts_is_claimed_all_the_same() {
    let faulty = Faulty::new(Arc::new(MemoryStore::default()));
    faulty.fail(Operation::Put, 1, Fault::Fails(StoreErrorKind::Rejected));
    assert_eq!(claimed(&faulty, "a", false).await.unwrap(), Claim::Owned);
}

/// Without `s3:ListBucket` a missing object is forbidden; without `s3:GetObject` every object is.
#[tokio::test(start_paused = true)]
async fn an_owner_that_may_not_be_read_is_not_replaced() {
    let memory = MemoryStore::default();
    let faulty = Faulty::new(Arc::new(memory.clone()));
    faulty.fail(Operation::GetRange, 1, Fault::Fails(StoreErrorKind::AccessDenied));
    assert_eq!(claimed(&faulty, "a", false).await.unwrap(), Claim::Owned);
    let before = memory.get_range(&machine_key("p"), 0..9999).await.unwrap();
    for nth in 3..9 {
        faulty.fail(Operation::GetRange, nth, Fault::Fails(StoreErrorKind::AccessDenied));
    }
    let message = claimed(&faulty, "b", false).await.unwrap_err();
    assert!(is(&message, StoreErrorKind::AccessDenied), "{message}");
    assert_eq!(memory.get_range(&machine_key("p"), 0..9999).await.unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_junk_is_refused_with_a_reason_and_can_be_taken_over() {
    let owner = |machine: &str, host: &str, since: &str| {
        format!(r#"{{"machine":"{machine}","host":"{host}","since":"{since}","tool":"t"}}"#)
    };
    let (id, since) = ("0".repeat(32), "2026-11-26T02:00:00Z");
    let junk = [
        String::new(),
        "null".to_owned(),
        "{}".to_owned(),
        "\u{0}\u{1}\u{2}".to_owned(),
        "[".repeat(4000),
        owner("x", "h", since),
        owner(&id, &"h".repeat(300), since),
        owner(&id, "h", "yesterday"),
        " ".repeat(MOST_BYTES as usize) + &owner(&id, "h", since),
        "x".repeat(3 << 20),
    ];
    for junk in junk {
        let store = MemoryStore::default();
        store.put(&machine_key("p"), Bytes::from(junk.clone())).await.unwrap();
        let message = claimed(&store, "a", false).await.unwrap_err();
        assert!(matches!(message, Error::UnreadableOwner { .. }), "{message}");
        let message = message.to_string();
        assert!(message.contains("backups/p/machine.json"), "{message}");
        assert!(store.bytes_read() <= MOST_BYTES + 1, "{} bytes were read", store.bytes_read());
        assert_eq!(claimed(&store, "a", true).await.unwrap(), Claim::TakenOver(None));
        assert_eq!(claimed(&store, "a", false).await.unwrap(), Claim::Owned);
    }
    // A newer program may say more.
    let store = MemoryStore::default();
    let more = owner(machine("a").id(), "a", since).replace('}', r#","more":[1]}"#);
    store.put(&machine_key("p"), Bytes::from(more)).await.unwrap();
    assert_eq!(claimed(&store, "a", false).await.unwrap(), Claim::Owned);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_renamed_keeps_its_policy_and_a_clone_is_noticed() {
    let store = MemoryStore::default();
    let of = |host: &str| Machine::of_system("the same id", host);
    claim(&store, "p", &of("old"), TOOL, false).await.unwrap();
    let since = owner(&store, "p").await.unwrap().unwrap().since;
    let Claim::Renamed(before) = claim(&store, "p", &of("new"), TOOL, false).await.unwrap() else {
        panic!("the name is another")
    };
    assert_eq!(before.host, "old");
    let now = owner(&store, "p").await.unwrap().unwrap();
    assert_eq!((now.host.as_str(), now.since), ("new", since));
    assert_eq!(claim(&store, "p", &of("new"), TOOL, false).await.unwrap(), Claim::Owned);
}
