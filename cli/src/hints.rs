//! What to do about an error of the engine: which option, variable or command helps.
//!
//! The engine's errors say what failed, on which file or key, and why; they know nothing about these programs. A message is
//! the error, a full stop, and the hint.

use std::fmt::Display;

use intellistor::schedule::ScheduleError;
use intellistor::{Error, PolicyError, QueueErrorKind, StorageError, StoreError, StoreErrorKind, StoreUrl};

use crate::quoting::command_line;

/// The error, and what to do about it.
pub(crate) fn with_hint(error: &Error) -> String {
    join(error, hint(error))
}

/// As [`with_hint`].
pub(crate) fn with_storage_hint(error: &StorageError) -> String {
    join(error, storage(error))
}

/// As [`with_hint`].
pub(crate) fn with_policy_hint(error: &PolicyError) -> String {
    join(error, policy(error))
}

/// As [`with_hint`].
pub(crate) fn with_schedule_hint(error: &ScheduleError) -> String {
    join(error, schedule(error).map(str::to_owned))
}

fn join(error: impl Display, hint: Option<String>) -> String {
    hint.map_or_else(|| error.to_string(), |hint| format!("{error}. {hint}"))
}

/// What to do next, as a sentence without a full stop; `None` where the error says it.
pub(crate) fn hint(error: &Error) -> Option<String> {
    match error {
        Error::Storage(error) => storage(error),
        Error::ManifestLost { source, .. } => storage(source),
        Error::Policy(error) => policy(error),
        Error::SweepStopped { source, .. } => Some(match &**source {
            StorageError::Integrity { .. } | StorageError::OtherBackup { .. } => {
                "`backup-client restore --without-manifest` restores what the backup's archive holds; once no one needs \
                 that backup, delete its manifest in the store by hand, then prune again"
                    .to_owned()
            }
            source => return storage(source),
        }),
        Error::NoBackup { orphans: 0, .. } => Some(
            "Check that the policy and its store are the right ones; `backup-client backup` makes a backup"
                .to_owned(),
        ),
        Error::Selection(_) => {
            Some("`backup-client list` shows the backups, `list --forgotten` the forgotten ones".to_owned())
        }
        Error::NoBackup { .. } => Some("`backup-client list --orphans` shows how to restore them".to_owned()),
        Error::Target { .. } => {
            Some("Check --out: the folder, who may write there, and its free space".to_owned())
        }
        Error::Place { .. } => Some(
            "Check who may write there, and its free space; if a symbolic link is on the path, restore it with --out, or name \
             the real path in the policy"
                .to_owned(),
        ),
        Error::Precious { .. } => Some("To forget it all the same, add --confirm".to_owned()),
        Error::OnHold { .. } => Some("`backup-client release` ends the hold".to_owned()),
        Error::NoSuchBackup { .. } => {
            Some("`backup-client list` shows the backups that exist, `list --orphans` archives alone".to_owned())
        }
        Error::BeingSwept { key, .. } => Some(format!(
            "What is still there of it can be restored or copied now: `backup-client restore --key {key}`, or `copy --key` \
             with that key"
        )),
        Error::OtherPolicy { found, .. } => {
            Some(format!("Use --policy-id {found}, or --policy with that policy's file"))
        }
        Error::NoRetention { .. } => Some(
            "Write into the policy what is to be kept, for example `retention: { keep_daily: 7, keep_weekly: 5, \
             keep_monthly: 12 }`; or forget one backup with --key"
                .to_owned(),
        ),
        Error::StoreLacks { store, field: "lock", .. } if store.starts_with("s3://") => {
            Some(format!("{}. Or remove `lock` from the policy", object_lock(store)))
        }
        Error::NoLegalHold { store, .. } if store.starts_with("s3://") => {
            Some(format!("{}. Or leave out --legal", object_lock(store)))
        }
        Error::NoLegalHold { .. } => Some("Leave out --legal".to_owned()),
        Error::StoreLacks { .. } => Some("Remove the field from the policy, or name another `store`".to_owned()),
        Error::NotLocked { .. } => Some(
            "Grant s3:GetObjectRetention and s3:PutObjectRetention (docs/STORES.md), then run again: the agent sends nothing \
             twice. If that does not help, the store does not keep locks: remove `lock` from the policy"
                .to_owned(),
        ),
        Error::ColdArchives { store, keys, .. } => Some(thaw(store, keys)),
        Error::NotInPlace { .. } => Some("Restore it into a folder with --out".to_owned()),
        Error::NothingMatches { .. } => Some("`backup-client show` lists the paths in the backup".to_owned()),
        _ => None,
    }
}

