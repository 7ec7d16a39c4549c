//! All integration tests in one program: one link, one set of services. Start it with `tests/run`.

mod raw_agency;
mod environment;

mod adapter;
mod broker;
mod gateway;
mod journal;
mod program;
mod delivery;
mod simulator;
mod trust;
