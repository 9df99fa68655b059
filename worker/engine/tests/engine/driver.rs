//! A worker in miniature: one instance, a virtual clock, scripted answers and events.
//!
//! With [`Kill::AfterEveryApply`] everything but the snapshot is dropped after each transition, and each stimulus is
//! given twice. Whatever a test expects must hold both ways, so [`World::run`] is best reached by [`both_ways`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use flagstop_engine::api::{
    ChildStart, Effect, EffectOutcome, Env, HttpRequest, Phase, Rejected, Request, StatusChanges, Stimulus, Value,
};
use flagstop_engine::resource::Document;
use flagstop_engine::{Bundle, Diagnostics, Event, Instance, Limits, Plan, apply, value};
use flagstop_schemas::{CloudEvent, Data, Entry, Hash16, InstanceId, StatusEvent, StatusKind};
use serde_json::json;

/// 2026-01-01T00:00:00Z.
pub const START_US: i64 = 1_767_225_600_000_000;
pub const SECOND_US: i64 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    Never,
    AfterEveryApply,
}

pub struct World {
    pub plan: Plan,
    pub limits: Limits,
    pub secrets: BTreeMap<String, Value>,
    pub now_us: i64,
    pub kill: Kill,
    pub instance: Instance,
    pub entries: Vec<Entry>,
    pub requests: Vec<Effect>,
    answers: VecDeque<EffectOutcome>,
    events: VecDeque<CloudEvent>,
    pub in_flight: Vec<Effect>,
    pub children: Vec<ChildStart>,
    pub cancelled_children: Vec<InstanceId>,
    /// The large values that snapshots refer to, as a store keeps them.
    pub stored: HashMap<Hash16, Bytes>,
    pub more: bool,
    /// The clock of checkpoints by time.
    pub ticks_us: fn() -> i64,
    pub status_changes: StatusChanges,
}

/// So small that values of the scenarios are stored apart.
const LARGE_VALUE_BYTES: usize = 48;

/// A definition with this `do` list and whatever else is given at the top level.
pub fn definition(rest: &str) -> String {
    if rest.starts_with("document:") {
        return rest.to_owned();
    }
    format!("document: {{ dsl: '1.0.3', namespace: test, name: flow, version: '1.2.3' }}\n{rest}")
}

pub fn compile(rest: &str) -> Result<Plan, Diagnostics> {
    Plan::compile(definition(rest).as_bytes(), &Limits::default())
}

/// Documents by location.
pub fn bundle(documents: &[(&str, &str)]) -> Bundle {
    let mut bundle = Bundle::default();
    for (url, text) in documents {
        let document = Document { media_type: None, bytes: (*text).to_owned().into() };
        bundle.insert(*url, document, &Limits::default()).expect("a test's documents are small");
    }
    bundle
}

pub fn compile_with(rest: &str, documents: &[(&str, &str)]) -> Result<Plan, Diagnostics> {
    Plan::compile_with(definition(rest).as_bytes(), &bundle(documents), &Limits::default())
}

impl World {
    pub fn new(rest: &str) -> Self {
        Self::with_documents(rest, &[])
    }

    pub fn with_documents(rest: &str, documents: &[(&str, &str)]) -> Self {
        let text = definition(rest);
        let limits = Limits::default();
        let plan = Plan::compile_with(text.as_bytes(), &bundle(documents), &limits)
            .unwrap_or_else(|diagnostics| panic!("{}", diagnostics.render("flow.yaml", &text)));
        Self::of(plan)
    }

    /// A world for a plan of whatever origin.
    pub fn of(plan: Plan) -> Self {
        let instance = Instance::new(InstanceId::of_trigger("/test", "1", "test", "flow"), &plan);
        Self {
            plan,
            limits: Limits::default(),
            secrets: BTreeMap::new(),
            now_us: START_US,
            kill: Kill::Never,
            instance,
            entries: Vec::new(),
            requests: Vec::new(),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            in_flight: Vec::new(),
            children: Vec::new(),
            cancelled_children: Vec::new(),
            stored: HashMap::new(),
            more: false,
            ticks_us: || 0,
            status_changes: StatusChanges::Left,
        }
    }

