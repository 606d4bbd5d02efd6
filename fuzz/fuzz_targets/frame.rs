#![no_main]

use intellistor_storage::archive::{FRAME_BYTES, inflate};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(tar) = inflate(bytes, FRAME_BYTES) {
        assert!(tar.len() <= FRAME_BYTES);
    }
});
