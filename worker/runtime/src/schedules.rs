//! What the clock starts (`every`, `cron`, `after`): each schedule is a row with its next due time, which the instance's
//! start moves on in the same transaction, so it fires once whoever sees it (PROTOCOL D12).
//!
//! ```text
//! the catalogue is new ─► a row for each schedule of each newest version
//! a row is due         ─► poke: start the instance, move the row on     (`decide/schedules.rs`)
//! an awaited run ended ─► the row is due again `after` that
//! a start kills workers ─► its instance is set aside, not started; the row is moved on     (`blame.rs`)
//! ```
//! The shards divide the work; the rows' tokens make it right.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use flagstop_engine::schedule::Timed;
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::{Batch, Group, LoadRequest, ScheduleWrite, StoreError};
use flagstop_store::rows::{SHARDS, ScheduleMemory, ScheduleRow};
use tokio_util::sync::CancellationToken;

use crate::catalogue::{Catalogue, Deployed};
use crate::effects::Effects;
use crate::intake::{DueSchedule, Poke, Shared};

/// What the memory of a schedule keeps while its starts kill workers; a run that begins leaves none of it.
const KILLED: &[u8] = b"killed";

/// Due schedules that one look takes.
const DUE_MAX: i64 = 1_000;

/// One of a definition's schedules.
struct Owned {
    deployed: Arc<Deployed>,
    timed: usize,
}

impl Owned {
    /// All of them, by row.
    fn all(catalogue: &Catalogue) -> HashMap<Hash16, Self> {
        let of = |deployed: &Arc<Deployed>| {
            let deployed = deployed.clone();
            (0..deployed.plan.schedule().timed().len()).map(move |timed| {
                let owned = Self { deployed: deployed.clone(), timed };
                (owned.row(), owned)
            })
        };
        catalogue.timed().flat_map(of).collect()
    }

    fn rule(&self) -> &Timed {
        &self.deployed.plan.schedule().timed()[self.timed]
    }

    fn row(&self) -> Hash16 {
        let it = self.deployed.plan.reference();
        let parts = [it.namespace.as_str(), &it.name, self.rule().name()].map(str::as_bytes);
        Hash16::of("flagstop/schedule", &parts)
    }

    /// The memory that this version needs; `None`: the row has it already.
    fn wanted(&self, there: Option<&ScheduleRow>) -> Option<ScheduleMemory> {
        let first_us = self.rule().first_us(self.deployed.deployed_us);
        let definition = self.deployed.number;
        match there.map(|row| &row.memory) {
            None => Some(ScheduleMemory { definition, due_us: first_us, ..ScheduleMemory::default() }),
            Some(memory) if memory.definition >= definition => None,
            // A run that still goes on, or the pause after one, is no other because there is a newer version; and who
            // deploys often must not keep a schedule from ever being due.
            Some(memory) => {
                let due_us = match (memory.due_us, first_us) {
                    _ if memory.awaits.is_some() => None,
                    (Some(old_us), Some(new_us)) => Some(old_us.min(new_us)),
                    (old_us, new_us) => old_us.or(new_us),
                };
                // The newer one may be the cure.
                Some(ScheduleMemory { definition, due_us, awaits: memory.awaits, ..ScheduleMemory::default() })
            }
        }
    }
}

/// A write that goes only over what was read. The token is one that no other write gives.
pub(crate) fn write(id: Hash16, was: Option<i64>, memory: Option<ScheduleMemory>) -> ScheduleWrite {
    ScheduleWrite { id, was, becomes: rand::random(), memory }
}

impl DueSchedule {
    /// The schedule past a due time whose run does not begin now. For one that counts from the end of its runs, it has ended.
    pub(crate) fn passed(&self, now_us: i64) -> ScheduleMemory {
        let rule = &self.deployed.plan.schedule().timed()[self.timed];
        let due_us = rule.after_end_us(now_us).or_else(|| rule.fired(self.due_us, now_us).next_us);
        let (definition, state) = (self.deployed.number, self.row.memory.state.clone());
        ScheduleMemory { definition, due_us, state, ..ScheduleMemory::default() }
    }

    /// The same, because its start kills workers.
    pub(crate) fn shelved(&self, now_us: i64) -> ScheduleWrite {
        let memory = ScheduleMemory { state: KILLED.into(), ..self.passed(now_us) };
        write(self.row.id, Some(self.row.token), Some(memory))
    }

    /// The last run that was due was set aside, and none has begun since: this one is likely to kill, too.
    pub(crate) fn has_killed(&self) -> bool {
        self.row.memory.state == KILLED
    }
}

