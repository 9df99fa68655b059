//! Commits a batch in one transaction, each group whole or not at all:
//!
//! ```text
//! take the write lock, read what the groups' conditions rest on      one command
//!   → judge each group in memory, as if those before it were written
//!   → write all that apply, commit                                   one command
//!   → only if SQLite refuses some of the data: again, one savepoint per group, so that the culprit stands alone (D20)
//! ```
//! Nobody else writes between the reading and the commit, so a judgement can't be overtaken.

use std::collections::{HashMap, HashSet};

use flagstop_schemas::InstanceId;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use super::connection::{Command, Writing};
use super::encode::{self, Rows};
use super::write::{self, Accepted};
use super::{SqliteStore, errors};
use crate::port::{Aside, Batch, Group, InstanceWrite, Verdict};
use crate::rows::{DeadLetter, EffectLease};

/// What the groups' conditions are compared with; what a judged group will change is noted in it.
#[derive(Debug, Default)]
struct Facts {
    inbox: HashSet<Uuid>,
    parked: HashSet<Uuid>,
    mail: HashSet<i64>,
    /// Of the effects that the committing worker holds.
    epochs: HashMap<(Uuid, i64), i32>,
    /// An instance that does not exist stands at revision 0.
    revisions: HashMap<Uuid, i32>,
    letters: HashSet<Uuid>,
    /// The tokens of schedules that have a memory.
    tokens: HashMap<Uuid, i64>,
    /// Who lives under which activation key.
    active: HashMap<Uuid, Uuid>,
    /// Of the instances that are to be set aside or released: is it set aside now?
    aside: HashMap<Uuid, bool>,
    newest_us: i64,
}

// `CROSS JOIN` fixes the order of the loops: the asked ids outside, an index inside.
pub(super) const BEGIN_AND_FACTS: &str = "
BEGIN IMMEDIATE;
SELECT 0, i.key, NULL, NULL FROM json_each($1) j CROSS JOIN inbox i ON i.key = unhex(j.value)
UNION ALL
SELECT 1, p.id, NULL, NULL FROM json_each($2) j CROSS JOIN parked p ON p.id = unhex(j.value)
UNION ALL
SELECT 2, NULL, m.id, NULL FROM json_each($3) j CROSS JOIN mail m ON m.id = j.value
UNION ALL
SELECT 3, e.instance, e.slot, e.epoch FROM json_each($4) j
  CROSS JOIN effects e ON e.instance = unhex(j.value ->> 0) AND e.slot = j.value ->> 1 AND e.owner = $7
UNION ALL
SELECT 4, i.id, i.revision, NULL FROM json_each($5) j CROSS JOIN instances i ON i.id = unhex(j.value)
UNION ALL
SELECT 5, d.id, NULL, NULL FROM json_each($6) j CROSS JOIN dead_letters d ON d.id = unhex(j.value) AND d.redriven_us IS NULL
UNION ALL
SELECT 7, s.id, s.token, NULL FROM json_each($8) j CROSS JOIN schedules s ON s.id = unhex(j.value)
UNION ALL
SELECT 8, a.key, a.instance, NULL FROM json_each($9) j CROSS JOIN activations a ON a.key = unhex(j.value)
UNION ALL
SELECT 9, i.id, i.aside IS NOT NULL, NULL FROM json_each($10) j CROSS JOIN instances i ON i.id = unhex(j.value)
UNION ALL
SELECT 6, NULL, at_us, NULL FROM (SELECT at_us FROM journal ORDER BY seq DESC LIMIT 1)";

pub(super) async fn commit(store: &SqliteStore, batch: &Batch) -> Result<Vec<Verdict>, sqlx::Error> {
    if batch.groups.is_empty() {
        return Ok(Vec::new());
    }
    let (writing, mut facts) = begin(store, batch).await?;
    let mut accepted = Vec::with_capacity(batch.groups.len());
    let verdicts = batch.groups.iter().map(|group| {
        let verdict = facts.judge(group);
        if verdict == Verdict::Applied {
            let accept = facts.accept(group);
            facts.note(&accept);
            accepted.push(accept);
        }
        verdict
    });
    let verdicts: Vec<Verdict> = verdicts.collect();
    if accepted.is_empty() {
        writing.abandon().await;
        return Ok(verdicts);
    }
    let now_us = store.clock.at_least_us(facts.newest_us);
    let written = write::command(&accepted, batch.worker, now_us, write::Ending::Commit);
    match writing.finish(store.connections.counted(written)).await {
        Ok(_) => Ok(verdicts),
        Err(error) if errors::data_error(&error).is_some() => one_by_one(store, batch).await,
        Err(error) => Err(error),
    }
}

