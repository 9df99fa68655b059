//! Marks on messages and instances that are tried by themselves because they may have killed a worker (PROTOCOL D8). Judges
//! nothing; who is set aside is a matter of a commit.

use std::collections::HashMap;

use flagstop_schemas::Hash16;
use sqlx::Row as _;
use uuid::Uuid;

use super::PostgresStore;

const MARK: &str = "
insert into suspects as s (id, tries, at_us) select id, 1, now_us() from unnest($1::uuid[]) x(id) order by id
on conflict (id) do update set tries = s.tries + 1, at_us = excluded.at_us
returning id, tries";

const CLEAR: &str = "delete from suspects where id = any($1)";

pub(super) async fn suspect(store: &PostgresStore, ids: &[Hash16]) -> Result<Vec<i32>, sqlx::Error> {
    let mut unique: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    unique.sort_unstable();
    unique.dedup();
    let rows = store.connections.fetch(sqlx::query(MARK).bind(unique)).await?;
    let tries = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let tries: HashMap<Uuid, i32> = tries.collect::<Result<_, sqlx::Error>>()?;
    Ok(ids.iter().map(|id| tries.get(&id.0).copied().unwrap_or(1)).collect())
}

pub(super) async fn clear(store: &PostgresStore, ids: &[Hash16]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    store.connections.fetch(sqlx::query(CLEAR).bind(ids)).await?;
    Ok(())
}