    pub fn killed(mut self, kill: Kill) -> Self {
        self.kill = kill;
        self
    }

    pub fn answers(mut self, outcome: EffectOutcome) -> Self {
        self.answers.push_back(outcome);
        self
    }

    pub fn answers_json(self, status: u16, body: serde_json::Value) -> Self {
        self.answers(answer(status, "application/json", &body.to_string()))
    }

    pub fn hears(mut self, event: CloudEvent) -> Self {
        self.events.push_back(event);
        self
    }

    pub fn secret(mut self, name: &str, secret: serde_json::Value) -> Self {
        self.secrets.insert(name.into(), from_json(&secret));
        self
    }

    /// Starts and goes on until nothing more can happen.
    pub fn run(mut self, input: serde_json::Value) -> Self {
        self.start(input);
        self.go_on();
        self
    }

    pub fn start(&mut self, input: serde_json::Value) {
        let cause = Some(("cause-1".to_owned(), "/cause".to_owned()));
        self.apply(Stimulus::Start { input: from_json(&input), cause, depth: 0, heard: Vec::new() })
            .expect("a new instance starts");
    }

    /// Goes on until nothing more can happen.
    pub fn finished(mut self) -> Self {
        self.go_on();
        self
    }

    pub fn go_on(&mut self) {
        // No test needs as many.
        for _ in 0..100_000 {
            if self.more {
                self.apply(Stimulus::Proceed).expect("pure work was left");
            } else if !self.in_flight.is_empty() && !self.answers.is_empty() {
                let slot = self.in_flight[0].slot;
                let outcome = self.answers.pop_front().expect("it is not empty");
                self.apply(Stimulus::Effect { slot, outcome }).expect("the effect was in flight");
            } else if !self.in_flight.is_empty() {
                return;
            } else if self.deliver_next_event() {
            } else if let Some(timer) = self.instance.projection(&self.plan).timers.first().cloned() {
                self.now_us = self.now_us.max(timer.due_us);
                self.apply(Stimulus::Timer { slot: timer.slot }).expect("the timer is due");
            } else {
                return;
            }
        }
        panic!("the instance does not come to rest");
    }

    /// Gives the first scripted event that somebody waits for, found as the store finds it: by key.
    fn deliver_next_event(&mut self) -> bool {
        for index in 0..self.events.len() {
            let event = Arc::new(Event::parse(self.events[index].clone(), &self.limits).expect("a good event"));
            for slot in self.waiting_slots(&event) {
                match self.apply(Stimulus::Event { slot, event: event.clone() }) {
                    Ok(()) => {
                        self.events.remove(index);
                        return true;
                    }
                    Err(Rejected::NotWaiting) => {}
                    Err(other) => panic!("an event that is waited for was refused: {other}"),
                }
            }
        }
        false
    }

    pub fn waiting_slots(&self, event: &Event) -> Vec<i64> {
        let keys: Vec<_> = self.plan.waits().iter().flat_map(|filter| filter.keys(event)).collect();
        let bookmarks = self.instance.projection(&self.plan).bookmarks;
        bookmarks.into_iter().filter(|bookmark| keys.contains(&bookmark.key)).map(|bookmark| bookmark.slot).collect()
    }

    /// Gives an event to whatever waits for it, found as the store finds it. `false`: nothing does, it stays parked.
    pub fn hear(&mut self, event: CloudEvent) -> bool {
        let event = Arc::new(Event::parse(event, &self.limits).expect("a good event"));
        let mut slots = self.waiting_slots(&event).into_iter();
        slots.any(|slot| self.apply(Stimulus::Event { slot, event: event.clone() }).is_ok())
    }

