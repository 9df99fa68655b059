//! Where the real services are. A test that needs one and does not find it fails: nothing is skipped silently.

use std::sync::Arc;

use flagstop_store::port::Store;

/// The URL in an environment variable that `tests/run` sets.
#[must_use]
pub fn url(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set; run the tests with ./tests/run, which starts the services"))
}

/// Postgres' URL.
#[must_use]
pub fn postgres() -> String {
    url("FLAGSTOP_TEST_POSTGRES")
}

/// A name that no other test uses, fit for schemas, queues and topics.
#[must_use]
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}_{}", &id[..12])
}

/// A migrated store in a schema of its own.
pub async fn fresh_postgres(prefix: &str) -> (Arc<dyn Store>, flagstop_store::StoreConfig) {
    let config = flagstop_store::StoreConfig { schema: unique(prefix), ..flagstop_store::StoreConfig::default() };
    let store = flagstop_store::open(&postgres(), &config).await.unwrap();
    store.migrate().await.unwrap();
    (store, config)
}

/// Waits until `check` holds, asking often. Panics with `what` after a generous while: a bound, not a measurement.
pub async fn eventually<F>(what: &str, mut check: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let start = std::time::Instant::now();
    while !check().await {
        assert!(start.elapsed() < std::time::Duration::from_secs(30), "did not happen: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}
