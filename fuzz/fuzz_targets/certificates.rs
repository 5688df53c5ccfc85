//! libFuzzer's inputs for the target `certificates`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("certificates", bytes));
