//! Completes the archive.
//!
//! **In:** all parts, committed. **Out:** the archive in the store, compared with what was sent. **After a crash:** an
//! archive that is there already is recognised by its digests.

use intellistor_storage::objects::ObjectStore;

use crate::agent::job_run::transfer::is_closed;
use crate::agent::open_job::OpenJob;
use crate::agent::orphans::abort_unrecorded;
use crate::error::{Error, Result};
use crate::operations::publish;

pub(in crate::agent) async fn complete(job: &OpenJob, store: &dyn ObjectStore) -> Result<()> {
    let OpenJob { ledger, header, .. } = job;
    if !is_closed(ledger)? {
        return Err(ledger.damaged("the archive's last parts are missing").into());
    }
    let Some(upload) = ledger.job().upload else {
        return Err(Error::Defect("a job without an upload cannot be completed".to_owned()));
    };
    let parts = ledger.parts()?;
    let parts: Vec<_> = parts.iter().map(|part| (&part.segment, &part.receipt)).collect();
    publish::archive(store, header, &upload, &parts).await?;
    // One whose request was repeated, since the answer was lost, is not recorded.
    if let Err(error) = abort_unrecorded(store, &upload.key).await {
        tracing::warn!(%error, "cannot look for abandoned uploads");
    }
    Ok(())
}
