//! What an office may see and touch: its own, by whatever name, trick or text it asks for another's.

mod injection;
mod matrix;
mod webhooks;
