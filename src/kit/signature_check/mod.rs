//! Messages' signatures, checked by hand with the rules that the worker uses: files come in, verdicts go out.

mod policy_files;
mod message_files;
mod http_file;
mod verdict;
mod judging;

pub use judging::{SignatureCheck, judge, verify_message};
pub use message_files::listed;
pub use policy_files::PolicyFiles;
pub use verdict::Verdict;