/// Fires what is due, until `stop`.
pub(crate) async fn run(shared: Arc<Shared>, effects: Arc<Effects>, stop: CancellationToken) {
    let pause = Duration::from_millis(shared.options.timer_poll_ms);
    let mut known = (i64::MIN, Vec::new());
    while !stop.is_cancelled() {
        let catalogue = shared.catalogues.current();
        let shards = shared.shards.borrow().clone();
        if !shards.is_empty() && catalogue.whole {
            let owned = Owned::all(&catalogue);
            let seen = (catalogue.version, shards.clone());
            if known != seen {
                match enter(&shared, &owned, &shards).await {
                    Ok(()) => known = seen,
                    Err(why) => tracing::warn!("the schedules can't be written, tried again: {why}"),
                }
            }
            if effects.has_room()
                && let Err(why) = fire(&shared, &owned, &shards).await
            {
                tracing::warn!("due schedules can't be read, tried again: {why}");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Gives each schedule of the newest versions its row.
async fn enter(shared: &Shared, owned: &HashMap<Hash16, Owned>, shards: &[i16]) -> Result<(), StoreError> {
    let mine = |id: &Hash16| shards.contains(&InstanceId(id.0).shard(SHARDS));
    let schedules: Vec<Hash16> = owned.keys().copied().filter(mine).collect();
    if schedules.is_empty() {
        return Ok(());
    }
    let request = LoadRequest { schedules: schedules.clone(), ..LoadRequest::default() };
    let rows = shared.store.load(&request).await?.schedules;
    let there: HashMap<Hash16, ScheduleRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let wanted = schedules.into_iter().filter_map(|id| {
        let row = there.get(&id);
        let memory = owned[&id].wanted(row)?;
        Some(write(id, row.map(|row| row.token), Some(memory)))
    });
    commit(shared, wanted.collect()).await
}

async fn fire(shared: &Shared, owned: &HashMap<Hash16, Owned>, shards: &[i16]) -> Result<(), StoreError> {
    let mut moved = Vec::new();
    for row in shared.store.due_schedules(shards, DUE_MAX).await? {
        let Some(Owned { deployed, timed }) = owned.get(&row.id) else {
            // What this build does not know is left alone.
            if let Some(deployed) = shared.catalogues.current().by_number(row.memory.definition) {
                moved.push(write(row.id, Some(row.token), unowned(shared, deployed, &row)));
            }
            continue;
        };
        let rule = &deployed.plan.schedule().timed()[*timed];
        if let Some(ended_us) = row.awaited_ended_us {
            let memory = ScheduleMemory { due_us: rule.after_end_us(ended_us), awaits: None, ..row.memory };
            moved.push(write(row.id, Some(row.token), Some(memory)));
            continue;
        }
        let Some(due_us) = row.memory.due_us else { continue };
        let it = deployed.plan.reference();
        let instance = InstanceId::of_schedule(&it.namespace, &it.name, rule.name(), due_us);
        if !shared.refused.knows(&(instance, 0, row.id)) {
            let due = DueSchedule { row, deployed: deployed.clone(), timed: *timed, due_us };
            shared.pokes.put(instance, Poke::Schedule(Box::new(due))).await;
        }
    }
    commit(shared, moved).await
}

/// The memory of a schedule that starts nothing now. A newer version has no such schedule any more: none. The version is
/// disabled: its due times pass, so that none of them is made up for when it is enabled again; what starts at once then
/// (`after`) needs no memory.
fn unowned(shared: &Shared, deployed: &Arc<Deployed>, row: &ScheduleRow) -> Option<ScheduleMemory> {
    if !shared.catalogues.current().is_disabled(deployed.number) {
        return None;
    }
    let timed = deployed.plan.schedule().timed();
    let mut of_version = (0..timed.len()).map(|timed| Owned { deployed: deployed.clone(), timed });
    let owned = of_version.find(|owned| owned.row() == row.id)?;
    let next_us = owned.rule().fired(row.memory.due_us?, shared.about_now_us()).next_us?;
    Some(ScheduleMemory { due_us: Some(next_us), ..row.memory.clone() })
}

/// Each by itself: of one that another worker wrote first nothing is left to do.
async fn commit(shared: &Shared, writes: Vec<ScheduleWrite>) -> Result<(), StoreError> {
    if writes.is_empty() {
        return Ok(());
    }
    let groups = writes.into_iter().map(|write| Group { schedules: vec![write], ..Group::default() }).collect();
    shared.store.commit(&Batch { worker: Some(shared.worker), groups }).await?;
    Ok(())
}
