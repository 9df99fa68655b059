//! What a batch needs to know before it decides, and the second looks for lost wake-ups (D3). Each is one statement, so one
//! snapshot and one round trip; nothing here writes.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::SqliteStore;
use super::connection::Command;
use super::encode;
use crate::port::{DueTimer, Hit, LoadRequest, Loaded, LookRequest, MAIL_MAX, MEETINGS_MAX};
use crate::rows::{InstanceRow, LargeValue, MailRow, Meeting, Parent, ScheduleMemory, ScheduleRow};

// `CROSS JOIN` fixes the order of the loops: the asked ids outside, an index inside.
pub(super) const LOAD: &str = "
WITH hit AS MATERIALIZED (
  SELECT b.key, b.instance, b.slot FROM json_each($2) j CROSS JOIN bookmarks b ON b.key = unhex(j.value)
), who(id) AS MATERIALIZED (
  SELECT unhex(value) FROM json_each($3) UNION SELECT instance FROM hit
)
SELECT 0, NULL, NULL, (SELECT value FROM meta WHERE name = 'catalogue'),
       (SELECT at_us FROM journal ORDER BY seq DESC LIMIT 1), NULL, NULL, NULL
UNION ALL
SELECT 1, i.key, NULL, NULL, NULL, NULL, NULL, NULL FROM json_each($1) j CROSS JOIN inbox i ON i.key = unhex(j.value)
UNION ALL
SELECT 2, key, instance, slot, NULL, NULL, NULL, NULL FROM hit
UNION ALL
SELECT 3, i.id, i.parent, i.definition, i.revision, i.state, i.parent_slot, i.aside
FROM who CROSS JOIN instances i ON i.id = who.id
UNION ALL
SELECT 4, m.instance, NULL, m.id, m.definition, m.stimulus, NULL, NULL FROM who CROSS JOIN mail m ON m.id IN (
  SELECT id FROM mail WHERE instance = who.id ORDER BY id LIMIT $4)
UNION ALL
SELECT 5, v.instance, v.hash, NULL, NULL, v.value, NULL, NULL FROM who CROSS JOIN large_values v ON v.instance = who.id
UNION ALL
SELECT 6, s.id, s.awaits, s.definition, s.token, s.state, s.due_us, NULL
FROM json_each($5) j CROSS JOIN schedules s ON s.id = unhex(j.value)";

/// Which of the seven parts of `LOAD` a row comes from.
mod part {
    pub(super) const CLOCK: i64 = 0;
    pub(super) const SEEN: i64 = 1;
    pub(super) const HIT: i64 = 2;
    pub(super) const INSTANCE: i64 = 3;
    pub(super) const MAIL: i64 = 4;
    pub(super) const VALUE: i64 = 5;
}

// Each key has a limit of its own; SQLite has no lateral joins, so the pairs of a key travel as JSON. The index ends with
// the rowid, which gives them in order of age, so the limit stops the reading. What a wait is too late for does not count.
pub(super) const LOOK: &str = "
SELECT p.id, p.key, unhex(pair.value ->> 1), pair.value ->> 2, p.at_us, p.event
FROM json_each($1) j CROSS JOIN json_each((
  SELECT json_group_array(json_array(row, hex(instance), slot)) FROM (
    SELECT k.rowid AS row, b.instance, b.slot FROM parked k CROSS JOIN bookmarks b ON b.key = k.key
    WHERE k.key = unhex(j.value) AND (b.since_us IS NULL OR k.at_us >= b.since_us)
    ORDER BY k.rowid, b.instance, b.slot LIMIT $2) AS few)) pair
CROSS JOIN parked p ON p.rowid = pair.value ->> 0
UNION ALL
SELECT p.id, p.key, i.id, -1, p.at_us, p.event
FROM json_each($3) j CROSS JOIN instances i ON i.id = unhex(j.value)
CROSS JOIN parked p ON p.rowid IN (SELECT rowid FROM parked WHERE key = i.id ORDER BY rowid LIMIT $2)";

pub(super) const SWEEP: &str = "
WITH page AS MATERIALIZED (SELECT id, key, at_us, event FROM parked WHERE id > $1 ORDER BY id LIMIT $2)
SELECT page.id, page.key, b.instance, b.slot, page.at_us, CASE WHEN b.slot IS NULL THEN NULL ELSE page.event END
FROM page LEFT JOIN bookmarks b ON b.key = page.key AND (b.since_us IS NULL OR page.at_us >= b.since_us)
UNION ALL
SELECT page.id, page.key, i.id, -1, page.at_us, page.event FROM page CROSS JOIN instances i ON i.id = page.key
ORDER BY 1, 3, 4";

