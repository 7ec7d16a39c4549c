//! What Punte stands on fails: RabbitMQ, PostgreSQL, the disk, the network between, and the clock.
//!
//! Each fault is done once and shortly; `PUNTE_FAULTS_LONG=1` asks for its full length.

mod clock;
mod cluster;
mod disk;
mod frames;
mod network;
mod platter;
mod postgres;
mod power;
mod proxy;
mod rabbitmq;
pub mod records;
mod recorder;
mod servers;
mod summer_time;
mod trial;
