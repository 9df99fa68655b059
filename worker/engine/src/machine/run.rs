//! The core loop: what all tasks share, written once around them.
//!
//! ```text
//! enter: if → created, started → input.schema → input.from → the type's own step
//! leave: output.as → output.schema → export.as → export.schema → completed → then
//! fault: cancel what runs inside → faulted → the task around it may catch → or faults too
//! ```
//! It is a loop over small pieces of work, never a recursion, so that no definition's depth can use up the stack.

use std::collections::{BTreeMap, BTreeSet};

use flagstop_schemas::{Entry, StatusKind};

use super::cx::Cx;
use super::frame::{Frame, Run};
use super::vars::Vars;
use crate::api::{Authorization, Env, Phase, Request, Value};
use crate::instance::Instance;
use crate::plan::{BlockIndex, Plan, Task, TaskIndex, Then};
use crate::problem::{Problem, ProblemKind};
use crate::tasks::{Kind, Memory, Outcome, Signal};

/// One `apply` under way.
pub(crate) struct Machine<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) env: &'a Env<'a>,
    pub(crate) instance: Instance,
    pub(crate) entries: Vec<Entry>,
    /// Requests of effects that are new in this transition, by slot.
    pub(crate) requests: BTreeMap<i64, Request>,
    /// What a task's answer was authorised with, for its `$authorization`: of this transition only, so it is never stored.
    pub(crate) authorization: Option<(Run, Authorization)>,
    /// The runs that are still to be entered.
    ready: BTreeSet<Run>,
    steps: u32,
}

/// A piece of work of the core loop.
pub(super) enum Work {
    /// A task type's step has decided.
    Outcome(Run, Result<Outcome, Problem>),
    /// A list is through: the one of this run, or the workflow's own.
    ListDone(Option<Run>, BlockIndex, Value),
    /// A task has faulted.
    Fault(Run, Problem),
}

/// Whether pure work is left when the core loop stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    None,
    /// The budget is used up.
    Left,
}

impl<'a> Machine<'a> {
    pub(super) fn new(plan: &'a Plan, env: &'a Env<'a>, instance: Instance) -> Self {
        let ready = instance.frames.iter().filter(|frame| frame.memory.is_none()).map(|frame| frame.run).collect();
        Self {
            plan,
            env,
            instance,
            entries: Vec::new(),
            requests: BTreeMap::new(),
            authorization: None,
            ready,
            steps: 0,
        }
    }

    /// The frame of a run that is live, which the core loop knows of every run that it works on.
    pub(crate) fn frame(&self, run: Run) -> &Frame {
        self.instance.frames.get(run).expect("the core loop works on live runs only")
    }

