//! Where an `apply` stops although pure work is left: at the checkpoints that the definition asks for. What is left goes on in
//! the next transition, like long work that was cut (D18).

use super::frame::Run;
use super::run::Machine;
use crate::api::{Phase, Projection, Value};
use crate::instance::{Instance, slot_parts};
use crate::plan::Plan;
use crate::plan::checkpoint::Checkpoint;

impl Machine<'_> {
    /// A task is done, and its run still there.
    pub(super) fn pass_checkpoint(&mut self, run: Run, output: &Value) {
        self.tasks_done += 1;
        let due = match &self.task(run).common.checkpoint {
            Checkpoint::None | Checkpoint::Ahead | Checkpoint::Before => false,
            Checkpoint::After | Checkpoint::Both => true,
            Checkpoint::Tasks(count) => self.tasks_done >= *count,
            Checkpoint::Every(pause_us) => (self.env.ticks_us)() - self.began_us >= *pause_us,
            // What can't be answered is written rather than not.
            Checkpoint::When(when) => {
                self.vars(run).after(output).with_output(output).condition(when, output).unwrap_or(true)
            }
        };
        self.at_checkpoint |= due;
    }

    /// Has it come to a checkpoint, or is the next task one before which something was done?
    pub(super) fn is_at_checkpoint(&self) -> bool {
        let stops_before = |run: Run| matches!(self.task(run).common.checkpoint, Checkpoint::Before | Checkpoint::Both);
        self.at_checkpoint || (!self.entries.is_empty() && self.instance.frames.ready().is_some_and(stops_before))
    }
}

impl Instance {
    /// Whether it may go on before it is written: it waits for nothing but side effects whose tasks say so. `projection` is
    /// its own. Whoever does not write it must give it their results, and be ready to begin again with what is stored.
    #[must_use]
    pub fn runs_ahead(&self, plan: &Plan, projection: &Projection) -> bool {
        let ahead = |slot: i64| {
            let frame = slot_parts(slot).and_then(|(run, _)| self.frame(run));
            frame.is_some_and(|frame| matches!(plan.task(frame.task).common.checkpoint, Checkpoint::Ahead))
        };
        plan.lets_run_ahead()
            && self.phase() == Phase::Running
            && projection.bookmarks.is_empty()
            && projection.children.is_empty()
            && !projection.effects.is_empty()
            && projection.effects.iter().all(|(slot, _)| ahead(*slot))
    }
}