    pub fn try_event(&mut self, slot: i64, event: CloudEvent) -> Result<(), Rejected> {
        let event = Arc::new(Event::parse(event, &self.limits).expect("a good event"));
        self.apply(Stimulus::Event { slot, event })
    }

    /// One transition, and with [`Kill::AfterEveryApply`] what a crash right after it does.
    pub fn apply(&mut self, stimulus: Stimulus) -> Result<(), Rejected> {
        let env = Env {
            now_us: self.now_us,
            seed: 7,
            secrets: &self.secrets,
            limits: &self.limits,
            ticks_us: self.ticks_us,
            status_changes: self.status_changes,
        };
        let before = self.instance.encode();
        let again = stimulus.clone();
        let result = apply(&self.plan, &self.instance, stimulus, &env);
        assert_eq!(self.instance.encode(), before, "apply must leave its input as it was");
        let transition = result?;
        if let Stimulus::Effect { slot, .. } = &again {
            self.in_flight.retain(|effect| effect.slot != *slot);
        }
        let dropped = transition.dropped_effects;
        self.in_flight.retain(|effect| !dropped.contains(&effect.slot));
        let renewed = |effect: &Effect| transition.effects.iter().any(|new| new.slot == effect.slot);
        self.in_flight.retain(|effect| !renewed(effect));
        self.in_flight.extend(transition.effects.iter().cloned());
        self.in_flight.sort_by_key(|effect| effect.slot);
        self.children.extend(transition.children);
        self.cancelled_children.extend(transition.cancelled_children);
        self.requests.extend(transition.effects);
        self.entries.extend(transition.events);
        self.more = transition.more;
        self.instance = transition.instance;
        if self.kill == Kill::AfterEveryApply {
            let bytes = self.instance.encode();
            let projection = self.instance.projection(&self.plan);
            let whole = Instance::decode(&self.plan, &bytes).expect("what was written can be read");
            assert_eq!(whole.encode(), bytes, "a snapshot read and written is the same");
            self.instance = stored_and_read(&self.plan, &self.instance, &mut self.stored);
            assert_eq!(self.instance.projection(&self.plan), projection, "projections come from the snapshot alone");
            let rendered = self.instance.effects(&self.plan, &env);
            let wanted: Vec<_> = self.in_flight.iter().map(comparable).collect();
            assert_eq!(
                rendered.iter().map(comparable).collect::<Vec<_>>(),
                wanted,
                "recovery renders the same requests"
            );
            // A retry that fails at once may be made again.
            if !matches!(again, Stimulus::Proceed | Stimulus::Retry) {
                let twice = apply(&self.plan, &self.instance, again, &env).map(|_| ());
                twice.expect_err("the same stimulus again must change nothing");
            }
        }
        self.check_invariants();
        Ok(())
    }

