//! Faults: how one travels outwards, what cuts a task, how an instance fails and how it goes on afterwards.

use std::sync::Arc;

use flagstop_schemas::StatusKind;

use super::frame::{Frame, Run, State};
use super::frames::Frames;
use super::run::{Fault, Machine, Work};
use crate::api::{Phase, Projection, Rejected, Value};
use crate::instance::GoOnAt;
use crate::machine::look::Look;
use crate::problem::{Problem, ProblemKind};
use crate::tasks::Branch;

impl<'a> Machine<'a> {
    pub(super) fn fault(&mut self, run: Run, problem: Problem) -> Option<Work> {
        // What ran inside of the origin would be begun anew with it: it is not kept.
        self.cancel_inside(Some(run));
        self.fault.get_or_insert_with(|| Fault::at(run));
        let task = self.task(run);
        let problem = problem.located(&task.pointer);
        self.journal_faulted(StatusKind::TaskFaulted, Some(run), &problem);
        let frame = self.remove(run)?;
        let Some(parent) = frame.parent else {
            self.fail(problem);
            return None;
        };
        // Should the fault reach the top, the frame around must be as it was before it heard of it.
        let (fault, share) = (self.fault.as_mut(), self.instance.frames.share(parent));
        if let (Some(fault), Some(share)) = (fault, share) {
            fault.keep_around(share);
        }
        if !matches!(self.frame(parent).state, State::Live(_)) {
            return Some(Work::Fault(parent, problem));
        }
        let is_branch = self.plan.is_branch(task);
        let outcome = self.with_type(parent, |kind, memory, cx| {
            if is_branch {
                let branch = Branch { position: task.position, output: Value::Null, context: None };
                kind.branch_faulted(memory, cx, branch, problem)
            } else {
                kind.child_faulted(memory, cx, problem)
            }
        });
        if outcome.is_ok() {
            self.fault = None;
        }
        Some(Work::Outcome(parent, outcome))
    }

    /// A timeout is due: the task's, or, for run 0, the workflow's.
    pub(super) fn cut(&mut self, run: Run) -> Result<Option<Work>, Rejected> {
        let frame = self.instance.frames.get(run);
        let deadline = if run == 0 { self.instance.timeout } else { frame.and_then(|frame| frame.timeout) };
        let deadline = deadline.filter(|deadline| deadline.due_us <= self.env.now_us).ok_or(Rejected::NotWaiting)?;
        let what = if run == 0 { "the workflow" } else { "the task" };
        let after = crate::duration::to_iso(deadline.after_us);
        let problem = Problem::new(ProblemKind::Timeout, format!("{what} took longer than {after}"), "");
        if run != 0 {
            return Ok(Some(Work::Fault(run, problem)));
        }
        let (innermost, pointer) = match self.instance.frames.innermost() {
            Some(frame) => (Some(frame.run), self.outer_pointer(frame.run)),
            None => (None, "/timeout"),
        };
        if let Some(origin) = innermost {
            self.cancel_inside(Some(origin));
            self.fault = Some(Fault::at(origin));
        }
        self.fail(problem.at(pointer));
        Ok(None)
    }

