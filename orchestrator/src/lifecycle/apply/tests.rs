use intellistor_storage::catalog::ownership::Machine;
use intellistor_storage::keys::{Recipients, UserKey};

use super::*;
use crate::error::Category;
use crate::lifecycle::fixtures::Backups;
use crate::lifecycle::{HoldOptions, hold};

const PLAIN: RetentionOptions<'_> = RetentionOptions { confirm: false, dry_run: false, made: None };
const CONFIRMED: RetentionOptions<'_> = RetentionOptions { confirm: true, ..PLAIN };

impl Backups {
    async fn apply(&self, options: RetentionOptions<'_>) -> Result<ForgetReport> {
        apply_retention(&self.catalog, &self.keys, &self.policy, options).await
    }
}

fn days(report: &[ForgottenBackup]) -> Vec<&str> {
    report.iter().map(|row| &row.timestamp[6..8]).collect()
}

fn kept(report: &ForgetReport) -> Vec<(&str, Vec<String>)> {
    let reasons = |row: &KeptBackup| row.reasons.iter().map(ToString::to_string).collect();
    report.kept.iter().map(|row| (&row.timestamp[6..8], reasons(row))).collect()
}

#[tokio::test]
async fn what_no_rule_keeps_is_forgotten_with_reasons_for_all() {
    let backups = Backups::keeping(2);
    let first = backups.make("20261101T020000Z").await;
    for day in ["02", "03", "04"] {
        backups.make(&format!("202611{day}T020000Z")).await;
    }
    hold(&backups.catalog, &backups.keys, "p", &first, "case 7", HoldOptions::default()).await.unwrap();
    let dry = backups.apply(RetentionOptions { dry_run: true, ..PLAIN }).await.unwrap();
    assert_eq!(backups.listed().await.len(), 4, "a dry run");
    let report = backups.apply(PLAIN).await.unwrap();
    assert_eq!(ForgetReport { dry_run: false, ..dry }, report);
    assert_eq!(days(&report.forgotten), ["02"]);
    let expected = [
        ("04", vec!["the newest", "the newest without problems", "last 1 of 2"]),
        ("03", vec!["last 2 of 2"]),
        ("01", vec!["held: case 7"]),
    ];
    let found = kept(&report);
    assert_eq!(found.len(), expected.len());
    for ((day, reasons), (expected_day, expected)) in found.iter().zip(&expected) {
        assert_eq!((day, reasons.len()), (expected_day, expected.len()), "{reasons:?}");
        assert!(
            expected.iter().all(|expected| reasons.iter().any(|reason| reason == expected)),
            "{reasons:?}"
        );
    }
    assert_eq!(report.prunable_from, Some(backups.now() + chrono::TimeDelta::days(8)));
    assert!(backups.apply(PLAIN).await.unwrap().forgotten.is_empty(), "nothing is left to forget");
}

#[tokio::test]
async fn the_newest_without_problems_stays_whatever_the_rules_say() {
    let backups = Backups::keeping(1);
    backups.make("20261101T020000Z").await;
    backups.make("20261102T020000Z").await;
    for day in ["03", "04"] {
        backups.make_braked(&format!("202611{day}T020000Z")).await;
    }
    let report = backups.apply(CONFIRMED).await.unwrap();
    // The newest is confirmed, so it is one without problems.
    assert_eq!(days(&report.forgotten), ["03", "02", "01"]);

    let backups = Backups::keeping(1);
    backups.make("20261101T020000Z").await;
    let locked = backups.make_braked("20261102T020000Z").await;
    let other: Recipients = UserKey::generate().into();
    backups.make_with(&other, "20261103T020000Z").await;
    let report = backups.apply(CONFIRMED).await.unwrap();
    assert_eq!(days(&report.forgotten), ["02"], "{report:?}");
    assert!(!backups.is_listed(&locked).await);
}

#[tokio::test]
async fn while_the_newest_has_a_brake_nothing_goes_until_it_is_confirmed_or_over() {
    let backups = Backups::keeping(1);
    backups.make("20261101T020000Z").await;
    backups.make("20261102T020000Z").await;
    let braked = backups.make_braked("20261103T020000Z").await;
    let report = backups.apply(PLAIN).await.unwrap();
    let resting = report.resting.as_deref().unwrap();
    assert!(resting.contains("20261103T020000Z") && resting.contains("a disk"), "{resting}");
    assert_eq!((report.forgotten.len(), report.kept.len(), report.prunable_from), (0, 3, None));
    assert!(kept(&report).iter().any(|(day, reasons)| *day == "01" && reasons[0].contains("rests")));
    assert_eq!(backups.listed().await.len(), 3);

    let dry = backups.apply(RetentionOptions { dry_run: true, ..CONFIRMED }).await.unwrap();
    assert!(!dry.forgotten.is_empty() && !backups.has(&braked, ObjectKind::Confirmed));
    let report = backups.apply(CONFIRMED).await.unwrap();
    assert_eq!((days(&report.forgotten), report.resting), (vec!["02", "01"], None));
    assert!(backups.has(&braked, ObjectKind::Confirmed));
    assert_eq!(backups.apply(PLAIN).await.unwrap().resting, None, "it stays confirmed");
}

#[tokio::test]
async fn a_newest_backup_that_cannot_be_opened_lets_nothing_go() {
    let backups = Backups::keeping(1);
    backups.make("20261101T020000Z").await;
    backups.make("20261102T020000Z").await;
    let newest = backups.make("20261103T020000Z").await;
    backups.store.alter(&newest.manifest_key(), |bytes| bytes[300] ^= 1);
    let report = backups.apply(PLAIN).await.unwrap();
    assert!(report.resting.is_some() && report.forgotten.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_backup_of_another_key_stays_and_stops_nothing() {
    let backups = Backups::keeping(1);
    let other: Recipients = UserKey::generate().into();
    backups.make_with(&other, "20261101T020000Z").await;
    backups.make("20261102T020000Z").await;
    backups.make("20261103T020000Z").await;
    let report = backups.apply(PLAIN).await.unwrap();
    assert_eq!(days(&report.forgotten), ["02"]);
    assert!(report.warnings.len() == 1 && report.warnings[0].contains("20261101T020000Z"), "{report:?}");
    assert_eq!(backups.listed().await.len(), 2);
}

#[tokio::test]
async fn without_rules_and_on_another_machine_it_is_refused() {
    let backups = Backups::new();
    let error = backups.apply(PLAIN).await.unwrap_err();
    assert!(
        matches!(error, Error::NoRetention { .. }) && error.category() == Category::Configuration,
        "{error}"
    );
    let backups = Backups::keeping(1);
    backups.catalog.claim("p", false).await.unwrap();
    let catalog = backups.catalog.clone().on_machine(Machine::named("other"));
    let elsewhere = Backups { catalog, ..backups };
    assert!(elsewhere.apply(PLAIN).await.unwrap_err().is_refusal());
}
