//! The Bus port and its drivers: RabbitMQ, Kafka and the embedded in-process bus.
//!
//! The port speaks in batches and promises at-least-once delivery in and confirmed publishing out. It knows nothing of
//! workflows: what a message means is decided by the runtime.

pub mod port;