    /// Of what runs in a function the outermost caller's, as with every error.
    fn outer_pointer(&self, run: Run) -> &'a str {
        let mut pointer = &*self.task(run).pointer;
        for frame in self.instance.frames.path(run) {
            let task = self.plan.task(frame.task);
            if task.kind.hides_locals() {
                pointer = &task.pointer;
            }
        }
        pointer
    }

    /// Too many steps without a wait: nothing in the definition may catch this, or it would go on for ever.
    pub(super) fn run_dry(&mut self, run: Run) {
        let pointer = self.outer_pointer(run);
        let detail = format!(
            "it made {} steps without waiting for anything, which is the limit `steps_without_wait_max`: is there a loop without an end?",
            self.env.limits.steps_without_wait_max
        );
        self.fault = Some(Fault::at(run));
        self.fail(Problem::new(ProblemKind::Runtime, detail, pointer));
    }

    /// The workflow ends by an error. What a fault has ended is kept for a retry.
    pub(super) fn fail(&mut self, problem: Problem) {
        self.cancel_inside(None);
        self.journal_faulted(StatusKind::WorkflowFaulted, None, &problem);
        self.instance.error = Some(problem);
        self.instance.phase = Phase::Faulted;
        self.instance.kept.clear();
        self.instance.go_on_at = GoOnAt::Start;
        if let Some(Fault { origin, fallen, .. }) = self.fault.take() {
            self.instance.frames = Frames::restore(self.plan, fallen);
            self.instance.go_on_at = GoOnAt::Task(origin);
        }
    }

    /// A faulted instance goes on at the innermost faulted task, with new attempts and timeouts.
    pub(super) fn retry(&mut self) -> Option<Work> {
        self.instance.phase = Phase::Running;
        self.instance.error = None;
        self.instance.timeout = self.instance.timeout.map(|timeout| timeout.from(self.env.now_us));
        self.journal(StatusKind::WorkflowResumed, |_| {});
        match std::mem::take(&mut self.instance.go_on_at) {
            GoOnAt::Nothing | GoOnAt::Start => self.begin_workflow(),
            GoOnAt::End(raw_output) => self.end(raw_output),
            GoOnAt::Task(origin) => {
                self.go_on_at(origin);
                None
            }
        }
    }

    fn go_on_at(&mut self, origin: Run) {
        let now_us = self.env.now_us;
        let (plan, frames) = (self.plan, std::mem::take(&mut self.instance.frames));
        // The children that were awaited were cancelled with the rest: whoever awaited one begins anew.
        let awaits_child = |frame: &Frame| {
            let mut projection = Projection::default();
            if let Some(memory) = frame.memory() {
                plan.task(frame.task).kind.project(
                    memory,
                    &Look::of_frame(plan, &self.instance, frame),
                    &mut projection,
                );
            }
            !projection.children.is_empty()
        };
        let anew: Vec<Run> =
            frames.iter().filter(|frame| frame.run == origin || awaits_child(frame)).map(|frame| frame.run).collect();
        let next_run = &mut self.instance.next_run;
        self.instance.frames = frames.changed(plan, |frame| {
            frame.timeout = frame.timeout.map(|timeout| timeout.from(now_us));
            if anew.contains(&frame.run) {
                // A late result of the run before is none of the new one.
                frame.begin_anew(*next_run);
                *next_run += 1;
            } else if let State::Live(memory) = &mut frame.state {
                plan.task(frame.task).kind.begin_anew(memory, now_us);
            }
        });
        let live: Vec<Run> =
            self.instance.frames.iter().filter(|frame| frame.has_begun()).map(|frame| frame.run).collect();
        for run in live {
            self.touched.push(run);
            self.journal_task(StatusKind::TaskResumed, run);
            self.request_again(run);
        }
    }

    /// The effects in flight were dropped with the fault.
    fn request_again(&mut self, run: Run) {
        let frame = self.frame(run);
        let Some(memory) = frame.memory() else { return };
        let look = Look::of_frame(self.plan, &self.instance, frame);
        let kind = &self.plan.task(frame.task).kind;
        let mut projection = Projection::default();
        kind.project(memory, &look, &mut projection);
        let rendered = kind.render(memory, &look, self.env).and_then(Result::ok);
        if let (Some((slot, _)), Some(request)) = (projection.effects.first(), rendered) {
            self.requests.insert(*slot, request);
        }
    }
}

impl Fault {
    pub(super) fn at(origin: Run) -> Self {
        Self { origin, fallen: Vec::new(), around: None }
    }

    /// A frame as it was when it was ended.
    pub(super) fn keep(&mut self, frame: Arc<Frame>) {
        if self.around != Some(frame.run) {
            self.fallen.push(frame);
        }
    }

    /// The frame that hears of the fault next, as it was before.
    fn keep_around(&mut self, frame: Arc<Frame>) {
        self.around = Some(frame.run);
        self.fallen.push(frame);
    }
}

/// Stands beside a task type's own parts: the timer of the task's timeout, and of run 0 that of the workflow's.
pub(crate) const TIMEOUT_PART: u16 = u16::MAX;
