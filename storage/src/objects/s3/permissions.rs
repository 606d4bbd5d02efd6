//! Which permission of S3 each call needs. `docs/STORES.md` has the same as a policy.

/// What a call needs, and on what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Permission {
    /// As IAM writes it.
    name: &'static str,
    /// Whether it is granted on the bucket; else on the objects in it.
    on_bucket: bool,
}

impl Permission {
    /// What an operation of [`StoreError`](crate::StoreError) needs.
    fn of(operation: &str) -> Self {
        let (name, on_bucket) = match operation {
            "list" => ("s3:ListBucket", true),
            "list the uploads under" => ("s3:ListBucketMultipartUploads", true),
            "read" | "look up" => ("s3:GetObject", false),
            "list the parts of" => ("s3:ListMultipartUploadParts", false),
            "delete" => ("s3:DeleteObject", false),
            "list the versions of" => ("s3:ListBucketVersions", true),
            "delete a version of" => ("s3:DeleteObjectVersion", false),
            "lock" => ("s3:PutObjectRetention", false),
            "hold" => ("s3:PutObjectLegalHold", false),
            "look up the object lock of" => ("s3:GetBucketObjectLockConfiguration", true),
            // Object Lock needs rights of its own beside that to write.
            "write under lock" | "begin a locked upload of" => {
                ("s3:PutObject, s3:PutObjectRetention or s3:PutObjectLegalHold", false)
            }
            "abort the upload of" => ("s3:AbortMultipartUpload", false),
            _ => ("s3:PutObject", false),
        };
        Self { name, on_bucket }
    }
}

/// The reason of a refusal: the permission that is missing, where, and the store's own words.
pub(super) fn refused(operation: &str, bucket: &str, full_key: &str, words: &str) -> String {
    let Permission { name, on_bucket } = Permission::of(operation);
    let resource = if on_bucket { bucket.to_owned() } else { format!("{bucket}/{full_key}") };
    // Without s3:ListBucket the answer for an object that does not exist is the same.
    let absent = if name == "s3:GetObject" {
        ". Without s3:ListBucket, the store gives the same answer if there is no such object"
    } else {
        ""
    };
    format!("permission {name} on arn:aws:s3:::{resource} is refused ({words}){absent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_permission_and_resource() {
        let message = refused("begin an upload of", "b", "p/k", "AccessDenied: Access Denied");
        assert_eq!(
            message,
            "permission s3:PutObject on arn:aws:s3:::b/p/k is refused (AccessDenied: Access Denied)"
        );
        let message = refused("list", "b", "p/", "AccessDenied");
        assert!(message.contains("s3:ListBucket on arn:aws:s3:::b is refused"), "{message}");
        let message = refused("look up the object lock of", "b", "p/", "AccessDenied");
        assert!(message.contains("s3:GetBucketObjectLockConfiguration on arn:aws:s3:::b is"), "{message}");
        let message = refused("look up", "b", "k", "HTTP status 403");
        assert!(
            message.contains("s3:GetObject on arn:aws:s3:::b/k") && message.contains("no such object"),
            "{message}"
        );
    }
}
