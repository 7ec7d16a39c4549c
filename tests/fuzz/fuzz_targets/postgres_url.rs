//! libFuzzer's bytes come in, and go to the target `postgres_url`.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run("postgres_url", bytes));
