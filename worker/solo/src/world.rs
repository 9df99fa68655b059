//! A worker in memory: to whom an event goes, which timer is due, what a transition leads to.
//!
//! ```text
//! start · publish · command · fire(answers)      what comes from outside, in order
//!   └► queue ─ step ─► engine.apply ─► waiters, timers, children, emitted events ─► queue
//!                                └───► outbox: effects to begin and to drop, journal entries
//! ```
//! It stands for the store and the runtime's decisions, so it obeys the same rules: an event goes to every instance that
//! waits for it and is kept for those that will, an instance hears each event once, and a transition's children, events and
//! timers come of it alone. It must never look at a clock, and never do anything outside.

mod apply;
mod events;
mod kill;
mod parked;
mod run;
mod schedule;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use flagstop_engine::api::{Effect, EffectOutcome, Env, Reference, StatusChanges, Stimulus, Value, WaitReason};
use flagstop_engine::schedule::Sets;
use flagstop_engine::{Instance, Limits, Plan};
use flagstop_schemas::{CloudEvent, Entry, Hash16, Header, InstanceId};

use events::Routes;
use parked::Parked;
use run::Run;
use schedule::Schedules;

/// What a world is made with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The engine's limits.
    pub limits: Limits,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Value>,
    /// Seeds jitter.
    pub seed: u64,
    /// Whether everything but the snapshot is lost after each transition.
    pub kill: Kill,
    /// Which instances can be looked at after their end.
    pub keep: Keep,
}

/// Whether the worker dies after each transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// It lives on.
    Never,
    /// It goes on from the snapshot alone, is given every stimulus again later, and begins the effects in flight again.
    EveryCommit,
}

/// Which instances can be looked at after their end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// The first; others are forgotten, so that a loop over children does not fill the memory.
    First,
}

/// What of a definition's `schedule` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    /// All of it.
    All,
    /// Only `on`: the clock starts nothing.
    EventsOnly,
    /// Nothing: it is started by name, or a newer version has its schedule.
    None,
}

/// What an operator can do to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// End it.
    Cancel,
    /// Hold it.
    Suspend,
    /// Let it go on.
    Continue,
    /// Let it go on at the task that faulted.
    Retry,
}

/// What leaves the world, in order.
#[derive(Debug)]
pub enum Output {
    /// Something to do outside; its outcome comes back by [`World::fire`]. After a kill the same is asked again.
    Begin {
        /// Whose.
        instance: InstanceId,
        /// What.
        effect: Effect,
    },
    /// The effect in this slot is no longer wanted.
    Drop {
        /// Whose.
        instance: InstanceId,
        /// Which.
        slot: i64,
    },
    /// What one transition put into the journal.
    Journal {
        /// Whose.
        instance: InstanceId,
        /// What its events share.
        header: Header,
        /// In order.
        entries: Vec<Entry>,
    },
}

/// The definitions, instances, events and timers of one process.
#[derive(Debug)]
pub struct World {
    options: Options,
    now_us: i64,
    deployed: Vec<Deployed>,
    schedules: Schedules,
    routes: Routes,
    /// By number, in order of start.
    runs: BTreeMap<u64, Run>,
    numbers: HashMap<InstanceId, u64>,
    started: u64,
    /// Who waits under which key: instance and slot.
    waiters: HashMap<Hash16, BTreeSet<(u64, i64)>>,
    timers: BTreeSet<(i64, u64, i64)>,
    parked: Parked,
    /// Messages that somebody listens for, by `source` and `id`.
    seen: HashSet<Hash16>,
    /// Commands so far: each has a number, by which its copies are known.
    commands: u64,
    commands_seen: HashSet<u64>,
    queue: VecDeque<Work>,
    copies: VecDeque<Work>,
    outbox: Vec<Output>,
    defects: Vec<String>,
}

#[derive(Debug)]
struct Deployed {
    plan: Arc<Plan>,
    scheduling: Scheduling,
}

/// When something is due, for which instance, at which place of it, whether it is a timer, and in which slot: the order
/// of a batch.
type Due = (i64, u64, Vec<u32>, bool, i64);

/// Something that is still to be done.
#[derive(Debug, Clone)]
enum Work {
    Start(Start),
    Apply {
        run: u64,
        stimulus: Stimulus,
        /// Of an effect's or a child's end: which of the slot's attempts it is about. After a retry there are several.
        attempt: Option<u64>,
    },
    Command {
        run: u64,
        command: Command,
        id: u64,
    },
    Publish(CloudEvent),
    /// Events that came earlier than these waits did.
    Look {
        run: u64,
        slots: Vec<i64>,
        after: u64,
    },
}

