//! The instance: all that the engine remembers of one run of a workflow.
//!
//! It is plain data: a tree of frames, one per live task run, and what belongs to the run as a whole. Bookmarks,
//! timers and effects are no second list beside the frames: [`Instance::projection`] computes them from the frames.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};

use crate::api::{
    Bookmark, ChildOutcome, Difference, Effect, EffectOutcome, Env, Phase, Projection, Reference, Timer, Value,
    WaitReason,
};
use crate::event::Event;
use crate::machine::answered::Answered;
use crate::machine::apart::Apart;
use crate::machine::fault;
use crate::machine::frame::{Deadline, Frame, Run};
use crate::machine::frames::Frames;
use crate::machine::look::Look;
use crate::plan::{BlockKind, Plan};
use crate::problem::Problem;
use crate::snapshot::{self, Heard, Known, Reader, Snapshot, SnapshotError, Stored, Writer};
use crate::tasks::{Kind, Memory};
use crate::value::Sizes;

/// The state of one run of a workflow. Cloning is cheap: values are shared.
#[derive(Debug, Clone)]
pub struct Instance {
    pub(crate) id: InstanceId,
    pub(crate) reference: std::sync::Arc<Reference>,
    /// Which definition text the task indices of the frames belong to.
    pub(crate) fingerprint: Hash16,
    pub(crate) phase: Phase,
    pub(crate) business_key: Option<String>,
    pub(crate) started_us: i64,
    /// When the workflow's timeout cuts it.
    pub(crate) timeout: Option<Deadline>,
    /// How many workflows stand above it.
    pub(crate) depth: u32,
    /// Which ended instance it runs again.
    pub(crate) rerun_of: Option<InstanceId>,
    /// Under which only one instance may live.
    pub(crate) activation: Option<Hash16>,
    /// The last status event's number.
    pub(crate) sequence: u64,
    /// The next frame's number. Numbers are never used twice, and a child's is above its parent's.
    pub(crate) next_run: u64,
    /// As it came, before `input.from`.
    pub(crate) input: Value,
    /// `$context`.
    pub(crate) context: Value,
    pub(crate) output: Option<Value>,
    pub(crate) error: Option<Problem>,
    pub(crate) frames: Frames,
    /// The events that it consumed last, by `source` and `id`: the oldest first.
    pub(crate) heard: Heard,
    /// How many attempts of a task's effect got an answer (D4).
    pub(crate) answered: Answered,
    /// Effects that nobody awaits and that got no answer yet, by the run that asked.
    pub(crate) apart: BTreeMap<Run, Arc<Apart>>,
    /// The results that came while it was suspended, by slot, in their order.
    pub(crate) kept: VecDeque<(i64, Kept)>,
    /// Tasks entered since something came from outside.
    pub(crate) steps_since_wait: u64,
    /// Where a retry of the faulted instance goes on. Its frames are then as they were when the fault began.
    pub(crate) go_on_at: GoOnAt,
    /// Follows from the frames: not in the snapshot.
    pub(crate) effects_in_flight: usize,
    /// The large values that it was read with.
    pub(crate) known: Known,
    /// Sizes of its large values: not in the snapshot.
    pub(crate) sizes: Sizes,
}

/// A result that came while the instance was suspended.
#[derive(Debug, Clone)]
pub(crate) enum Kept {
    Effect(EffectOutcome),
    Child(ChildOutcome),
}

/// Where a faulted instance goes on.
#[derive(Debug, Clone, Default)]
pub(crate) enum GoOnAt {
    /// It has not faulted.
    #[default]
    Nothing,
    /// Before the first task.
    Start,
    /// At this run, which is still to be entered.
    Task(Run),
    /// After the last task, which gave this.
    End(Value),
}

