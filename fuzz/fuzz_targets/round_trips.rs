//! libFuzzer's inputs for the target `round_trips`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("round_trips", bytes));
