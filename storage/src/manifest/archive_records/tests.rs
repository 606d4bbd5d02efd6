//! What somebody could write who has the key.

use super::*;
use crate::error::Error;
use crate::manifest::base::Base;
use crate::manifest::fixtures::Making;
use crate::manifest::listed::Listed;
use crate::manifest::reader::VerifiedManifest;
use crate::manifest::writer::{Lists, write_document};

/// The fourth backup of a chain, whose head was altered before it was sealed.
fn altered(alter: impl FnOnce(&mut Head)) -> Result<VerifiedManifest> {
    let chain = [0, 1, 2, 3].map(Making::new);
    let mut base = None;
    for making in &chain[..3] {
        base = Some(making.base(base, &[] as &[Listed]));
    }
    let last = &chain[3];
    let mut head = last.manifest(base, &[], Default::default()).unwrap().head().clone();
    alter(&mut head);
    let document = write_document(&head, Some(&mut Lists::default()), &last.header, &last.data_key).unwrap();
    last.verify(document, None)
}

#[test]
fn archives_are_of_this_policy_and_each_is_named_once() {
    assert_eq!(altered(|_| {}).unwrap().archives().unwrap().numbers(), 0..4);
    let named = |archives: usize| {
        altered(|head| {
            for i in head.archives.len()..archives {
                let mut more = head.archives[1].clone();
                more.backup_id = format!("c-{i}");
                more.key = head.archives[1].key.replace("/b-2/", &format!("/{}/", more.backup_id));
                head.archives.push(more);
            }
        })
    };
    let manifest = named(MOST_ARCHIVES).unwrap();
    let all_but = |unusable: usize| Base::numbers_of((0..MOST_ARCHIVES).map(|number| number >= unusable));
    let message = Base::new(named(MOST_ARCHIVES).unwrap(), all_but(0)).unwrap_err().to_string();
    assert!(message.contains("at most 32"), "{message}");
    Base::new(manifest, all_but(1)).unwrap();
    assert!(named(MOST_ARCHIVES + 1).unwrap_err().to_string().contains("33 archives"));

    let refused = |alter: fn(&mut Head), reason: &str| {
        let message = altered(alter).unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    };
    refused(|head| head.archives[1].key = head.archives[1].key.replace("/p/", "/q/"), "another policy");
    refused(|head| head.archives[1].key = "../../etc/passwd".into(), "not the key");
    refused(|head| head.archives[1].backup_id = "b-1".into(), "another backup");
    refused(|head| head.archives[2] = head.archives[1].clone(), "twice");
    refused(|head| head.archives.swap(0, 1), "not its own");
    refused(|head| head.archives.clear(), "not its own");
    refused(|head| head.archives[0].header = head.archives[1].header.clone(), "contradict");
    refused(|head| head.name.backup_id = "b-1".into(), "contradict");
}

#[test]
fn a_key_opens_only_the_archive_that_it_was_sealed_for() {
    let archives = |alter: fn(&mut Head)| altered(alter).unwrap().archives();
    let swapped = archives(|head| {
        let key = head.archives[1].data_key.take();
        head.archives[1].data_key = std::mem::replace(&mut head.archives[2].data_key, key);
    });
    assert!(swapped.unwrap_err().to_string().contains("sealed data key of b-2"));
    let other_header = archives(|head| head.archives[1].header = head.archives[2].header.clone());
    assert!(matches!(other_header, Err(Error::OtherBackup { .. })));
    let nothing = archives(|head| head.archives[3].data_key = None);
    assert!(nothing.unwrap_err().to_string().contains("does not say what opens"));
    let noise = archives(|head| head.archives[3].header = Some(b"ISBK".to_vec()));
    assert!(matches!(noise, Err(Error::Integrity { .. })));
}
