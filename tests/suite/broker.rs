//! What every broker must do, proved on the embedded one and on RabbitMQ by the same tests.

mod both;
mod private;
mod rabbitmq;
mod recovery;
mod stage;
mod tls;