/// How to make archives readable, as commands.
fn thaw(store: &str, keys: &[String]) -> String {
    let mut text =
        "Request readable copies, wait until they are ready (minutes to days, by the class), and run \
                    this again"
            .to_owned();
    if let Ok(StoreUrl::S3 { bucket, prefix }) = StoreUrl::parse(store) {
        text.push(':');
        for key in keys {
            let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}/{key}") };
            let words = ["aws", "s3api", "restore-object", "--bucket", &bucket, "--key", &key];
            let line = command_line(words.into_iter().chain(["--restore-request", "Days=7"]));
            text.push('\n');
            text.push_str(&line);
        }
    }
    text
}

fn storage(error: &StorageError) -> Option<String> {
    Some(match error {
        StorageError::Store(error) => return Some(store(error)),
        StorageError::WrongKey { .. } => {
            "Set INTELLISTOR_KEY, INTELLISTOR_KEY_FILE or INTELLISTOR_PASSPHRASE to the key that sealed the backup"
                .to_owned()
        }
        StorageError::Integrity { .. } => {
            "Restore from another backup, or try again if the store may have delivered it wrongly".to_owned()
        }
        StorageError::OtherBackup { .. } => "Restore from another backup".to_owned(),
        StorageError::WrongPassphrase { .. } => {
            "Set INTELLISTOR_PASSPHRASE to the passphrase that sealed it".to_owned()
        }
        StorageError::Busy { .. } => {
            "Wait until it has ended; `intellistor-agent status` shows its progress".to_owned()
        }
        StorageError::BadKey { .. } => {
            "Correct it; if you never had a key, `backup-client key-create` creates one".to_owned()
        }
        StorageError::NotOwner { host, .. } => format!(
            "Give this machine's policy another policy_id; or, if this machine replaces {host}, back up once with \
             `backup-client backup --take-over` or `intellistor-agent run --take-over`; or, for containers and other short-lived machines, set INTELLISTOR_MACHINE to one name for \
             all of them"
        ),
        StorageError::UnreadableOwner { .. } => {
            "Look at that object; if no other machine backs up this policy there, back up once with `backup-client backup \
             --take-over` or `intellistor-agent run --take-over` to rewrite it"
                .to_owned()
        }
        StorageError::Queue { kind, .. } => match kind {
            QueueErrorKind::Full => "Free some space, then run again to resume",
            QueueErrorKind::Short => {
                "The disk is not at fault. If too many files are open, raise the limit, for example with `ulimit -n \
                 1024`, or LimitNOFILE=1024 in a systemd unit; then run again"
            }
            QueueErrorKind::Io => {
                "Check the disk, and that this account may write there; INTELLISTOR_HOME chooses another folder"
            }
            QueueErrorKind::Damaged => {
                "Run again: the next run moves it aside and starts a new job. No backup is affected"
            }
        }
        .to_owned(),
        _ => return None,
    })
}

