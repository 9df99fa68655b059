//! What a task type's step can see and do: its own run, expressions in its scope, and what leaves the engine.

use flagstop_schemas::{CloudEvent, Hash16, InstanceId, StatusKind};

use super::frame::{Frame, Run};
use super::run::Machine;
use super::vars::Vars;
use crate::api::{Authorization, ChildStart, Request, Value};
use crate::instance::slot;
use crate::plan::{Plan, Task};
use crate::problem::{Problem, ProblemKind};

/// One run's view of the machine. Other runs can't be changed through it.
pub(crate) struct Cx<'m, 'a> {
    pub(super) machine: &'m mut Machine<'a>,
    run: Run,
}

impl<'m, 'a> Cx<'m, 'a> {
    pub(super) fn new(machine: &'m mut Machine<'a>, run: Run) -> Self {
        Self { machine, run }
    }

    pub(super) fn frame(&self) -> &Frame {
        self.machine.frame(self.run)
    }

    /// The run's number.
    pub(crate) fn run(&self) -> Run {
        self.run
    }

    pub(crate) fn task(&self) -> &'a Task {
        self.machine.plan.task(self.frame().task)
    }

    pub(crate) fn plan(&self) -> &'a Plan {
        self.machine.plan
    }

    pub(crate) fn instance_id(&self) -> InstanceId {
        self.machine.instance.id
    }

    /// What the request of this run's effect carries (D4).
    pub(crate) fn idempotency_key(&self) -> String {
        self.machine.instance.idempotency_key(self.machine.plan, self.run)
    }

    pub(crate) fn now_us(&self) -> i64 {
        self.machine.env.now_us
    }

    pub(crate) fn limits(&self) -> &'a crate::Limits {
        self.machine.env.limits
    }

    /// Calls of functions that this run stands in, its own included.
    pub(crate) fn function_depth(&self) -> usize {
        let (plan, frames) = (self.machine.plan, &self.machine.instance.frames);
        frames.path(self.run).filter(|frame| plan.task(frame.task).kind.hides_locals()).count()
    }

    /// The transformed input.
    pub(crate) fn input(&self) -> &Value {
        &self.frame().input
    }

    /// The task definition's scope: what its own expressions see.
    pub(crate) fn vars(&self) -> Vars<'_> {
        self.machine.vars(self.run)
    }

    /// Publishes one of the specification's correlation events.
    pub(crate) fn correlation(&mut self, kind: StatusKind, keys: Option<&Value>) {
        let pointer = self.task().pointer.clone();
        self.machine.journal_correlation(kind, pointer, keys);
    }

    /// Publishes the author's own event.
    pub(crate) fn emit(&mut self, event: CloudEvent) {
        self.machine.emit(event);
    }

    /// Asks the outside for something; the answer comes back to this run with the same part.
    pub(crate) fn request(&mut self, part: u16, request: Request) {
        self.machine.requests.insert(slot(self.run, part), request);
    }

    /// An answer came to this task's effect, whatever it says: the next attempt is another run (D4).
    pub(crate) fn count_answer(&mut self) {
        let path = self.machine.instance.run_path(self.machine.plan, self.run);
        let task = self.frame().task;
        self.machine.instance.answered.count(task, &path);
    }

    /// Starts a workflow as a child of this one; `part`: where its end is awaited as a [`crate::tasks::Signal::Child`],
    /// which the task's memory must project with the id that is given back. Cutting the task cancels an awaited child.
    ///
    /// Each call makes another child: the start is committed together with the state, so that none can be lost (D10).
    pub(crate) fn start_child(&mut self, part: Option<u16>, wanted: NewChild) -> Result<InstanceId, Problem> {
        let depth = self.machine.instance.depth + 1;
        let depth_max = self.limits().workflow_depth_max;
        if depth > depth_max {
            let detail = format!(
                "this is the child of {depth_max} workflows, each started by another, which is the limit `workflow_depth_max`: does one start itself?"
            );
            return Err(Problem::new(ProblemKind::Runtime, detail, ""));
        }
        let (instance, plan) = (&self.machine.instance, self.machine.plan);
        let run = instance.run_key(plan, self.run);
        let id = InstanceId::of_child(instance.id, &self.task().pointer, &run);
        self.count_answer();
        let NewChild { namespace, name, version, input } = wanted;
        let slot = part.map(|part| slot(self.run, part));
        self.machine.children.push(ChildStart { id, slot, namespace, name, version, input, depth });
        Ok(id)
    }

    /// Cancels the tasks that run inside of this one.
    pub(crate) fn cancel_inside(&mut self) {
        self.machine.cancel_inside(Some(self.run));
    }

    /// `$context` as this task sees it.
    pub(crate) fn context(&self) -> &Value {
        self.machine.instance.context_of(self.frame())
    }

    /// Replaces `$context` for this task and those around it in the same branch.
    pub(crate) fn set_context(&mut self, context: Value) {
        self.machine.set_context(self.run, context);
    }

    /// Publishes that a new attempt of this task begins, counted from 1.
    pub(crate) fn retried(&mut self, attempt: u32) {
        self.machine.journal_retried(self.run, attempt);
    }

    /// A number that nobody can foresee and every replay of this step gives again; `salt` tells several of a run apart.
    pub(crate) fn random(&self, salt: u64) -> u64 {
        let instance = self.machine.instance.id.0;
        let numbers = [self.machine.env.seed, self.run, salt].map(u64::to_be_bytes).concat();
        let hash = Hash16::of("flagstop/random", &[instance.as_bytes(), &numbers]).0;
        hash.as_u64_pair().0
    }

    /// What the answer was authorised with: `$authorization` of what comes after it in this task.
    pub(crate) fn authorize(&mut self, authorization: Option<Authorization>) {
        self.machine.authorization = authorization.map(|known| (self.run, known));
    }
}

/// The workflow to start as a child.
#[derive(Debug)]
pub(crate) struct NewChild {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `None`: the highest enabled one.
    pub(crate) version: Option<semver::Version>,
    pub(crate) input: Value,
}