#[derive(Debug, Clone)]
struct Start {
    id: InstanceId,
    plan: Arc<Plan>,
    input: Value,
    cause: Option<(String, String)>,
    depth: u32,
    parent: Option<Awaiting>,
    /// The number of the event that started it: it has heard that one.
    heard: Option<u64>,
    /// All that led to it, where that is more than one event.
    collected: Vec<Hash16>,
    /// What of whose schedule started it.
    schedule: Option<(usize, usize)>,
}

/// Where a child's end is awaited.
#[derive(Debug, Clone, Copy)]
struct Awaiting {
    run: u64,
    slot: i64,
    attempt: Option<u64>,
}

impl Start {
    fn new(id: InstanceId, plan: Arc<Plan>, input: Value) -> Self {
        let (cause, heard, collected) = (None, None, Vec::new());
        Self { id, plan, input, cause, depth: 0, parent: None, heard, collected, schedule: None }
    }
}

impl World {
    /// An empty one, at this moment.
    #[must_use]
    pub fn new(options: Options, now_us: i64) -> Self {
        Self {
            options,
            now_us,
            deployed: Vec::new(),
            schedules: Schedules::default(),
            routes: Routes::default(),
            runs: BTreeMap::new(),
            numbers: HashMap::new(),
            started: 0,
            waiters: HashMap::new(),
            timers: BTreeSet::new(),
            parked: Parked::default(),
            seen: HashSet::new(),
            commands: 0,
            commands_seen: HashSet::new(),
            queue: VecDeque::new(),
            copies: VecDeque::new(),
            outbox: Vec::new(),
            defects: Vec::new(),
        }
    }

    /// Makes a definition known: to events, to parents, and to the clock as far as its `schedule` is to count.
    pub fn deploy(&mut self, plan: Arc<Plan>, scheduling: Scheduling) {
        self.routes.add(&plan);
        let owner = self.deployed.len();
        let mut scheduling = scheduling;
        for (other, deployed) in self.deployed.iter_mut().enumerate() {
            let (old, new) = (deployed.plan.reference(), plan.reference());
            if (&old.namespace, &old.name) != (&new.namespace, &new.name) {
                continue;
            }
            // The highest version has the schedule.
            if old.version < new.version {
                deployed.scheduling = Scheduling::None;
                self.schedules.end(other);
            } else {
                scheduling = Scheduling::None;
            }
        }
        if scheduling == Scheduling::All {
            self.schedules.begin(owner, &plan, self.now_us);
        }
        self.deployed.push(Deployed { plan, scheduling });
    }

    /// Starts an instance; its id is known at once, the rest happens in [`World::step`].
    pub fn start(&mut self, plan: &Arc<Plan>, id: InstanceId, input: Value) {
        self.queue.push_back(Work::Start(Start::new(id, plan.clone(), input)));
    }

    /// Gives an event to all whom it concerns, now or later. One with the `source` and `id` of an earlier one is dropped.
    pub fn publish(&mut self, event: CloudEvent) {
        self.queue.push_back(Work::Publish(event));
    }

    /// Gives a command to an instance. One that does not fit its phase changes nothing.
    pub fn command(&mut self, instance: InstanceId, command: Command) {
        if let Some(run) = self.numbers.get(&instance).copied() {
            let id = self.commands;
            self.commands += 1;
            self.queue.push_back(Work::Command { run, command, id });
        }
    }

    /// Moves the time. Nothing is done yet.
    pub fn set_now(&mut self, now_us: i64) {
        self.now_us = self.now_us.max(now_us);
    }

    /// Takes in what is due together with the outcomes of effects: what is due at one moment is one batch, in declared
    /// order.
    pub fn fire(&mut self, answers: Vec<(InstanceId, i64, EffectOutcome)>) {
        let mut batch: Vec<(Due, Stimulus, Option<u64>)> = Vec::new();
        for (instance, slot, outcome) in answers {
            let Some(number) = self.numbers.get(&instance).copied() else { continue };
            let Some(run) = self.runs.get(&number) else { continue };
            let due = (self.now_us, number, run.place(slot), false, slot);
            batch.push((due, Stimulus::Effect { slot, outcome }, run.attempt(slot)));
        }
        for (due_us, number, slot) in self.timers.iter().take_while(|(due_us, ..)| *due_us <= self.now_us).copied() {
            let place = self.runs.get(&number).map(|run| run.place(slot)).unwrap_or_default();
            batch.push(((due_us, number, place, true, slot), Stimulus::Timer { slot }, None));
        }
        batch.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        let due = |((_, run, ..), stimulus, attempt): (Due, _, _)| Work::Apply { run, stimulus, attempt };
        self.queue.extend(batch.into_iter().map(due));
        self.fire_schedules();
    }

