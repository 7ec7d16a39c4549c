//! The way of one submission, one verb a file. Each step takes one type and returns the next; what `send` takes, only
//! `seal` can make, so nothing leaves unsigned. First try, retry and an operator's replay all come by here.

mod line;

mod read;
mod reply;
mod seal;
mod send;
mod settle;
mod transform;

mod begin;
mod deliver;
mod sign;

pub use deliver::{Delivered, Road};
pub use line::{Line, Lines};
pub use read::{Answering, read};
pub use reply::Reply;
pub use seal::{Sealed, seal};
pub use send::send;
pub use settle::{Case, settle};
pub use sign::Sign;
pub use transform::{Transformed, transform};
