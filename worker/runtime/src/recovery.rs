//! Signs of life, and what the dead left behind: shards, effects, mail, and meetings that nobody delivered.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flagstop_engine::api::{EffectOutcome, Env};
use flagstop_schemas::{Asked, COMMAND_PREFIX, Hash16, InstanceId};
use flagstop_store::port::{Batch, Group, LoadRequest, StoreError, Verdict};
use flagstop_store::rows::{EffectLease, InstanceRow, NewParked};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::answers;
use crate::codec::decode_event;
use crate::counters::add;
use crate::decide::STORED_EVENT;
use crate::effects::Effects;
use crate::intake::{Poke, Shared, local_us, ticks_us};
use crate::letters::inner_letter;
use crate::work;

/// Why an expired parked event is a dead letter (promise 5).
const EXPIRED: (&str, &str) = (
    "FS-EVENT-EXPIRED",
    "no workflow instance waited for this event before it expired; check its correlation values, or keep events longer (worker.parked_hours)",
);

/// Why an expired command is a dead letter, and what its sender is told.
const EXPIRED_COMMAND: (&str, &str) = (
    "FS-COMMAND-EXPIRED",
    "the instance that this command is for did not come, or could not take it, before the command expired; check whom it names, or keep commands longer (worker.parked_hours)",
);

/// Instances whose mail one look drains, and expired events that one statement reports.
const ROWS_PER_LOOK: i64 = 500;

/// One sign of life: says that this worker lives, and hears which shards it holds and what is deployed.
///
/// # Errors
/// When the store does not answer.
pub(crate) async fn beat(shared: &Shared) -> Result<(), StoreError> {
    let lease_us = i64::try_from(shared.options.lease_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
    let beat = shared.store.beat(shared.worker, lease_us).await?;
    shared.clock_ahead_us.store(beat.now_us - local_us(), Ordering::Relaxed);
    if shared.deployed.swap(beat.catalogue, Ordering::Relaxed) != beat.catalogue {
        shared.deployment.notify_one();
    }
    shared.blame.noticed(beat.died_us, beat.dead_until_us);
    shared.shards.send_if_modified(|held| {
        let changed = *held != beat.shards;
        held.clone_from(&beat.shards);
        changed
    });
    Ok(())
}

/// Beats until `stop`. Does nothing else: whatever is slow must not make this worker look dead.
pub(crate) async fn beats(shared: Arc<Shared>, stop: CancellationToken) {
    let pause = Duration::from_millis(shared.options.beat_ms);
    while sleep(pause, &stop).await {
        if let Err(why) = beat(&shared).await {
            let lease_ms = shared.options.lease_ms;
            tracing::warn!("no sign of life could be given, tried again; others take over after {lease_ms} ms: {why}");
        }
    }
}

/// Sleeps; `false`: told to stop.
async fn sleep(pause: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = stop.cancelled() => false,
    }
}

/// The recovery of one worker.
pub(crate) struct Recovery {
    pub(crate) shared: Arc<Shared>,
    pub(crate) effects: Arc<Effects>,
    /// Effects that were ours and unknown at the last look.
    pub(crate) suspects: Mutex<BTreeSet<EffectLease>>,
    /// Whose mail was looked at last, unless that was everybody's.
    pub(crate) drained_to: Mutex<Option<InstanceId>>,
}

