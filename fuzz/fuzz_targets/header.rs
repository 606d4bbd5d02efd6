#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = intellistor_storage::archive::Header::of(&intellistor::BackupName::default(), "the archive", bytes);
});