impl Instance {
    /// A new instance, before its [`crate::api::Stimulus::Start`].
    #[must_use]
    pub fn new(id: InstanceId, plan: &Plan) -> Self {
        Self {
            id,
            reference: plan.shared_reference(),
            fingerprint: plan.fingerprint(),
            phase: Phase::Pending,
            business_key: None,
            started_us: 0,
            timeout: None,
            depth: 0,
            rerun_of: None,
            activation: None,
            sequence: 0,
            next_run: 1,
            input: Value::Null,
            context: Value::Null,
            output: None,
            error: None,
            frames: Frames::default(),
            heard: Heard::default(),
            answered: Answered::default(),
            apart: BTreeMap::new(),
            kept: VecDeque::new(),
            steps_since_wait: 0,
            go_on_at: GoOnAt::Nothing,
            effects_in_flight: 0,
            known: Known::default(),
            sizes: Sizes::default(),
        }
    }

    /// The same, to run what has ended again: its status events say so.
    #[must_use]
    pub fn rerunning(self, ended: InstanceId) -> Self {
        Self { rerun_of: Some(ended), ..self }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> InstanceId {
        self.id
    }

    /// Its phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The author's key of the business object: known once it has started.
    #[must_use]
    pub fn business_key(&self) -> Option<&str> {
        self.business_key.as_deref()
    }

    /// The key under which only one instance of its definition may live: known once it has started.
    #[must_use]
    pub fn activation(&self) -> Option<Hash16> {
        self.activation
    }

    /// The definition that it runs.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// The number of its last status event.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The workflow's raw input.
    #[must_use]
    pub fn input(&self) -> &Value {
        &self.input
    }

    /// The workflow's output, once it has completed.
    #[must_use]
    pub fn output(&self) -> Option<&Value> {
        self.output.as_ref()
    }

    /// What it faulted with.
    #[must_use]
    pub fn error(&self) -> Option<&Problem> {
        self.error.as_ref()
    }

    /// `$context`.
    #[must_use]
    pub fn context(&self) -> &Value {
        &self.context
    }

    /// Its bookmarks, timers and effects in flight: a pure function of the snapshot.
    #[must_use]
    pub fn projection(&self, plan: &Plan) -> Projection {
        let mut projection = Projection::default();
        projection.effects.extend(self.apart.keys().flat_map(|run| self.flights_apart(plan, *run)));
        if self.phase.has_ended() {
            projection.effects.sort_unstable();
            return projection;
        }
        for (look, kind, memory) in self.live(plan) {
            kind.project(memory, &look, &mut projection);
        }
        let due = |deadline: Deadline, slot| Timer { due_us: deadline.due_us, slot };
        projection.timers.extend(self.timeout.map(|timeout| due(timeout, slot(0, fault::TIMEOUT_PART))));
        let of_tasks = self.frames.iter().filter_map(|frame| Some((frame.timeout?, frame.run)));
        projection.timers.extend(of_tasks.map(|(timeout, run)| due(timeout, slot(run, fault::TIMEOUT_PART))));
        if self.phase == Phase::Suspended {
            projection.bookmarks.clear();
            projection.timers.clear();
        }
        let is_kept = |slot: i64| self.kept.iter().any(|(kept, _)| *kept == slot);
        if !self.kept.is_empty() {
            projection.effects.retain(|(slot, _)| !is_kept(*slot));
            projection.children.retain(|(slot, _)| !is_kept(*slot));
        }
        projection.bookmarks.sort_unstable();
        projection.timers.sort_unstable();
        projection.effects.sort_unstable();
        projection.children.sort_unstable();
        projection
    }

    /// The bookmarks that it has, or, while it is suspended, will have again when it goes on: the events for them are to be
    /// kept for it meanwhile.
    #[must_use]
    pub fn waits(&self, plan: &Plan) -> Vec<Bookmark> {
        if self.phase.has_ended() {
            return Vec::new();
        }
        let mut projection = Projection::default();
        for (look, kind, memory) in self.live(plan) {
            kind.project(memory, &look, &mut projection);
        }
        projection.bookmarks.sort_unstable();
        projection.bookmarks
    }

    /// What it waits for, for people.
    #[must_use]
    pub fn waiting(&self, plan: &Plan) -> Vec<WaitReason> {
        if self.phase.has_ended() {
            return Vec::new();
        }
        self.live(plan).filter_map(|(look, kind, memory)| self.wait_reason(&look, kind, memory)).collect()
    }

    /// A timeout of the task, of one around it or of the workflow ends a wait, too.
    fn wait_reason(&self, look: &Look<'_>, kind: &Kind, memory: &Memory) -> Option<WaitReason> {
        let mut reason = kind.wait_reason(memory, look)?;
        let around = self.frames.path(look.frame.run).filter_map(|frame| frame.timeout);
        let ends = around.chain(self.timeout).map(|deadline| deadline.due_us);
        reason.until_us = ends.chain(reason.until_us).min();
        Some(reason)
    }

    /// Why an event is not the one that a `listen` waits for: where it differs from the filter that it fits best. Empty:
    /// as far as the event alone can tell, it does fit. `None`: that task listens to nothing now.
    #[must_use]
    pub fn differences(&self, plan: &Plan, task: &str, event: &Event) -> Option<Vec<Difference>> {
        let listening = |(look, kind, memory): Live<'_>| match (kind, memory) {
            (Kind::Listen(listen), Memory::Listen(listening)) if look.task().pointer == task => {
                listen.differences(listening, event)
            }
            _ => None,
        };
        self.live(plan).find_map(listening)
    }