impl Recovery {
    /// Looks after what was left behind, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let pause = Duration::from_millis(self.shared.options.beat_ms);
        let sweep_every = Duration::from_millis(self.shared.options.sweep_ms);
        let mut swept = Instant::now();
        let mut swept_to = None;
        while self.rest(pause, &stop).await {
            self.shared.secrets.refresh();
            if let Err(why) = self.rescue().await {
                tracing::warn!("what others left behind can't be read, tried again: {why}");
            }
            if swept.elapsed() >= sweep_every {
                swept = Instant::now();
                match self.sweep(swept_to).await {
                    Ok(next) => swept_to = next,
                    Err(why) => tracing::warn!("the sweep for early events failed, tried again: {why}"),
                }
            }
        }
    }

    /// Sleeps, and compiles meanwhile what is deployed; `false`: told to stop.
    async fn rest(&self, pause: Duration, stop: &CancellationToken) -> bool {
        let mut over = std::pin::pin!(sleep(pause, stop));
        loop {
            tokio::select! {
                goes_on = &mut over => return goes_on,
                () = self.shared.deployment.notified() => {
                    if let Err(why) = self.refresh().await {
                        tracing::warn!("what was deployed can't be read, tried again: {why}");
                    }
                }
            }
        }
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        let Shared { store, options, catalogues, deployed, .. } = &*self.shared;
        catalogues.refresh(&**store, deployed.load(Ordering::Relaxed), &options.engine).await
    }

    async fn rescue(&self) -> Result<(), StoreError> {
        self.refresh().await?;
        let Shared { store, options, shards, .. } = &*self.shared;
        self.adopt().await?;
        let shards = shards.borrow().clone();
        let stale_us = i64::try_from(options.mail_stale_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        let mut drained_to = self.drained_to.lock().await;
        let stale = store.stale_mail(&shards, stale_us, *drained_to, ROWS_PER_LOOK).await?;
        *drained_to = stale.last().map(|(instance, _)| *instance).filter(|_| stale.len() as i64 >= ROWS_PER_LOOK);
        drop(drained_to);
        for (instance, since_us) in stale {
            self.shared.pokes.put(instance, Poke::LeftBehind(since_us)).await;
        }
        if shards.contains(&0) {
            self.expire_commands().await?;
        }
        while shards.contains(&0) {
            let expired = store.expire_parked(COMMAND_PREFIX, EXPIRED.0, EXPIRED.1, ROWS_PER_LOOK).await?;
            if expired > 0 {
                tracing::warn!(expired, "early events expired without a waiter; see the dead letters");
            }
            if expired < ROWS_PER_LOOK as u64 {
                break;
            }
        }
        Ok(())
    }

    /// Whoever sent a command that waited in vain is told (PROTOCOL 'Commands'). One that somebody carries out at the same
    /// moment is his: then the group leaves no trace.
    async fn expire_commands(&self) -> Result<(), StoreError> {
        let Shared { store, options, .. } = &*self.shared;
        loop {
            let expired = store.expired(COMMAND_PREFIX, ROWS_PER_LOOK).await?;
            let count = expired.len();
            let now_us = self.shared.about_now_us();
            let group = |parked: NewParked| {
                let (code, why) = EXPIRED_COMMAND;
                let asked = decode_event(&parked.event, &options.codec).map(|command| Asked::of(&command));
                let notes = asked.iter().map(|asked| answers::rejected(asked, None, code, why, now_us)).collect();
                let origin = format!("parked {}", parked.event_type);
                let dead = vec![inner_letter(origin, Some(STORED_EVENT), parked.event, code, why)];
                Group { claims: vec![parked.id], notes, dead, ..Group::default() }
            };
            let groups: Vec<Group> = expired.into_iter().map(group).collect();
            if !groups.is_empty() {
                tracing::warn!(expired = count, "commands expired without being carried out; see the dead letters");
                add(&self.shared.counters.dead_letters, count);
                let verdicts = store.commit(&Batch { worker: None, groups }).await?;
                if !verdicts.contains(&Verdict::Applied) {
                    return Ok(());
                }
            }
            if (count as i64) < ROWS_PER_LOOK {
                return Ok(());
            }
        }
    }

    /// Takes over effects whose drivers died, and those that are ours without our knowing: a commit or an adoption may
    /// have been carried out although its answer was lost (PROTOCOL D11). Their requests are made again from the
    /// snapshots.
    async fn adopt(&self) -> Result<(), StoreError> {
        // Who can't read all instances leaves the effects of dead workers to those who can.
        let free = if self.shared.catalogues.current().whole { self.effects.free() } else { 0 };
        let limit = free.min(self.shared.options.batch_max * self.shared.options.lanes);
        self.shared.store.adopt(self.shared.worker, limit as i64).await?;
        let mut leases = self.shared.store.held(self.shared.worker).await?;
        let held = leases.iter().map(|lease| (lease.instance, lease.slot)).collect();
        self.effects.abort_all_but(&held, 2 * Duration::from_millis(self.shared.options.beat_ms));
        let refused = &self.shared.refused;
        leases.retain(|lease| !refused.knows(&(lease.instance, lease.slot, Hash16::of("effect", &[]))));
        leases.retain(|lease| !self.effects.renew(lease));
        // One that was committed a moment ago is on its way to be submitted: only what is still unknown at the next look
        // is taken over.
        let suspects: BTreeSet<EffectLease> = leases.iter().copied().collect();
        let mut before = self.suspects.lock().await;
        leases.retain(|lease| before.contains(lease) || lease.epoch > 1);
        *before = suspects;
        drop(before);
        leases.truncate(limit);
        if leases.is_empty() {
            return Ok(());
        }
        tracing::info!(effects = leases.len(), "effects taken over");
        let mut instances: Vec<InstanceId> = leases.iter().map(|lease| lease.instance).collect();
        instances.sort_unstable();
        instances.dedup();
        let loaded = self.shared.store.load(&LoadRequest { instances, ..LoadRequest::default() }).await?;
        let rows: HashMap<InstanceId, InstanceRow> = loaded.instances.into_iter().map(|row| (row.id, row)).collect();
        let catalogue = self.shared.catalogues.current();
        let secrets = self.shared.secrets.current();
        let env = Env {
            now_us: loaded.now_us,
            seed: 0,
            secrets: &secrets.by_name,
            limits: &self.shared.options.engine,
            ticks_us,
            status_changes: self.shared.published.changes(),
        };
        for lease in leases {
            let Some(row) = rows.get(&lease.instance) else { continue };
            // What can't be driven now must not stand in the others' way at the next look.
            let refuse = || refused.remember((lease.instance, lease.slot, Hash16::of("effect", &[])));
            let Some(deployed) = catalogue.by_number(row.definition).filter(|_| row.aside.is_none()) else {
                refuse();
                continue;
            };
            let instance = match work::read(row, deployed) {
                Ok(instance) => instance,
                Err(why) => {
                    tracing::error!(instance = %row.id, "its effect can't be driven by this build: {why}");
                    refuse();
                    continue;
                }
            };
            match instance.effect(&deployed.plan, lease.slot, &env) {
                Some(effect) => self.effects.submit(lease, effect),
                None => {
                    let reason = "the request can't be made again from the snapshot; is a secret gone?".to_owned();
                    let outcome = EffectOutcome::NoAnswer { reason };
                    self.shared
                        .pokes
                        .put(lease.instance, Poke::Effect { lease, begun: None, task: None, outcome })
                        .await;
                }
            }
        }
        Ok(())
    }

    /// Delivers meetings that a crash between a commit and its look left behind (PROTOCOL D3).
    async fn sweep(&self, after: Option<Hash16>) -> Result<Option<Hash16>, StoreError> {
        let (meetings, next) = self.shared.store.sweep(after, self.shared.options.sweep_rows).await?;
        for meeting in meetings {
            if !self.shared.refused.knows(&(meeting.instance, meeting.slot, meeting.parked)) {
                self.shared.pokes.put(meeting.instance, Poke::Meeting(meeting)).await;
            }
        }
        Ok(next)
    }
}