/// The slow path, for a batch that holds data which SQLite refuses.
async fn one_by_one(store: &SqliteStore, batch: &Batch) -> Result<Vec<Verdict>, sqlx::Error> {
    let (mut writing, mut facts) = begin(store, batch).await?;
    let now_us = store.clock.at_least_us(facts.newest_us);
    let mut verdicts = Vec::with_capacity(batch.groups.len());
    for group in &batch.groups {
        let mut verdict = facts.judge(group);
        if verdict == Verdict::Applied {
            let accept = facts.accept(group);
            writing.run(store.connections.counted(Command::fixed("SAVEPOINT one", 1))).await?;
            let written = write::command(std::slice::from_ref(&accept), batch.worker, now_us, write::Ending::Release);
            match writing.run(store.connections.counted(written)).await {
                Ok(_) => facts.note(&accept),
                Err(error) => {
                    let Some(reason) = errors::data_error(&error) else { return Err(error) };
                    let back = Command::fixed("ROLLBACK TO one; RELEASE one", 2);
                    writing.run(store.connections.counted(back)).await?;
                    verdict = Verdict::Failed(reason);
                }
            }
        }
        verdicts.push(verdict);
    }
    writing.finish(store.connections.counted(Command::fixed("COMMIT", 1))).await?;
    Ok(verdicts)
}

async fn begin(store: &SqliteStore, batch: &Batch) -> Result<(Writing, Facts), sqlx::Error> {
    let groups = &batch.groups;
    let mut leases = Rows::new();
    for lease in groups.iter().flat_map(|group| &group.fences) {
        leases.row().id(lease.instance.0).int(lease.slot);
    }
    let command = Command::fixed(BEGIN_AND_FACTS, 2)
        .bind(encode::ids(groups.iter().flat_map(|group| &group.inbox).map(|key| key.0)))
        .bind(encode::ids(groups.iter().flat_map(|group| &group.claims).map(|id| id.0)))
        .bind(encode::ints(groups.iter().flat_map(|group| group.mail.iter().copied())))
        .bind(leases.into_json())
        .bind(encode::ids(groups.iter().flat_map(written).map(|(id, _)| id.0)))
        .bind(encode::ids(groups.iter().flat_map(|group| &group.dead).map(|letter| letter.id.0)))
        .bind(batch.worker.map(|worker| worker.0))
        .bind(encode::ids(groups.iter().flat_map(|group| &group.schedules).map(|write| write.id.0)))
        .bind(encode::ids(groups.iter().flat_map(written).filter_map(|(_, write)| write.activation).map(|key| key.0)))
        .bind(encode::ids(groups.iter().filter_map(|group| group.aside.as_ref()).map(|aside| aside.instance.0)));
    let (writing, rows) = store.connections.write(store.connections.counted(command)).await?;
    Ok((writing, Facts::read(&rows)?))
}

/// The instances that a group writes.
fn written(group: &Group) -> impl Iterator<Item = &(InstanceId, InstanceWrite)> {
    group.instance.iter().chain(&group.children)
}

impl Facts {
    fn read(rows: &[SqliteRow]) -> Result<Self, sqlx::Error> {
        let mut facts = Self::default();
        for row in rows {
            match row.try_get::<i64, _>(0)? {
                0 => _ = facts.inbox.insert(row.try_get(1)?),
                1 => _ = facts.parked.insert(row.try_get(1)?),
                2 => _ = facts.mail.insert(row.try_get(2)?),
                3 => _ = facts.epochs.insert((row.try_get(1)?, row.try_get(2)?), row.try_get(3)?),
                4 => _ = facts.revisions.insert(row.try_get(1)?, row.try_get(2)?),
                5 => _ = facts.letters.insert(row.try_get(1)?),
                8 => _ = facts.active.insert(row.try_get(1)?, row.try_get(2)?),
                9 => _ = facts.aside.insert(row.try_get(1)?, row.try_get(2)?),
                7 => _ = facts.tokens.insert(row.try_get(1)?, row.try_get(2)?),
                _ => facts.newest_us = row.try_get(2)?,
            }
        }
        Ok(facts)
    }

