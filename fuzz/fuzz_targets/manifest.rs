#![no_main]

use std::io::Write;

use intellistor::{BackupName, UserKey, VerifiedManifest};
use intellistor_storage::Spool;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut spool = Spool::default();
    spool.write_all(bytes).expect("the temporary folder takes it");
    let _ = VerifiedManifest::verify(spool, &BackupName::default(), &UserKey::generate().into());
});
