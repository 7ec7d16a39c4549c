//! libFuzzer's bytes come in, and go to the target `agency_content`.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run("agency_content", bytes));
