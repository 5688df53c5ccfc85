//! libFuzzer's inputs for the target `message_signatures`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("message_signatures", bytes));