    /// May the group be written now?
    fn judge(&self, group: &Group) -> Verdict {
        let seen: Vec<_> = group.inbox.iter().filter(|key| self.inbox.contains(&key.0)).copied().collect();
        if !seen.is_empty() {
            return Verdict::Duplicate(seen);
        }
        let claimable = group.claims.iter().all(|id| self.parked.contains(&id.0));
        if !claimable || !group.mail.iter().all(|id| self.mail.contains(id)) {
            return Verdict::Gone;
        }
        let held = |lease: &EffectLease| self.epochs.get(&(lease.instance.0, lease.slot)) == Some(&lease.epoch);
        let lost: Vec<_> = group.fences.iter().filter(|lease| !held(lease)).copied().collect();
        if !lost.is_empty() {
            return Verdict::Fenced(lost);
        }
        let revision = |id: &InstanceId| self.revisions.get(&id.0).copied().unwrap_or(0);
        if written(group).any(|(id, write)| revision(id) != write.revision) {
            return Verdict::Conflict;
        }
        if group.schedules.iter().any(|write| self.tokens.get(&write.id.0).copied() != write.was) {
            return Verdict::Conflict;
        }
        if group.aside.as_ref().is_some_and(|aside| !self.fits(group, aside)) {
            return Verdict::Conflict;
        }
        let other = |(id, write): &(InstanceId, InstanceWrite)| {
            let holder = self.active.get(&write.activation?.0)?;
            (!write.ended && *holder != id.0).then_some(InstanceId(*holder))
        };
        if let Some(holder) = written(group).find_map(other) {
            return Verdict::Active(holder);
        }
        unstorable(group).or_else(|| slot_twice(group)).map_or(Verdict::Applied, Verdict::Failed)
    }

    /// Only what is set aside can be released, and only what is there, or comes with the group, can be set aside.
    fn fits(&self, group: &Group, aside: &Aside) -> bool {
        let is_new = || written(group).any(|(id, write)| *id == aside.instance && write.revision == 0);
        let was_aside = self.aside.get(&aside.instance.0);
        was_aside.is_some_and(|was_aside| *was_aside || aside.reason.is_some()) || is_new()
    }

    /// What is to be written of a group that may be: of its dead letters only those that are new.
    fn accept<'a>(&self, group: &'a Group) -> Accepted<'a> {
        let mut mine = HashSet::new();
        let mut new = |letter: &&DeadLetter| !self.letters.contains(&letter.id.0) && mine.insert(letter.id);
        Accepted { group, letters: group.dead.iter().filter(|letter| new(letter)).collect() }
    }

    /// The groups after this one are judged as if it were written.
    fn note(&mut self, accepted: &Accepted) {
        let group = accepted.group;
        self.inbox.extend(group.inbox.iter().map(|key| key.0));
        self.letters.extend(accepted.letters.iter().map(|letter| letter.id.0));
        for id in &group.claims {
            self.parked.remove(&id.0);
        }
        for id in &group.mail {
            self.mail.remove(id);
        }
        for write in &group.schedules {
            match write.memory {
                Some(_) => self.tokens.insert(write.id.0, write.becomes),
                None => self.tokens.remove(&write.id.0),
            };
        }
        for (id, write) in written(group) {
            self.revisions.insert(id.0, write.revision + 1);
            self.aside.entry(id.0).or_insert(false);
            match write.activation {
                Some(key) if write.ended => _ = self.active.remove(&key.0),
                Some(key) => _ = self.active.insert(key.0, id.0),
                None => {}
            }
            for effect in &write.effects.drop {
                self.epochs.remove(&(id.0, effect.slot));
            }
        }
        if let Some(aside) = &group.aside {
            self.aside.insert(aside.instance.0, aside.reason.is_some());
        }
    }
}

/// Postgres can't write one effect twice in a statement, and which of the two was meant nobody can tell.
fn slot_twice(group: &Group) -> Option<String> {
    written(group).find_map(|(id, write)| {
        let mut slots = HashSet::new();
        let twice = write.effects.add.iter().find(|effect| !slots.insert(effect.slot))?;
        Some(format!("effect {} of instance {id} is added twice in one transition", twice.slot))
    })
}

/// Texts with U+0000 are refused, because Postgres can't keep them: what one store takes, the other must take, too.
fn unstorable(group: &Group) -> Option<String> {
    let keys = written(group).filter_map(|(_, write)| Some(("business key", write.business_key.as_deref()?)));
    let errors = written(group).filter_map(|(_, write)| Some(("error", write.error.as_deref()?)));
    let pointers = written(group)
        .flat_map(|(_, write)| &write.effects.add)
        .map(|effect| ("effect's pointer", effect.pointer.as_str()));
    let types = group.park.iter().map(|event| ("event's type", event.event_type.as_str()));
    let letters = group.dead.iter().flat_map(|letter| {
        let media = letter.content_type.as_deref().unwrap_or_default();
        [("code", letter.code.as_str()), ("reason", &letter.reason), ("origin", &letter.origin), ("media type", media)]
    });
    let asides = group.aside.iter().filter_map(|aside| Some(("reason", aside.reason.as_deref()?)));
    let (what, _) = keys
        .chain(errors)
        .chain(pointers)
        .chain(types)
        .chain(letters)
        .chain(asides)
        .find(|(_, text)| text.contains('\0'))?;
    Some(format!("the {what} contains U+0000, which no database keeps in a text; take the character out"))
}
