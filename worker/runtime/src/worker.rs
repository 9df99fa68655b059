//! A worker as a whole: starts the loops, and takes them down in an order that loses nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use flagstop_bus::port::{Acker, Bus, BusError};
use flagstop_store::port::StoreError;
use flagstop_store::port::{SchemaState, Store};
use flagstop_store::rows::WorkerId;
use tokio::sync::mpsc::channel;
use tokio::sync::{Mutex, Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ahead::{Aheads, Claims};
use crate::counters::{Counters, WorkerCounters};
use crate::effects::Effects;
use crate::intake::Shared;
use crate::lane::Lane;
use crate::options::Options;
use crate::pokes::Pokes;
use crate::recovery::{self, Recovery};
use crate::refused::Refused;
use crate::relay::Relay;
use crate::retention;
use crate::schedules;
use crate::secrets::{LiveSecrets, Secrets};
use crate::shares::Shares;
use crate::sources::{self, Ackers};
use crate::status::Published;
use crate::timers;
use crate::vitals::Vitals;

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options contradict each other.
    #[error("FS-CONFIG-INVALID: {0}")]
    Options(String),
    /// The schema is missing or not for this build.
    #[error("{0}")]
    Schema(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus failed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// A running worker. Dropping it without [`Worker::drain`] is like killing it: others take over.
pub struct Worker {
    shared: Arc<Shared>,
    acker: Arc<dyn Acker>,
    effects: Arc<Effects>,
    /// No new messages, timers, effects.
    drain: CancellationToken,
    /// No signs of life any more.
    stop: CancellationToken,
    /// Leave everything as it is.
    abandon: CancellationToken,
    /// The relay's last pass.
    relay_stop: CancellationToken,
    lanes: TaskTracker,
    loops: TaskTracker,
    relay: TaskTracker,
}

impl Worker {
    /// Starts a worker on a migrated store and a reachable bus, whose topology must have been prepared.
    ///
    /// # Errors
    /// When the options contradict each other, the schema is not for this build, or store or bus are not reachable.
    pub async fn start(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        options: Options,
        secrets: Secrets,
    ) -> Result<Self, StartError> {
        options.check().map_err(StartError::Options)?;
        for warning in options.warnings() {
            tracing::warn!("{warning}");
        }
        if let SchemaState::Behind(why) | SchemaState::Ahead(why) = store.schema().await? {
            return Err(StartError::Schema(why));
        }
        let lanes = options.lanes;
        let (pokes_in, pokes): (Vec<_>, Vec<_>) = (0..lanes).map(|_| channel(poke_places(&options))).unzip();
        let deliveries_max = options.deliveries_max.div_ceil(options.batch_max * lanes).max(1);
        let (deliveries_in, deliveries): (Vec<_>, Vec<_>) = (0..lanes).map(|_| channel(deliveries_max)).unzip();
        let shared = Arc::new(Shared {
            store,
            bus,
            secrets: LiveSecrets::new(secrets),
            deployment: Notify::new(),
            catalogues: crate::catalogue::Catalogues::default(),
            counters: Counters::default(),
            published: Published::new(&options.status.events).map_err(StartError::Options)?,
            worker: WorkerId(uuid::Uuid::new_v4()),
            journal_grew: Notify::new(),
            pokes: Pokes(pokes_in),
            refused: Refused::default(),
            ahead: Claims::default(),
            commit_fault: std::sync::Mutex::default(),
            blame: crate::blame::Blame::default(),
            behind: AtomicBool::new(false),
            oldest_unpublished_us: AtomicI64::new(0),
            streams_held: AtomicU64::new(0),
            held_up: std::sync::Mutex::default(),
            clock_ahead_us: AtomicI64::new(0),
            deployed: AtomicI64::new(0),
            shards: watch::Sender::new(Vec::new()),
            options,
        });
        let effects = Arc::new(Effects::new(shared.clone()).map_err(StartError::Options)?);
        // Before the first message: the worker must be known alive when it takes its first effect.
        recovery::beat(&shared).await?;
        let deployed = shared.deployed.load(Ordering::Relaxed);
        shared.catalogues.refresh(&*shared.store, deployed, &shared.options.engine).await?;
        let mut consumers = vec![shared.bus.consume().await?];
        consumers.extend(shared.bus.consume_commands().await?);
        let ackers = Arc::new(Ackers::of(&consumers));
        let acker: Arc<dyn Acker> = ackers.clone();
        let worker = Self {
            acker: acker.clone(),
            effects: effects.clone(),
            drain: CancellationToken::new(),
            stop: CancellationToken::new(),
            abandon: CancellationToken::new(),
            relay_stop: CancellationToken::new(),
            lanes: TaskTracker::new(),
            loops: TaskTracker::new(),
            relay: TaskTracker::new(),
            shared: shared.clone(),
        };
        for (deliveries, pokes) in deliveries.into_iter().zip(pokes) {
            let lane = Lane {
                shared: shared.clone(),
                deliveries,
                pokes,
                acker: acker.clone(),
                effects: effects.clone(),
                shares: Shares::default(),
                aheads: Aheads::default(),
                trying: false,
                stuck: Vec::new(),
                drain: worker.drain.clone(),
                abandon: worker.abandon.clone(),
            };
            worker.lanes.spawn(lane.run());
        }
        let recovery = Recovery {
            shared: shared.clone(),
            effects: effects.clone(),
            suspects: Mutex::default(),
            drained_to: Mutex::default(),
        };
        worker.loops.spawn(effects.clone().run(worker.drain.clone()));
        worker.loops.spawn(recovery.run(worker.drain.clone()));
        worker.loops.spawn(schedules::run(shared.clone(), effects.clone(), worker.drain.clone()));
        worker.loops.spawn(retention::run(shared.clone(), worker.drain.clone()));
        worker.loops.spawn(timers::run(shared.clone(), effects, worker.drain.clone()));
        worker.loops.spawn(recovery::beats(shared.clone(), worker.stop.clone()));
        let relay = Relay::new(shared.clone());
        worker.relay.spawn(relay.run(worker.relay_stop.clone()));
        let batch_max = shared.options.batch_max;
        for consumer in consumers {
            let outdated = shared.catalogues.outdated.clone();
            worker.loops.spawn(sources::run(consumer, deliveries_in.clone(), batch_max, ackers.clone(), outdated));
        }
        Ok(worker)
    }

    /// Its identity, new with each start.
    #[must_use]
    pub fn id(&self) -> WorkerId {
        self.shared.worker
    }

    /// Its vital signs, which can be read as long as the process lives.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        Vitals::new(self.shared.clone(), self.effects.clone(), self.drain.clone())
    }

    /// What it has done so far.
    #[must_use]
    pub fn counters(&self) -> WorkerCounters {
        self.shared.counters.copy()
    }

    /// Stops taking messages, finishes what has begun, publishes what is committed and gives back everything it holds;
    /// after `grace` it leaves the rest to the others.
    pub async fn drain(self, grace: Duration) {
        self.acker.stop().await;
        self.drain.cancel();
        self.effects.close();
        self.lanes.close();
        if tokio::time::timeout(grace.mul_f64(0.7), self.lanes.wait()).await.is_err() {
            tracing::warn!("the grace time is nearly over; what is in flight is left to the other workers");
            self.abandon.cancel();
            self.lanes.wait().await;
        }
        self.relay_stop.cancel();
        self.relay.close();
        if tokio::time::timeout(grace.mul_f64(0.2), self.relay.wait()).await.is_err() {
            tracing::warn!("not all status events are published; the other workers publish them");
        }
        self.stop.cancel();
        self.loops.close();
        if tokio::time::timeout(grace.mul_f64(0.1), self.loops.wait()).await.is_err() {
            tracing::warn!("a loop does not end; what it holds goes to the others when the lease ends");
            return;
        }
        if let Err(why) = self.shared.store.leave(self.shared.worker).await {
            tracing::warn!("nothing could be given back; the others take over when the lease ends: {why}");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        for token in [&self.drain, &self.abandon, &self.relay_stop, &self.stop] {
            token.cancel();
        }
    }
}

/// Places for pokes in each lane: every effect in flight can put its result down, and timers have room beside them.
fn poke_places(options: &Options) -> usize {
    options.effects_in_flight_max + 2 * options.batch_max * options.lanes
}
