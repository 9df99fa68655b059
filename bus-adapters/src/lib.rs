//! The Bus port and its drivers: RabbitMQ, Kafka and the embedded in-process bus.
//!
//! The port speaks in batches and promises at-least-once delivery in and confirmed publishing out. It knows nothing of
//! workflows: what a message means is decided by the runtime.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should"))]

mod backoff;
mod codec;
mod config;
mod embedded;
mod generation;
mod handover;
mod kafka;
mod outgoing;
pub mod port;
mod rabbitmq;

use std::sync::Arc;

pub use backoff::Delays;
pub use codec::{CodecError, CodecLimits, decode, decode_http, encode_amqp, encode_kafka, split};
pub use config::{BusConfig, Names};

use config::Target;
use port::{Bus, BusError};

/// Opens the bus that the URL names: `amqp://…`, `amqps://…`, `kafka://host:port,…/?property=value`, `embedded:` or
/// `embedded:PATH`. Brokers are connected to in the background; [`Bus::prepare`] says whether that works.
///
/// # Errors
/// [`BusError::Url`] for what isn't the URL of a bus; [`BusError::Unreachable`] when the embedded bus's file can't be used.
pub async fn open(url: &str, config: &BusConfig) -> Result<Arc<dyn Bus>, BusError> {
    match Target::parse(url)? {
        Target::RabbitMq(url) => rabbitmq::open(&url, config),
        Target::Kafka { brokers, properties } => kafka::open(&brokers, &properties, config),
        Target::Embedded { path } => embedded::open(path.as_deref(), config).await,
    }
}
