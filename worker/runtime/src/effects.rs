//! Side effects: carries out what transitions ask for, within limits, and brings the results back as pokes.
//!
//! An effect belongs to this worker from the commit that made it (epoch 1) or from its adoption on; its result counts only
//! while that lease holds (PROTOCOL D7). Nothing is stored here: what dies with the process is adopted by another.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use flagstop_effects::http::{Client, ClientOptions, Clock, Hosts, Http, HttpOptions};
use flagstop_engine::api::{Effect, EffectOutcome, Request};
use flagstop_schemas::InstanceId;
use flagstop_store::rows::EffectLease;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::add;
use crate::intake::{Poke, Shared};

/// The side effects of one worker.
pub(crate) struct Effects {
    shared: Arc<Shared>,
    /// Submitted, without a place yet. Bounded by [`Effects::has_room`], which holds new messages back; a lane never
    /// waits here, or results and new effects could wait for each other.
    waiting: Mutex<VecDeque<(EffectLease, Effect)>>,
    arrived: Notify,
    /// Waiting or in flight, with the newest epoch under which it is ours: one that comes back by adoption while it is
    /// still here is not started twice, and its result counts under the new lease.
    known: Mutex<HashMap<(InstanceId, i64), i32>>,
    places: Arc<Semaphore>,
    http: Http,
    client: Client,
    tasks: TaskTracker,
}

impl Effects {
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, String> {
        let options = &shared.options;
        let hosts = Hosts::new(&options.http_allow, &options.http_deny).map_err(|e| e.to_string())?;
        let client = Client::new(ClientOptions {
            timeout_ms: options.http_timeout_ms,
            response_bytes_max: options.http_response_bytes_max,
            hosts,
        })
        .map_err(|e| e.to_string())?;
        let clock: Clock = Arc::new(|| jiff::Timestamp::now().as_microsecond());
        let http = Http::new(clock, HttpOptions { seed: rand::random(), ..HttpOptions::default() });
        Ok(Self {
            places: Arc::new(Semaphore::new(shared.options.effects_in_flight_max)),
            shared,
            waiting: Mutex::default(),
            arrived: Notify::new(),
            known: Mutex::default(),
            http,
            client,
            tasks: TaskTracker::new(),
        })
    }

    /// Takes an effect over. Does not wait.
    pub(crate) fn submit(&self, lease: EffectLease, effect: Effect) {
        if lock(&self.known).insert((lease.instance, lease.slot), lease.epoch).is_some() {
            return;
        }
        lock(&self.waiting).push_back((lease, effect));
        self.arrived.notify_one();
    }

    /// May more messages be taken, which may lead to more effects?
    pub(crate) fn has_room(&self) -> bool {
        self.free() > 0
    }

    /// How many more effects may be adopted.
    pub(crate) fn free(&self) -> usize {
        self.shared.options.effects_waiting_max.saturating_sub(lock(&self.waiting).len())
    }

    /// Is it waiting or in flight here? Then its result counts under this newest lease.
    pub(crate) fn renew(&self, lease: &EffectLease) -> bool {
        match lock(&self.known).get_mut(&(lease.instance, lease.slot)) {
            Some(epoch) => {
                *epoch = (*epoch).max(lease.epoch);
                true
            }
            None => false,
        }
    }

    /// Its result is applied, or will never count: it is no longer this worker's business.
    pub(crate) fn forget(&self, lease: &EffectLease) {
        lock(&self.known).remove(&(lease.instance, lease.slot));
    }

    /// Gives up those that wait for a place: the drain leaves them to others.
    pub(crate) fn drop_waiting(&self) {
        for (lease, _) in lock(&self.waiting).drain(..) {
            self.forget(&lease);
        }
    }

    /// Nothing waits and nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        lock(&self.known).is_empty()
    }

    /// Gives the waiting ones places as they become free, until `stop`; what is in flight then goes on.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let place = tokio::select! {
                place = self.places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
                () = stop.cancelled() => return,
            };
            let (lease, effect) = loop {
                if let Some(next) = lock(&self.waiting).pop_front() {
                    break next;
                }
                tokio::select! {
                    () = self.arrived.notified() => {}
                    () = stop.cancelled() => return,
                }
            };
            let effects = self.clone();
            self.tasks.spawn(async move {
                let outcome = effects.carry_out(effect).await;
                add(&effects.shared.counters.effects, 1);
                let epoch = lock(&effects.known).get(&(lease.instance, lease.slot)).copied().unwrap_or(lease.epoch);
                let lease = EffectLease { epoch, ..lease };
                effects.shared.pokes.put(lease.instance, Poke::Effect { lease, outcome }).await;
                // Only now: while the lanes are behind, no more calls are made.
                drop(place);
            });
        }
    }

    async fn carry_out(&self, effect: Effect) -> EffectOutcome {
        match effect.request {
            Request::Http(request) => self.http.call(&self.client, &request).await,
            Request::Process(_) => EffectOutcome::NoAnswer { reason: "this build runs no programs yet".to_owned() },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
