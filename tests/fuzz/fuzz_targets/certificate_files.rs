//! libFuzzer's bytes come in, and go to the target `certificate_files`.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run("certificate_files", bytes));