    fn task(&self, run: Run) -> &'a Task {
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
                None => match self.ready.first().copied() {
                    None => return Rest::None,
                    Some(_) if self.budget_is_used_up() => return Rest::Left,
                    Some(run) => self.enter(run),
                },
            };
        }
    }

    pub(super) fn has_pure_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// At least one step is always made, so that every transition gets on.
    fn budget_is_used_up(&self) -> bool {
        let limits = self.env.limits;
        self.steps > 0
            && (self.steps >= limits.steps_per_apply_max || self.entries.len() >= limits.events_per_apply_max as usize)
    }

    fn step(&mut self, work: Work) -> Option<Work> {
        match work {
            Work::Outcome(run, Err(problem)) => Some(Work::Fault(run, problem)),
            Work::Outcome(_, Ok(Outcome::Pause)) => None,
            Work::Outcome(run, Ok(Outcome::Done(output))) => self.leave(run, output, None),
            Work::Outcome(run, Ok(Outcome::Go(output, then))) => self.leave(run, output, Some(then)),
            Work::Outcome(run, Ok(Outcome::List(list, input))) => self.begin_list(Some(run), list, input),
            Work::ListDone(Some(run), list, output) => {
                let outcome = self.with_type(run, |kind, memory, cx| kind.list_done(memory, cx, list, output));
                Some(Work::Outcome(run, outcome))
            }
            Work::ListDone(None, _, output) => self.end(output),
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
            None => Some(Work::ListDone(parent, list, input)),
        }
    }

    fn spawn(&mut self, task: TaskIndex, parent: Option<Run>, raw_input: Value) {
        let run = self.instance.next_run;
        self.instance.next_run += 1;
        let input = raw_input.clone();
        let started_us = self.env.now_us;
        self.instance.frames.insert(Frame { run, task, parent, raw_input, input, started_us, memory: None });
        self.ready.insert(run);
    }

    fn enter(&mut self, run: Run) -> Option<Work> {
        self.steps += 1;
        self.ready.remove(&run);
        let task = self.task(run);
        let wanted = match &task.common.condition {
            Some(condition) => self.vars(run).condition(condition, &self.frame(run).raw_input),
            None => Ok(true),
        };
        if let Ok(false) = wanted {
            let frame = self.instance.frames.remove(run).expect("it was there a moment ago");
            return self.go_on(task, frame.parent, frame.raw_input, Then::Continue);
        }
        let now_us = self.env.now_us;
        if let Some(frame) = self.instance.frames.get_mut(run) {
            frame.started_us = now_us;
        }
        self.journal_task(StatusKind::TaskCreated, &task.pointer);
        self.journal_task(StatusKind::TaskStarted, &task.pointer);
        let entered =
            wanted.and_then(|_| self.take_input(run, task)).and_then(|()| task.kind.enter(&mut Cx::new(self, run)));
        let outcome = entered.map(|(memory, outcome)| {
            if let Some(frame) = self.instance.frames.get_mut(run) {
                frame.memory = Some(memory);
            }
            outcome
        });
        Some(Work::Outcome(run, outcome))
    }

    fn take_input(&mut self, run: Run, task: &Task) -> Result<(), Problem> {
        let raw = &self.frame(run).raw_input;
        if let Some(schema) = &task.common.input_schema {
            schema.validate(raw, &task.pointer)?;
        }
        let Some(from) = &task.common.input_from else { return Ok(()) };
        let input = self.vars(run).eval(from, raw)?;
        if let Some(frame) = self.instance.frames.get_mut(run) {
            frame.input = input;
        }
        Ok(())
    }

    /// A task is done: the common tail, once.
    fn leave(&mut self, run: Run, raw_output: Value, instead: Option<Then>) -> Option<Work> {
        self.steps += 1;
        self.cancel_inside(Some(run));
        let task = self.task(run);
        let output = match self.give_output(run, task, raw_output) {
            Ok(output) => output,
            Err(problem) => return Some(Work::Fault(run, problem)),
        };
        self.journal_completed(StatusKind::TaskCompleted, Some(&task.pointer), &output);
        let frame = self.instance.frames.remove(run).expect("it was there a moment ago");
        self.go_on(task, frame.parent, output, instead.unwrap_or(task.common.then))
    }

    fn give_output(&mut self, run: Run, task: &Task, raw_output: Value) -> Result<Value, Problem> {
        let common = &task.common;
        let output = match &common.output_as {
            Some(as_) => self.vars(run).after(&raw_output).eval(as_, &raw_output)?,
            None => raw_output.clone(),
        };
        if let Some(schema) = &common.output_schema {
            schema.validate(&output, &task.pointer)?;
        }
        let exported = match &common.export_as {
            Some(as_) => Some(self.vars(run).after(&raw_output).with_output(&output).eval(as_, &output)?),
            None => None,
        };
        if let Some(schema) = &common.export_schema {
            schema.validate(exported.as_ref().unwrap_or(&self.instance.context), &task.pointer)?;
        }
        if let Some(context) = exported {
            self.instance.context = context;
        }
        Ok(output)
    }

    /// Where the flow goes after `task`, whose run is over.
    fn go_on(&mut self, task: &Task, parent: Option<Run>, output: Value, then: Then) -> Option<Work> {
        let position = match then {
            Then::Continue => task.position + 1,
            Then::Sibling(position) => position,
            Then::Exit => return Some(Work::ListDone(parent, task.block, output)),
            Then::End => return self.end(output),
        };
        match self.plan.block(task.block).tasks.get(position as usize) {
            Some(next) => {
                self.spawn(*next, parent, output);
                None
            }
            None => Some(Work::ListDone(parent, task.block, output)),
        }
    }

    fn fault(&mut self, run: Run, problem: Problem) -> Option<Work> {
        self.cancel_inside(Some(run));
        let task = self.task(run);
        let problem = problem.located(&task.pointer);
        self.journal_faulted(StatusKind::TaskFaulted, Some(&task.pointer), &problem);
        let frame = self.instance.frames.remove(run).expect("it was there a moment ago");
        match frame.parent {
            Some(parent) => {
                let outcome = self.with_type(parent, |kind, memory, cx| kind.child_faulted(memory, cx, problem));
                Some(Work::Outcome(parent, outcome))
            }
            None => {
                self.fail(problem);
                None
            }
        }
    }

    /// The workflow ends by itself.
    fn end(&mut self, raw_output: Value) -> Option<Work> {
        self.cancel_inside(None);
        match self.give_workflow_output(raw_output) {
            Ok(output) => {
                self.journal_completed(StatusKind::WorkflowCompleted, None, &output);
                self.instance.output = Some(output);
                self.instance.phase = Phase::Completed;
            }
            Err(problem) => self.fail(problem),
        }
        None
    }

    fn give_workflow_output(&self, raw_output: Value) -> Result<Value, Problem> {
        let workflow = self.plan.workflow();
        let output = match &workflow.output_as {
            Some(as_) => {
                self.workflow_vars().eval(as_, &raw_output).map_err(|problem| problem.located("/output/as"))?
            }
            None => raw_output,
        };
        if let Some(schema) = &workflow.output_schema {
            schema.validate(&output, "/output/schema")?;
        }
        Ok(output)
    }

    pub(super) fn workflow_vars(&self) -> Vars<'_> {
        Vars::of_workflow(self.plan, &self.instance, self.env)
    }

    /// The workflow ends by an error.
    pub(super) fn fail(&mut self, problem: Problem) {
        self.cancel_inside(None);
        self.journal_faulted(StatusKind::WorkflowFaulted, None, &problem);
        self.instance.error = Some(problem);
        self.instance.phase = Phase::Faulted;
    }

    /// Cancels all that runs inside of a run, or of the workflow, from the inside out.
    pub(super) fn cancel_inside(&mut self, run: Option<Run>) {
        for inner in self.instance.frames.inside(run) {
            self.ready.remove(&inner);
            let Some(frame) = self.instance.frames.remove(inner) else { continue };
            // A run that was never entered was never announced.
            if frame.memory.is_some() {
                let pointer = &self.plan.task(frame.task).pointer;
                self.journal_task(StatusKind::TaskCancelled, pointer);
            }
        }
    }

    /// Gives a paused run what came for it. `None`: it does not wait for that.
    pub(super) fn wake(&mut self, run: Run, signal: Signal<'_>) -> Option<Work> {
        self.instance.frames.get(run)?.memory.as_ref()?;
        let outcome = self.with_type(run, |kind, memory, cx| Ok(kind.wake(memory, cx, signal)));
        match outcome {
            Ok(woken) => woken.map(|outcome| Work::Outcome(run, outcome)),
            Err(problem) => Some(Work::Fault(run, problem)),
        }
    }

    /// Calls a task type with its run's memory, which is taken out of the frame meanwhile.
    fn with_type<T>(
        &mut self,
        run: Run,
        step: impl FnOnce(&'a Kind, &mut Memory, &mut Cx<'_, 'a>) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let kind = &self.task(run).kind;
        let memory = self.instance.frames.get_mut(run).and_then(|frame| frame.memory.take());
        let Some(mut memory) = memory else {
            return Err(broken("the engine gave a step to a task that is not entered"));
        };
        let result = step(kind, &mut memory, &mut Cx::new(self, run));
        if let Some(frame) = self.instance.frames.get_mut(run) {
            frame.memory = Some(memory);
        }
        result
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