    /// The requests of all effects in flight, rendered again (recovery). One that can't be rendered any more, because a
    /// secret was withdrawn, is left out: see [`Instance::effect`].
    #[must_use]
    pub fn effects(&self, plan: &Plan, env: &Env<'_>) -> Vec<Effect> {
        let slots = self.projection(plan).effects;
        slots.into_iter().filter_map(|(slot, _)| self.effect(plan, slot, env)).collect()
    }

    /// The request of one effect in flight, rendered again. `None`: nothing is in flight in this slot, or its request
    /// can't be rendered any more; then give the slot an [`crate::api::EffectOutcome::NoAnswer`], which is refused
    /// when the slot is gone.
    #[must_use]
    pub fn effect(&self, plan: &Plan, slot: i64, env: &Env<'_>) -> Option<Effect> {
        let (run, _) = slot_parts(slot)?;
        let frame = self.frame(run).filter(|_| !self.phase.has_ended() || self.apart.contains_key(&run))?;
        let memory = frame.memory()?;
        let task = plan.task(frame.task);
        let look = Look::of_frame(plan, self, frame);
        let request = task.kind.render(memory, &look, env)?.ok()?;
        Some(Effect { slot, pointer: task.pointer.clone(), idempotency_key: self.idempotency_key(plan, run), request })
    }

    /// The tasks from the outermost to the one that a slot belongs to, by their place in the text: compared with those of
    /// other slots they give the declared order. Empty: no task has this slot.
    #[must_use]
    pub fn place(&self, slot: i64) -> Vec<u32> {
        let run = slot_parts(slot).map(|(run, _)| run);
        let mut place: Vec<u32> = run.into_iter().flat_map(|run| self.frames.path(run)).map(|f| f.task.0).collect();
        place.reverse();
        place
    }

    /// `<instance>:<pointer>:<run>` (D4).
    pub(crate) fn idempotency_key(&self, plan: &Plan, run: Run) -> String {
        if let Some(apart) = self.apart.get(&run) {
            return apart.idempotency_key.clone();
        }
        let pointer = self.frames.get(run).map_or("", |frame| &plan.task(frame.task).pointer);
        format!("{}:{pointer}:{}", self.id, self.run_key(plan, run))
    }

    /// Which of its task's runs this is: the path to it and the number of answered attempts (D4).
    pub(crate) fn run_key(&self, plan: &Plan, run: Run) -> String {
        use std::fmt::Write;
        let path = self.run_path(plan, run);
        let answered = self.frames.get(run).map_or(0, |frame| self.answered.get(frame.task, &path));
        let mut key = String::new();
        for component in path {
            // Writing to a string cannot fail.
            let _ = write!(key, "{component}.");
        }
        let _ = write!(key, "{answered}");
        key
    }

