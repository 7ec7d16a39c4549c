//! A gateway alone, as the other test program builds it: each program uses a part of it.

#[allow(dead_code)]
#[path = "../suite/gateway/raw.rs"]
pub mod raw;
#[allow(dead_code)]
#[path = "../suite/gateway/environment.rs"]
pub mod environment;
