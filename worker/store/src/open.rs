//! Chooses the driver by the URL. Connects to nothing that the driver does not connect to by itself.

use std::path::Path;
use std::sync::Arc;

use crate::config::StoreConfig;
use crate::port::{Store, StoreError};
use crate::postgres::PostgresStore;
use crate::sqlite::SqliteStore;

/// Opens the store that the URL names: `postgres://…` (or `postgresql://…`), `sqlite:PATH`, or `memory:`, which nobody
/// else sees and which goes with the process. Does not migrate.
///
/// # Errors
/// [`StoreError::Url`] for a URL and [`StoreError::Failed`] for a setting that can't be right. A Postgres that does not
/// answer shows at the first call, so that a worker may start before its database.
pub async fn open(url: &str, config: &StoreConfig) -> Result<Arc<dyn Store>, StoreError> {
    config.check().map_err(StoreError::Failed)?;
    if url.starts_with("postgres://") || url.starts_with("postgresql://") {
        return Ok(Arc::new(PostgresStore::open(url, config)?));
    }
    if let Some(path) = url.strip_prefix("sqlite:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return Ok(Arc::new(SqliteStore::open(Path::new(path)).await?));
    }
    if url == "memory:" {
        return Ok(Arc::new(SqliteStore::memory().await?));
    }
    // Only the scheme is shown: the rest may hold a password.
    let scheme = url.split_once(':').map_or(url, |(scheme, _)| scheme);
    Err(StoreError::Url(format!(
        "{scheme:?} is not a kind of store; give postgres://user@host/database, sqlite:PATH or memory:"
    )))
}
