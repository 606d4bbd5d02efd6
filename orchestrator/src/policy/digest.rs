//! The digest of what a policy says about the archive's bytes: a job is resumed only under the policy it began with.
//!
//! SHA-256 of a JSON document whose members and words are written out here, so that no renamed field, variant or
//! `Debug` of this program ends a job. A setting that has its default is left out: a program that knows more settings
//! still resumes what an older one began.

use std::borrow::Cow;

use intellistor_storage::archive::Compression;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::Policy;

/// Members stand in the order of their names.
#[derive(Serialize)]
struct Document<'p> {
    compression: &'static str,
    exclude: &'p [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exclude_caches: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    one_file_system: bool,
    paths: Vec<Cow<'p, str>>,
    policy_id: &'p str,
    version: u32,
}

impl Policy {
    /// SHA-256 of what decides about the archive's bytes: id, paths, what is left out, compression. It is the same for every
    /// version of this program.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.canonical()).into()
    }

    fn canonical(&self) -> Vec<u8> {
        // No `..`: whoever adds a field decides here whether an unfinished archive can be continued under another value.
        let Self {
            policy_id,
            paths,
            exclude,
            compression,
            one_file_system,
            exclude_caches,
            schedule: _,
            store: _,
            resume: _,
            logs: _,
        } = self;
        let document = Document {
            compression: match compression {
                Compression::Fast => "fast",
                Compression::Balanced => "balanced",
                Compression::Best => "best",
            },
            exclude,
            exclude_caches: *exclude_caches,
            one_file_system: *one_file_system,
            paths: paths.iter().map(|path| path.to_string_lossy()).collect(),
            policy_id,
            version: 1,
        };
        serde_json::to_vec(&document).expect("strings and numbers can be written as JSON")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::policy::{LogPolicy, ResumePolicy};

    fn policy() -> Policy {
        let mut policy = Policy::new("docs-2026", ["/home/joão/Documents", r"C:\dados"]).unwrap();
        policy.exclude = vec!["*.tmp".to_owned(), "a\"b".to_owned()];
        policy.compression = Compression::Balanced;
        policy
    }

    /// Jobs that wait in the queues of users carry this very digest.
    #[test]
    fn the_digest_of_a_policy_is_pinned() {
        let text = r#"{"compression":"balanced","exclude":["*.tmp","a\"b"],"paths":["/home/joão/Documents","C:\\dados"],"policy_id":"docs-2026","version":1}"#;
        assert_eq!(String::from_utf8(policy().canonical()).unwrap(), text);
        let digest: String = policy().digest().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, "a22ffe0d167c324188c047d97446257245fb6a18e05b01289fb2cc31ace19d28");
    }

    #[test]
    fn only_what_decides_about_the_archive_changes_the_digest() {
        let same = Policy {
            schedule: Some("0 3 * * *".to_owned()),
            store: Some(intellistor_storage::objects::StoreUrl::parse("s3://other").unwrap()),
            resume: ResumePolicy { fresh_after: Duration::ZERO },
            logs: LogPolicy { keep_days: 1 },
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
        ];
        for other in others {
            assert_ne!(other.digest(), policy().digest(), "{other:?}");
        }
    }
}
