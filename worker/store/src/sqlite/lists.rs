//! What people ask for: instances, their history, dead letters, parked events. And giving up parked events that expired.

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::connection::Command;
use super::load::bytes;
use super::relay::journal_row;
use super::{SqliteStore, commit, encode};
use crate::port::{Batch, Group, InstanceFilter, LetterFilter, ParkedFilter, Verdict};
use crate::rows::{DeadLetter, InstanceSummary, JournalRow, LargeValue, NewParked, ParkedRow};

macro_rules! select_letters {
    ($rest:literal) => {
        concat!(
            "SELECT id, code, reason, origin, content_type, headers, body, at_us, redriven_us FROM dead_letters ",
            $rest
        )
    };
}

macro_rules! select_instances {
    ($rest:literal) => {
        concat!(
            "SELECT id, definition, revision, status, business_key, parent, created_us, updated_us, ended_us, state, error, aside \
             FROM instances ",
            $rest
        )
    };
}

macro_rules! select_parked {
    ($rest:literal) => {
        concat!("SELECT id, key, message, event_type, expires_us, event, matched FROM parked ", $rest)
    };
}

macro_rules! select_unheard {
    ($which:literal) => {
        concat!(
            "SELECT id, key, message, event_type, expires_us, event, matched, at_us FROM parked
             WHERE ",
            $which,
            " AND NOT matched AND ($1 IS NULL OR event_type = $1) ORDER BY rowid DESC LIMIT $3"
        )
    };
}

// In all lists a page goes on behind its last row, found by the index: one bound on the time, then the rest of that moment by
// id, or by the order in which the rows came.
pub(super) const INSTANCES: &str = select_instances!(
    "WHERE (json_array_length($1) = 0 OR status IN (SELECT value FROM json_each($1)))
       AND created_us <= CASE WHEN $2 IS NULL THEN 9223372036854775807
                              ELSE (SELECT created_us FROM instances WHERE id = $2) END
       AND ($2 IS NULL OR created_us < (SELECT created_us FROM instances WHERE id = $2) OR id > $2)
       AND (json_array_length($4) = 0 OR definition IN (SELECT value FROM json_each($4)))
       AND ($5 IS NULL OR business_key = $5)
       AND ($6 IS NULL OR instr(lower(coalesce(error, '') || ' ' || coalesce(aside, '')), lower($6)) > 0)
       AND ($7 IS NULL OR created_us < $7) AND ($8 IS NULL OR updated_us < $8)
       AND (NOT $9 OR aside IS NOT NULL)
     ORDER BY created_us DESC, id LIMIT $3"
);

pub(super) const LETTERS: &str = select_letters!(
    "WHERE at_us <= CASE WHEN $2 IS NULL THEN 9223372036854775807
                         ELSE (SELECT at_us FROM dead_letters WHERE id = $2) END
       AND ($2 IS NULL OR (at_us, rowid) < (SELECT at_us, rowid FROM dead_letters WHERE id = $2))
       AND ($1 IS NULL OR code = $1)
     ORDER BY at_us DESC, rowid DESC LIMIT $3"
);

pub(super) const UNHEARD: &str = select_unheard!(
    "rowid < CASE WHEN $2 IS NULL THEN 9223372036854775807 ELSE (SELECT rowid FROM parked WHERE id = $2) END"
);

pub(super) const UNHEARD_OF: &str = select_unheard!(
    "id IN (SELECT unhex(value) FROM json_each($4))
     AND ($2 IS NULL OR rowid < (SELECT rowid FROM parked WHERE id = $2))"
);

const LARGE_VALUES: &str = "SELECT hash, value FROM large_values WHERE instance = $1 ORDER BY hash";

// Transitions and remarks, each found by an index of its own.
const HISTORY: &str = "
SELECT instance, revision, definition, at_us, events, seq FROM journal WHERE instance = $1 AND revision > 0
UNION ALL
SELECT instance, revision, definition, at_us, events, seq FROM journal WHERE instance = $1 AND revision = -2
ORDER BY seq";

