//! A worker's vital signs, for health checks and metrics. Reads only, and never waits for a loop.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flagstop_bus::port::BusCounters;
use flagstop_store::port::{Census, Counters, SchemaState};
use tokio_util::sync::CancellationToken;

use crate::counters::WorkerCounters;
use crate::effects::Effects;
use crate::intake::Shared;

/// How long the store may take to answer before it counts as down.
const STORE_TIME_MAX: Duration = Duration::from_secs(3);

/// How often everything in the store is counted: that reads through whole tables.
const CENSUS_EVERY: Duration = Duration::from_secs(60);

/// The shard whose holder counts, so that sums over all workers count everything once.
const CENSUS_SHARD: i16 = 0;

/// Where the signs are read. Outlives the worker's drain.
#[derive(Clone)]
pub struct Vitals {
    pub(crate) shared: Arc<Shared>,
    pub(crate) effects: Arc<Effects>,
    pub(crate) drain: CancellationToken,
    counted: Arc<Mutex<Counted>>,
}

/// The last census, and when it was begun.
#[derive(Default)]
struct Counted {
    begun: Option<Instant>,
    census: Option<Census>,
}

/// The signs at one moment.
#[derive(Debug, Clone)]
pub struct Signs {
    /// What it has done so far.
    pub done: WorkerCounters,
    /// What its store cost so far.
    pub store: Counters,
    /// What its bus had to leave to be mended by itself.
    pub bus: BusCounters,
    /// Whether the store answers, with a schema for this build, and takes what is committed: why not, if it does not.
    pub store_fault: Option<String>,
    /// The broker's connections are up.
    pub bus_up: bool,
    /// It takes no more messages, because it is told to stop.
    pub draining: bool,
    /// Every deployed definition is compiled here.
    pub catalogue_whole: bool,
    /// The catalogue's version.
    pub catalogue: i64,
    /// Journal rows wait longer than allowed, so no new messages are taken (PROTOCOL D13).
    pub behind: bool,
    /// How long the oldest journal row that this worker publishes has waited, in microseconds.
    pub relay_lag_us: i64,
    /// Instances whose events the broker does not take for now.
    pub streams_held: u64,
    /// What holds them up, for people.
    pub held_up: Option<String>,
    /// Side effects that are here: waiting for a place, or under way.
    pub effects_here: usize,
    /// Of these, those that wait for a place.
    pub effects_waiting: usize,
    /// Shards whose relay and timers it holds.
    pub shards: usize,
    /// How much there is of everything in the store, if it is this worker that counts: as of a minute ago at the most, once
    /// somebody asks.
    pub census: Option<Census>,
}

impl Vitals {
    pub(crate) fn new(shared: Arc<Shared>, effects: Arc<Effects>, drain: CancellationToken) -> Self {
        Self { shared, effects, drain, counted: Arc::default() }
    }

    /// Reads them; asks the store.
    pub async fn read(&self) -> Signs {
        let shared = &self.shared;
        let catalogue = shared.catalogues.current();
        let oldest_us = shared.oldest_unpublished_us.load(Ordering::Relaxed);
        Signs {
            store_fault: self.store_fault().await,
            done: shared.counters.copy(),
            store: shared.store.counters(),
            bus: shared.bus.counters(),
            bus_up: shared.bus.healthy(),
            draining: self.drain.is_cancelled(),
            catalogue_whole: catalogue.whole,
            catalogue: catalogue.version,
            behind: shared.behind.load(Ordering::Relaxed),
            relay_lag_us: if oldest_us == 0 { 0 } else { (shared.about_now_us() - oldest_us).max(0) },
            streams_held: shared.streams_held.load(Ordering::Relaxed),
            held_up: shared.held_up.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            effects_here: self.effects.len(),
            effects_waiting: self.effects.waiting(),
            shards: shared.shards.borrow().len(),
            census: self.census(),
        }
    }

    /// The last census. A new one is taken beside it, so that nobody waits for it.
    fn census(&self) -> Option<Census> {
        if !self.shared.shards.borrow().contains(&CENSUS_SHARD) {
            return None;
        }
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.begun.is_none_or(|begun| begun.elapsed() >= CENSUS_EVERY) {
            counted.begun = Some(Instant::now());
            let (store, to) = (self.shared.store.clone(), self.counted.clone());
            tokio::spawn(async move {
                match store.census().await {
                    Ok(census) => to.lock().unwrap_or_else(PoisonError::into_inner).census = Some(census),
                    Err(why) => {
                        tracing::warn!("the store can't be counted through, tried again in {CENSUS_EVERY:?}: {why}")
                    }
                }
            });
        }
        counted.census.clone()
    }

    async fn store_fault(&self) -> Option<String> {
        match tokio::time::timeout(STORE_TIME_MAX, self.shared.store.schema()).await {
            Ok(Ok(SchemaState::Current)) => {
                self.shared.commit_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
            Ok(Ok(SchemaState::Behind(why))) => Some(format!("the schema is behind this build: {why}")),
            Ok(Ok(SchemaState::Ahead(why))) => Some(format!("the schema is ahead of this build: {why}")),
            Ok(Err(why)) => Some(why.to_string()),
            Err(_) => Some(format!("no answer within {} s", STORE_TIME_MAX.as_secs())),
        }
    }
}
