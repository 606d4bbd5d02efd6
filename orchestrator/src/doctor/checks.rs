//! The list of all checks. Order, names, what each needs and how long it may take are derived from it alone.

use std::time::Duration;

use futures::future::BoxFuture;

use super::examination::Examination;
use super::finding::{CheckRow, CheckState, Finding};
use super::{
    bucket, endpoint, folder, home, key, newest, objects, owner, paths, policy_file, prescribed, resources,
    schedule, skew, snapshots, store, uploads,
};

/// A store that answers at all answers within it; beyond it, a person waits in vain.
const LIMIT: Duration = Duration::from_secs(15);

/// Where a check applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Applies {
    Everywhere,
    ToS3,
    ToFolders,
    ToTheAgent,
}

/// A check.
pub(super) struct Check {
    /// Names it in `needs`.
    pub(super) id: &'static str,
    /// What people read, where the store is S3 or does not matter.
    name: &'static str,
    /// What they read where the store is a folder.
    in_folders: &'static str,
    applies: Applies,
    /// Checks that must have found no failure. One that does not apply is no obstacle.
    needs: &'static [&'static str],
    pub(super) run: for<'a> fn(&'a mut Examination) -> BoxFuture<'a, Finding>,
}

macro_rules! check {
    ($id:literal, $name:literal / $in_folders:literal, $applies:ident, $needs:expr, $run:path) => {
        Check {
            id: $id,
            name: $name,
            in_folders: $in_folders,
            applies: Applies::$applies,
            needs: &$needs,
            run: |examination| Box::pin($run(examination)),
        }
    };
    ($name:literal, $applies:ident, $needs:expr, $run:path) => {
        check!($name, $name / $name, $applies, $needs, $run)
    };
}

pub(super) static CHECKS: [Check; 29] = [
    check!("policy", Everywhere, [], policy_file::check),
    check!("paths", Everywhere, ["policy"], paths::check),
    check!("snapshots", Everywhere, ["policy", "paths"], snapshots::check),
    check!("key", Everywhere, [], key::check),
    check!("store", Everywhere, ["policy"], store::check),
    check!("credentials", ToS3, ["store"], store::check_credentials),
    check!("folder", ToFolders, ["store"], folder::check),
    check!("endpoint", ToS3, ["store", "credentials"], endpoint::check),
    check!("clock", ToS3, ["endpoint"], skew::check),
    check!("bucket", ToS3, ["endpoint", "clock"], bucket::check),
    check!("owner", Everywhere, ["bucket", "folder"], owner::check),
    check!("write", "s3:PutObject" / "write", Everywhere, ["bucket", "folder"], objects::check_write),
    check!(
        "conditions",
        "conditional writes" / "conditional writes",
        ToS3,
        ["write"],
        objects::check_conditions
    ),
    check!("read", "s3:GetObject" / "read", Everywhere, ["write"], objects::check_read),
    check!("list", "s3:ListBucket" / "list", Everywhere, ["bucket", "folder"], objects::check_list),
    check!("upload", "multipart upload" / "upload in parts", Everywhere, ["write"], uploads::check_upload),
    check!(
        "list-parts",
        "s3:ListMultipartUploadParts" / "list parts",
        ToS3,
        ["upload"],
        uploads::check_list_parts
    ),
    check!(
        "list-uploads",
        "s3:ListBucketMultipartUploads" / "list uploads",
        ToS3,
        ["bucket"],
        uploads::check_list_uploads
    ),
    check!(
        "abort",
        "s3:AbortMultipartUpload" / "abort an upload",
        Everywhere,
        ["upload"],
        uploads::check_abort
    ),
    check!("lock", Everywhere, ["bucket", "folder"], prescribed::check_lock),
    check!("storage class", Everywhere, ["bucket", "folder"], prescribed::check_storage_class),
    check!("delete", "s3:DeleteObject" / "delete", Everywhere, ["write"], objects::check_delete),
    check!("checksums", ToS3, ["write"], objects::check_checksums),
    check!("newest backup", Everywhere, ["key", "bucket", "folder"], newest::check),
    check!("home", ToTheAgent, [], home::check),
    check!("resources", Everywhere, [], resources::check),
    check!("time zone", ToTheAgent, [], resources::check_time_zone),
    check!("schedule", ToTheAgent, ["policy"], schedule::check),
    check!("variables", ToTheAgent, [], schedule::check_variables),
];

impl Check {
    /// Its name for people; `None` where it does not apply.
    pub(super) fn name(&self, examination: &Examination) -> Option<&'static str> {
        let policy = examination.policy.as_ref();
        let is_s3 = examination.is_s3();
        let applies = match self.applies {
            Applies::Everywhere => true,
            Applies::ToS3 => is_s3,
            // Before the store is known, one row about it is enough.
            Applies::ToFolders => !is_s3 && examination.settings.is_some(),
            Applies::ToTheAgent => examination.subject.agent.is_some(),
        };
        let is_asked_for = match self.id {
            "snapshots" => policy.is_some_and(snapshots::applies),
            "lock" => policy.is_some_and(|policy| policy.lock.is_some()),
            "storage class" => policy.is_some_and(|policy| policy.storage_class.is_some()),
            "schedule" => examination.subject.agent.as_ref().is_some_and(|agent| agent.schedules.is_some()),
            _ => true,
        };
        let needs_a_store = self.needs.iter().any(|id| ["bucket", "folder", "write", "upload"].contains(id));
        let has_store = !needs_a_store || examination.settings.is_some();
        (applies && is_asked_for && has_store).then_some(if is_s3 { self.name } else { self.in_folders })
    }

    /// The check that keeps this one from being made.
    pub(super) fn obstacle<'r>(&self, rows: &'r [CheckRow]) -> Option<&'r CheckRow> {
        let is_obstacle = |row: &&CheckRow| {
            self.needs.contains(&row.id.as_str())
                && (matches!(row.state, CheckState::Failed | CheckState::Skipped))
        };
        rows.iter().find(is_obstacle)
    }

    /// How long it may take.
    pub(super) fn within(&self, examination: &Examination) -> Duration {
        match self.id {
            // It ends by itself, unless a disk hangs.
            "paths" => examination.subject.count_for + LIMIT,
            _ => LIMIT,
        }
    }
}
