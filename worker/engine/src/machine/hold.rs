//! Suspended instances: nothing is begun, and what comes from effects and children is kept until they continue.

use flagstop_schemas::StatusKind;

use super::frame::Run;
use super::run::{Machine, Work};
use crate::api::{EffectOutcome, Phase, Projection, Rejected};
use crate::instance::{Kept, slot_parts};
use crate::machine::look::Look;
use crate::tasks::Signal;

impl Machine<'_> {
    pub(super) fn suspend(&mut self) {
        for run in self.live_runs().into_iter().rev() {
            self.journal_task(StatusKind::TaskSuspended, run);
        }
        self.journal(StatusKind::WorkflowSuspended, |_| {});
        self.instance.phase = Phase::Suspended;
    }

    pub(super) fn resume(&mut self) {
        self.instance.phase = Phase::Running;
        self.journal(StatusKind::WorkflowResumed, |_| {});
        for run in self.live_runs() {
            self.journal_task(StatusKind::TaskResumed, run);
            self.tell_waiting(run);
        }
    }

    fn live_runs(&self) -> Vec<Run> {
        self.instance.frames.iter().filter(|frame| frame.has_begun()).map(|frame| frame.run).collect()
    }

    /// Keeps a result for later, once.
    pub(super) fn keep(&mut self, slot: i64, kept: Kept) -> Result<Option<Work>, Rejected> {
        let is_awaited = |projection: &Projection| match kept {
            Kept::Effect(_) => projection.effects.iter().any(|(awaited, _)| *awaited == slot),
            Kept::Child(_) => projection.children.iter().any(|(awaited, _)| *awaited == slot),
        };
        let awaited = slot_parts(slot).map(|(run, _)| self.instance.flights(self.plan, run));
        let is_new = self.instance.kept.iter().all(|(known, _)| *known != slot);
        if !awaited.is_some_and(|awaited| is_awaited(&awaited)) || !is_new {
            return Err(Rejected::NotWaiting);
        }
        self.instance.kept.push_back((slot, without_authorization(kept)));
        Ok(None)
    }

    /// Gives a kept result to the run that waits for it, if it still does.
    pub(super) fn take_kept(&mut self, (slot, kept): (i64, Kept)) -> Option<Work> {
        let (run, part) = slot_parts(slot)?;
        let signal = match kept {
            Kept::Effect(outcome) => Signal::Effect { part, outcome },
            Kept::Child(outcome) => Signal::Child { part, outcome },
        };
        self.wake(run, signal)
    }
}

/// A token must not wait in an instance: `$authorization` of an answer that came meanwhile is null.
fn without_authorization(mut kept: Kept) -> Kept {
    if let Kept::Effect(EffectOutcome::Http { authorization, .. }) = &mut kept {
        *authorization = None;
    }
    kept
}

impl crate::Instance {
    /// What one run has under way outside.
    pub(crate) fn flights(&self, plan: &crate::Plan, run: Run) -> Projection {
        let mut projection = Projection::default();
        if let Some(frame) = self.frames.get(run)
            && let Some(memory) = frame.memory()
        {
            plan.task(frame.task).kind.project(memory, &Look::of_frame(plan, self, frame), &mut projection);
        }
        projection
    }

    /// What one run has asked for that nobody awaits.
    pub(crate) fn flights_apart(&self, plan: &crate::Plan, run: Run) -> Vec<(i64, String)> {
        let mut projection = Projection::default();
        if let Some(apart) = self.apart.get(&run)
            && let Some(memory) = apart.frame.memory()
        {
            let look = Look::of_frame(plan, self, &apart.frame);
            plan.task(apart.frame.task).kind.project(memory, &look, &mut projection);
        }
        projection.effects
    }
}
