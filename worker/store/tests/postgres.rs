//! Postgres' driver: the suite that all drivers pass, and what only Postgres can get wrong, because there transactions
//! really overlap. Needs a server: FLAGSTOP_TEST_POSTGRES.

#![allow(clippy::unwrap_used)]

#[path = "postgres/connections.rs"]
mod connections;
#[path = "postgres/hammer.rs"]
mod hammer;
#[path = "postgres/journal.rs"]
mod journal;
#[path = "postgres/overlap.rs"]
mod overlap;
#[path = "postgres/partitions.rs"]
mod partitions;
#[path = "postgres/pooled.rs"]
mod pooled;
#[path = "postgres/restored.rs"]
mod restored;
#[path = "postgres/schema.rs"]
mod schema;
#[path = "postgres/server.rs"]
mod server;
#[path = "postgres/timers.rs"]
mod timers;

use std::sync::Arc;

use flagstop_store::Store;

/// A migrated store in a schema of its own.
async fn fresh(case: &str) -> Arc<dyn Store> {
    server::Schema::new(case).await.migrated().await
}

flagstop_store::conformance!(crate::fresh);
