//! The schema: embedded migrations, forward only, each in a transaction of its own, safe to race; and whether this build
//! may run on what is there (D16).

use std::collections::BTreeSet;

use sqlx::Row as _;

use super::connection::{Command, Connections};
use super::{BEGIN, errors};
use crate::port::SchemaState;
use crate::rows::SHARDS;

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

/// Runs what is missing; gives the names.
pub(super) async fn migrate(connections: &Connections, now_us: i64) -> Result<Vec<String>, sqlx::Error> {
    let mut done = Vec::new();
    for migration in &MIGRATIONS {
        // The write lock is taken first, so that of two racing processes the second sees what the first did.
        let (mut writing, _) = connections.write(Command::fixed(BEGIN, 1)).await?;
        writing
            .run(Command::fixed(
                "CREATE TABLE IF NOT EXISTS flagstop_migrations \
                 (version INTEGER PRIMARY KEY, name TEXT NOT NULL, at_us INTEGER NOT NULL) STRICT",
                1,
            ))
            .await?;
        let there = "SELECT version FROM flagstop_migrations WHERE version = $1";
        if writing.run(Command::fixed(there, 1).bind(migration.version)).await?.is_empty() {
            writing.run(Command::fixed(migration.text, 1)).await?;
            if migration.version == 1 {
                writing.run(Command::fixed(FILL_SHARDS, 1).bind(i64::from(SHARDS))).await?;
            }
            let record = "INSERT INTO flagstop_migrations VALUES ($1, $2, $3)";
            writing.run(Command::fixed(record, 1).bind(migration.version).bind(migration.name).bind(now_us)).await?;
            done.push(migration.name.to_owned());
        }
        writing.finish(Command::fixed("COMMIT", 1)).await?;
    }
    Ok(done)
}

const FILL_SHARDS: &str = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1) \
                           INSERT INTO shards (shard) SELECT i FROM n";

/// Compares what is there with this build.
pub(super) async fn state(connections: &Connections, url: &str) -> Result<SchemaState, sqlx::Error> {
    let found = connections.read(Command::fixed("SELECT version FROM flagstop_migrations", 1)).await;
    let applied: BTreeSet<i64> = match found {
        Ok(rows) => rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
        Err(error) if errors::no_such_table(&error) => BTreeSet::new(),
        Err(error) => return Err(error),
    };
    let missing: Vec<&str> =
        MIGRATIONS.iter().filter(|step| !applied.contains(&step.version)).map(|step| step.name).collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let word = errors::shell_word(url);
        return Ok(SchemaState::Behind(format!("{url} lacks {missing}; run `flagstop migrate --store {word}`")));
    }
    let rows = connections.read(Command::fixed("SELECT value FROM meta WHERE name = 'oldest_build'", 1)).await?;
    let oldest: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    if oldest > BUILD {
        return Ok(SchemaState::Ahead(format!(
            "{url} was migrated by a newer flagstop and allows builds from number {oldest} on, this one is {BUILD}; \
             run the newer flagstop"
        )));
    }
    Ok(SchemaState::Current)
}
