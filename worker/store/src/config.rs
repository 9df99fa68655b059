//! The store's settings, each with its unit and its reason. Where the store is, is told by its URL alone.

use serde::{Deserialize, Serialize};

/// The longest that a statement may take: what keeps two days' messages apart counts on it.
const STATEMENT_TIMEOUT_MS_MAX: u64 = 300_000;

/// A Postgres identifier has at most this many bytes.
const SCHEMA_BYTES_MAX: usize = 63;

/// What stands between a worker and Postgres.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooler {
    /// Nothing: a connection is a session of its own, with settings and prepared statements.
    #[default]
    None,
    /// A pooler that gives a server's session for one transaction at a time (PgBouncer's `pool_mode = transaction`).
    Transaction,
}

/// How a store is used. All but the URL; SQLite needs none of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The Postgres schema that holds Flagstop's tables. It is the only one on the connections' search path, so several
    /// deployments may share a database.
    pub schema: String,
    /// `transaction`, when the URL is that of PgBouncer in transaction mode: nothing is kept in a session then, and each statement
    /// costs four round trips instead of one. `none` for Postgres itself.
    pub pooler: Pooler,
    /// Connections per process. A worker's lanes, relay, recovery and API share them; more than the database has cores
    /// for only makes its work slower.
    pub connections_max: u32,
    /// How long a call waits for one of the connections, and how long a new one may take, in milliseconds.
    pub acquire_timeout_ms: u64,
    /// After this the database itself gives a statement up, in milliseconds; at most five minutes.
    pub statement_timeout_ms: u64,
    /// After this the database gives up waiting for a lock, in milliseconds. Must be less than the statement's timeout.
    pub lock_timeout_ms: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            schema: "flagstop".to_owned(),
            pooler: Pooler::None,
            connections_max: 8,
            acquire_timeout_ms: 5_000,
            statement_timeout_ms: 15_000,
            lock_timeout_ms: 5_000,
        }
    }
}

impl StoreConfig {
    /// Refuses values with which the store could not work, or could be made to run foreign SQL.
    ///
    /// # Errors
    /// Says which key is wrong and what it must be.
    pub fn check(&self) -> Result<(), String> {
        let mut letters = self.schema.bytes();
        let first = letters.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let rest = letters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !first || !rest || self.schema.len() > SCHEMA_BYTES_MAX || self.schema.starts_with("pg_") {
            return Err(format!(
                "store.schema ({:?}) must be a plain name: up to {SCHEMA_BYTES_MAX} of a-z, 0-9 and _, not beginning with \
                 a digit or pg_",
                self.schema
            ));
        }
        let positive = [
            ("connections_max", u64::from(self.connections_max)),
            ("acquire_timeout_ms", self.acquire_timeout_ms),
            ("statement_timeout_ms", self.statement_timeout_ms),
            ("lock_timeout_ms", self.lock_timeout_ms),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("store.{key} must be above 0"));
        }
        if self.statement_timeout_ms > STATEMENT_TIMEOUT_MS_MAX {
            return Err(format!(
                "store.statement_timeout_ms ({}) must be at most {STATEMENT_TIMEOUT_MS_MAX}",
                self.statement_timeout_ms
            ));
        }
        if self.lock_timeout_ms >= self.statement_timeout_ms {
            return Err(format!(
                "store.lock_timeout_ms ({}) must be less than store.statement_timeout_ms ({}), or it never comes into play",
                self.lock_timeout_ms, self.statement_timeout_ms
            ));
        }
        Ok(())
    }
}
