//! What every broker must do, proved on the embedded one and on RabbitMQ by the same tests.

mod announcing;
mod both;
mod marks;
mod misfits;
mod owners;
pub mod private;
mod rabbitmq;
mod recovery;
mod rights;
pub mod fixture;
mod tls;
