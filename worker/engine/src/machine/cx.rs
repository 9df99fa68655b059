//! What a task type's step can see and do: its own run, expressions in its scope, and what leaves the engine.

use flagstop_schemas::{CloudEvent, Entry, InstanceId, StatusKind};

use super::frame::{Frame, Run};
use super::run::Machine;
use super::vars::Vars;
use crate::api::{Authorization, Request, Value};
use crate::instance::slot;
use crate::plan::{Plan, Task};

/// One run's view of the machine. Other runs can't be changed through it.
pub(crate) struct Cx<'m, 'a> {
    machine: &'m mut Machine<'a>,
    run: Run,
}

impl<'m, 'a> Cx<'m, 'a> {
    pub(super) fn new(machine: &'m mut Machine<'a>, run: Run) -> Self {
        Self { machine, run }
    }

    fn frame(&self) -> &Frame {
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
        let instance = &self.machine.instance;
        instance.idempotency_key(self.machine.plan, self.frame().task, &[])
    }

    pub(crate) fn now_us(&self) -> i64 {
        self.machine.env.now_us
    }

    pub(crate) fn limits(&self) -> &'a crate::Limits {
        self.machine.env.limits
    }

    /// The transformed input.
    pub(crate) fn input(&self) -> &Value {
        &self.frame().input
    }

    /// The task definition's scope: what its own expressions see.
    pub(crate) fn vars(&self) -> Vars<'_> {
        self.machine.vars(self.run)
    }

    /// `$context` as this task sees it.
    pub(crate) fn context(&self) -> &Value {
        &self.machine.instance.context
    }

    /// Replaces `$context` for this task and those around it.
    pub(crate) fn set_context(&mut self, context: Value) {
        self.machine.instance.context = context;
    }

    /// Publishes one of the specification's correlation events.
    pub(crate) fn correlation(&mut self, kind: StatusKind, keys: Option<&Value>) {
        let pointer = self.task().pointer.clone();
        self.machine.journal_correlation(kind, pointer, keys);
    }

    /// Publishes the author's own event.
    pub(crate) fn emit(&mut self, event: CloudEvent) {
        self.machine.entries.push(Entry::Emitted(Box::new(event)));
    }

    /// Asks the outside for something; the answer comes back to this run with the same part.
    pub(crate) fn request(&mut self, part: u16, request: Request) {
        self.machine.requests.insert(slot(self.run, part), request);
    }

    /// An answer came to this task's effect, whatever it says: the next attempt is another run (D4).
    pub(crate) fn count_answer(&mut self) {
        let key = (self.frame().task.0, Vec::new());
        *self.machine.instance.answered.entry(key).or_default() += 1;
    }

    /// What the answer was authorised with: `$authorization` of what comes after it in this task.
    pub(crate) fn authorize(&mut self, authorization: Option<Authorization>) {
        self.machine.authorization = authorization.map(|known| (self.run, known));
    }
}
