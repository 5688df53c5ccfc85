//! libFuzzer's inputs for the target `hostile_requests`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("hostile_requests", bytes));