pub(super) const DUE: &str = "
SELECT due_us, instance, slot FROM timers
WHERE due_us <= $1 AND (due_us, instance, slot) > ($4, $5, $6) AND shard IN (SELECT value FROM json_each($2))
ORDER BY due_us, instance, slot LIMIT $3";

pub(super) const DUE_SCHEDULES: &str = "
SELECT id, token, definition, due_us, awaits, state, NULL, due_us AS since_us FROM schedules
WHERE due_us IS NOT NULL AND due_us <= $1 AND shard IN (SELECT value FROM json_each($2))
UNION ALL
SELECT s.id, s.token, s.definition, s.due_us, s.awaits, s.state, i.ended_us, i.ended_us
FROM json_each($2) j CROSS JOIN schedules s ON s.shard = j.value AND s.awaits IS NOT NULL
CROSS JOIN instances i ON i.id = s.awaits AND i.ended_us IS NOT NULL
ORDER BY since_us, 1 LIMIT $3";

// Mail that nobody sees to has its time with a minus, so it is stale at once.
const STALE: &str = "
SELECT m.instance, min(abs(m.at_us)) FROM mail m
WHERE m.at_us <= $1 AND m.shard IN (SELECT value FROM json_each($2)) AND m.instance > $4
  AND (m.at_us <= 0 OR NOT EXISTS (SELECT 1 FROM instances i WHERE i.id = m.instance AND i.aside IS NOT NULL))
GROUP BY m.instance ORDER BY m.instance LIMIT $3";

pub(super) async fn load(store: &SqliteStore, request: &LoadRequest) -> Result<Loaded, sqlx::Error> {
    // Before the snapshot: an event that parks while this runs is never taken for older than the wait it meets.
    let now_us = store.clock.now_us();
    let command = Command::fixed(LOAD, 1)
        .bind(encode::ids(request.messages.iter().map(|key| key.0)))
        .bind(encode::ids(request.keys.iter().map(|key| key.0)))
        .bind(encode::ids(request.instances.iter().map(|id| id.0)))
        .bind(MAIL_MAX as i64)
        .bind(encode::ids(request.schedules.iter().map(|id| id.0)));
    let mut loaded = Loaded { now_us, ..Loaded::default() };
    let mut values: HashMap<InstanceId, Vec<LargeValue>> = HashMap::new();
    for row in &store.connections.read(store.connections.counted(command)).await? {
        match row.try_get(0)? {
            part::CLOCK => {
                loaded.catalogue = row.try_get(3)?;
                let newest_us = row.try_get::<Option<i64>, _>(4)?.unwrap_or(0);
                if newest_us > now_us {
                    loaded.now_us = store.clock.at_least_us(newest_us);
                }
            }
            part::SEEN => loaded.seen.push(Hash16(row.try_get(1)?)),
            part::HIT => loaded.hits.push(Hit {
                key: Hash16(row.try_get(1)?),
                instance: InstanceId(row.try_get(2)?),
                slot: row.try_get(3)?,
            }),
            part::INSTANCE => loaded.instances.push(InstanceRow {
                id: InstanceId(row.try_get(1)?),
                definition: row.try_get(3)?,
                revision: row.try_get(4)?,
                parent: parent(row.try_get(2)?, row.try_get(6)?),
                state: bytes(row, 5)?,
                values: Vec::new(),
                aside: row.try_get(7)?,
            }),
            part::VALUE => {
                let of = values.entry(InstanceId(row.try_get(1)?)).or_default();
                of.push(LargeValue { hash: Hash16(row.try_get(2)?), bytes: bytes(row, 5)? });
            }
            part::MAIL => loaded.mail.push(MailRow {
                instance: InstanceId(row.try_get(1)?),
                id: row.try_get(3)?,
                definition: row.try_get(4)?,
                stimulus: bytes(row, 5)?,
            }),
            _ => loaded.schedules.push(ScheduleRow {
                id: Hash16(row.try_get(1)?),
                token: row.try_get(4)?,
                memory: ScheduleMemory {
                    definition: row.try_get(3)?,
                    due_us: row.try_get(6)?,
                    awaits: row.try_get::<Option<Uuid>, _>(2)?.map(InstanceId),
                    state: bytes(row, 5)?,
                },
                awaited_ended_us: None,
            }),
        }
    }
    for instance in &mut loaded.instances {
        instance.values = values.remove(&instance.id).unwrap_or_default();
    }
    loaded.mail.sort_unstable_by_key(|mail| mail.id);
    Ok(loaded)
}

