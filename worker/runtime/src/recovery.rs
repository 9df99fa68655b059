//! Signs of life, and what the dead left behind: shards, effects, mail, and meetings that nobody delivered.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use flagstop_engine::Instance;
use flagstop_engine::api::Env;
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::LoadRequest;
use flagstop_store::port::StoreError;
use flagstop_store::rows::InstanceRow;
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

use crate::effects::Effects;
use crate::intake::{Poke, Shared, local_us};

/// Why an expired parked event is a dead letter (promise 5).
const EXPIRED: (&str, &str) = (
    "FS-EVENT-EXPIRED",
    "no workflow instance waited for this event before it expired; check its correlation values, or keep events longer (worker.parked_hours)",
);

/// Instances whose mail one beat drains, and expired events it reports.
const ROWS_PER_BEAT: i64 = 500;

/// The recovery of one worker.
pub(crate) struct Recovery {
    pub(crate) shared: Arc<Shared>,
    pub(crate) effects: Arc<Effects>,
    pub(crate) pokes: Sender<(InstanceId, Poke)>,
}

impl Recovery {
    /// Beats until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let pause = Duration::from_millis(self.shared.options.beat_ms);
        let sweep_every = Duration::from_millis(self.shared.options.sweep_ms);
        let mut swept = Instant::now();
        let mut swept_to = None;
        while !stop.is_cancelled() {
            if let Err(why) = self.beat().await {
                tracing::warn!(
                    "no sign of life could be given, tried again; others take over after {} ms: {why}",
                    self.shared.options.lease_ms
                );
            }
            if swept.elapsed() >= sweep_every {
                swept = Instant::now();
                match self.sweep(swept_to).await {
                    Ok(next) => swept_to = next,
                    Err(why) => tracing::warn!("the sweep for early events failed, tried again: {why}"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One sign of life, and everything that it may bring.
    pub(crate) async fn beat(&self) -> Result<(), StoreError> {
        let Shared { store, options, shards, worker, catalogues, .. } = &*self.shared;
        let lease_us = i64::try_from(options.lease_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        let beat = store.beat(*worker, lease_us).await?;
        self.shared.clock_ahead_us.store(beat.now_us - local_us(), Ordering::Relaxed);
        shards.send_if_modified(|held| {
            let changed = *held != beat.shards;
            held.clone_from(&beat.shards);
            changed
        });
        if beat.catalogue > catalogues.current().version {
            catalogues.refresh(&**store, beat.catalogue, &options.engine).await?;
        }
        self.adopt(beat.now_us).await?;
        let stale_us = i64::try_from(options.mail_stale_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        for instance in store.stale_mail(&beat.shards, stale_us, ROWS_PER_BEAT).await? {
            self.poke(instance, Poke::Drain).await;
        }
        if beat.shards.contains(&0) {
            let expired = store.expire_parked(EXPIRED.0, EXPIRED.1, ROWS_PER_BEAT).await?;
            if expired > 0 {
                tracing::warn!(expired, "early events expired without a waiter; see the dead letters");
            }
        }
        Ok(())
    }

    /// Takes over effects whose drivers died, and makes their requests again from the snapshots.
    async fn adopt(&self, now_us: i64) -> Result<(), StoreError> {
        let limit = self.effects.free().min(self.shared.options.batch_max * self.shared.options.lanes);
        let mut leases = self.shared.store.adopt(self.shared.worker, limit as i64).await?;
        if self.shared.doubt.swap(false, Ordering::Relaxed) {
            let held = self.shared.store.held(self.shared.worker).await;
            if held.is_err() {
                self.shared.doubt.store(true, Ordering::Relaxed);
            }
            leases.extend(held?.into_iter().filter(|lease| !self.effects.knows(lease)));
        }
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
        let env = Env { now_us, seed: 0, secrets: &self.shared.secrets.by_name, limits: &self.shared.options.engine };
        for lease in leases {
            let Some(row) = rows.get(&lease.instance) else { continue };
            let Some(deployed) = catalogue.by_number(row.definition) else { continue };
            match Instance::decode(&deployed.plan, &row.state) {
                Ok(instance) => {
                    if let Some(effect) = instance.effect(&deployed.plan, lease.slot, &env) {
                        self.effects.submit(lease, effect);
                    }
                }
                Err(why) => tracing::error!(instance = %row.id, "its effect is left to other workers: {why}"),
            }
        }
        Ok(())
    }

    /// Delivers meetings that a crash between a commit and its look left behind (PROTOCOL D3).
    async fn sweep(&self, after: Option<Hash16>) -> Result<Option<Hash16>, StoreError> {
        let (meetings, next) = self.shared.store.sweep(after, self.shared.options.sweep_rows).await?;
        for meeting in meetings {
            self.poke(meeting.instance, Poke::Meeting(meeting)).await;
        }
        Ok(next)
    }

    async fn poke(&self, instance: InstanceId, poke: Poke) {
        // Refused only while the worker leaves; another one finds the same again.
        let _leaving = self.pokes.send((instance, poke)).await;
    }
}