    fn check_invariants(&self) {
        let required = self.statuses().filter(|event| StatusKind::all().contains(&event.kind));
        let sequences: Vec<u64> = required.map(|event| event.sequence).collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>(), "sequence counts from 1 without gaps");
        assert_eq!(self.instance.sequence(), sequences.len() as u64);
        let projection = self.instance.projection(&self.plan);
        // What nobody awaits is beside the flow, and outlives it.
        let is_awaited = |slot: i64| !self.instance.place(slot).is_empty();
        let awaited = projection.effects.iter().filter(|(slot, _)| is_awaited(*slot)).count();
        let waits = projection.bookmarks.len() + projection.timers.len() + awaited;
        match self.instance.phase() {
            Phase::Waiting => assert_eq!(awaited, 0),
            Phase::Running => assert!(self.more || awaited > 0),
            Phase::Suspended => assert!(!self.more && waits == awaited),
            phase => assert!(!phase.has_ended() || waits == 0 && self.instance.waiting(&self.plan).is_empty()),
        }
    }

    pub fn statuses(&self) -> impl Iterator<Item = &StatusEvent> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Status(event) => Some(event),
            Entry::Emitted(_) | Entry::Answer(_) | Entry::Late(_) => None,
        })
    }

    pub fn emitted(&self) -> Vec<&CloudEvent> {
        let emitted = self.entries.iter().filter_map(|entry| match entry {
            Entry::Status(_) | Entry::Answer(_) | Entry::Late(_) => None,
            Entry::Emitted(event) => Some(&**event),
        });
        emitted.collect()
    }

    /// The status events in short: `task.created /do/0/a`.
    pub fn story(&self) -> Vec<String> {
        self.statuses()
            .map(|event| {
                format!("{} {}", short(event.kind), event.task.as_deref().unwrap_or_default()).trim_end().to_owned()
            })
            .collect()
    }

    /// The pointers of all events of one kind, in order.
    pub fn told(&self, kind: StatusKind) -> Vec<&str> {
        self.statuses().filter(|event| event.kind == kind).map(|event| event.task.as_deref().unwrap_or("")).collect()
    }

    /// Fires the timer that is due first.
    pub fn fire(&mut self) {
        let timer = self.instance.projection(&self.plan).timers.iter().min().cloned().expect("it waits for a time");
        self.now_us = self.now_us.max(timer.due_us);
        self.apply(Stimulus::Timer { slot: timer.slot }).expect("the timer is due");
    }

    /// The same without any check, for many of them.
    pub fn fire_quickly(&mut self) {
        let timer = self.instance.projection(&self.plan).timers.iter().min().cloned().expect("it waits for a time");
        self.now_us = self.now_us.max(timer.due_us);
        self.apply_quickly(Stimulus::Timer { slot: timer.slot });
    }

    /// One transition without any check.
    pub fn apply_quickly(&mut self, stimulus: Stimulus) {
        let env = Env {
            now_us: self.now_us,
            seed: 7,
            secrets: &self.secrets,
            limits: &self.limits,
            ticks_us: self.ticks_us,
            status_changes: self.status_changes,
        };
        let transition = apply(&self.plan, &self.instance, stimulus, &env).expect("the stimulus is legal");
        self.more = transition.more;
        self.instance = transition.instance;
        self.entries.extend(transition.events);
    }

    /// Answers the effect in flight of this task.
    pub fn answer_at(&mut self, pointer: &str, outcome: EffectOutcome) {
        let effect = self.in_flight.iter().find(|effect| effect.pointer == pointer).expect("it is in flight");
        let slot = effect.slot;
        self.apply(Stimulus::Effect { slot, outcome }).expect("it is awaited");
    }

    /// The pointers of the completed tasks, in order.
    pub fn completed(&self) -> Vec<&str> {
        self.statuses()
            .filter(|event| event.kind == StatusKind::TaskCompleted)
            .filter_map(|event| event.task.as_deref())
            .collect()
    }

    pub fn output(&self) -> serde_json::Value {
        assert_eq!(
            self.instance.phase(),
            Phase::Completed,
            "{:?} {:?}",
            self.instance.error(),
            self.instance.waiting(&self.plan)
        );
        to_json(self.instance.output().expect("a completed instance has an output"))
    }

    pub fn error(&self) -> serde_json::Value {
        assert_eq!(self.instance.phase(), Phase::Faulted, "{:?}", self.instance.output());
        to_json(&self.instance.error().expect("a faulted instance has an error").to_value())
    }

    pub fn context(&self) -> serde_json::Value {
        to_json(self.instance.context())
    }

    pub fn http(&self, index: usize) -> &HttpRequest {
        match &self.requests[index].request {
            Request::Http(request) => request,
            other => panic!("this is no HTTP request: {other:?}"),
        }
    }
}

/// Runs a scenario without and with crashes after every transition.
pub fn both_ways(scenario: impl Fn(Kill)) {
    scenario(Kill::Never);
    scenario(Kill::AfterEveryApply);
}

