//! libFuzzer's inputs for the target `token_segments`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("token_segments", bytes));
