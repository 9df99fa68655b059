//! The tree of live task runs.

use std::collections::BTreeMap;

use crate::api::Value;
use crate::plan::{Plan, TaskIndex};
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::tasks::Memory;

/// The number of a task's run within its instance.
pub(crate) type Run = u64;

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
    /// What its type remembers; `None`: it is still to be entered.
    pub(crate) memory: Option<Memory>,
}

/// All live runs by number. A child's number is above its parent's, so descending order goes from the inside out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames(BTreeMap<Run, Frame>);

impl Frames {
    pub(crate) fn get(&self, run: Run) -> Option<&Frame> {
        self.0.get(&run)
    }

    pub(crate) fn get_mut(&mut self, run: Run) -> Option<&mut Frame> {
        self.0.get_mut(&run)
    }

    pub(crate) fn insert(&mut self, frame: Frame) {
        self.0.insert(frame.run, frame);
    }

    pub(crate) fn remove(&mut self, run: Run) -> Option<Frame> {
        self.0.remove(&run)
    }

    /// Ascending: parents before their children.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Frame> {
        self.0.values()
    }

    /// The runs inside of `run` (all, for the workflow itself), the innermost first.
    pub(crate) fn inside(&self, run: Option<Run>) -> Vec<Run> {
        let first = run.map_or(0, |run| run + 1);
        let inside = |inner: &&Run| run.is_none_or(|run| self.path(**inner).any(|frame| frame.run == run));
        self.0.range(first..).rev().map(|(inner, _)| inner).filter(inside).copied().collect()
    }

    /// A run and those around it, from the inside out.
    pub(crate) fn path(&self, run: Run) -> impl Iterator<Item = &Frame> {
        std::iter::successors(self.get(run), |frame| frame.parent.and_then(|parent| self.get(parent)))
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.number(self.0.len() as u64);
        self.iter().for_each(|frame| frame.write(to));
    }

    pub(crate) fn read(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let mut frames = Self::default();
        for _ in 0..from.count()? {
            let frame = Frame::read(plan, from)?;
            if frame.parent.is_some_and(|parent| parent >= frame.run || frames.get(parent).is_none()) {
                return Err(SnapshotError::corrupt("a frame stands in none that is there"));
            }
            frames.insert(frame);
        }
        Ok(frames)
    }
}

impl Frame {
    fn read(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
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
            memory: match from.byte()? {
                0 => None,
                tag => Some(kind.read_memory(tag, from)?),
            },
        })
    }

    fn write(&self, to: &mut Writer) {
        self.run.write(to);
        self.task.0.write(to);
        self.parent.write(to);
        self.raw_input.write(to);
        self.input.write(to);
        self.started_us.write(to);
        match &self.memory {
            None => to.byte(0),
            Some(memory) => memory.write(to),
        }
    }
}