    /// The rounds of the loops around a run, from the outside in.
    pub(crate) fn rounds(&self, plan: &Plan, run: Run) -> Vec<u32> {
        let round = |frame: &Frame| plan.task(frame.task).kind.iteration(frame.memory()?);
        let mut rounds: Vec<u32> = self.frames.path(run).skip(1).filter_map(round).collect();
        rounds.reverse();
        rounds
    }

    /// What tells the runs of one task apart: rounds of loops, and the callers of tasks that several call.
    pub(crate) fn run_path(&self, plan: &Plan, run: Run) -> Vec<u32> {
        let mut path = Vec::new();
        let (inner, outer) = (self.frames.path(run), self.frames.path(run).skip(1));
        for (inner, outer) in inner.zip(outer) {
            let kind = &plan.task(outer.task).kind;
            path.extend(outer.memory().and_then(|memory| kind.iteration(memory)));
            if kind.hides_locals() || plan.block_of(inner.task).kind == BlockKind::Extension {
                path.push(outer.task.0);
            }
        }
        path.reverse();
        path
    }

    /// `$context` as a run sees it: within a branch that has exported, the branch's own.
    pub(crate) fn context_of(&self, frame: &Frame) -> &Value {
        // A run that is over, but has asked for something that nobody awaits, keeps what it saw.
        if let Some(apart) = self.apart.get(&frame.run).filter(|_| self.frames.get(frame.run).is_none()) {
            return apart.frame.context.as_ref().unwrap_or(&self.context);
        }
        let branch = match frame.lane {
            Some(_) => self.frames.path(frame.run).find_map(|frame| frame.context.as_ref()),
            None => None,
        };
        branch.unwrap_or(&self.context)
    }

    /// A run that is live, or that has asked for something that nobody awaits.
    pub(crate) fn frame(&self, run: Run) -> Option<&Frame> {
        self.apart.get(&run).map(|apart| &apart.frame).or_else(|| self.frames.get(run))
    }

