#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| {
    let _ = intellistor::Policy::from_yaml("fuzz.yaml".as_ref(), text);
});
