//! libFuzzer's inputs for the target `templates`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("templates", bytes));
