//! Commits a batch, each group whole or not at all; one statement does it (`statement.rs`), this decides what to do when
//! Postgres refuses that statement:
//!
//! ```text
//! somebody wrote the same key just now → the same statement again, which then sees it
//! a deadlock, a lock that stays taken  → again after a pause
//! no partition for this day            → they are made, then again
//! data that can't be stored            → halves, until the culprit stands alone (PROTOCOL D20)
//! anything else                        → an error of the whole call; its outcome may be unknown (D11)
//! ```

use std::collections::HashSet;
use std::time::Duration;

use flagstop_schemas::{Hash16, InstanceId};
use rand::RngExt as _;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::errors::{self, Refusal};
use super::rows::Sheet;
use super::{PostgresStore, retire, statement};
use crate::port::{Batch, Group, Verdict};
use crate::rows::{EffectLease, WorkerId};

/// How often a statement is repeated because of a key that somebody else wrote at the same moment. Once is enough unless
/// several do so one after the other; more often than this the groups are tried one by one.
const UNIQUE_REPEATS_MAX: u32 = 4;

/// How often a statement is repeated because of others' locks.
const CONTENTION_REPEATS_MAX: u32 = 8;

/// The first pause because of others' locks; it doubles each time.
const CONTENTION_PAUSE: Duration = Duration::from_millis(2);

pub(super) async fn commit(store: &PostgresStore, batch: &Batch) -> Result<Vec<Verdict>, sqlx::Error> {
    let mut verdicts = vec![Verdict::Applied; batch.groups.len()];
    for wave in waves(&batch.groups) {
        let groups: Vec<&Group> = wave.iter().map(|place| &batch.groups[*place]).collect();
        let settled = settle(store, batch.worker, &groups).await?;
        for (place, verdict) in wave.into_iter().zip(settled) {
            verdicts[place] = verdict;
        }
    }
    Ok(verdicts)
}

/// What at most one group of a statement may take.
#[derive(PartialEq, Eq, Hash)]
enum Taken {
    Message(Uuid),
    Claim(Uuid),
    Mail(i64),
    Instance(Uuid),
    Schedule(Uuid),
    Activation(Uuid),
}

fn activations(group: &Group) -> impl Iterator<Item = Hash16> {
    group.instance.iter().chain(&group.children).filter_map(|(_, write)| write.activation)
}

/// Parts the groups so that no two of one part want the same thing: the parts of one statement do not see one another, and
/// the later group must find what the earlier one left. Nearly always this is one part.
fn waves(groups: &[Group]) -> Vec<Vec<usize>> {
    let mut waves: Vec<(HashSet<Taken>, Vec<usize>)> = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        let wants: HashSet<Taken> = (group.inbox.iter().map(|key| Taken::Message(key.0)))
            .chain(group.claims.iter().map(|id| Taken::Claim(id.0)))
            .chain(group.mail.iter().map(|id| Taken::Mail(*id)))
            .chain(group.instance.iter().chain(&group.children).map(|(id, _)| Taken::Instance(id.0)))
            .chain(group.aside.iter().map(|aside| Taken::Instance(aside.instance.0)))
            .chain(group.schedules.iter().map(|write| Taken::Schedule(write.id.0)))
            .chain(activations(group).map(|key| Taken::Activation(key.0)))
            .collect();
        // Behind the last part that it overlaps with, so that the batch's order holds between the two.
        let after = waves.iter().rposition(|(taken, _)| !taken.is_disjoint(&wants)).map_or(0, |last| last + 1);
        if after == waves.len() {
            waves.push(Default::default());
        }
        let (taken, places) = &mut waves[after];
        taken.extend(wants);
        places.push(place);
    }
    waves.into_iter().map(|(_, places)| places).collect()
}

/// Commits groups until each has a verdict.
async fn settle(
    store: &PostgresStore,
    worker: Option<WorkerId>,
    groups: &[&Group],
) -> Result<Vec<Verdict>, sqlx::Error> {
    let (mut unique, mut contention, mut prepared) = (0, 0, false);
    loop {
        let error = match attempt(store, worker, groups).await {
            Ok(verdicts) => return Ok(verdicts),
            Err(error) => error,
        };
        match errors::refusal(&error) {
            Refusal::Unique if unique < UNIQUE_REPEATS_MAX => unique += 1,
            Refusal::Contention if contention < CONTENTION_REPEATS_MAX => {
                let jitter = rand::rng().random_range(0.5..1.5);
                tokio::time::sleep(CONTENTION_PAUSE.mul_f64(jitter) * (1 << contention)).await;
                contention += 1;
            }
            Refusal::Partition if !prepared => {
                retire::prepare(store).await?;
                prepared = true;
            }
            Refusal::Unique | Refusal::Data => return halves(store, worker, groups, &error).await,
            Refusal::Contention | Refusal::Partition | Refusal::Other => return Err(error),
        }
    }
}

async fn halves(
    store: &PostgresStore,
    worker: Option<WorkerId>,
    groups: &[&Group],
    error: &sqlx::Error,
) -> Result<Vec<Verdict>, sqlx::Error> {
    if groups.len() <= 1 {
        return Ok(vec![Verdict::Failed(errors::reason(error)); groups.len()]);
    }
    let (first, second) = groups.split_at(groups.len() / 2);
    let mut verdicts = Box::pin(settle(store, worker, first)).await?;
    verdicts.extend(Box::pin(settle(store, worker, second)).await?);
    Ok(verdicts)
}

/// Sends the statement once.
async fn attempt(
    store: &PostgresStore,
    worker: Option<WorkerId>,
    groups: &[&Group],
) -> Result<Vec<Verdict>, sqlx::Error> {
    let statement = statement::statement(Sheet::of(worker, groups), store.overlap_us);
    let mut verdicts = vec![Verdict::Applied; groups.len()];
    for row in &store.connections.fetch_counted(statement).await? {
        let place = usize::try_from(row.try_get::<i32, _>(0)?).unwrap_or(usize::MAX);
        let verdict = verdicts.get_mut(place).ok_or(sqlx::Error::RowNotFound)?;
        lose(verdict, row)?;
    }
    Ok(verdicts)
}

/// Adds one reason. They come in the order of their weight: a duplicate must be known before anything else is.
fn lose(verdict: &mut Verdict, row: &PgRow) -> Result<(), sqlx::Error> {
    let lease = || {
        Ok::<_, sqlx::Error>(EffectLease {
            instance: InstanceId(row.try_get(2)?),
            slot: row.try_get(3)?,
            epoch: row.try_get(4)?,
        })
    };
    match (row.try_get::<i32, _>(1)?, &mut *verdict) {
        (0, Verdict::Applied) => *verdict = Verdict::Duplicate(vec![Hash16(row.try_get(2)?)]),
        (0, Verdict::Duplicate(keys)) => keys.push(Hash16(row.try_get(2)?)),
        (1, Verdict::Applied) => *verdict = Verdict::Gone,
        (2, Verdict::Applied) => *verdict = Verdict::Fenced(vec![lease()?]),
        (2, Verdict::Fenced(leases)) => leases.push(lease()?),
        (4, Verdict::Applied) => *verdict = Verdict::Active(InstanceId(row.try_get(2)?)),
        (_, Verdict::Applied) => *verdict = Verdict::Conflict,
        _ => {}
    }
    Ok(())
}
