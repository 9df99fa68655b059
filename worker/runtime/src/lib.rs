//! The worker: the loops that bring messages to the engine and what it decides to the store and the bus.
//!
//! ```text
//! bus ─► intake ─► lane: load ─► decide ─► commit ─► look ─► acknowledge ─► effects ─┐
//!                   ▲                        │                                       │
//!                   └── results, timers, mail, meetings (pokes) ◄────────────────────┘
//!                                            └─► journal ─► relay ─► bus
//! ```
//!
//! A message is acknowledged only after the transaction that applied it and the second look that follows; whatever dies
//! in between is delivered again and found in the inbox.

mod ahead;
mod answers;
mod blame;
mod catalogue;
mod codec;
mod commands;
mod counters;
mod crash;
mod decide;
mod effects;
mod intake;
mod lane;
mod letters;
pub mod metrics;
mod options;
mod orders;
mod pokes;
mod recovery;
mod redrive;
mod refused;
mod relay;
mod retention;
mod schedules;
mod secrets;
mod shares;
mod sources;
mod status;
mod timers;
mod vitals;
mod work;
mod worker;

pub use catalogue::{bundled_row, definition_row};
pub use commands::business_hash;
pub use counters::WorkerCounters;
pub use effects::{http, processes};
pub use options::{Options, StatusOptions, Unheard};
pub use orders::{Order, rerun, tell};
pub use redrive::redrive;
pub use secrets::Secrets;
pub use status::published;
pub use vitals::{Signs, Vitals};
pub use worker::{StartError, Worker};