pub(super) async fn look(store: &SqliteStore, request: &LookRequest) -> Result<Vec<Meeting>, sqlx::Error> {
    let keys: BTreeSet<_> = request.parked.iter().chain(&request.bookmarks).map(|key| key.0).collect();
    let each = (MEETINGS_MAX / (keys.len() + request.kept.len()).max(1)).max(1) as i64;
    let kept = encode::ids(request.kept.iter().map(|id| id.0));
    let command = store.connections.counted(Command::fixed(LOOK, 1).bind(encode::ids(keys)).bind(each).bind(kept));
    let rows = store.connections.read(command).await?;
    let mut meetings = rows.iter().map(meeting).collect::<Result<Vec<_>, _>>()?;
    meetings.sort_by_key(|meeting| meeting.parked_us);
    Ok(meetings)
}

pub(super) async fn sweep(
    store: &SqliteStore,
    after: Option<Hash16>,
    limit: i64,
) -> Result<(Vec<Meeting>, Option<Hash16>), sqlx::Error> {
    let after = after.map_or_else(Vec::new, |id| id.0.as_bytes().to_vec());
    let mut meetings = Vec::new();
    let (mut scanned, mut last) = (0, None);
    for row in &store.connections.read(Command::fixed(SWEEP, 1).bind(after).bind(limit)).await? {
        let id = Some(Hash16(row.try_get(0)?));
        if id != last {
            scanned += 1;
            last = id;
        }
        if row.try_get::<Option<i64>, _>(3)?.is_some() {
            meetings.push(meeting(row)?);
        }
    }
    Ok((meetings, last.filter(|_| scanned >= limit)))
}

pub(super) async fn due_timers(
    store: &SqliteStore,
    shards: &[i16],
    after: Option<DueTimer>,
    limit: i64,
) -> Result<Vec<DueTimer>, sqlx::Error> {
    let from = after.unwrap_or(DueTimer { due_us: i64::MIN, instance: InstanceId(Uuid::nil()), slot: i64::MIN });
    let command = Command::fixed(DUE, 1).bind(store.clock.now_us()).bind(encode::ints(shards.iter().copied()));
    let command = command.bind(limit).bind(from.due_us).bind(from.instance.0).bind(from.slot);
    let rows = store.connections.read(command).await?;
    let timer = |row: &SqliteRow| {
        Ok(DueTimer { due_us: row.try_get(0)?, instance: InstanceId(row.try_get(1)?), slot: row.try_get(2)? })
    };
    rows.iter().map(timer).collect()
}

pub(super) async fn due_schedules(
    store: &SqliteStore,
    shards: &[i16],
    limit: i64,
) -> Result<Vec<ScheduleRow>, sqlx::Error> {
    let command =
        Command::fixed(DUE_SCHEDULES, 1).bind(store.clock.now_us()).bind(encode::ints(shards.iter().copied()));
    let rows = store.connections.read(command.bind(limit)).await?;
    let schedule = |row: &SqliteRow| {
        Ok(ScheduleRow {
            id: Hash16(row.try_get(0)?),
            token: row.try_get(1)?,
            memory: ScheduleMemory {
                definition: row.try_get(2)?,
                due_us: row.try_get(3)?,
                awaits: row.try_get::<Option<Uuid>, _>(4)?.map(InstanceId),
                state: bytes(row, 5)?,
            },
            awaited_ended_us: row.try_get(6)?,
        })
    };
    rows.iter().map(schedule).collect()
}

pub(super) async fn stale_mail(
    store: &SqliteStore,
    shards: &[i16],
    age_us: i64,
    after: Option<InstanceId>,
    limit: i64,
) -> Result<Vec<(InstanceId, i64)>, sqlx::Error> {
    let after = after.map_or(Uuid::nil(), |id| id.0);
    let before_us = store.clock.now_us().saturating_sub(age_us);
    let command = Command::fixed(STALE, 1).bind(before_us).bind(encode::ints(shards.iter().copied()));
    let rows = store.connections.read(command.bind(limit).bind(after)).await?;
    rows.iter().map(|row| Ok((InstanceId(row.try_get(0)?), row.try_get(1)?))).collect()
}

fn parent(instance: Option<Uuid>, slot: Option<i64>) -> Option<Parent> {
    Some(Parent { instance: InstanceId(instance?), slot })
}

fn meeting(row: &SqliteRow) -> Result<Meeting, sqlx::Error> {
    Ok(Meeting {
        parked: Hash16(row.try_get(0)?),
        key: Hash16(row.try_get(1)?),
        instance: InstanceId(row.try_get(2)?),
        slot: row.try_get(3)?,
        parked_us: row.try_get(4)?,
        event: bytes(row, 5)?,
    })
}

/// A blob.
pub(super) fn bytes(row: &SqliteRow, column: usize) -> Result<Bytes, sqlx::Error> {
    row.try_get::<Vec<u8>, _>(column).map(Bytes::from)
}