fn store(error: &StoreError) -> String {
    match error.kind {
            StoreErrorKind::NotFound => "Check the key; `backup-client list` shows the backups that exist",
            StoreErrorKind::AlreadyExists => {
                "Another program put it there, and it was not replaced: look at it, then run again"
            }
            StoreErrorKind::NoSuchStore => {
                "Check the bucket or folder in AWS_S3_BUCKET or in the policy's `store`; it must exist: create it, or mount the disk that it is on"
            }
            StoreErrorKind::OtherStore => {
                "Mount the disk that holds the store, then run again; if it was replaced on purpose, run \
                 `intellistor-agent run --new-store` once"
            }
            StoreErrorKind::Credentials => {
                "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, for temporary credentials, AWS_SESSION_TOKEN"
            }
            StoreErrorKind::AccessDenied => {
                "Grant this permission to the credentials; docs/STORES.md has a complete IAM policy for backups"
            }
            StoreErrorKind::Unreachable => {
                "Check AWS_ENDPOINT_URL, AWS_REGION, the proxy (HTTPS_PROXY, NO_PROXY) and the network"
            }
            StoreErrorKind::Timeout => "Check the network, and whether the store is overloaded",
            StoreErrorKind::Throttled => "The store asks for fewer requests: try again later",
            StoreErrorKind::ServerFault => {
                "This is an error of the store: try again later, and look at its logs or status page if it recurs"
            }
            StoreErrorKind::UploadGone => "The upload was aborted or expired in the store; run the backup again",
            StoreErrorKind::ChecksumMismatch => {
                "Bytes were altered in transit: try again, and check the network and its hardware if it recurs"
            }
            StoreErrorKind::Full => "Free some space or raise the quota, then run again",
            StoreErrorKind::NoCredentials => {
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the environment or in the file \
                 given with --env-file"
            }
            StoreErrorKind::WrongRegion => {
                let region = error.bucket_region().unwrap_or("that region");
                return format!(
                    "Set AWS_REGION={region} where the other AWS_* variables are set, such as in the file given with --env-file"
                );
            }
            StoreErrorKind::BadSetting => "Correct the variable, or unset it",
            StoreErrorKind::BadEndpoint => "Correct AWS_ENDPOINT_URL",
            StoreErrorKind::Certificate => {
                "If you trust its authority, save the authority's certificate (PEM) in a file and set AWS_CA_BUNDLE \
                 to the path of that file"
            }
            StoreErrorKind::BadCertificate => {
                "Check that AWS_ENDPOINT_URL names the right host and that this machine's clock is right; otherwise \
                 the operator of the endpoint has to replace the certificate"
            }
            StoreErrorKind::Proxy => {
                "Put user and password into the proxy's URL (http://user:password@host:port), or the endpoint's host into \
                 NO_PROXY"
            }
            StoreErrorKind::ColdStorage => return thaw(&error.store, std::slice::from_ref(&error.key)),
            StoreErrorKind::FolderDenied => {
                "Check that the account that runs this may read and write in that folder"
            }
            StoreErrorKind::ReadOnly => "Mount it for writing, or choose a folder on another file system",
            StoreErrorKind::FileTooLarge => {
                "FAT32 holds no file over 4 GiB: use exFAT, NTFS or ext4. If the file system is not the limit, check \
                 `ulimit -f`"
            }
            StoreErrorKind::ClockSkew => {
                "Set this machine's clock, best with NTP: it may differ from the store's by at most 15 minutes"
            }
            StoreErrorKind::UnequalParts => {
                "Set INTELLISTOR_S3_EQUAL_PARTS=yes: parts then have equal sizes from the start, and no run has to detect this"
            }
            StoreErrorKind::Locked => "Wait until its retention has ended, or have its legal hold released",
            StoreErrorKind::Unsupported => {
                "The store does not support this operation; docs/STORES.md lists what a store must support"
            }
            StoreErrorKind::Rejected => {
                "The store rejected the request, for the reason above; check the settings of the store and of the bucket"
            }
        }
    .to_owned()
}

/// How a bucket gets Object Lock.
fn object_lock(store: &str) -> String {
    let path = store.trim_start_matches("s3://");
    let bucket = path.split('/').next().unwrap_or(path);
    format!(
        "Make a bucket that can lock (`aws s3api create-bucket --bucket NAME --object-lock-enabled-for-bucket`) and name it in \
         the policy's `store`; or let this one: `aws s3api put-bucket-versioning --bucket {bucket} --versioning-configuration Status=Enabled`, then `aws s3api \
         put-object-lock-configuration --bucket {bucket} --object-lock-configuration ObjectLockEnabled=Enabled`. \
         docs/RETENTION.md says more"
    )
}

fn policy(error: &PolicyError) -> Option<String> {
    let is_unreadable = matches!(error, PolicyError::Unreadable { .. });
    is_unreadable.then(|| "Check the path; `backup-client policy-create` writes a policy".to_owned())
}

