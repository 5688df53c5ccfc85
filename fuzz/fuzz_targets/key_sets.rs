//! libFuzzer's inputs for the target `key_sets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("key_sets", bytes));
