//! Writes a backup's archive as plain `tar.gz`.

use std::io::Write;

use intellistor_storage::archive::ArchiveReader;
use intellistor_storage::catalog::layout::BackupName;
use intellistor_storage::keys::Identity;
use intellistor_telemetry::names::span;

use crate::catalog::Catalog;
use crate::error::Result;
use crate::operations::report::DecryptReport;
use crate::operations::root_span::{root, stopped_by, traced};
use crate::operations::run_options::RunOptions;
use crate::operations::stream;

/// Writes a backup as plain `tar.gz`.
///
/// # Errors
/// Those of the store and the key, and of `out`.
pub async fn decrypt(
    catalog: &Catalog,
    identity: &Identity,
    name: &BackupName,
    mut out: Box<dyn Write + Send>,
    run: RunOptions,
) -> Result<DecryptReport> {
    let identity = identity.clone();
    let BackupName { policy_id, backup_id, .. } = name;
    let expected = name.clone();
    let cancel = run.cancel.clone();
    let written = stream::read_archive(catalog.store.clone(), name.archive_key(), run, move |source| {
        let failed = |e| intellistor_storage::Error::io("write", "the output")(e);
        let mut archive = ArchiveReader::open(source, &expected, &identity)?;
        let mut report = DecryptReport::default();
        while let Some(frame) = archive.next_frame()? {
            out.write_all(&frame.gzip).map_err(failed)?;
            report.bytes_written += frame.gzip.len() as u64;
            report.frames += 1;
        }
        out.flush().map_err(failed)?;
        Ok(report)
    });
    let written = stopped_by(&cancel, written);
    traced(span::DECRYPT, policy_id, root!(span::DECRYPT, policy_id, backup_id), written).await
}
