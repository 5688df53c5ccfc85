//! libFuzzer's inputs for the target `values_of_bodies`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sluicegate_fuzz::check("values_of_bodies", bytes));
