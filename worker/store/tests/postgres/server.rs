//! The Postgres under test: a schema for each case, and sessions beside the store's, which hold a transaction open at a
//! chosen point. Never touches another schema.

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use flagstop_schemas::Hash16;
use flagstop_store::postgres::PostgresStore;
use flagstop_store::{Store, StoreConfig};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};

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
        schema.session().await.run(&format!("drop schema if exists {} cascade", schema.0)).await;
        schema
    }

    pub fn config(&self) -> StoreConfig {
        StoreConfig { schema: self.0.clone(), ..StoreConfig::default() }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open(&url(), &self.config()).unwrap())
    }

    pub async fn migrated(&self) -> Arc<dyn Store> {
        let store = self.store();
        store.migrate().await.unwrap();
        store
    }

    /// A role of this case's own, made anew; gives the URL with it. Roles belong to the whole server, so its name is the
    /// schema's.
    pub async fn role(&self, may: &str) -> String {
        let mut session = self.session().await;
        let there = format!("select from pg_roles where rolname = '{}'", self.0);
        if !session.ask(&there).await.is_empty() {
            session.run(&format!("drop owned by {0} cascade; drop role {0}", self.0)).await;
        }
        session.run(&format!("create role {} login {may}", self.0)).await;
        let mut url = url::Url::parse(&url()).unwrap();
        url.set_username(&self.0).unwrap();
        url.into()
    }

    /// A session beside the store's, in the same schema.
    pub async fn session(&self) -> Session {
        let options = PgConnectOptions::from_str(&url()).unwrap().options([("search_path", &self.0)]);
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let row = sqlx::query("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
        Session { pid: row.get(0), connection }
    }
}

/// Somebody else's session.
pub struct Session {
    pid: i32,
    connection: PgConnection,
}

impl Session {
    /// Runs commands without an answer.
    pub async fn run(&mut self, text: &str) {
        sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut self.connection).await.unwrap();
    }

    /// Runs a command that must be refused; gives the reason.
    pub async fn refused(&mut self, text: &str) -> String {
        let done = sqlx::raw_sql(AssertSqlSafe(text.to_owned())).execute(&mut self.connection).await;
        done.expect_err(text).to_string()
    }

    /// Runs a query.
    pub async fn ask(&mut self, text: &str) -> Vec<PgRow> {
        sqlx::query(AssertSqlSafe(text.to_owned())).fetch_all(&mut self.connection).await.unwrap()
    }

    /// Waits until this session's open transaction holds somebody up; tells whom.
    pub async fn until_it_blocks(&mut self) -> i32 {
        loop {
            let text = format!("select pid from pg_stat_activity where {} = any(pg_blocking_pids(pid))", self.pid);
            if let Some(row) = self.ask(&text).await.first() {
                return row.get(0);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
