//! The tree of live task runs.
//!
//! Runs are numbered in the order in which they were made and never twice, and a child's number is above its parent's;
//! so ascending order meets parents first, and descending order goes from the inside out.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::frame::{Frame, Lane, Run};
use crate::plan::{BlockKind, Plan};
use crate::snapshot::{Reader, SnapshotError, Writer};

/// All live runs. Cloning shares the frames; one is copied when it changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    /// Ascending by run.
    all: Vec<Arc<Frame>>,
    /// The runs that are still to be entered: branches in their declared order, each as far as it goes.
    ready: BTreeSet<(Lane, Run)>,
}

impl Frames {
    pub(crate) fn get(&self, run: Run) -> Option<&Frame> {
        self.place(run).map(|place| &*self.all[place])
    }

    pub(crate) fn get_mut(&mut self, run: Run) -> Option<&mut Frame> {
        self.place(run).map(|place| Arc::make_mut(&mut self.all[place]))
    }

    /// The frame as it is now, whatever becomes of the run.
    pub(super) fn share(&self, run: Run) -> Option<Arc<Frame>> {
        self.place(run).map(|place| self.all[place].clone())
    }

    fn place(&self, run: Run) -> Option<usize> {
        // Most work is done on the newest run.
        match self.all.last() {
            Some(last) if last.run == run => Some(self.all.len() - 1),
            _ => self.all.binary_search_by_key(&run, |frame| frame.run).ok(),
        }
    }

    /// Adds a run with a number above all others.
    pub(super) fn insert(&mut self, plan: &Plan, mut frame: Frame) {
        frame.inside = 0;
        let around = frame.parent.and_then(|parent| self.get_mut(parent)).map(|parent| {
            parent.inside += 1;
            &parent.lane
        });
        frame.lane = lane(plan, &frame, around);
        if !frame.has_begun() {
            self.ready.insert((frame.lane.clone(), frame.run));
        }
        self.all.push(Arc::new(frame));
    }

    pub(super) fn remove(&mut self, run: Run) -> Option<Arc<Frame>> {
        let frame = self.all.remove(self.place(run)?);
        if let Some(parent) = frame.parent.and_then(|parent| self.get_mut(parent)) {
            parent.inside -= 1;
        }
        if !frame.has_begun() {
            self.ready.remove(&(frame.lane.clone(), run));
        }
        Some(frame)
    }

    /// The next run to enter, if one is left.
    pub(super) fn ready(&self) -> Option<Run> {
        self.ready.first().map(|(_, run)| *run)
    }

    /// The next run to enter, which must be given another state by whoever takes it.
    pub(super) fn take_ready(&mut self) -> Option<Run> {
        self.ready.pop_first().map(|(_, run)| run)
    }

    /// Ascending: parents before their children.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Frame> {
        self.all.iter().map(|frame| &**frame)
    }

    /// The runs inside of `run` (all, for the workflow itself), ascending.
    pub(super) fn inside(&self, run: Option<Run>) -> Vec<Run> {
        let Some(run) = run else { return self.all.iter().map(|frame| frame.run).collect() };
        let Some(place) = self.place(run).filter(|place| self.all[*place].inside > 0) else { return Vec::new() };
        let mut inside = Vec::new();
        let mut known = HashSet::from([run]);
        for frame in &self.all[place + 1..] {
            if frame.parent.is_some_and(|parent| known.contains(&parent)) {
                known.insert(frame.run);
                inside.push(frame.run);
            }
        }
        inside
    }

    /// A run and those around it, from the inside out.
    pub(crate) fn path(&self, run: Run) -> impl Iterator<Item = &Frame> {
        std::iter::successors(self.get(run), |frame| frame.parent.and_then(|parent| self.get(parent)))
    }

    /// The innermost run that has begun; of several branches that of the first declared.
    pub(super) fn innermost(&self) -> Option<&Frame> {
        let begun = self.all.iter().filter(|frame| frame.has_begun());
        let deepest = begun.filter(|frame| !self.has_begun_inside(frame));
        deepest.min_by(|a, b| a.lane.cmp(&b.lane)).map(|frame| &**frame)
    }

    fn has_begun_inside(&self, frame: &Frame) -> bool {
        frame.inside > 0 && self.all.iter().any(|inner| inner.parent == Some(frame.run) && inner.has_begun())
    }

    /// The tree of these runs, in any order.
    pub(super) fn restore(plan: &Plan, mut frames: Vec<Arc<Frame>>) -> Self {
        frames.sort_unstable_by_key(|frame| frame.run);
        let mut restored = Self::default();
        frames.into_iter().for_each(|frame| restored.insert(plan, Arc::unwrap_or_clone(frame)));
        restored
    }

    /// The same tree with some runs changed, in any order; what follows from their states is made again.
    pub(super) fn changed(self, plan: &Plan, mut change: impl FnMut(&mut Frame)) -> Self {
        let mut frames = self.all;
        frames.iter_mut().for_each(|frame| change(Arc::make_mut(frame)));
        Self::restore(plan, frames)
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.number(self.all.len() as u64);
        self.iter().for_each(|frame| frame.write(to));
    }

    pub(crate) fn read(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let mut frames = Self::default();
        for _ in 0..from.count()? {
            let frame = Frame::read(plan, from)?;
            let is_last = frames.all.last().is_none_or(|last| last.run < frame.run);
            let stands_in_none = frame.parent.is_some_and(|parent| frames.get(parent).is_none());
            if !is_last || stands_in_none {
                return Err(SnapshotError::corrupt("a frame stands in none that is there"));
            }
            frames.insert(plan, frame);
        }
        Ok(frames)
    }
}

fn lane(plan: &Plan, frame: &Frame, around: Option<&Lane>) -> Lane {
    let task = plan.task(frame.task);
    let around = around.cloned().flatten();
    match plan.block(task.block).kind {
        BlockKind::Branches => {
            let outer = around.as_deref().unwrap_or_default();
            Some(outer.iter().copied().chain([task.position]).collect())
        }
        BlockKind::List | BlockKind::Body | BlockKind::Extension => around,
    }
}
