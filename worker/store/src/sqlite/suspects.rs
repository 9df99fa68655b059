//! Marks on messages and instances that are tried by themselves because they may have killed a worker (D8). Judges nothing; who
//! is set aside is a matter of a commit.

use std::collections::HashMap;

use flagstop_schemas::Hash16;
use sqlx::Row as _;
use uuid::Uuid;

use super::connection::Command;
use super::{BEGIN, SqliteStore, encode};

const MARK: &str = "
INSERT INTO suspects (id, tries, at_us) SELECT unhex(value), 1, $2 FROM json_each($1) WHERE true
ON CONFLICT (id) DO UPDATE SET tries = tries + 1, at_us = excluded.at_us
RETURNING id, tries";

const CLEAR: &str = "DELETE FROM suspects WHERE id IN (SELECT unhex(value) FROM json_each($1))";

pub(super) async fn suspect(store: &SqliteStore, ids: &[Hash16]) -> Result<Vec<i32>, sqlx::Error> {
    let command = Command::fixed(MARK, 1).bind(encode::ids(ids.iter().map(|id| id.0))).bind(store.clock.now_us());
    let rows = written(store, command).await?;
    let tries = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let tries: HashMap<Uuid, i32> = tries.collect::<Result<_, sqlx::Error>>()?;
    Ok(ids.iter().map(|id| tries.get(&id.0).copied().unwrap_or(1)).collect())
}

pub(super) async fn clear(store: &SqliteStore, ids: &[Hash16]) -> Result<(), sqlx::Error> {
    written(store, Command::fixed(CLEAR, 1).bind(encode::ids(ids.iter().map(|id| id.0)))).await?;
    Ok(())
}

async fn written(store: &SqliteStore, command: Command) -> Result<Vec<sqlx::sqlite::SqliteRow>, sqlx::Error> {
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let rows = writing.run(command).await?;
    writing.finish(Command::fixed("COMMIT", 1)).await?;
    Ok(rows)
}
