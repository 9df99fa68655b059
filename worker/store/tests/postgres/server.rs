//! The Postgres under test: a schema for each case, and connections beside the store's. Never touches another schema.

use std::str::FromStr as _;

use flagstop_schemas::Hash16;
use flagstop_store::StoreConfig;
use flagstop_store::postgres::PostgresStore;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _};

/// The server's URL.
pub fn url() -> String {
    std::env::var("FLAGSTOP_TEST_POSTGRES").unwrap_or_else(|_| {
        panic!(
            "FLAGSTOP_TEST_POSTGRES is not set: it names the Postgres that these tests may use. \
             `./tests/run` starts one and sets it."
        )
    })
}

/// A schema that one case has for itself. It is made anew at the start and stays for whoever looks for a failure's cause.
pub struct Schema(pub String);

impl Schema {
    pub async fn new(case: &str) -> Self {
        let schema = Self(format!("t_{}", Hash16::of("test schema", &[case.as_bytes()]).0.simple()));
        let mut connection = schema.connect().await;
        let drop = format!("drop schema if exists {} cascade", schema.0);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        schema
    }

    pub fn config(&self) -> StoreConfig {
        StoreConfig { schema: self.0.clone(), ..StoreConfig::default() }
    }

    pub fn store(&self) -> PostgresStore {
        PostgresStore::open(&url(), &self.config()).unwrap()
    }

    /// A session beside the store's, in the same schema.
    pub async fn connect(&self) -> PgConnection {
        let options = PgConnectOptions::from_str(&url()).unwrap().options([("search_path", &self.0)]);
        PgConnection::connect_with(&options).await.unwrap()
    }
}