    fn live<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = Live<'a>> {
        self.frames.iter().filter_map(move |frame| {
            let memory = frame.memory()?;
            Some((Look::of_frame(plan, self, frame), &plan.task(frame.task).kind, memory))
        })
    }

    /// The snapshot in one piece.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        snapshot::seal(|to| self.write(to))
    }

    /// The snapshot without its large values (D19): those of at least so many bytes (`large_value_bytes`).
    #[must_use]
    pub fn encode_split(&self, large_value_bytes: usize) -> Snapshot {
        snapshot::seal_split(&self.known, Some(large_value_bytes), |to| self.write(to))
    }

    /// The instance of a snapshot in one piece, made for the same definition.
    ///
    /// # Errors
    /// A newer snapshot is handed back, never treated as damaged.
    pub fn decode(plan: &Plan, bytes: &[u8]) -> Result<Self, SnapshotError> {
        Self::decode_split(plan, bytes, &mut |_| None)
    }

    /// The instance of a snapshot, made for the same definition, whose large values are looked up by their hashes.
    ///
    /// # Errors
    /// A newer snapshot is handed back, never treated as damaged.
    pub fn decode_split(
        plan: &Plan,
        bytes: &[u8],
        lookup: &mut dyn FnMut(Hash16) -> Option<Bytes>,
    ) -> Result<Self, SnapshotError> {
        let (mut from, large) = snapshot::open_split(bytes)?;
        snapshot::load(&mut from, large, lookup)?;
        let mut instance = Self::read(plan, &mut from)?;
        instance.known = snapshot::close(from)?;
        Ok(instance)
    }

    /// The hashes of all large values that a snapshot needs, each once.
    ///
    /// # Errors
    /// As with [`Instance::decode`].
    pub fn large_values(bytes: &[u8]) -> Result<Vec<Hash16>, SnapshotError> {
        snapshot::open_split(bytes).map(|(_, large)| large)
    }

    fn write(&self, to: &mut Writer) {
        Hash16(self.id.0).write(to);
        self.fingerprint.write(to);
        to.byte(self.phase as u8);
        self.business_key.write(to);
        self.started_us.write(to);
        self.timeout.write(to);
        self.depth.write(to);
        self.sequence.write(to);
        self.next_run.write(to);
        self.input.write(to);
        self.context.write(to);
        self.output.write(to);
        self.error.as_ref().map(Problem::to_value).write(to);
        self.frames.write(to);
        self.heard.write(to);
        self.answered.write(to);
        to.number(self.kept.len() as u64);
        self.kept.iter().for_each(|kept| kept.write(to));
        self.steps_since_wait.write(to);
        self.go_on_at.write(to);
        // Most have nothing of what follows: their snapshots stay as they were before there was any of it.
        let has_more = self.rerun_of.is_some() || self.activation.is_some();
        if !self.apart.is_empty() || has_more {
            to.number(self.apart.len() as u64);
            self.apart.values().for_each(|apart| apart.write(to));
        }
        if has_more {
            self.rerun_of.map(|ended| Hash16(ended.0)).write(to);
        }
        if self.activation.is_some() {
            self.activation.write(to);
        }
    }

    fn read(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let id = InstanceId(Hash16::read(from)?.0);
        let fingerprint = Hash16::read(from)?;
        if fingerprint != plan.fingerprint() {
            return Err(SnapshotError::corrupt("it was written for another text of the definition"));
        }
        let mut instance = Self {
            id,
            reference: plan.shared_reference(),
            fingerprint,
            phase: Phase::try_from(i16::from(from.byte()?))
                .map_err(|_| SnapshotError::corrupt("its phase does not exist"))?,
            business_key: Stored::read(from)?,
            started_us: Stored::read(from)?,
            timeout: Stored::read(from)?,
            depth: Stored::read(from)?,
            rerun_of: None,
            activation: None,
            sequence: Stored::read(from)?,
            next_run: Stored::read(from)?,
            input: Stored::read(from)?,
            context: Stored::read(from)?,
            output: Stored::read(from)?,
            error: Option::<Value>::read(from)?
                .map(|error| Problem::from_value(&error, "").map_err(SnapshotError::corrupt))
                .transpose()?,
            frames: Frames::read(plan, from)?,
            heard: Stored::read(from)?,
            answered: Stored::read(from)?,
            apart: BTreeMap::new(),
            kept: Vec::read(from)?.into(),
            steps_since_wait: Stored::read(from)?,
            go_on_at: Stored::read(from)?,
            effects_in_flight: 0,
            known: Known::default(),
            sizes: Sizes::default(),
        };
        let apart = if from.is_at_end() { 0 } else { from.count()? };
        for _ in 0..apart {
            let apart = Apart::read(plan, from)?;
            instance.apart.insert(apart.frame.run, Arc::new(apart));
        }
        if !from.is_at_end() {
            instance.rerun_of = Option::<Hash16>::read(from)?.map(|ended| InstanceId(ended.0));
        }
        if !from.is_at_end() {
            instance.activation = Stored::read(from)?;
        }
        if !instance.phase.has_ended() {
            let flights = instance.frames.iter().map(|frame| instance.flights(plan, frame.run).effects.len());
            instance.effects_in_flight = flights.sum();
        }
        Ok(instance)
    }
}

type Live<'a> = (Look<'a>, &'a Kind, &'a Memory);

/// Bits of a slot that tell what in the task run it is for; the others are the run's number.
const PART_BITS: u32 = 16;

/// The slot of one purpose (a filter, a timer, an effect) of a task run.
pub(crate) fn slot(run: u64, part: u16) -> i64 {
    (run << PART_BITS | u64::from(part)) as i64
}

/// The task run and the purpose of a slot.
pub(crate) fn slot_parts(slot: i64) -> Option<(u64, u16)> {
    let slot = u64::try_from(slot).ok()?;
    Some((slot >> PART_BITS, slot as u16))
}