    /// When something is due by itself next.
    #[must_use]
    pub fn next_due_us(&self) -> Option<i64> {
        let timer_us = self.timers.first().map(|(due_us, ..)| *due_us);
        timer_us.into_iter().chain(self.schedules.next_due_us()).min()
    }

    /// Does the next piece of work. False: nothing is left to do at this moment.
    pub fn step(&mut self) -> bool {
        let Some(work) = self.queue.pop_front() else { return false };
        match self.options.kill {
            Kill::Never => self.perform(work),
            Kill::EveryCommit => self.perform_twice(work),
        }
        true
    }

    /// Does all that is to be done at this moment.
    pub fn settle(&mut self) {
        while self.step() {}
    }

    /// What has left since the last call.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outbox)
    }

    /// What the engine did against its own rules: always a defect of Flagstop.
    #[must_use]
    pub fn defects(&self) -> &[String] {
        &self.defects
    }

    /// The instances of a definition that are known, in order of start.
    pub fn instances<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a Instance> {
        self.runs.values().map(|run| &run.instance).filter(|instance| instance.reference() == plan.reference())
    }

    /// How many instances were started so far.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started
    }

    /// An instance.
    #[must_use]
    pub fn instance(&self, id: InstanceId) -> Option<&Instance> {
        self.run(id).map(|run| &run.instance)
    }

    /// When an instance started and, if it has, when it ended.
    #[must_use]
    pub fn times_us(&self, id: InstanceId) -> Option<(i64, Option<i64>)> {
        self.run(id).map(|run| (run.started_us, run.ended_us))
    }

    /// What every live instance waits for.
    pub fn waiting(&self) -> impl Iterator<Item = (&Instance, Vec<WaitReason>)> {
        let live = self.runs.values().filter(|run| !run.instance.phase().has_ended());
        live.map(|run| (&run.instance, run.instance.waiting(&run.plan)))
    }

    /// Whether something is left to do at this moment.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether an instance would take an event now.
    #[must_use]
    pub fn is_listening(&self, id: InstanceId) -> bool {
        self.run(id).is_some_and(Run::is_listening)
    }

    /// Whether any instance would.
    #[must_use]
    pub fn is_anybody_listening(&self) -> bool {
        !self.waiters.is_empty() && self.runs.values().any(Run::is_listening)
    }

    /// The types of the events that start an instance of any definition, `any type` among them.
    #[must_use]
    pub fn start_types(&self) -> Vec<String> {
        let schedules = self.deployed.iter().map(|deployed| deployed.plan.schedule());
        let filters = schedules.flat_map(|s| s.triggers().iter().chain(s.sets().into_iter().flat_map(Sets::filters)));
        let types: BTreeSet<&str> = filters.map(|filter| filter.event_type().unwrap_or("any type")).collect();
        types.into_iter().map(str::to_owned).collect()
    }

    fn run(&self, id: InstanceId) -> Option<&Run> {
        self.runs.get(self.numbers.get(&id)?)
    }

    fn env(&self) -> Env<'_> {
        Env {
            now_us: self.now_us,
            seed: self.options.seed,
            secrets: &self.options.secrets,
            limits: &self.options.limits,
            // Nothing is written here: no time is saved by it.
            ticks_us: || 0,
            status_changes: StatusChanges::Left,
        }
    }

    /// The highest version of a definition, or exactly this one.
    fn plan(&self, namespace: &str, name: &str, version: Option<&semver::Version>) -> Option<Arc<Plan>> {
        let named = self.deployed.iter().map(|deployed| &deployed.plan).filter(|plan| {
            let Reference { namespace: n, name: m, version: v } = plan.reference();
            n == namespace && m == name && version.is_none_or(|wanted| wanted == v)
        });
        named.max_by(|a, b| a.reference().version.cmp(&b.reference().version)).cloned()
    }
}