pub fn answer(status: u16, media_type: &str, body: &str) -> EffectOutcome {
    EffectOutcome::Http {
        status,
        headers: vec![("content-type".into(), media_type.into())],
        body: body.to_owned().into(),
        authorization: None,
    }
}

pub fn event(ty: &str, id: &str, data: serde_json::Value) -> CloudEvent {
    CloudEvent {
        id: id.into(),
        source: "/test".into(),
        ty: ty.into(),
        subject: None,
        time: None,
        datacontenttype: Some("application/json".into()),
        dataschema: None,
        extensions: BTreeMap::new(),
        data: if data.is_null() { Data::Absent } else { Data::Json(data.to_string().into()) },
    }
}

pub fn header<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, text)| text.as_str())
}

pub fn to_json(found: &Value) -> serde_json::Value {
    value::to_serde(found)
}

pub fn from_json(found: &serde_json::Value) -> Value {
    value::from_serde(found)
}

/// The specification's own error, in full.
pub fn problem(kind: &str, status: u16, instance: &str) -> serde_json::Value {
    json!({ "type": format!("https://serverlessworkflow.io/spec/1.0.0/errors/{kind}"), "status": status, "instance": instance })
}

/// Compares the fields that `wanted` has.
#[track_caller]
pub fn assert_has(found: &serde_json::Value, wanted: &serde_json::Value) {
    for (key, wanted) in wanted.as_object().expect("an object is compared") {
        assert_eq!(&found[key], wanted, "`{key}` of {found}");
    }
}

fn comparable(effect: &Effect) -> (i64, String, String, Request) {
    (effect.slot, effect.pointer.clone(), effect.idempotency_key.clone(), effect.request.clone())
}

fn short(kind: StatusKind) -> &'static str {
    match kind {
        StatusKind::WorkflowStarted => "started",
        StatusKind::WorkflowSuspended => "suspended",
        StatusKind::WorkflowResumed => "resumed",
        StatusKind::WorkflowCorrelationStarted => "correlating",
        StatusKind::WorkflowCorrelationCompleted => "correlated",
        StatusKind::WorkflowCancelled => "cancelled",
        StatusKind::WorkflowFaulted => "faulted",
        StatusKind::WorkflowCompleted => "completed",
        StatusKind::TaskCreated => "task.created",
        StatusKind::TaskStarted => "task.started",
        StatusKind::TaskSuspended => "task.suspended",
        StatusKind::TaskResumed => "task.resumed",
        StatusKind::TaskRetried => "task.retried",
        StatusKind::TaskCancelled => "task.cancelled",
        StatusKind::TaskFaulted => "task.faulted",
        StatusKind::TaskCompleted => "task.completed",
        StatusKind::WorkflowStatusChanged => "workflow.status-changed",
        StatusKind::TaskStatusChanged => "task.status-changed",
    }
}

/// The instance as a store gives it back that keeps large values apart.
fn stored_and_read(plan: &Plan, instance: &Instance, stored: &mut HashMap<Hash16, Bytes>) -> Instance {
    let snapshot = instance.encode_split(LARGE_VALUE_BYTES);
    for large in &snapshot.large {
        match &large.bytes {
            Some(bytes) => {
                stored.insert(large.hash, bytes.clone());
            }
            None => assert!(stored.contains_key(&large.hash), "it is said to be stored already"),
        }
    }
    let hashes: Vec<Hash16> = snapshot.large.iter().map(|large| large.hash).collect();
    assert_eq!(Instance::large_values(&snapshot.bytes).expect("it was just written"), hashes);
    let read = Instance::decode_split(plan, &snapshot.bytes, &mut |hash| stored.get(&hash).cloned());
    let read = read.expect("what was written can be read");
    let again = read.encode_split(LARGE_VALUE_BYTES);
    assert_eq!(again.bytes, snapshot.bytes, "a snapshot read and written is the same");
    assert!(again.large.iter().all(|large| large.bytes.is_none()), "nothing is stored twice");
    read
}
