//! The journal as people follow it; letters that are given to the workers again; and counts of everything. The order of the
//! journal is that of the commits, so a place in it is a number.

use flagstop_schemas::InstanceId;
use sqlx::Row as _;

use super::connection::Command;
use super::encode::Rows;
use super::relay::journal_row;
use super::{BEGIN, SqliteStore};
use crate::port::{Census, JournalFrom, JournalPage, Redrive};
use crate::rows::{JournalRow, SHARDS};

const FOLLOW: &str = "
SELECT seq, instance, revision, definition, at_us, events FROM journal WHERE seq > $1 ORDER BY seq LIMIT $2";

const END: &str = "
SELECT seq, instance, revision, definition, at_us, events FROM journal WHERE seq <= $1 ORDER BY seq DESC LIMIT $2";

const REDRIVE: &str = "
DELETE FROM inbox WHERE key IN (
  SELECT unhex(j.value ->> 1) FROM json_each($1) j CROSS JOIN dead_letters l ON l.id = unhex(j.value ->> 0));
INSERT INTO journal (shard, instance, revision, definition, at_us, events)
SELECT DISTINCT j.value ->> 2, l.id, -1, 0, $2, x'' FROM json_each($1) j CROSS JOIN dead_letters l ON l.id = unhex(j.value ->> 0);
UPDATE dead_letters SET redriven_us = $2 WHERE id IN (SELECT unhex(value ->> 0) FROM json_each($1)) RETURNING 1";

const CENSUS: &str = "
SELECT 0, status, count(*) FROM instances GROUP BY status
UNION ALL SELECT 1, NULL, count(*) FROM instances WHERE aside IS NOT NULL
UNION ALL SELECT 2, NULL, count(*) FROM parked WHERE NOT matched
UNION ALL SELECT 3, code, count(*) FROM dead_letters GROUP BY code
UNION ALL SELECT 4, NULL, count(*) FROM mail
UNION ALL SELECT 5, NULL, count(*) FROM effects
UNION ALL SELECT 6, NULL, count(*) FROM timers WHERE due_us <= $1
UNION ALL SELECT 7, NULL, min(u.at_us) FROM shards s CROSS JOIN journal u
  ON u.seq = (SELECT seq FROM journal n WHERE n.shard = s.shard AND n.seq > s.place ORDER BY n.seq LIMIT 1)
UNION ALL SELECT 8, NULL, count(*) FROM quarantine
UNION ALL SELECT 9, NULL, count(*) FROM workers WHERE until_us > $1
ORDER BY 1, 2";

pub(super) async fn journal(store: &SqliteStore, from: &JournalFrom) -> Result<JournalPage, sqlx::Error> {
    let place = place(from.place.as_deref(), 0)?;
    let limit = from.limit.max(1);
    let rows = store.connections.read(Command::fixed(FOLLOW, 1).bind(place).bind(limit)).await?;
    let mut page = JournalPage { place: place.to_string(), full: rows.len() as i64 >= limit, rows: Vec::new() };
    for row in &rows {
        page.place = row.try_get::<i64, _>(0)?.to_string();
        let row = journal_row(row, 1)?;
        if row.has_events() && row.at_us >= from.since_us.unwrap_or(i64::MIN) {
            page.rows.push(row);
        }
    }
    Ok(page)
}

pub(super) async fn journal_end(
    store: &SqliteStore,
    before: Option<&str>,
    limit: i64,
) -> Result<JournalPage, sqlx::Error> {
    let last = place(before, i64::MAX)?;
    // Of an empty page the newest row alone tells the place.
    let rows = store.connections.read(Command::fixed(END, 1).bind(last).bind(limit.max(1))).await?;
    let mut page =
        JournalPage { place: "0".to_owned(), full: limit > 0 && rows.len() as i64 >= limit, rows: Vec::new() };
    for row in &rows {
        let seq: i64 = row.try_get(0)?;
        if limit == 0 {
            return Ok(JournalPage { place: seq.to_string(), ..JournalPage::default() });
        }
        page.place = (seq - 1).to_string();
        page.rows.push(journal_row(row, 1)?);
    }
    page.rows.retain(JournalRow::has_events);
    page.rows.reverse();
    Ok(page)
}

/// The number of the last row before it.
fn place(text: Option<&str>, otherwise: i64) -> Result<i64, sqlx::Error> {
    let wrong = |_| sqlx::Error::Decode("this is not a place in the journal of SQLite".into());
    text.map_or(Ok(otherwise), str::parse).map_err(wrong)
}

pub(super) async fn redrive(store: &SqliteStore, letters: &[Redrive]) -> Result<u64, sqlx::Error> {
    let mut given = Rows::new();
    for it in letters {
        let shard = InstanceId(it.letter.0).shard(SHARDS);
        given.row().id(it.letter.0).id_or_null(it.message.map(|message| message.0)).int(shard);
    }
    let (mut writing, _) = store.connections.write(Command::fixed(BEGIN, 1)).await?;
    let now_us = store.clock.now_us();
    let rows = writing.run(Command::fixed(REDRIVE, 3).bind(given.into_json()).bind(now_us)).await?;
    writing.finish(Command::fixed("COMMIT", 1)).await?;
    Ok(rows.len() as u64)
}

pub(super) async fn census(store: &SqliteStore) -> Result<Census, sqlx::Error> {
    let now_us = store.clock.now_us();
    let mut census = Census { now_us, ..Census::default() };
    for row in &store.connections.read(Command::fixed(CENSUS, 1).bind(now_us)).await? {
        let count = row.try_get::<Option<i64>, _>(2)?;
        let number = count.unwrap_or(0);
        match row.try_get::<i64, _>(0)? {
            0 => census.instances.push((row.try_get(1)?, number)),
            1 => census.aside = number,
            2 => census.parked = number,
            3 => census.letters.push((row.try_get(1)?, number)),
            4 => census.mail = number,
            5 => census.effects = number,
            6 => census.timers_due = number,
            7 => census.unpublished_since_us = count,
            8 => census.quarantined = number,
            _ => census.workers = number,
        }
    }
    Ok(census)
}
