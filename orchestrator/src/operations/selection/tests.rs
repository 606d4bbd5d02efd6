use chrono::FixedOffset;
use intellistor_storage::objects::ObjectStoreExt as _;

use super::*;
use crate::lifecycle::fixtures::Backups;

fn word(text: &str) -> BackupSelector {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn words_are_keys_beginnings_and_the_newest() {
    let key = "backups/p/20261123T020000Z/7d1f/backup.tar.gz.enc";
    assert!(matches!(word(key), BackupSelector::Key(name) if name.archive_key() == key));
    assert_eq!(word("latest"), BackupSelector::Latest(0));
    assert_eq!(word("latest~2"), BackupSelector::Latest(2));
    assert_eq!(word("latest~0"), word("LATEST"));
    assert_eq!(word("019F9D3E-1"), BackupSelector::Prefix("019f9d3e-1".to_owned()));
    assert_eq!(word("20261126T05"), BackupSelector::Prefix("20261126t05".to_owned()));
    for selector in [key, "latest", "latest~7", "7d1f"] {
        assert_eq!(word(selector).to_string(), selector);
    }
    let refused = |text: &str| text.parse::<BackupSelector>().unwrap_err();
    let manifest = refused("backups/p/20261123T020000Z/7d1f/manifest.json");
    assert!(matches!(manifest, BadSelector::Manifest { archive, .. } if archive == key));
    for bad in ["s3://b/x", "backups/p/", "C:\\x"] {
        assert!(matches!(refused(bad), BadSelector::Key(_)), "{bad}");
    }
    assert!(matches!(refused("7d1"), BadSelector::Short(_)));
    for bad in [
        "",
        "latest~",
        "latest~x",
        "latest~-1",
        "latest~99999999999999999999",
        "latest2",
        "latest^",
        "ação",
        "a b c",
    ] {
        assert!(matches!(refused(bad), BadSelector::Unknown(_)), "{bad}");
    }
}

#[test]
fn a_time_is_read_to_the_end_of_what_it_names() {
    let brasilia = FixedOffset::west_opt(3 * 3600).unwrap();
    for (text, utc) in [
        ("2026-11-01", "2026-11-02T02:59:59Z"),
        ("2026-11-01 14:00", "2026-11-01T17:00:59Z"),
        ("2026-11-01T14:00", "2026-11-01T17:00:59Z"),
        ("2026-11-01 14:00:07", "2026-11-01T17:00:07Z"),
        ("2026-11-01 14:00 -02:00", "2026-11-01T16:00:59Z"),
        ("2026-11-01T14:00:00-02:00", "2026-11-01T16:00:00Z"),
        ("2026-11-01T14:00:00Z", "2026-11-01T14:00:00Z"),
        ("20261101T140000Z", "2026-11-01T14:00:00Z"),
    ] {
        let time = parse_time_in(&brasilia, text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(time, utc.parse::<DateTime<Utc>>().unwrap(), "{text}");
    }
    for bad in ["", "yesterday", "2026-13-01", "2026-02-30", "01/11/2026", "14:00", "2026-11-01 25:00"] {
        let refused = parse_time_in(&brasilia, bad).unwrap_err();
        assert!(refused.to_string().contains("2026-11-01 14:00"), "{bad}: {refused}");
    }
}

#[tokio::test]
async fn the_newest_are_counted_without_what_is_forgotten_or_of_the_future() {
    let backups = Backups::new();
    let mut made = Vec::new();
    for day in 1..=5 {
        made.push(backups.make(&format!("2026110{day}T020000Z")).await);
    }
    backups.make("20300101T020000Z").await;
    backups.say_forgotten(&made[3], false).await;
    let select = async |text: &str| {
        backups.catalog.select("p", &backups.keys, &word(text)).await.map_err(|e| e.to_string())
    };
    assert_eq!(select("latest").await.unwrap(), made[4]);
    assert_eq!(select("latest~1").await.unwrap(), made[2], "the fourth is forgotten");
    assert_eq!(select("latest~3").await.unwrap(), made[0]);
    let too_far = select("latest~4").await.unwrap_err();
    assert!(too_far.contains("has 4"), "{too_far}");
    // Named, it is found all the same.
    assert_eq!(select("20261104").await.unwrap(), made[3]);
    assert_eq!(select("2030").await.unwrap().timestamp, "20300101T020000Z");
}

#[tokio::test]
async fn a_beginning_that_several_have_is_refused_with_their_times() {
    let backups = Backups::new();
    let one = backups.make("20261101T020000Z").await;
    let two = backups.make("20261101T030000Z").await;
    let select = async |text: &str| {
        backups.catalog.select("p", &backups.keys, &word(text)).await.map_err(|e| e.to_string())
    };
    let ambiguous = select("20261101").await.unwrap_err();
    for name in [&one, &two] {
        assert!(ambiguous.contains(&name.archive_key()), "{ambiguous}");
    }
    assert!(ambiguous.contains(":00 "), "times: {ambiguous}");
    assert_eq!(select("20261101T03").await.unwrap(), two);
    assert_eq!(select("b20261101t02").await.unwrap(), one, "by its id, whatever the case");
    // A whole id that others begin with.
    let longer = BackupName { backup_id: format!("{}x", one.backup_id), ..one.clone() };
    backups.store.put(&longer.manifest_key(), bytes::Bytes::new()).await.unwrap();
    assert_eq!(select(&one.backup_id).await.unwrap(), one);
    assert!(select("beef").await.unwrap_err().contains("no backup of policy p"));
}

#[tokio::test]
async fn an_archive_without_a_manifest_is_only_selected_where_archives_are() {
    let backups = Backups::new();
    let whole = backups.make("20261101T020000Z").await;
    let lost =
        BackupName { timestamp: "20261102T020000Z".into(), backup_id: "cafe1".into(), ..whole.clone() };
    backups.store.put(&lost.archive_key(), bytes::Bytes::from_static(b"x")).await.unwrap();
    let refused = backups.catalog.select("p", &backups.keys, &word("cafe")).await.unwrap_err();
    assert!(refused.to_string().contains("--without-manifest"), "{refused}");
    let archive =
        async |selector: &BackupSelector| backups.catalog.select_archive("p", selector).await.unwrap();
    for (text, expected) in [("cafe", &lost), ("latest", &lost), ("latest~1", &whole), ("20261101", &whole)] {
        assert_eq!(archive(&word(text)).await, *expected, "{text}");
    }
    let at = BackupSelector::At("2026-11-01T12:00:00Z".parse().unwrap());
    assert_eq!(archive(&at).await, whole);
}

#[tokio::test]
async fn a_time_selects_the_newest_that_there_was() {
    let backups = Backups::new();
    let first = backups.make("20261101T020000Z").await;
    let second = backups.make("20261102T020000Z").await;
    let third = backups.make("20261103T020000Z").await;
    let select = async |time: &str| {
        let at = BackupSelector::At(time.parse().unwrap());
        backups.catalog.select("p", &backups.keys, &at).await.map_err(|e| e.to_string())
    };
    assert_eq!(select("2026-11-02T02:00:00Z").await.unwrap(), second);
    assert_eq!(select("2026-11-02T01:59:59Z").await.unwrap(), first);
    assert_eq!(select("2027-01-01T00:00:00Z").await.unwrap(), third);
    backups.say_forgotten(&second, false).await;
    assert_eq!(select("2026-11-02T12:00:00Z").await.unwrap(), first);
    let early = select("2026-10-31T00:00:00Z").await.unwrap_err();
    assert!(early.contains(&first.archive_key()), "{early}");
    let later = backups.make("20250101T054135Z").await;
    let early = select("2025-01-01T05:41:29Z").await.unwrap_err();
    assert!(early.contains(":41:29 ") && early.contains(":41:35 "), "{later}: {early}");
}

#[tokio::test]
async fn a_key_of_another_policy_is_read_and_no_more() {
    let backups = Backups::new();
    let own = backups.make("20261101T020000Z").await;
    let other = BackupName { policy_id: "big".to_owned(), ..own.clone() };
    let select = async |name: &BackupName| {
        let selector = word(&name.archive_key());
        let read = backups.catalog.select("p", &backups.keys, &selector).await;
        (read, backups.catalog.select_archive("p", &selector).await)
    };
    let (read, archive) = select(&own).await;
    assert_eq!((read.unwrap(), archive.unwrap()), (own.clone(), own));
    let (read, archive) = select(&other).await;
    assert_eq!((read.unwrap(), archive.unwrap()), (other.clone(), other.clone()), "to be read");
    let refused = check_policy(&other, "p").unwrap_err();
    assert!(
        matches!(&refused, Error::OtherPolicy { found, policy_id, .. } if found == "big" && policy_id == "p")
    );
    assert_eq!(refused.category(), crate::error::Category::Configuration);
}
