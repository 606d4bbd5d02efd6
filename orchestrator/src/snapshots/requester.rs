//! The order of calls by which a backup gets its snapshots, and gives them back.
//!
//! In: fresh [`VssCalls`], and the volumes. Out: the snapshots, and a [`Requester`] that keeps them.
//!
//! After InitializeForBackup, every way out goes through exactly one of BackupComplete and AbortBackup; after
//! DoSnapshotSet was begun, also through DeleteSnapshots; and always through Release. An error, a panic and a dropped
//! [`Requester`] take the same way, which is [`Drop`].

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::calls::{CallResult, VssCall, VssCalls, VssOperation};
use super::error::SnapshotError;
use super::guid::Guid;
use super::hresult::Hresult;
use super::provider::{LeftOutVolume, SnapshotWarning, TakenSnapshots, VolumeSnapshot, time_of};
use super::volumes::Volume;
use super::watch::{POLL, Watch};
use super::writers::FailedWriter;

/// How long a cancelled operation may take to end: AbortBackup must not come in the middle of it.
const CANCEL_LIMIT: Duration = Duration::from_secs(10);
/// Another program's snapshot takes seconds, with slow writers a minute.
const SET_IN_PROGRESS_PAUSE: Duration = Duration::from_secs(5);
const SET_IN_PROGRESS_LIMIT: Duration = Duration::from_secs(180);
/// A system has some dozen writers. A count beyond this is nonsense.
const MAX_WRITERS: u32 = 1024;

/// A backup that VSS knows of.
pub(super) struct Requester<C: VssCalls> {
    calls: C,
    /// InitializeForBackup succeeded: VSS must learn how the backup ends.
    initialized: bool,
    /// DoSnapshotSet was begun: there may be snapshots of this set.
    set: Option<Guid>,
    snapshots: Vec<(Volume, Guid)>,
    completed: bool,
}

impl<C: VssCalls> Requester<C> {
    pub(super) fn take(
        calls: C,
        volumes: &[Volume],
        watch: &Watch<'_>,
    ) -> Result<(Self, TakenSnapshots), SnapshotError> {
        let mut requester =
            Self { calls, initialized: false, set: None, snapshots: Vec::new(), completed: false };
        let taken = requester.take_set(volumes, watch)?;
        Ok((requester, taken))
    }

    fn take_set(&mut self, volumes: &[Volume], watch: &Watch<'_>) -> Result<TakenSnapshots, SnapshotError> {
        self.call(watch, VssCall::InitializeForBackup, C::initialize_for_backup)?;
        self.initialized = true;
        self.call(watch, VssCall::SetContext, C::set_context)?;
        self.call(watch, VssCall::SetBackupState, C::set_backup_state)?;
        // Before the writers are asked, which takes seconds.
        let (volumes, left_out) = self.supported(volumes, watch)?;
        self.operation(watch, VssCall::GatherWriterMetadata, C::gather_writer_metadata)?;
        let set = self.start_set(watch)?;
        for volume in volumes {
            let snapshot = self
                .call(watch, VssCall::AddToSnapshotSet, |calls| calls.add_to_snapshot_set(&volume.name))
                .map_err(|error| of(error, &volume))?;
            self.snapshots.push((volume, snapshot));
        }

        let mut warnings = Vec::new();
        self.operation(watch, VssCall::PrepareForBackup, C::prepare_for_backup)
            .map_err(|error| self.with_writers(error, watch))?;
        self.note_writers(&mut warnings, watch)?;
        let began = self.call(watch, VssCall::DoSnapshotSet, C::do_snapshot_set);
        // Also when the wait fails: the snapshots may have been made.
        self.set = began.is_ok().then_some(set);
        began
            .and_then(|operation| wait(watch, VssCall::DoSnapshotSet, operation))
            .map_err(|error| self.with_writers(error, watch))?;
        self.note_writers(&mut warnings, watch)?;

        let mut snapshots = Vec::new();
        for (volume, id) in self.snapshots.clone() {
            let properties = self
                .call(watch, VssCall::GetSnapshotProperties, |calls| calls.get_snapshot_properties(id))
                .map_err(|error| of(error, &volume))?;
            snapshots.push(VolumeSnapshot::new(volume, id, &properties.device, time_of(properties.created)));
        }
        Ok(TakenSnapshots { id: set, snapshots, left_out, warnings })
    }