fn schedule(error: &ScheduleError) -> Option<&'static str> {
    match error {
        ScheduleError::NoScheduler => {
            Some("`intellistor-agent serve` runs policies at the times of their `schedule`, in one process")
        }
        ScheduleError::NotScheduled { .. } => Some(
            "`intellistor-agent list-schedules` shows the schedules that exist; `apply-schedule` creates one",
        ),
        ScheduleError::StillRunning { .. } => {
            Some("`intellistor-agent status` shows its progress and its result; --timeout waits longer")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_store(kind: StoreErrorKind) -> StoreError {
        StoreError::new(kind, "s3://b", "read", "k", "why")
    }

    #[test]
    fn a_message_is_what_happened_and_what_to_do() {
        let error = Error::Storage(of_store(StoreErrorKind::BadEndpoint).into());
        assert_eq!(with_hint(&error), "s3://b: cannot read k: why. Correct AWS_ENDPOINT_URL");
        assert_eq!(with_hint(&Error::Interrupted), "interrupted");
    }

    #[test]
    fn cold_archives_read_the_commands_that_make_all_of_them_readable() {
        let keys = vec!["backups/p/a".to_owned(), "backups/p/b".to_owned()];
        let reason = "the object is in storage class GLACIER".to_owned();
        let cold = |store: &str| {
            with_hint(&Error::ColdArchives {
                store: store.to_owned(),
                reason: reason.clone(),
                keys: keys.clone(),
            })
        };
        let message = cold("s3://bucket/dir");
        for part in [
            "2 archives that this backup needs",
            "storage class GLACIER",
            "aws s3api restore-object --bucket bucket --key dir/backups/p/a --restore-request ",
            "--key dir/backups/p/b",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(!cold("file:///nas").contains("s3api"));
    }

    #[test]
    fn a_store_that_is_down_or_refuses_names_what_to_set() {
        for (kind, hint) in [
            (StoreErrorKind::Unreachable, "AWS_ENDPOINT_URL"),
            (StoreErrorKind::AccessDenied, "docs/STORES.md"),
        ] {
            assert!(store(&of_store(kind)).contains(hint), "{kind}");
        }
    }

    #[test]
    fn what_to_call_names_bucket_and_key() {
        let hint = store(&StoreError { key: "k/a".to_owned(), ..of_store(StoreErrorKind::ColdStorage) });
        let call = ["restore-object", "--bucket", "b", "--key", "k/a", "--restore-request", "Days=7"];
        assert!(hint.contains(&command_line(call)), "{hint}");
        let lacks =
            |store: &str| Error::StoreLacks { store: store.into(), field: "lock", reason: String::new() };
        let hint = super::hint(&lacks("s3://b/some/prefix")).unwrap();
        assert!(hint.contains("put-object-lock-configuration --bucket b ") && hint.contains("create-bucket"));
        let hint = super::hint(&lacks("file:///mnt")).unwrap();
        assert!(!hint.contains("aws"), "{hint}");
    }

    #[test]
    fn what_is_damaged_is_restored_from_elsewhere_and_what_is_being_swept_at_once() {
        let damaged = StorageError::integrity("the manifest", "it was altered");
        assert!(
            with_storage_hint(&damaged).contains("Nothing from it was used. Restore from another backup")
        );
        let swept = with_hint(&Error::BeingSwept { key: "backups/p/a".to_owned(), why: "old".to_owned() });
        for part in ["cannot be taken back", "restore --key backups/p/a", "`copy --key`"] {
            assert!(swept.contains(part), "no {part:?} in {swept}");
        }
    }

    #[test]
    fn a_bucket_without_lock_reads_the_same_for_a_policy_and_for_a_hold() {
        let (store, reason) = ("s3://b/prefix".to_owned(), "object lock is not enabled".to_owned());
        let refused = with_hint(&Error::NoLegalHold { store, reason });
        for part in ["s3://b/prefix cannot keep", "not enabled", "--bucket b ", "leave out --legal"] {
            assert!(refused.contains(part), "no {part:?} in {refused}");
        }
    }

    #[test]
    fn a_refused_machine_reads_each_way_out() {
        let (policy_id, store) = ("p".to_owned(), "s3://b".to_owned());
        let key = "machine.json".to_owned();
        let junk =
            StorageError::UnreadableOwner { key, store: store.clone(), reason: "it is empty".to_owned() };
        assert!(with_storage_hint(&junk).contains("--take-over"));
        let (host, since, this_host) = ("a".to_owned(), "2026".to_owned(), "b".to_owned());
        let refused = with_storage_hint(&StorageError::NotOwner { policy_id, store, host, since, this_host });
        for part in [
            "the machine a since 20",
            "policy_id",
            "backup --take-over",
            "run --take-over",
            "INTELLISTOR_MACHINE",
            "this one is b",
        ] {
            assert!(refused.contains(part), "no {part:?} in {refused}");
        }
    }

    #[test]
    fn a_restore_in_place_is_not_told_to_check_out() {
        let reason = "a link is on the path".to_owned();
        let refused = with_hint(&Error::Place { place: "/link".into(), reason });
        assert!(refused.contains("real path in the policy") && !refused.contains("Check --out"), "{refused}");
    }

    #[test]
    fn a_policy_that_is_missing_can_be_made() {
        let gone = intellistor::Policy::load(std::path::Path::new("/no/such.yaml")).unwrap_err();
        assert!(with_policy_hint(&gone).contains("policy-create"));
    }
}