pub(super) async fn letters(store: &SqliteStore, ids: &[Hash16]) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let text = select_letters!("WHERE id IN (SELECT unhex(value) FROM json_each($1)) ORDER BY rowid");
    let command = Command::fixed(text, 1).bind(encode::ids(ids.iter().map(|id| id.0)));
    store.connections.read(command).await?.iter().map(letter).collect()
}

pub(super) async fn newest_letters(store: &SqliteStore, filter: &LetterFilter) -> Result<Vec<DeadLetter>, sqlx::Error> {
    let command = Command::fixed(LETTERS, 1).bind(filter.code.clone()).bind(filter.after.map(|id| id.0));
    let command = command.bind(or_all(filter.limit));
    store.connections.read(command).await?.iter().map(letter).collect()
}

pub(super) async fn instances(
    store: &SqliteStore,
    filter: &InstanceFilter,
) -> Result<Vec<InstanceSummary>, sqlx::Error> {
    let command = Command::fixed(INSTANCES, 1)
        .bind(encode::ints(filter.statuses.iter().copied()))
        .bind(filter.after.map(|id| id.0))
        .bind(or_all(filter.limit))
        .bind(encode::ints(filter.definitions.iter().copied()))
        .bind(filter.business_key.clone())
        .bind(filter.error.clone())
        .bind(filter.created_before_us)
        .bind(filter.updated_before_us)
        .bind(filter.aside);
    store.connections.read(command).await?.iter().map(summary).collect()
}

pub(super) async fn instance(store: &SqliteStore, id: InstanceId) -> Result<Option<InstanceSummary>, sqlx::Error> {
    let command = Command::fixed(select_instances!("WHERE id = $1"), 1).bind(id.0);
    store.connections.read(command).await?.first().map(summary).transpose()
}

pub(super) async fn large_values(store: &SqliteStore, id: InstanceId) -> Result<Vec<LargeValue>, sqlx::Error> {
    let rows = store.connections.read(Command::fixed(LARGE_VALUES, 1).bind(id.0)).await?;
    rows.iter().map(|row| Ok(LargeValue { hash: Hash16(row.try_get(0)?), bytes: bytes(row, 1)? })).collect()
}

pub(super) async fn history(store: &SqliteStore, id: InstanceId) -> Result<Vec<JournalRow>, sqlx::Error> {
    let rows = store.connections.read(Command::fixed(HISTORY, 1).bind(id.0)).await?;
    rows.iter().map(|row| journal_row(row, 0)).collect()
}

pub(super) async fn parked_of_type(
    store: &SqliteStore,
    event_type: &str,
    limit: i64,
) -> Result<Vec<NewParked>, sqlx::Error> {
    let text = select_parked!("WHERE event_type = $1 ORDER BY rowid DESC LIMIT $2");
    let command = Command::fixed(text, 1).bind(event_type).bind(or_all(limit));
    store.connections.read(command).await?.iter().map(parked).collect()
}

pub(super) async fn expired(store: &SqliteStore, of: &str, limit: i64) -> Result<Vec<NewParked>, sqlx::Error> {
    let text = select_parked!(
        "WHERE expires_us <= $1 AND substr(event_type, 1, length($3)) = $3 ORDER BY expires_us, id LIMIT $2"
    );
    let command = Command::fixed(text, 1).bind(store.clock.now_us()).bind(limit).bind(of);
    store.connections.read(command).await?.iter().map(parked).collect()
}

pub(super) async fn expire(
    store: &SqliteStore,
    but: &str,
    code: &str,
    reason: &str,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let mut letters = 0;
    loop {
        let rest = limit - letters;
        let (taken, written) = expire_some(store, but, code, reason, rest).await?;
        letters += written;
        if taken < rest || letters >= limit {
            return Ok(letters.unsigned_abs());
        }
    }
}

