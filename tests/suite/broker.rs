//! What every broker must do, proved on the embedded one and on RabbitMQ by the same tests.

mod both;
pub mod private;
mod rabbitmq;
mod recovery;
pub mod stage;
mod tls;
