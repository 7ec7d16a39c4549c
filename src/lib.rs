//! Punte carries a citizen's request from the counter of a town hall to the national registry that can answer it, and
//! carries the answer back.
//!
//! Lower floors know nothing of higher ones, and rooms on one floor do not talk to each other.
//!
//! | floor | rooms |
//! | --- | --- |
//! | 8 | [`cli`]: one file per subcommand |
//! | 7 | [`kit`]: for people who write adapters and tests |
//! | 6 | [`process`]: which roles run, from start to stop |
//! | 5 | [`roles`]: what a process does for as long as it runs |
//! | 4 | [`delivery`]: one attempt from compose to record, and the fast path beside it |
//! | 3 | [`adapter`]: agencies as data; [`submissions`]: all that may be done with a submission, one verb per file |
//! | 2 | [`catalogue`]: services as data |
//! | 1 | [`journal`], [`broker`], [`http_server`], [`http_client`], [`soap`], [`trust`], [`attachments`], [`telemetry`], [`settings`] |
//! | 0 | [`domain`], [`xml`], [`json`], [`network_errors`], [`failpoints`], [`secret_file`], [`newest`] |

// What comes from outside never ends a thread. Tests may.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::exit
    )
)]

pub mod domain;
pub mod failpoints;
pub mod json;
pub mod network_errors;
pub mod newest;
pub mod secret_file;
pub mod xml;

pub mod attachments;
pub mod broker;
pub mod http_client;
pub mod http_server;
pub mod journal;
pub mod settings;
pub mod soap;
pub mod telemetry;
pub mod trust;

pub mod catalogue;

pub mod adapter;
pub mod submissions;

pub mod delivery;

pub mod roles;

pub mod process;

pub mod kit;

pub mod cli;
