//! One live run of a task: what the core remembers around what its type remembers.

use std::sync::Arc;

use crate::api::Value;
use crate::plan::{Plan, TaskIndex, Then};
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::tasks::Memory;

/// The number of a task's run within its instance.
pub(crate) type Run = u64;

/// The declared positions of the branches that a run is in, from the outside in; `None`: in no fork.
/// Their order is the declared order of branches, which decides where several could go on.
pub(crate) type Lane = Option<Arc<[u32]>>;

/// One live run of a task.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) run: Run,
    pub(crate) task: TaskIndex,
    /// The run whose list this task stands in; `None`: the workflow's own list.
    pub(crate) parent: Option<Run>,
    /// Before `input.from`.
    pub(crate) raw_input: Value,
    /// After `input.from`; the raw one until then.
    pub(crate) input: Value,
    pub(crate) started_us: i64,
    pub(crate) timeout: Option<Deadline>,
    /// Of a branch's first task: `$context` within the branch, once something in it exported.
    pub(crate) context: Option<Value>,
    /// The extensions that apply to this run, by their number in the plan.
    pub(crate) extensions: Vec<u32>,
    pub(crate) state: State,
    /// Follows from the runs around it: not in the snapshot.
    pub(crate) lane: Lane,
    /// How many runs stand directly in it: not in the snapshot.
    pub(super) inside: u32,
}

/// How far a run is.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// It is still to be entered.
    New,
    /// The list before it runs, of the extension at this position among those that apply.
    Before(u32),
    /// Its type's own steps; what the type remembers.
    Live(Memory),
    /// The list after it runs.
    After(Box<Leaving>),
}

/// What a run that is done gives, while the lists after it run.
#[derive(Debug, Clone)]
pub(crate) struct Leaving {
    /// The position of the extension among those that apply.
    pub(crate) position: u32,
    pub(crate) raw_output: Value,
    pub(crate) output: Value,
    pub(crate) then: Then,
}

/// When something is cut. The length is kept, because a retry begins it anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) after_us: i64,
    pub(crate) due_us: i64,
}

impl Deadline {
    /// The same length, from another moment on.
    pub(crate) fn from(self, now_us: i64) -> Self {
        Self { due_us: now_us.saturating_add(self.after_us), ..self }
    }
}

impl Frame {
    pub(super) fn new(run: Run, task: TaskIndex, parent: Option<Run>, raw_input: Value, now_us: i64) -> Self {
        Self {
            run,
            task,
            parent,
            input: raw_input.clone(),
            raw_input,
            started_us: now_us,
            timeout: None,
            context: None,
            extensions: Vec::new(),
            state: State::New,
            lane: None,
            inside: 0,
        }
    }

    /// What its type remembers; `None` while the type has no say.
    pub(crate) fn memory(&self) -> Option<&Memory> {
        match &self.state {
            State::Live(memory) => Some(memory),
            State::New | State::Before(_) | State::After(_) => None,
        }
    }

    /// It was announced by its events.
    pub(crate) fn has_begun(&self) -> bool {
        !matches!(self.state, State::New)
    }

    /// As it was before it was entered, so that it is entered anew, as another run.
    pub(super) fn begin_anew(&mut self, run: Run) {
        self.run = run;
        self.input = self.raw_input.clone();
        self.timeout = None;
        self.extensions = Vec::new();
        self.state = State::New;
    }

    pub(in crate::machine) fn read(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let run = from.number()?;
        let task = TaskIndex(u32::read(from)?);
        let kind = plan.get_task(task).map(|task| &task.kind);
        let kind = kind.ok_or_else(|| SnapshotError::corrupt("a frame runs a task that does not exist"))?;
        Ok(Self {
            run,
            task,
            parent: Stored::read(from)?,
            raw_input: Stored::read(from)?,
            input: Stored::read(from)?,
            started_us: Stored::read(from)?,
            timeout: Stored::read(from)?,
            context: Stored::read(from)?,
            extensions: Stored::read(from)?,
            state: match from.byte()? {
                0 => State::New,
                state::BEFORE => State::Before(Stored::read(from)?),
                state::AFTER => State::After(Box::new(Stored::read(from)?)),
                tag => State::Live(kind.read_memory(tag, from)?),
            },
            lane: None,
            inside: 0,
        })
    }

    pub(super) fn write(&self, to: &mut Writer) {
        self.run.write(to);
        self.task.0.write(to);
        self.parent.write(to);
        self.raw_input.write(to);
        self.input.write(to);
        self.started_us.write(to);
        self.timeout.write(to);
        self.context.write(to);
        self.extensions.write(to);
        match &self.state {
            State::New => to.byte(0),
            State::Before(position) => {
                to.byte(state::BEFORE);
                position.write(to);
            }
            State::After(leaving) => {
                to.byte(state::AFTER);
                leaving.write(to);
            }
            State::Live(memory) => memory.write(to),
        }
    }
}

/// Beside the tags of the task types, which count from 1.
mod state {
    pub(super) const BEFORE: u8 = 254;
    pub(super) const AFTER: u8 = 255;
}

impl Stored for Deadline {
    fn write(&self, to: &mut Writer) {
        self.after_us.write(to);
        self.due_us.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self { after_us: Stored::read(from)?, due_us: Stored::read(from)? })
    }
}

impl Stored for Leaving {
    fn write(&self, to: &mut Writer) {
        self.position.write(to);
        self.raw_output.write(to);
        self.output.write(to);
        self.then.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self {
            position: Stored::read(from)?,
            raw_output: Stored::read(from)?,
            output: Stored::read(from)?,
            then: Stored::read(from)?,
        })
    }
}

impl Stored for Then {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Continue => to.byte(0),
            Self::Exit => to.byte(1),
            Self::End => to.byte(2),
            Self::Sibling(position) => {
                to.byte(3);
                position.write(to);
            }
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(match from.byte()? {
            0 => Self::Continue,
            1 => Self::Exit,
            2 => Self::End,
            3 => Self::Sibling(Stored::read(from)?),
            _ => return Err(SnapshotError::corrupt("a directive is of an unknown kind")),
        })
    }
}
