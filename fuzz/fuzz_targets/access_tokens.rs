//! libFuzzer's inputs for the target `access_tokens`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("access_tokens", bytes));
