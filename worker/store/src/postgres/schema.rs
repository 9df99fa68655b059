//! The schema: embedded migrations, forward only, each in a transaction of its own, safe to race; and whether this build
//! may run on what is there (PROTOCOL D16).

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Row as _};

use super::connections::Lent;
use super::{PostgresStore, errors};
use crate::port::SchemaState;

/// A step from one schema to the next.
struct Migration {
    version: i64,
    name: &'static str,
    text: &'static str,
}

/// In order, and never changed once released.
const MIGRATIONS: [Migration; 4] = [
    Migration { version: 1, name: "0001_first", text: include_str!("migrations/0001_first.sql") },
    Migration { version: 2, name: "0002_language", text: include_str!("migrations/0002_language.sql") },
    Migration { version: 3, name: "0003_worker", text: include_str!("migrations/0003_worker.sql") },
    Migration { version: 4, name: "0004_lists", text: include_str!("migrations/0004_lists.sql") },
];

/// Compared with `oldest_build` in the table `meta`: a migration that older builds can't live with raises both.
const BUILD: i64 = 3;

/// How long a migration waits for another one, or for a table that is in use.
const LOCK_TIMEOUT_MS: u32 = 60_000;

const APPLIED: &str = "select version from flagstop_migrations";

/// Runs what is missing; gives the names.
pub(super) async fn migrate(store: &PostgresStore) -> Result<Vec<String>, sqlx::Error> {
    let mut done = Vec::new();
    let mut lent = store.connections.take().await?;
    for migration in &MIGRATIONS {
        if step(store, &mut lent, migration).await? {
            done.push(migration.name.to_owned());
        }
    }
    lent.sound();
    Ok(done)
}

/// On an error the connection is dropped by the caller, and the transaction with it.
async fn step(store: &PostgresStore, lent: &mut Lent<'_>, migration: &Migration) -> Result<bool, sqlx::Error> {
    // `StoreConfig::check` has let only plain names through.
    let schema = &store.schema;
    // The lock comes first: whoever waited for it sees what the other one did. Reading `flagstop_migrations` is a statement
    // of its own, with a snapshot after that.
    lent.run_long(AssertSqlSafe(format!(
        "{} set local statement_timeout = 0; set local lock_timeout = {LOCK_TIMEOUT_MS};
         select pg_advisory_xact_lock(hashtext('flagstop migrate'), hashtext('{schema}'));",
        store.connections.begin()
    )))
    .await?;
    // Asked first, because Postgres refuses even `if not exists` to a user who may not make what is there already.
    lent.run(AssertSqlSafe(format!(
        "do $$ begin
           if to_regnamespace('{schema}') is null then create schema \"{schema}\"; end if;
           if to_regclass('flagstop_migrations') is null then
             create table flagstop_migrations (version bigint primary key, name text not null, at_us bigint not null);
           end if;
         end $$"
    )))
    .await?;
    let applied = versions(&lent.fetch(sqlx::query(APPLIED)).await?)?;
    let missing = !applied.contains(&migration.version);
    if missing {
        lent.run_long(AssertSqlSafe(migration.text.to_owned())).await?;
        let record = "insert into flagstop_migrations \
                      values ($1, $2, (extract(epoch from clock_timestamp()) * 1000000)::bigint)";
        lent.fetch(sqlx::query(record).bind(migration.version).bind(migration.name)).await?;
    }
    lent.run(AssertSqlSafe("commit".to_owned())).await?;
    Ok(missing)
}

/// Compares what is there with this build.
pub(super) async fn state(store: &PostgresStore) -> Result<SchemaState, sqlx::Error> {
    let there = "select to_regclass('flagstop_migrations') is not null";
    let rows = store.connections.fetch(sqlx::query(there)).await?;
    let applied = if rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)? {
        versions(&store.connections.fetch(sqlx::query(APPLIED)).await?)?
    } else {
        BTreeSet::new()
    };
    let (url, schema) = (&store.shown, &store.schema);
    let missing: Vec<&str> =
        MIGRATIONS.iter().filter(|step| !applied.contains(&step.version)).map(|step| step.name).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Ok(SchemaState::Behind(format!(
            "schema {schema:?} of {url} lacks {missing}; run `flagstop migrate --store {url}`"
        )));
    }
    let oldest = "select value from meta where name = 'oldest_build'";
    let rows = store.connections.fetch(sqlx::query(oldest)).await?;
    let oldest: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    if oldest > BUILD {
        return Ok(SchemaState::Ahead(format!(
            "schema {schema:?} of {url} allows builds from number {oldest} on, this one is {BUILD}: a newer flagstop ran \
             `flagstop migrate --store {url}`; run that newer flagstop here, too"
        )));
    }
    Ok(SchemaState::Current)
}

fn versions(rows: &[sqlx::postgres::PgRow]) -> Result<BTreeSet<i64>, sqlx::Error> {
    rows.iter().map(|row| row.try_get(0)).collect()
}

impl PostgresStore {
    /// Whatever failed, told with the store's name.
    pub(super) fn tell<T>(&self, result: Result<T, sqlx::Error>) -> Result<T, crate::port::StoreError> {
        result.map_err(|error| errors::translate(&error, &self.shown))
    }
}
