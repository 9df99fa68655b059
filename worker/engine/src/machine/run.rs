//! The core loop: what all tasks share, written once around them.
//!
//! ```text
//! enter: if → created, started → extensions' before → input.schema → input.from → timeout → the type's own step
//! leave: output.as → output.schema → export.as → export.schema → extensions' after → completed → then
//! fault: cancel what runs inside → faulted → the task around it may catch → or faults too
//! ```
//! It is a loop over small pieces of work, never a recursion, so that no definition's depth can use up the stack.

use std::collections::BTreeMap;
use std::sync::Arc;

use flagstop_schemas::{Entry, StatusKind};

use super::cx::Cx;
use super::frame::{Deadline, Frame, Run, State};
use super::vars::Vars;
use crate::api::{Authorization, ChildStart, Env, Phase, Request, Value};
use crate::duration;
use crate::instance::Instance;
use crate::plan::{BlockIndex, BlockKind, Plan, Task, TaskIndex, Then};
use crate::problem::{Problem, ProblemKind};
use crate::tasks::{Branch, Kind, Memory, Outcome, Signal};

/// One `apply` under way.
pub(crate) struct Machine<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) env: &'a Env<'a>,
    pub(super) before: &'a Instance,
    pub(crate) instance: Instance,
    pub(crate) entries: Vec<Entry>,
    /// Requests of effects that are new in this transition, by slot.
    pub(crate) requests: BTreeMap<i64, Request>,
    /// What a task's answer was authorised with, for its `$authorization`: of this transition only, so it is never stored.
    pub(crate) authorization: Option<(Run, Authorization)>,
    pub(crate) children: Vec<ChildStart>,
    /// Runs that may wait for something else than before.
    pub(super) touched: Vec<Run>,
    /// The phase that the last status-changed event of this transition told.
    pub(super) told: Option<Phase>,
    /// The fault that travels outwards.
    pub(super) fault: Option<Fault>,
    steps: u32,
    /// Tasks that this `apply` has completed.
    pub(super) tasks_done: u32,
    /// When this `apply` began, on the clock of [`Env::ticks_us`].
    pub(super) began_us: i64,
    /// One of them was a checkpoint.
    pub(super) at_checkpoint: bool,
    /// Of events and of values made.
    pub(super) bytes: usize,
}

/// A fault on its way outwards.
pub(super) struct Fault {
    /// Where it began: the innermost faulted task.
    pub(super) origin: Run,
    /// The frames that it has ended so far, as they were when it began.
    pub(super) fallen: Vec<Arc<Frame>>,
    /// The frame that hears of it next, which is among the fallen already.
    pub(super) around: Option<Run>,
}

/// A piece of work of the core loop.
pub(super) enum Work {
    /// A task type's step has decided.
    Outcome(Run, Result<Outcome, Problem>),
    /// A list is through: one of this run's, or the workflow's own.
    ListDone(Option<Run>, BlockIndex, Value, Left),
    /// A branch of this run is done.
    BranchDone(Run, Branch),
    /// A task has faulted.
    Fault(Run, Problem),
}

/// How a list was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// After its last task.
    Through,
    /// By `exit`.
    Exit,
}

/// Whether pure work is left when the core loop stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    None,
    /// The budget is used up, or it has come to a checkpoint.
    Left,
}

impl<'a> Machine<'a> {
    pub(super) fn new(plan: &'a Plan, env: &'a Env<'a>, before: &'a Instance) -> Self {
        Self {
            plan,
            env,
            before,
            instance: before.clone(),
            entries: Vec::new(),
            requests: BTreeMap::new(),
            authorization: None,
            children: Vec::new(),
            touched: Vec::new(),
            fault: None,
            told: None,
            steps: 0,
            tasks_done: 0,
            began_us: (env.ticks_us)(),
            at_checkpoint: false,
            bytes: 0,
        }
    }

    /// The frame of a run that is live, which the core loop knows of every run that it works on.
    pub(crate) fn frame(&self, run: Run) -> &Frame {
        self.instance.frames.get(run).expect("the core loop works on live runs only")
    }

    pub(super) fn frame_mut(&mut self, run: Run) -> &mut Frame {
        self.instance.frames.get_mut(run).expect("the core loop works on live runs only")
    }

