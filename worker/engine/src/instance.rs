//! The instance: all that the engine remembers of one run of a workflow.
//!
//! It is plain data: a tree of frames, one per live task run, and what belongs to the run as a whole. Bookmarks,
//! timers and effects are no second list beside the frames: [`Instance::projection`] computes them from the frames.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use flagstop_schemas::{Hash16, InstanceId};

use crate::api::{Effect, Env, Phase, Projection, Reference, Value, WaitReason};
use crate::machine::frame::Frames;
use crate::machine::look::Look;
use crate::plan::{Plan, TaskIndex};
use crate::problem::Problem;
use crate::snapshot::{self, Reader, SnapshotError, Stored, Writer};

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
    pub(crate) heard: VecDeque<Hash16>,
    /// How many attempts of a task's effect got an answer, by task and iteration path (D4).
    pub(crate) answered: BTreeMap<(u32, Vec<u32>), u32>,
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
            sequence: 0,
            next_run: 1,
            input: Value::Null,
            context: Value::Null,
            output: None,
            error: None,
            frames: Frames::default(),
            heard: VecDeque::new(),
            answered: BTreeMap::new(),
        }
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
        if self.phase.has_ended() {
            return projection;
        }
        for (look, kind, memory) in self.live(plan) {
            kind.project(memory, &look, &mut projection);
        }
        if self.phase == Phase::Suspended {
            projection.timers.clear();
        }
        projection.bookmarks.sort_unstable();
        projection.timers.sort_unstable();
        projection.effects.sort_unstable();
        projection
    }

    /// What it waits for, for people.
    #[must_use]
    pub fn waiting(&self, plan: &Plan) -> Vec<WaitReason> {
        if self.phase.has_ended() {
            return Vec::new();
        }
        self.live(plan).filter_map(|(look, kind, memory)| kind.wait_reason(memory, &look)).collect()
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
        let frame = self.frames.get(run)?;
        let memory = frame.memory.as_ref()?;
        let task = plan.task(frame.task);
        let look = Look::of_frame(plan, self, frame);
        let request = task.kind.render(memory, &look, env)?.ok()?;
        Some(Effect {
            slot,
            pointer: task.pointer.clone(),
            idempotency_key: self.idempotency_key(plan, frame.task, &[]),
            request,
        })
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

    /// `<instance>:<pointer>:<iteration path and number of answered attempts>` (D4).
    pub(crate) fn idempotency_key(&self, plan: &Plan, task: TaskIndex, path: &[u32]) -> String {
        use std::fmt::Write;
        let answered = self.answered.get(&(task.0, path.to_vec())).copied().unwrap_or(0);
        let mut key = format!("{}:{}:", self.id, plan.task(task).pointer);
        for index in path {
            let _ = write!(key, "{index}.");
        }
        let _ = write!(key, "{answered}");
        key
    }

    fn live<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = Live<'a>> {
        self.frames.iter().filter_map(move |frame| {
            let memory = frame.memory.as_ref()?;
            Some((Look::of_frame(plan, self, frame), &plan.task(frame.task).kind, memory))
        })
    }

    /// The snapshot, as bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        snapshot::seal(|to| self.write(to))
    }

    /// The instance of a snapshot that [`Instance::encode`] made for the same definition.
    ///
    /// # Errors
    /// A newer snapshot is handed back, never treated as damaged.
    pub fn decode(plan: &Plan, bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut from = snapshot::open(bytes)?;
        let instance = Self::read(plan, &mut from)?;
        from.end()?;
        Ok(instance)
    }

    fn write(&self, to: &mut Writer) {
        Hash16(self.id.0).write(to);
        self.fingerprint.write(to);
        to.byte(self.phase as u8);
        self.business_key.write(to);
        self.started_us.write(to);
        self.sequence.write(to);
        self.next_run.write(to);
        self.input.write(to);
        self.context.write(to);
        self.output.write(to);
        self.error.as_ref().map(Problem::to_value).write(to);
        self.frames.write(to);
        to.number(self.heard.len() as u64);
        self.heard.iter().for_each(|key| key.write(to));
        self.answered.write(to);
    }

    fn read(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let id = InstanceId(Hash16::read(from)?.0);
        let fingerprint = Hash16::read(from)?;
        if fingerprint != plan.fingerprint() {
            return Err(SnapshotError::corrupt("it was written for another text of the definition"));
        }
        Ok(Self {
            id,
            reference: plan.shared_reference(),
            fingerprint,
            phase: Phase::try_from(i16::from(from.byte()?))
                .map_err(|_| SnapshotError::corrupt("its phase does not exist"))?,
            business_key: Stored::read(from)?,
            started_us: Stored::read(from)?,
            sequence: Stored::read(from)?,
            next_run: Stored::read(from)?,
            input: Stored::read(from)?,
            context: Stored::read(from)?,
            output: Stored::read(from)?,
            error: Option::<Value>::read(from)?
                .map(|error| Problem::from_value(&error, "").map_err(SnapshotError::corrupt))
                .transpose()?,
            frames: Frames::read(plan, from)?,
            heard: Vec::read(from)?.into(),
            answered: Stored::read(from)?,
        })
    }
}

type Live<'a> = (Look<'a>, &'a crate::tasks::Kind, &'a crate::tasks::Memory);

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
