//! libFuzzer's bytes come in, and go to the target `webhook_address`.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run("webhook_address", bytes));