    pub(super) fn task(&self, run: Run) -> &'a Task {
        self.plan.task(self.frame(run).task)
    }

    pub(crate) fn vars(&self, run: Run) -> Vars<'_> {
        let authorization = self.authorization.as_ref().filter(|(of, _)| *of == run).map(|(_, known)| known);
        Vars::of_task(self.plan, &self.instance, self.env, self.frame(run)).authorized(authorization)
    }

    /// Works on until nothing pure is left, the instance has ended or the budget is used up.
    pub(super) fn drive(&mut self, mut work: Option<Work>) -> Rest {
        loop {
            work = match work {
                Some(work) => self.step(work),
                None if !self.has_pure_work() => return Rest::None,
                None if self.budget_is_used_up() || self.is_at_checkpoint() => return Rest::Left,
                None => match self.instance.kept.pop_front() {
                    Some(kept) => self.take_kept(kept),
                    None => self.instance.frames.take_ready().and_then(|run| self.enter(run)),
                },
            };
        }
    }

    /// Runs to be entered, or results that came while it was suspended.
    pub(super) fn has_pure_work(&self) -> bool {
        matches!(self.instance.phase, Phase::Running | Phase::Waiting)
            && (self.instance.frames.ready().is_some() || !self.instance.kept.is_empty())
    }

    /// At least one step is always made, so that every transition gets on.
    fn budget_is_used_up(&self) -> bool {
        let limits = self.env.limits;
        self.steps > 0
            && (self.steps >= limits.steps_per_apply_max
                || self.entries.len() >= limits.events_per_apply_max as usize
                || self.bytes >= limits.bytes_per_apply_max)
    }

    fn step(&mut self, work: Work) -> Option<Work> {
        match work {
            Work::Outcome(run, Err(problem)) => Some(Work::Fault(run, problem)),
            Work::Outcome(_, Ok(Outcome::Pause)) => None,
            Work::Outcome(run, Ok(Outcome::Done(output))) => self.leave(run, output, None),
            Work::Outcome(run, Ok(Outcome::Go(output, then))) => self.leave(run, output, Some(then)),
            Work::Outcome(run, Ok(Outcome::List(list, input))) => self.begin_list(Some(run), list, input),
            Work::Outcome(run, Ok(Outcome::Fork(branches, input))) => {
                self.begin_branches(run, branches, &input);
                None
            }
            Work::ListDone(Some(run), list, output, left) => Some(match self.frame(run).state {
                State::Before(_) | State::After(_) => return self.extension_done(run, output, left),
                State::New | State::Live(_) => {
                    let outcome = self.with_type(run, |kind, memory, cx| kind.list_done(memory, cx, list, output));
                    Work::Outcome(run, outcome)
                }
            }),
            Work::ListDone(None, _, output, _) => self.end(output),
            Work::BranchDone(run, branch) => {
                let outcome = self.with_type(run, |kind, memory, cx| kind.branch_done(memory, cx, branch));
                Some(Work::Outcome(run, outcome))
            }
            Work::Fault(run, problem) => self.fault(run, problem),
        }
    }

    /// Starts a list: its first task, or, when it is empty, its input is its output.
    pub(super) fn begin_list(&mut self, parent: Option<Run>, list: BlockIndex, input: Value) -> Option<Work> {
        match self.plan.block(list).tasks.first() {
            Some(first) => {
                self.spawn(*first, parent, input);
                None
            }
            None => Some(Work::ListDone(parent, list, input, Left::Through)),
        }
    }

    fn begin_branches(&mut self, parent: Run, branches: BlockIndex, input: &Value) {
        for branch in &self.plan.block(branches).tasks {
            self.spawn(*branch, Some(parent), input.clone());
        }
    }

    pub(super) fn spawn(&mut self, task: TaskIndex, parent: Option<Run>, raw_input: Value) {
        let run = self.instance.next_run;
        self.instance.next_run += 1;
        let frame = Frame::new(run, task, parent, raw_input, self.env.now_us);
        self.instance.frames.insert(self.plan, frame);
    }

    fn enter(&mut self, run: Run) -> Option<Work> {
        self.steps += 1;
        self.instance.steps_since_wait += 1;
        if self.instance.steps_since_wait > self.env.limits.steps_without_wait_max {
            self.run_dry(run);
            return None;
        }
        let task = self.task(run);
        let wanted = match &task.common.condition {
            Some(condition) => self.vars(run).condition(condition, &self.frame(run).raw_input),
            None => Ok(true),
        };
        if let Ok(false) = wanted {
            let frame = self.remove(run)?;
            return self.go_on(task, &frame, frame.raw_input.clone(), Then::Continue);
        }
        let now_us = self.env.now_us;
        let frame = self.frame_mut(run);
        frame.started_us = now_us;
        frame.state = State::Before(0);
        self.journal_task(StatusKind::TaskCreated, run);
        self.journal_task(StatusKind::TaskStarted, run);
        let begun = wanted.and_then(|_| self.choose_extensions(run, task));
        match begun {
            Err(problem) => Some(Work::Fault(run, problem)),
            Ok(()) if self.frame(run).extensions.is_empty() => self.begin(run),
            Ok(()) => self.extend_before(run, 0),
        }
    }

    /// The type's own part begins.
    pub(super) fn begin(&mut self, run: Run) -> Option<Work> {
        let task = self.task(run);
        let entered = self
            .take_input(run, task)
            .and_then(|()| self.set_timeout(run, task))
            .and_then(|()| task.kind.enter(&mut Cx::new(self, run)));
        let outcome = entered.map(|(memory, outcome)| {
            self.frame_mut(run).state = State::Live(memory);
            outcome
        });
        if let Ok(Outcome::Pause) = outcome {
            self.tell_waiting(run);
        }
        Some(Work::Outcome(run, outcome))
    }

    fn take_input(&mut self, run: Run, task: &Task) -> Result<(), Problem> {
        let raw = &self.frame(run).raw_input;
        if let Some(schema) = &task.common.input_schema {
            schema.validate(raw, &task.pointer)?;
        }
        let Some(from) = &task.common.input_from else { return Ok(()) };
        let input = self.vars(run).eval(from, raw)?;
        self.frame_mut(run).input = input;
        Ok(())
    }

    fn set_timeout(&mut self, run: Run, task: &Task) -> Result<(), Problem> {
        let Some(timeout) = &task.common.timeout else { return Ok(()) };
        let after = self.vars(run).eval(timeout, &self.frame(run).input)?;
        self.frame_mut(run).timeout = Some(self.deadline(&after)?);
        Ok(())
    }

    pub(super) fn deadline(&self, after: &Value) -> Result<Deadline, Problem> {
        let after_us = duration::from_value(after, self.env.limits.duration_days_max)
            .map_err(|why| Problem::new(ProblemKind::Expression, why.to_string(), ""))?;
        Ok(Deadline { after_us, due_us: self.env.now_us.saturating_add(after_us) })
    }

    /// Notes that a run may wait for something else than before this transition.
    fn touch(&mut self, run: Run) {
        if run < self.before.next_run {
            self.touched.push(run);
        }
    }

    /// Takes a run out of the tree; a travelling fault keeps it as it was.
    pub(super) fn remove(&mut self, run: Run) -> Option<Arc<Frame>> {
        let frame = self.instance.frames.remove(run)?;
        self.touch(run);
        if let Some(fault) = &mut self.fault {
            fault.keep(frame.clone());
        }
        Some(frame)
    }

    /// Cancels all that runs inside of a run, or of the workflow, from the inside out.
    pub(super) fn cancel_inside(&mut self, run: Option<Run>) {
        for inner in self.instance.frames.inside(run).into_iter().rev() {
            // A run that was never entered was never announced.
            if self.frame(inner).has_begun() {
                self.journal_task(StatusKind::TaskCancelled, inner);
            }
            self.remove(inner);
        }
    }

    /// Gives a paused run what came for it. `None`: it does not wait for that.
    pub(super) fn wake(&mut self, run: Run, signal: Signal<'_>) -> Option<Work> {
        self.instance.frames.get(run)?.memory()?;
        let outcome = self.with_type(run, |kind, memory, cx| Ok(kind.wake(memory, cx, signal)));
        match outcome {
            Ok(woken) => woken.map(|outcome| Work::Outcome(run, outcome)),
            Err(problem) => Some(Work::Fault(run, problem)),
        }
    }

    /// Calls a task type with its run's memory, which is taken out of the frame meanwhile.
    pub(super) fn with_type<T>(
        &mut self,
        run: Run,
        step: impl FnOnce(&'a Kind, &mut Memory, &mut Cx<'_, 'a>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let kind = &self.task(run).kind;
        self.touch(run);
        let frame = self.frame_mut(run);
        let state = std::mem::replace(&mut frame.state, State::Before(0));
        let State::Live(mut memory) = state else {
            frame.state = state;
            return Err(broken("the engine gave a step to a task that is not entered"));
        };
        let result = step(kind, &mut memory, &mut Cx::new(self, run));
        self.frame_mut(run).state = State::Live(memory);
        result
    }

    pub(super) fn workflow_vars(&self) -> Vars<'_> {
        Vars::of_workflow(self.plan, &self.instance, self.env)
    }

    /// Whether the run stands in a list of an extension, at whatever depth.
    pub(super) fn is_in_extension(&self, run: Run) -> bool {
        let in_extension = |frame: &Frame| self.plan.block_of(frame.task).kind == BlockKind::Extension;
        self.plan.has_extensions() && self.instance.frames.path(run).any(in_extension)
    }
}

impl Problem {
    /// The same, at this place unless it already has one.
    pub(super) fn located(self, pointer: &str) -> Self {
        if self.instance.as_deref().is_none_or(str::is_empty) { self.at(pointer) } else { self }
    }
}

/// What can't happen, unless the engine itself is wrong.
pub(crate) fn broken(what: &str) -> Problem {
    Problem::new(ProblemKind::Runtime, format!("{what}; please report this"), "")
}
