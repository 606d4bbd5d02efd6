#![no_main]

use intellistor::{BackupName, UserKey};
use intellistor_storage::archive::ArchiveReader;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(mut archive) = ArchiveReader::open(bytes, &BackupName::default(), &UserKey::generate().into()) {
        while let Ok(Some(_)) = archive.next_frame() {}
    }
});
