//! Side effects: carries out what transitions ask for, within limits, and brings the results back as pokes.
//!
//! An effect belongs to this worker from the commit that made it (epoch 1) or from its adoption on; its result counts only
//! while that lease holds (PROTOCOL D7). Nothing is stored here: what dies with the process is adopted by another.

mod flight;
mod queue;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use flagstop_effects::http::{Client, ClientOptions, Clock, Hosts, Http, HttpOptions};
use flagstop_effects::process::{ProcessOptions, Processes};
use flagstop_engine::api::{Effect, EffectOutcome, Request};
use flagstop_schemas::{InstanceId, LateResult};
use flagstop_store::rows::EffectLease;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::add;
use crate::intake::{Item, Poke, Shared};
use crate::options::Options;
use queue::{Queue, Shares, Submitted};

pub(crate) use flight::Flight;
use flight::Stored;

/// The side effects of one worker.
pub(crate) struct Effects {
    shared: Arc<Shared>,
    /// Submitted, without a place yet. Bounded by [`Effects::has_room`], which holds new messages back; a lane never
    /// waits here, or results and new effects could wait for each other.
    waiting: Mutex<Queue>,
    arrived: Notify,
    /// Waiting or in flight: one that comes back by adoption while it is still here is not started twice, and its result
    /// counts under the new lease.
    known: Mutex<HashMap<(InstanceId, i64), Known>>,
    places: Arc<Semaphore>,
    http: Http,
    client: Client,
    processes: Processes,
    tasks: TaskTracker,
    begun: AtomicU64,
    /// Bounds the calls that are listened to although nobody waits for them.
    late: Semaphore,
}

/// Which of this worker's effects a result belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Begun(u64);

/// An effect that is here.
struct Known {
    /// The newest under which it is ours.
    epoch: i32,
    since: Instant,
    /// Tells it from an earlier one of the same slot, whose result may still be on its way when it is begun anew.
    begun: Begun,
    /// Nobody wants its result any more.
    stop: CancellationToken,
}

impl Effects {
    /// # Errors
    /// When no HTTP client can be made.
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, String> {
        let options = &shared.options;
        let (http, client) = http(options)?;
        let shares =
            Shares { per_host_max: options.effects_per_host_max, programs_max: options.processes_in_flight_max };
        Ok(Self {
            places: Arc::new(Semaphore::new(options.effects_in_flight_max)),
            waiting: Mutex::new(Queue::new(shares)),
            arrived: Notify::new(),
            known: Mutex::default(),
            http,
            client,
            processes: processes(options),
            tasks: TaskTracker::new(),
            begun: AtomicU64::new(0),
            late: Semaphore::new(options.effects_in_flight_max),
            shared,
        })
    }

    /// Takes an effect over, unless it would only be left to others. Does not wait.
    pub(crate) fn submit(&self, lease: EffectLease, effect: Effect) {
        let mut known = lock(&self.known);
        if let Some(known) = known.get_mut(&(lease.instance, lease.slot)) {
            known.epoch = known.epoch.max(lease.epoch);
            return;
        }
        if !lock(&self.waiting).push(lease, effect, None) {
            return;
        }
        known.insert((lease.instance, lease.slot), self.begin(&lease, CancellationToken::new()));
        self.arrived.notify_one();
    }

    fn begin(&self, lease: &EffectLease, stop: CancellationToken) -> Known {
        let begun = Begun(self.begun.fetch_add(1, Ordering::Relaxed));
        Known { epoch: lease.epoch, since: Instant::now(), begun, stop }
    }

    /// Makes a call of an instance that runs ahead. Nothing but the flight knows of it; `answered` is told of its answer.
    pub(crate) fn ask_ahead(&self, instance: InstanceId, effect: Effect, answered: &Arc<Notify>) -> Flight {
        let lease = EffectLease { instance, slot: effect.slot, epoch: 0 };
        let (flight, call) = Flight::new(effect.pointer.clone(), answered.clone());
        match lock(&self.waiting).push(lease, effect, Some(call.clone())) {
            true => self.arrived.notify_one(),
            false => call.give_up(),
        }
        flight
    }