    /// Ends the backup and deletes the snapshots.
    pub(super) fn complete(mut self, succeeded: bool, watch: &Watch<'_>) -> Result<(), SnapshotError> {
        let present = self.check_present(watch);
        if !succeeded {
            return present;
        }
        self.operation(watch, VssCall::BackupComplete, C::backup_complete).map_err(not_ended)?;
        self.completed = true;
        let deleted = self.delete().map_err(not_ended);
        present.and(deleted)
    }

    /// Windows deletes a snapshot when it has no room to keep the blocks that are overwritten.
    fn check_present(&mut self, watch: &Watch<'_>) -> Result<(), SnapshotError> {
        for (volume, id) in self.snapshots.clone() {
            let answer =
                self.call(watch, VssCall::GetSnapshotProperties, |calls| calls.get_snapshot_properties(id));
            answer.map_err(|error| match error.code() {
                Some(Hresult::OBJECT_NOT_FOUND) => SnapshotError::Lost { volume: volume.root },
                _ => not_ended(error),
            })?;
        }
        Ok(())
    }

    fn supported(
        &mut self,
        volumes: &[Volume],
        watch: &Watch<'_>,
    ) -> Result<(Vec<Volume>, Vec<LeftOutVolume>), SnapshotError> {
        let (mut supported, mut left_out) = (Vec::new(), Vec::new());
        for volume in volumes {
            let call = VssCall::IsVolumeSupported;
            let answer = self.call(watch, call, |calls| calls.is_volume_supported(&volume.name));
            let reason = match answer {
                Ok(true) => {
                    supported.push(volume.clone());
                    continue;
                }
                Ok(false) => SnapshotError::call(call, Hresult::VOLUME_NOT_SUPPORTED),
                // Said of this volume: the others are not to lose their snapshots for it.
                Err(error @ SnapshotError::Call { .. }) => error,
                Err(stopped) => return Err(stopped),
            };
            left_out.push(LeftOutVolume { volume: volume.clone(), reason: of(reason, volume) });
        }
        match (supported.is_empty(), left_out.first()) {
            (true, Some(first)) => Err(first.reason.clone()),
            (true, None) => Err(SnapshotError::NoVolume),
            (false, _) => Ok((supported, left_out)),
        }
    }

    fn start_set(&mut self, watch: &Watch<'_>) -> Result<Guid, SnapshotError> {
        let until = watch.clock.now() + SET_IN_PROGRESS_LIMIT;
        loop {
            let started = self.call(watch, VssCall::StartSnapshotSet, C::start_snapshot_set);
            let busy = started.as_ref().err().and_then(SnapshotError::code)
                == Some(Hresult::SNAPSHOT_SET_IN_PROGRESS);
            if !busy || watch.clock.now() >= until {
                return started;
            }
            tracing::info!("another program is making a snapshot: waiting for it");
            watch.pause(VssCall::StartSnapshotSet, SET_IN_PROGRESS_PAUSE)?;
        }
    }

