//! The folders that the beginning of a manifest names, without fetching the rest.
//!
//! Nothing vouches for it: it is good enough for a warning, and for nothing else.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::RootRecord;
use crate::catalog::layout::BackupName;
use crate::error::Result;
use crate::objects::ObjectStore;

/// Hundreds of folders fit in it, behind the header.
const BEGINNING: u64 = 256 << 10;

/// The folders of a backup, as the beginning of its manifest names them; `None` where they are not found there.
///
/// # Errors
/// Those of the store.
pub async fn peek_roots(store: &dyn ObjectStore, name: &BackupName) -> Result<Option<Vec<RootRecord>>> {
    Ok(roots_in(&store.get_range(&name.manifest_key(), 0..BEGINNING).await?))
}

fn roots_in(beginning: &[u8]) -> Option<Vec<RootRecord>> {
    struct Peek<'r>(&'r mut Option<Vec<RootRecord>>);

    impl<'de> Visitor<'de> for Peek<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a manifest")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
            while let Some(member) = members.next_key::<Cow<'_, str>>()? {
                if member == "roots" {
                    *self.0 = Some(members.next_value()?);
                    break;
                }
                members.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }

    let mut found = None;
    // It ends in an error where the document is cut off, or where nothing more is read.
    let _ = serde_json::Deserializer::from_slice(beginning).deserialize_map(Peek(&mut found));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folders_are_found_before_the_cut_and_not_behind_it() {
        let whole = br#"{"format":"x","version":1,"header":"AAAA","host":"h",
            "roots":[{"path":"/a","prefix":"","files":7}],"totals":{"entries":1},"entries":["#;
        let roots = roots_in(whole).unwrap();
        assert_eq!((roots[0].path.as_str(), roots[0].files), ("/a", Some(7)));
        assert_eq!(roots_in(&whole[..90]), None);
        assert_eq!(roots_in(b"no json"), None);
        let older = br#"{"roots":[{"path":"/a","prefix":""}]}"#;
        assert_eq!(roots_in(older).unwrap()[0].files, None);
    }
}