    /// Its instance is written, and the call is stored under this lease. If its answer is there, it is given as a poke.
    pub(crate) fn store(&self, flight: Flight, lease: EffectLease) -> Option<Item> {
        let mut known = lock(&self.known);
        let one = self.begin(&lease, flight.stop());
        let begun = one.begun;
        match flight.store(lease, begun) {
            Stored::UnderWay => {
                known.insert((lease.instance, lease.slot), one);
                None
            }
            Stored::Answered { task, outcome } => {
                known.insert((lease.instance, lease.slot), one);
                let poke = Poke::Effect { lease, begun: Some(begun), task: Some(task), outcome };
                Some(Item::Poke(lease.instance, poke))
            }
            Stored::GivenUp => None,
        }
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
            Some(known) => {
                known.epoch = known.epoch.max(lease.epoch);
                true
            }
            None => false,
        }
    }

    /// The newest epoch under which the effect that has this result is ours. `None`: what is here now is another one, or
    /// none; the result comes too late.
    pub(crate) fn epoch(&self, lease: &EffectLease, begun: Begun) -> Option<i32> {
        let known = lock(&self.known);
        known.get(&(lease.instance, lease.slot)).filter(|known| known.begun == begun).map(|known| known.epoch)
    }

    /// Its result is applied, or will never count: it is no longer this worker's business.
    pub(crate) fn forget(&self, lease: &EffectLease) {
        lock(&self.known).remove(&(lease.instance, lease.slot));
    }

    /// Stops it, wherever it is: a request is given up, a program killed.
    pub(crate) fn abort(&self, instance: InstanceId, slot: i64) {
        if let Some(known) = lock(&self.known).remove(&(instance, slot)) {
            known.stop.cancel();
        }
    }

    /// Stops what is here for at least this long and no longer this worker's: another one's transition has dropped it.
    pub(crate) fn abort_all_but(&self, held: &BTreeSet<(InstanceId, i64)>, age: Duration) {
        lock(&self.known).retain(|effect, known| {
            let stays = held.contains(effect) || known.since.elapsed() < age;
            if !stays {
                known.stop.cancel();
            }
            stays
        });
    }

    /// Takes no more effects, and gives up those that wait for a place: the drain leaves them to others.
    pub(crate) fn close(&self) {
        let waiting = lock(&self.waiting).close();
        for submitted in waiting {
            let is_stored = submitted.call.as_ref().is_none_or(|call| call.is_stored());
            if let Some(call) = &submitted.call {
                call.give_up();
            }
            if is_stored {
                self.forget(&submitted.lease);
            }
        }
    }

    /// How many are here: waiting for a place, or in flight.
    pub(crate) fn len(&self) -> usize {
        lock(&self.known).len()
    }

    /// How many wait for a place.
    pub(crate) fn waiting(&self) -> usize {
        lock(&self.waiting).len()
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
            let next = loop {
                let next = lock(&self.waiting).next();
                if let Some(next) = next {
                    break next;
                }
                tokio::select! {
                    () = self.arrived.notified() => {}
                    () = stop.cancelled() => return,
                }
            };
            let effects = self.clone();
            self.tasks.spawn(async move {
                effects.see_through(next, place).await;
            });
        }
    }

    /// Carries one out and brings its result to whom it belongs.
    async fn see_through(&self, next: Submitted, place: OwnedSemaphorePermit) {
        let Submitted { lease, effect, target, call } = next;
        let here = |known: &Known| (known.stop.clone(), Some(known.begun));
        let here = match &call {
            Some(call) => Some((call.stop.clone(), None)),
            None => lock(&self.known).get(&(lease.instance, lease.slot)).map(here),
        };
        let task = effect.pointer.clone();
        // A program is killed when nobody wants it.
        let listens = matches!(effect.request, Request::Http(_));
        let mut carried = Box::pin(self.carry_out(effect));
        let mut cut = false;
        if let Some((unwanted, begun)) = here {
            tokio::select! {
                biased;
                () = unwanted.cancelled() => cut = call.as_ref().is_none_or(|call| call.is_stored()),
                outcome = &mut carried => {
                    add(&self.shared.counters.effects, 1);
                    // A call that was made ahead may be stored by now, or only its own holder knows of it.
                    let whose = match (&call, begun) {
                        (Some(call), _) => call.answer(outcome),
                        (None, begun) => begun.map(|begun| (lease, begun, outcome)),
                    };
                    if let Some((lease, begun, outcome)) = whose {
                        self.report(lease, begun, task.clone(), outcome).await;
                    }
                }
            }
        }
        lock(&self.waiting).done(&target);
        self.arrived.notify_one();
        // Only now: while the lanes are behind, no more calls are made.
        drop(place);
        if cut {
            let late = self.late.try_acquire().ok().filter(|_| listens);
            let pause = Duration::from_millis(self.shared.options.effects_late_ms);
            let outcome = match &late {
                Some(_place) => tokio::time::timeout(pause, &mut carried).await.ok(),
                None => None,
            };
            // Dropped half-way: the connection is closed, the program killed.
            drop(carried);
            self.late(lease.instance, task, outcome.as_ref()).await;
        }
    }

    /// Has the instance's history tell what became of a call that nobody waited for any more.
    async fn late(&self, instance: InstanceId, task: String, outcome: Option<&EffectOutcome>) {
        add(&self.shared.counters.late_results, 1);
        let given_up = || "given up under way; whether it was carried out is not known".to_owned();
        let result = outcome.map_or_else(given_up, told);
        self.shared.pokes.put(instance, Poke::Late(LateResult { task, result })).await;
    }

    async fn report(&self, lease: EffectLease, begun: Begun, task: String, outcome: EffectOutcome) {
        let epoch = lock(&self.known).get(&(lease.instance, lease.slot)).map_or(lease.epoch, |known| known.epoch);
        let lease = EffectLease { epoch, ..lease };
        self.shared
            .pokes
            .put(lease.instance, Poke::Effect { lease, begun: Some(begun), task: Some(task), outcome })
            .await;
    }

    async fn carry_out(&self, effect: Effect) -> EffectOutcome {
        match effect.request {
            Request::Http(request) => self.http.call(&self.client, &request).await,
            Request::Process(request) => self.processes.run(&request).await,
        }
    }
}