    /// Failed writers do not fail the snapshot; nor does it fail when their states are not known.
    fn note_writers(
        &mut self,
        warnings: &mut Vec<SnapshotWarning>,
        watch: &Watch<'_>,
    ) -> Result<(), SnapshotError> {
        let new: Vec<_> = match self.failed_writers(watch) {
            Ok(failed) => failed.into_iter().map(SnapshotWarning::Writer).collect(),
            // Once is enough: the second time, VSS may only complain of the first.
            Err(SnapshotError::Call { .. }) if warnings.iter().any(is_unknown) => Vec::new(),
            Err(SnapshotError::Call { call, code, .. }) => {
                vec![SnapshotWarning::WritersUnknown { call, code }]
            }
            Err(stopped) => return Err(stopped),
        };
        for warning in new {
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
        Ok(())
    }

    /// The error, with the writers that may have caused it, and the volume if there is but one.
    fn with_writers(&mut self, error: SnapshotError, watch: &Watch<'_>) -> SnapshotError {
        match error {
            SnapshotError::Call { call, code, .. } => {
                let writers = self.failed_writers(watch).unwrap_or_default();
                let volume = match self.snapshots.as_slice() {
                    [(only, _)] => Some(only.root.clone()),
                    _ => None,
                };
                SnapshotError::Call { call, code, volume, writers }
            }
            stopped => stopped,
        }
    }

    fn failed_writers(&mut self, watch: &Watch<'_>) -> Result<Vec<FailedWriter>, SnapshotError> {
        let call = VssCall::GatherWriterStatus;
        let operation = self.call(watch, call, C::gather_writer_status)?;
        let failed = wait(watch, call, operation).and_then(|()| self.read_writers(watch));
        // Also after a failure: VSS takes the next GatherWriterStatus only then.
        let freed = self.call(watch, VssCall::FreeWriterStatus, C::free_writer_status);
        let failed = failed?;
        freed.map(|()| failed)
    }

    fn read_writers(&mut self, watch: &Watch<'_>) -> Result<Vec<FailedWriter>, SnapshotError> {
        let count = self.call(watch, VssCall::GetWriterStatusCount, C::get_writer_status_count)?;
        let mut failed = Vec::new();
        for index in 0..count.min(MAX_WRITERS) {
            let status =
                self.call(watch, VssCall::GetWriterStatus, |calls| calls.get_writer_status(index))?;
            failed.extend(status.failed());
        }
        Ok(failed)
    }

    fn call<T>(
        &mut self,
        watch: &Watch<'_>,
        call: VssCall,
        make: impl FnOnce(&mut C) -> CallResult<T>,
    ) -> Result<T, SnapshotError> {
        watch.enter(call)?;
        make(&mut self.calls).map_err(|code| SnapshotError::call(call, code))
    }

    fn operation(
        &mut self,
        watch: &Watch<'_>,
        call: VssCall,
        begin: impl FnOnce(&mut C) -> CallResult<C::Operation>,
    ) -> Result<(), SnapshotError> {
        let operation = self.call(watch, call, begin)?;
        wait(watch, call, operation)
    }

    fn delete(&mut self) -> Result<(), SnapshotError> {
        let Some(set) = self.set.take() else { return Ok(()) };
        match self.calls.delete_snapshots(set) {
            Ok(()) | Err(Hresult::OBJECT_NOT_FOUND) => Ok(()),
            Err(code) => Err(SnapshotError::call(VssCall::DeleteSnapshots, code)),
        }
    }
}

impl<C: VssCalls> Drop for Requester<C> {
    /// The release is the drop of the calls, which follows. A panic here, in the middle of another, would end the
    /// process: each step is caught, so that the next is taken.
    fn drop(&mut self) {
        if self.completed {
            return;
        }
        match catch_unwind(AssertUnwindSafe(|| self.delete())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "snapshots are left to the release"),
            Err(_) => tracing::debug!("DeleteSnapshots panicked: snapshots are left to the release"),
        }
        if !self.initialized {
            return;
        }
        match catch_unwind(AssertUnwindSafe(|| self.calls.abort_backup())) {
            Ok(Ok(())) => {}
            Ok(Err(code)) => tracing::debug!(%code, "AbortBackup failed"),
            Err(_) => tracing::debug!("AbortBackup panicked"),
        }
    }
}

/// Until the operation has ended. `VSS_S_ASYNC_PENDING` is no end, `VSS_S_ASYNC_CANCELLED` is no success.
fn wait<O: VssOperation>(watch: &Watch<'_>, call: VssCall, mut operation: O) -> Result<(), SnapshotError> {
    loop {
        match operation.query_status().map_err(|code| SnapshotError::call(call, code))? {
            Hresult::ASYNC_PENDING => {}
            code if code.is_failure() || code == Hresult::ASYNC_CANCELLED => {
                return Err(SnapshotError::call(call, code));
            }
            _ => return Ok(()),
        }
        if let Err(stopped) = watch.pause(call, POLL) {
            cancel(watch, &mut operation);
            return Err(stopped);
        }
    }
}

fn cancel<O: VssOperation>(watch: &Watch<'_>, operation: &mut O) {
    if let Err(code) = operation.cancel() {
        tracing::debug!(%code, "an operation of VSS cannot be cancelled");
        return;
    }
    let until = watch.clock.now() + CANCEL_LIMIT;
    while operation.query_status() == Ok(Hresult::ASYNC_PENDING) && watch.clock.now() < until {
        watch.clock.sleep(POLL);
    }
}

fn is_unknown(warning: &SnapshotWarning) -> bool {
    matches!(warning, SnapshotWarning::WritersUnknown { .. })
}

/// The error, said of a backup that is made.
fn not_ended(error: SnapshotError) -> SnapshotError {
    match error {
        SnapshotError::Call { call, code, .. } => SnapshotError::NotEnded { call, code },
        other => other,
    }
}

/// The error, said of a volume.
fn of(error: SnapshotError, volume: &Volume) -> SnapshotError {
    match error {
        SnapshotError::Call { call, code, writers, .. } => {
            SnapshotError::Call { call, code, volume: Some(volume.root.clone()), writers }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
