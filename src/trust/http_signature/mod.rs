//! An HTTP message comes in; the fields of its RFC 9421 signature and RFC 9530 digest go out, or their verdict.

mod base;
mod message;
mod sign;
mod verify;

pub use base::is_component;
pub use message::{HttpMessage, HttpStart};
pub use sign::{HttpSignatureError, sign};
pub use verify::{verify, verify_but_for_replay};