/// What sends the requests of workflows, within these options.
///
/// # Errors
/// When the rules for hosts can't be read, or no client can be made.
pub fn http(options: &Options) -> Result<(Http, Client), String> {
    let hosts = Hosts::new(&options.http_allow, &options.http_deny).map_err(|e| e.to_string())?;
    let client = Client::new(ClientOptions {
        timeout_ms: options.http_timeout_ms,
        response_bytes_max: options.http_response_bytes_max,
        hosts,
    })
    .map_err(|e| e.to_string())?;
    let clock: Clock = Arc::new(|| jiff::Timestamp::now().as_microsecond());
    Ok((Http::new(clock, HttpOptions { seed: rand::random(), ..HttpOptions::default() }), client))
}

/// What runs programs, as the options allow it.
#[must_use]
pub fn processes(options: &Options) -> Processes {
    if !options.processes {
        return Processes::Disabled;
    }
    Processes::Enabled(ProcessOptions {
        timeout_ms: options.process_timeout_ms,
        output_bytes_max: options.process_output_bytes_max,
        directory: options.process_directory.as_ref().map(Into::into),
        ..ProcessOptions::default()
    })
}

/// An outcome in a few words, without anything that an answer holds.
pub(crate) fn told(outcome: &EffectOutcome) -> String {
    match outcome {
        EffectOutcome::Http { status, .. } => format!("HTTP {status}"),
        EffectOutcome::Process { code, .. } => format!("exit code {code}"),
        EffectOutcome::NotAuthenticated { reason } => format!("not authenticated: {reason}"),
        EffectOutcome::NoAnswer { reason } => format!("no answer: {reason}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
