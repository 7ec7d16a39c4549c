//! libFuzzer's bytes come in, and go to the target `template_values`.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run("template_values", bytes));
