//! The Store port and its drivers, Postgres and SQLite (in a file or in memory).
//!
//! The port is made for batches: its central call commits a whole batch of decided transitions at once and says for each
//! what became of it. The store knows nothing of the language: states, stimuli and events are bytes to it.

pub mod config;
#[cfg(feature = "conformance")]
pub mod conformance;
mod open;
pub mod port;
pub mod postgres;
pub mod rows;
pub mod sqlite;

pub use config::StoreConfig;
pub use open::open;
pub use port::{Store, StoreError};
