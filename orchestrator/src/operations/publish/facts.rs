//! What a manifest says besides what was archived, and what about it needs attention.

use chrono::Utc;
use intellistor_storage::catalog::ownership::Machine;
use intellistor_storage::manifest::{BackupFacts, Changes, ManifestDraft, Origin};
use intellistor_storage::state::Findings;
use intellistor_telemetry::trace;

use crate::alerts;
use crate::error::Result;
use crate::lifecycle::brake::{self, NewBackup};
use crate::machine::TOOL;
use crate::operations::publish::publication::Publication;
use crate::policy::ManifestForm;

/// The facts of a backup whose entries are complete, and the warnings that its report has.
///
/// # Errors
/// Those of a store that cannot be reached.
pub(super) async fn facts(
    publication: &Publication<'_>,
    draft: &ManifestDraft,
    findings: Findings,
) -> Result<(BackupFacts, Vec<String>)> {
    let Publication { header, catalog, recipients, base, .. } = *publication;
    let Findings { roots, alarms, compared, snapshots, warnings: found, .. } = findings;
    // What was moved is not in its old place any more, and not deleted.
    let deleted = compared.map_or(0, |compared| compared.deleted.saturating_sub(draft.changes().moved));
    // A mode or a time that was set everywhere is no alarm.
    let changes = Changes { deleted, changed: draft.rewritten(), ..draft.changes() };
    let name = header.name();
    let made = NewBackup { name: &name, roots: &roots, totals: *draft.totals(), changes, alarms: &alarms };
    let brake = brake::of_backup(catalog, recipients, base, made).await?;
    let base_name = base.map(|base| &base.manifest().head().name);
    let mut warnings = alerts::of_store(catalog, recipients, &name, base_name, Utc::now()).await;
    let base_files = base.map_or(0, |base| {
        let totals = base.manifest().head().totals;
        totals.files + totals.symlinks
    });
    warnings.extend(alerts::of_changes(&changes, base_files, !alarms.is_empty()));
    warnings.extend(alarms);
    warnings.extend(found);
    let facts = BackupFacts {
        origin: origin(&catalog.machine),
        roots,
        snapshots,
        began_ms: publication.began_ms,
        deleted,
        brake,
        content_key: Some(publication.content_key.clone()),
        sealed: publication.form == ManifestForm::Sealed,
    };
    Ok((facts, warnings))
}

fn origin(machine: &Machine) -> Origin {
    Origin {
        host: machine.host().to_owned(),
        machine: Some(machine.id().to_owned()),
        os: std::env::consts::OS.to_owned(),
        tool: TOOL.to_owned(),
        trace_id: trace::current_id(),
    }
}
