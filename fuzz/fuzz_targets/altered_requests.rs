//! libFuzzer's inputs for the target `altered_requests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("altered_requests", bytes));
