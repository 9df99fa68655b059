//! Postgres' driver: the suite that all drivers pass, and what only Postgres can get wrong, because there transactions
//! really overlap. Needs a server: FLAGSTOP_TEST_POSTGRES.

#![allow(clippy::unwrap_used)]

#[path = "postgres/server.rs"]
mod server;

use std::sync::Arc;

use flagstop_store::Store;

/// A migrated store in a schema of its own.
async fn fresh(case: &str) -> Arc<dyn Store> {
    let store = server::Schema::new(case).await.store();
    store.migrate().await.unwrap();
    Arc::new(store)
}

flagstop_store::conformance!(crate::fresh);