/// Each expired event is a group of its own: claimed and reported, or, if somebody claims it first, neither. Gives how many
/// had expired, and how many letters were written.
async fn expire_some(
    store: &SqliteStore,
    but: &str,
    code: &str,
    reason: &str,
    limit: i64,
) -> Result<(i64, i64), sqlx::Error> {
    let text = select_parked!(
        "WHERE expires_us <= $1 AND substr(event_type, 1, length($3)) != $3 ORDER BY expires_us LIMIT $2"
    );
    let command = Command::fixed(text, 1).bind(store.clock.now_us()).bind(limit).bind(but);
    let mut batch = Batch::default();
    for row in &store.connections.read(command).await? {
        let parked = parked(row)?;
        let letter = (!parked.matched).then(|| DeadLetter {
            id: parked.id,
            code: code.to_owned(),
            reason: reason.to_owned(),
            origin: format!("parked {}", parked.event_type),
            content_type: None,
            headers: Bytes::from_static(b"[]"),
            body: parked.event,
            at_us: 0,
            redriven_us: None,
        });
        batch.groups.push(Group { claims: vec![parked.id], dead: letter.into_iter().collect(), ..Group::default() });
    }
    let verdicts = commit::commit(store, &batch).await?;
    let applied = batch.groups.iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Applied);
    let written = applied.map(|(group, _)| group.dead.len() as i64).sum();
    Ok((batch.groups.len() as i64, written))
}

pub(super) async fn parked_events(store: &SqliteStore, filter: &ParkedFilter) -> Result<Vec<ParkedRow>, sqlx::Error> {
    let command = Command::fixed(if filter.ids.is_empty() { UNHEARD } else { UNHEARD_OF }, 1)
        .bind(filter.event_type.clone())
        .bind(filter.after.map(|id| id.0))
        .bind(or_all(filter.limit));
    let command = match filter.ids.is_empty() {
        true => command,
        false => command.bind(encode::ids(filter.ids.iter().map(|id| id.0))),
    };
    let rows = store.connections.read(command).await?;
    rows.iter().map(|row| Ok(ParkedRow { parked: parked(row)?, parked_us: row.try_get(7)? })).collect()
}

/// SQLite takes a negative limit for none.
fn or_all(limit: i64) -> i64 {
    if limit == 0 { -1 } else { limit }
}

fn letter(row: &SqliteRow) -> Result<DeadLetter, sqlx::Error> {
    Ok(DeadLetter {
        id: Hash16(row.try_get(0)?),
        code: row.try_get(1)?,
        reason: row.try_get(2)?,
        origin: row.try_get(3)?,
        content_type: row.try_get(4)?,
        headers: bytes(row, 5)?,
        body: bytes(row, 6)?,
        at_us: row.try_get(7)?,
        redriven_us: row.try_get(8)?,
    })
}

fn summary(row: &SqliteRow) -> Result<InstanceSummary, sqlx::Error> {
    Ok(InstanceSummary {
        id: InstanceId(row.try_get(0)?),
        definition: row.try_get(1)?,
        revision: row.try_get(2)?,
        status: row.try_get(3)?,
        business_key: row.try_get(4)?,
        parent: row.try_get::<Option<_>, _>(5)?.map(InstanceId),
        created_us: row.try_get(6)?,
        updated_us: row.try_get(7)?,
        ended_us: row.try_get(8)?,
        error: row.try_get(10)?,
        aside: row.try_get(11)?,
        state: bytes(row, 9)?,
    })
}

fn parked(row: &SqliteRow) -> Result<NewParked, sqlx::Error> {
    Ok(NewParked {
        id: Hash16(row.try_get(0)?),
        key: Hash16(row.try_get(1)?),
        message: Hash16(row.try_get(2)?),
        event_type: row.try_get(3)?,
        expires_us: row.try_get(4)?,
        event: bytes(row, 5)?,
        matched: row.try_get(6)?,
    })
}
