//! The digest of what a policy says about the archive's bytes: a job is resumed only under the policy it began with.
//!
//! SHA-256 of a JSON document whose members and words are written out here, so that renaming a field or a variant does not
//! end a job. A setting with its default is left out: a later version with more settings resumes the jobs of this one.

use std::collections::BTreeMap;

use intellistor_actors::backup::changes::DetectChanges;
use intellistor_storage::archive::Compression;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::definition::{CloudFiles, Policy, SystemFilesRule, VssMode};

impl Policy {
    /// SHA-256 of what decides about the archive's bytes: id, paths, what is left out, compression, which files
    /// are read. The same in every
    /// version of this program.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.canonical()).into()
    }

    fn canonical(&self) -> Vec<u8> {
        // No `..`: a new field must be decided on here. May an unfinished archive be continued under another value?
        let Self {
            policy_id,
            paths,
            exclude,
            compression,
            one_file_system,
            exclude_caches,
            cloud_files,
            streams,
            system_files,
            detect_changes,
            vss,
            schedule: _,
            store: _,
            resume: _,
            logs: _,
            // The base is chosen when a job begins.
            full_every: _,
            // The archive is the same; the manifest is made when it is complete.
            manifest: _,
            // What becomes of the backup after it was made.
            retention: _,
            prune_after: _,
            // A resumed upload keeps the class that it began with; the lock is prolonged when it is complete.
            storage_class: _,
            lock: _,
            // What happens around a run.
            notify: _,
            hooks: _,
            limits: _,
        } = self;
        let paths: Vec<_> = paths.iter().map(|path| path.to_string_lossy()).collect();
        // Written in the order of the names.
        let mut members = BTreeMap::from([
            ("compression", json!(compression_word(*compression))),
            ("exclude", json!(exclude)),
            ("paths", json!(paths)),
            ("policy_id", json!(policy_id)),
            ("version", json!(1)),
        ]);
        let flags = [
            ("exclude_caches", *exclude_caches),
            ("one_file_system", *one_file_system),
            ("streams", *streams),
        ];
        members.extend(flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| (name, json!(true))));
        if *cloud_files != CloudFiles::default() {
            members.insert("cloud_files", json!(cloud_files_word(*cloud_files)));
        }
        if *system_files == SystemFilesRule::Keep {
            members.insert("system_files", json!("keep"));
        }
        if *detect_changes != DetectChanges::default() {
            members.insert("detect_changes", json!(detection_word(*detect_changes)));
        }
        // `required` promises it of every byte, also of those that an unfinished job has sent. Between `off` and `try` a
        // job goes on: what is left is read as the policy now says.
        if *vss == Some(VssMode::Required) {
            members.insert("vss", json!(VssMode::Required.word()));
        }
        serde_json::to_vec(&members).expect("strings and numbers can be written as JSON")
    }
}

/// The word for it in policies and digests.
pub(super) fn compression_word(compression: Compression) -> &'static str {
    match compression {
        Compression::Fast => "fast",
        Compression::Balanced => "balanced",
        Compression::Best => "best",
    }
}

/// The word for it in policies and digests.
pub(super) fn cloud_files_word(cloud_files: CloudFiles) -> &'static str {
    match cloud_files {
        CloudFiles::Skip => "skip",
        CloudFiles::Read => "read",
    }
}

/// The word for it in policies and digests.
pub(super) fn detection_word(detect_changes: DetectChanges) -> &'static str {
    match detect_changes {
        DetectChanges::Ctime => "ctime",
        DetectChanges::Mtime => "mtime",
        DetectChanges::Content => "content",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::definition::{LogPolicy, ManifestForm, ResumePolicy};
    use crate::policy::hooks::Hooks;
    use crate::policy::lifecycle::{LockMode, LockPolicy, RetentionRules};

    fn policy() -> Policy {
        let mut policy = Policy::new("docs-2026", ["/home/joão/Documents", r"C:\dados"]).unwrap();
        policy.exclude = vec!["*.tmp".to_owned(), "a\"b".to_owned()];
        policy.compression = Compression::Balanced;
        policy
    }

    /// Unfinished jobs on users' machines hold this digest.
    #[test]
    fn the_digest_of_a_policy_is_pinned() {
        let text = r#"{"compression":"balanced","exclude":["*.tmp","a\"b"],"paths":["/home/joão/Documents","C:\\dados"],"policy_id":"docs-2026","version":1}"#;
        assert_eq!(String::from_utf8(policy().canonical()).unwrap(), text);
        let digest = hex::encode(policy().digest());
        assert_eq!(digest, "a22ffe0d167c324188c047d97446257245fb6a18e05b01289fb2cc31ace19d28");
    }

    #[test]
    fn only_settings_that_change_the_archive_change_the_digest() {
        let same = Policy {
            schedule: Some("0 3 * * *".to_owned()),
            store: Some(intellistor_storage::objects::StoreUrl::parse("s3://other").unwrap()),
            resume: ResumePolicy { fresh_after: Duration::ZERO },
            logs: LogPolicy { keep_days: 1 },
            full_every: Some(Duration::from_secs(1)),
            manifest: ManifestForm::Sealed,
            retention: Some(RetentionRules { keep_last: 3, ..RetentionRules::default() }),
            prune_after: Duration::from_secs(1),
            lock: Some(LockPolicy { mode: LockMode::Compliance, days: 30 }),
            storage_class: Some("GLACIER_IR".to_owned()),
            notify: Policy::from_yaml(
                "x".as_ref(),
                "{policy_id: a, paths: x, notify: [{url: 'https://a/'}]}",
            )
            .unwrap()
            .notify,
            hooks: Some(Hooks { before: vec![vec!["true".to_owned()]], ..Hooks::default() }),
            limits: Some(intellistor_storage::objects::TransferLimits::default()),
            vss: Some(VssMode::Try),
            ..policy()
        };
        assert_eq!(same.digest(), policy().digest());
        let others = [
            Policy { policy_id: "docs".to_owned(), ..policy() },
            Policy { paths: vec!["/home/joão/Documents".into()], ..policy() },
            Policy { exclude: vec!["*.tmp".to_owned()], ..policy() },
            Policy { exclude: vec!["*.tmp, a\"b".to_owned()], ..policy() },
            Policy { compression: Compression::Best, ..policy() },
            Policy { one_file_system: true, ..policy() },
            Policy { exclude_caches: true, ..policy() },
            Policy { streams: true, ..policy() },
            Policy { cloud_files: CloudFiles::Read, ..policy() },
            Policy { detect_changes: DetectChanges::Mtime, ..policy() },
            Policy { detect_changes: DetectChanges::Content, ..policy() },
            Policy { vss: Some(VssMode::Required), ..policy() },
        ];
        for other in others {
            assert_ne!(other.digest(), policy().digest(), "{other:?}");
        }
    }
}
