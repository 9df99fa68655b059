//! Takes out what is over, in small batches, each a transaction of its own: one writer at a time means that a large one
//! would hold all others up. It must never take out what a relay has still to read (D13).

use flagstop_schemas::InstanceId;
use sqlx::Row as _;
use uuid::Uuid;

use super::connection::Command;
use super::{BEGIN, SqliteStore, encode};
use crate::port::{Keep, RetirePlace, Retired};

/// A mark that nobody cleared for this long, a week, is of a message that went elsewhere.
const SUSPECTS_KEPT_US: i64 = 604_800_000_000;

const INBOX: &str = "
DELETE FROM inbox WHERE key IN (SELECT key FROM inbox WHERE at_us < $1 ORDER BY at_us LIMIT $2) RETURNING 1";

/// Up to here every shard's relay has read.
macro_rules! read_by_all {
    () => {
        "coalesce((SELECT min(place) FROM shards s
                   WHERE place < (SELECT max(seq) FROM journal n WHERE n.shard = s.shard)), 9223372036854775807)"
    };
}

// The oldest rows stand first: the first that must stay ends it.
const JOURNAL: &str = concat!(
    "DELETE FROM journal WHERE seq IN (
  SELECT seq FROM (SELECT seq, at_us FROM journal ORDER BY seq LIMIT $2) WHERE at_us < $1 AND seq <= ",
    read_by_all!(),
    ") RETURNING 1"
);

// A letter that waits for the relay is read from this table when it is published.
const LETTERS: &str = concat!(
    "DELETE FROM dead_letters WHERE rowid IN (
  SELECT rowid FROM (SELECT rowid, at_us FROM dead_letters ORDER BY rowid LIMIT $2)
  WHERE at_us < $1
    AND at_us < coalesce((SELECT at_us FROM journal WHERE seq > ",
    read_by_all!(),
    " ORDER BY seq LIMIT 1), 9223372036854775807)) RETURNING 1"
);

const PAGE: &str = "
SELECT id, created_us,
       ended_us IS NOT NULL AND ended_us < $1
       AND NOT EXISTS (SELECT 1 FROM effects e WHERE e.instance = i.id)
       AND NOT EXISTS (SELECT 1 FROM mail m WHERE m.instance = i.id)
FROM instances i WHERE created_us < $1 AND created_us >= $2 AND (created_us > $2 OR id < $3)
ORDER BY created_us, id DESC LIMIT $4";

const GONE: &str = "
DELETE FROM instances WHERE id IN (SELECT unhex(value) FROM json_each($1));
DELETE FROM large_values WHERE instance IN (SELECT unhex(value) FROM json_each($1));
DELETE FROM bookmarks WHERE instance IN (SELECT unhex(value) FROM json_each($1));
DELETE FROM parked WHERE key IN (SELECT unhex(value) FROM json_each($1));
DELETE FROM quarantine WHERE instance IN (SELECT unhex(value) FROM json_each($1));
DELETE FROM suspects WHERE id IN (SELECT unhex(value) FROM json_each($1))";

pub(super) async fn retire(
    store: &SqliteStore,
    keep: &Keep,
    after: Option<RetirePlace>,
    limit: i64,
) -> Result<Retired, sqlx::Error> {
    let mut retired = Retired::default();
    let now_us = store.clock.now_us();
    let before = |age_us: i64| now_us.saturating_sub(age_us);
    if after.is_none() {
        take_out(store, "DELETE FROM suspects WHERE at_us < $1 AND $2 > 0", before(SUSPECTS_KEPT_US), 1).await?;
        for (age_us, text, count) in [
            (keep.inbox_us, INBOX, &mut retired.inbox),
            (keep.journal_us, JOURNAL, &mut retired.journal),
            (keep.letters_us, LETTERS, &mut retired.letters),
        ] {
            let Some(age_us) = age_us else { continue };
            loop {
                let gone = take_out(store, text, before(age_us), limit).await?;
                *count += gone as u64;
                if (gone as i64) < limit {
                    break;
                }
            }
        }
    }
    if let Some(age_us) = keep.instances_us {
        instances(store, before(age_us), after, limit, &mut retired).await?;
    }
    Ok(retired)
}

async fn take_out(store: &SqliteStore, text: &'static str, before_us: i64, limit: i64) -> Result<usize, sqlx::Error> {
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let rows = writing.run(Command::fixed(text, 1).bind(before_us).bind(limit)).await?;
    writing.finish(Command::fixed("COMMIT", 1)).await?;
    Ok(rows.len())
}

async fn instances(
    store: &SqliteStore,
    before_us: i64,
    after: Option<RetirePlace>,
    limit: i64,
    retired: &mut Retired,
) -> Result<(), sqlx::Error> {
    let (created_us, id) = after.unwrap_or((i64::MIN, InstanceId(Uuid::nil())));
    // Under the write lock, so that none of them is brought back to life meanwhile.
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let page = Command::fixed(PAGE, 1).bind(before_us).bind(created_us).bind(id.0).bind(limit);
    let rows = writing.run(page).await?;
    let mut gone = Vec::new();
    for row in &rows {
        if row.try_get(2)? {
            gone.push(row.try_get::<Uuid, _>(0)?);
        }
    }
    retired.instances = gone.len() as u64;
    if !gone.is_empty() {
        writing.run(Command::fixed(GONE, 6).bind(encode::ids(gone))).await?;
    }
    writing.finish(Command::fixed("COMMIT", 1)).await?;
    if let Some(last) = rows.last().filter(|_| rows.len() as i64 >= limit) {
        retired.next = Some((last.try_get(1)?, InstanceId(last.try_get(0)?)));
    }
    Ok(())
}
