//! The policies of a store.

use indicatif::BinaryBytes;
use intellistor::{PoliciesReport, PolicyRow, StoreUrl};
use serde::Serialize;

use super::orphan::Orphan;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::format::{FormatArgument, OutputFormat};
use crate::output::table::{Table, Tone, plain};
use crate::output::{Done, times};
use crate::restore_command::PolicyWords;
use crate::session::Session;
use crate::units::counted;

#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    report: PoliciesReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    orphans: Option<Vec<Orphan>>,
}

pub(super) async fn run(
    store: Option<&StoreUrl>,
    with_orphans: bool,
    format: &FormatArgument,
    session: &Session,
) -> Result<Done, Failure> {
    let catalog = session.open_any(store).await?;
    let listed = session.unless_cancelled(intellistor::policies(&catalog)).await;
    let mut report = listed.map_err(Failure::engine("cannot list the policies of the store"))?;
    report.warnings.iter().for_each(|warning| session.screen.warn(warning));
    if report.policies.is_empty() {
        session.screen.note(format_args!(
            "{} has no backups. Check the bucket or folder and the prefix behind it; a disk that is not mounted looks the same",
            report.store
        ));
    }
    let mut orphans = Vec::new();
    for policy in &mut report.policies {
        let words = PolicyWords::in_store(&policy.policy, store);
        let with_command = |orphan| Orphan::new(orphan, session, words).of_policy(&policy.policy);
        orphans.extend(std::mem::take(&mut policy.orphan_archives).into_iter().map(with_command));
    }
    let document = Document { report, orphans: with_orphans.then_some(orphans) };
    match format.of(&session.environment)? {
        OutputFormat::Json => Done::document(&document, Exit::Success),
        OutputFormat::Table => table(&document).print(Exit::Success),
    }
}

fn table(document: &Document) -> Table {
    let mut table = Table::new(["policy", "host", "backups", "newest", "oldest", "stored", "state"])
        .right_aligned(&[2, 5])
        .shorter(4, times::without_zone)
        .shorter(3, times::without_zone)
        .optional(&[4, 6, 1, 5])
        .shrinking(0);
    let time =
        |timestamp: &Option<String>| plain(timestamp.as_deref().map_or("-".into(), times::of_timestamp));
    for policy in &document.report.policies {
        table.row([
            plain(&policy.policy),
            plain(policy.machine.as_ref().map_or("-", |machine| machine.host.as_str())),
            plain(policy.backups),
            time(&policy.newest),
            time(&policy.oldest),
            plain(BinaryBytes(policy.stored_bytes)),
            state(policy),
        ]);
    }
    let count = document.report.policies.len();
    let policies = if count == 1 { "1 policy".to_owned() } else { format!("{count} policies") };
    table.note(format_args!("{policies} in {}", document.report.store));
    match &document.orphans {
        Some(orphans) => orphans.iter().for_each(|orphan| orphan.note(&mut table)),
        None => {
            let orphans: u64 = document.report.policies.iter().map(|policy| policy.orphans).sum();
            if orphans > 0 {
                let archives = counted(orphans, "archive");
                table.note(format_args!(
                    "{archives} without a manifest; `list --orphans` shows how to restore from there"
                ));
            }
        }
    }
    table
}

fn state(policy: &PolicyRow) -> (String, Tone) {
    let counted = [(policy.held, "held"), (policy.forgotten, "forgotten"), (policy.orphans, "orphaned")];
    let counted =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let locked = policy.locked_until.is_some().then(|| "locked".to_owned());
    let text = locked.into_iter().chain(counted).collect::<Vec<_>>().join(", ");
    (text, if policy.orphans > 0 { Tone::Warning } else { Tone::Plain })
}

#[cfg(test)]
mod tests {
    use intellistor::OwnerRow;

    use super::*;
    use crate::output::table::Surface;

    #[test]
    fn the_table_reads_well_at_every_width() {
        let row = |policy: &str| PolicyRow {
            policy: policy.into(),
            machine: Some(OwnerRow { host: "db01".into(), since: "2026-01-01T00:00:00Z".into() }),
            backups: 30,
            newest: Some("20261126T050000Z".into()),
            oldest: Some("20260101T050000Z".into()),
            stored_bytes: 5 << 30,
            held: 1,
            forgotten: 2,
            locked_until: None,
            orphans: 1,
            orphan_archives: Vec::new(),
        };
        let policies = vec![row("contabilidade-e-fiscal-2026"), row("b")];
        let report = PoliciesReport { store: "s3://b".into(), policies, warnings: Vec::new() };
        let document = Document { report, orphans: None };
        for width in [40, 80, 160] {
            let text = table(&document).render(Surface::plain(width));
            let lines: Vec<_> = text.lines().take(3).collect();
            assert!(lines.iter().all(|line| line.chars().count() <= width.into()), "{text}");
            assert!(lines[1].starts_with("cont") && lines[1].contains("2026-11-26"), "{text}");
        }
        let wide = table(&document).render(Surface::plain(160));
        assert!(
            wide.contains("1 held, 2 forgotten, 1 orphaned") && wide.contains("2 policies in s3://b"),
            "{wide}"
        );
    }
}
