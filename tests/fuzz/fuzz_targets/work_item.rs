//! libFuzzer's bytes come in, and go to the target `work_item`.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run("work_item", bytes));
