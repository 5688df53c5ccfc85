//! libFuzzer's inputs for the target `hostile_secrets`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("hostile_secrets", bytes));
