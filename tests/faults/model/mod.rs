//! The model: one submission, and every order in which office, relay, broker, workers, agency, scheduler and operator can
//! act on it, looked through to the end.
//!
//! **How it is tied to production.** The journal of the model holds production's `Progress`, changed by production's `apply`
//! alone, with production's `SideRows` beside it. What is decided, production decides: `settle`, `is_to_be_asked_about`,
//! `leases_first`, `after_asking`, `settled_at`, `may_leave`, `is_to_do`, `unsendable`, `after_due_time`,
//! `missing`. The model has only the order of the worker's steps (find, begin, look at the lease, send, hear, record, ack;
//! what need not begin first is recorded as begun while it is under way, or together with its end) and the condition in the
//! journal's statement for `published`; `broken.rs` shows what would come of another order. `events.rs` sees to it that each
//! of production's events comes to pass.
//!
//! **What may happen.** A worker may die, be frozen or lose the broker between any two steps, fail before it sends, find
//! nobody there or the agency's circuit open, or not hear that the journal has done what it said. A message may come before
//! the journal has its submission: its worker waits for that, in the same process, which may die, and an office may hang up
//! or repeat itself meanwhile. The relay may die or freeze between claim, publish and confirm. The broker may deliver twice
//! or lose everything. The agency does it, refuses, takes it for later or fails; its answer may be lost, late, or come
//! twice, and a request that everybody has given up may still arrive. The office takes its submission back, the deadline
//! passes, the operator replays, resolves and discards, at any time. The journal is lost and its backup of any earlier
//! moment takes its place, while the agency goes on.
//!
//! **What is bounded.** Two workers with one fault, or one worker with two (one for `lookup`); two tries (`PUNTE_MODEL_TRIES`;
//! one less for two workers and a read), one replay or finding of an operator (that it was done is free). A fault is a crash,
//! a freeze, a loss, a redelivery; timeouts, lost answers and strays are free.
//!
//! **What is assumed.** An agency acts within two exchanges' time of the end of our side, or never. A worker is not frozen just
//! between its look at the lease and the first byte on the wire: no rule on this side could help, only an agency that
//! recognises the reference; `broken.rs` shows it. What the agency says of itself is true.
//!
//! **What is not modelled.** An answer to an attempt of before a restore, brought later, that comes while an attempt of the
//! same number is under way; time in seconds, the circuit breaker's own states, rate limits, webhooks, retention, other
//! submissions in the same queue, two schedulers that have looked at the same moment, an adapter that changes its effect.

mod rules;
mod world;
mod events;
mod moves;
mod gateway;
mod broker;
mod worker;
mod agency;
mod scheduler;
mod people;
mod disaster;
mod properties;
mod escape;
mod exhaustive;
mod broken;
