//! A live run as projections see it: data only, nothing that could change or be asked of the outside.

use super::frame::Frame;
use super::vars::Vars;
use crate::api::Env;
use crate::instance::{Instance, slot};
use crate::plan::{Plan, Task};

/// One live run.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) instance: &'a Instance,
    pub(crate) frame: &'a Frame,
}

impl<'a> Look<'a> {
    pub(crate) fn of_frame(plan: &'a Plan, instance: &'a Instance, frame: &'a Frame) -> Self {
        Self { plan, instance, frame }
    }

    pub(crate) fn task(&self) -> &'a Task {
        self.plan.task(self.frame.task)
    }

    pub(crate) fn slot(&self, part: u16) -> i64 {
        slot(self.frame.run, part)
    }

    /// What the request of this run's effect carries (D4).
    pub(crate) fn idempotency_key(&self) -> String {
        self.instance.idempotency_key(self.plan, self.frame.run)
    }

    /// The task definition's scope.
    pub(crate) fn vars<'s>(&self, env: &Env<'s>) -> Vars<'s>
    where
        'a: 's,
    {
        Vars::of_task(self.plan, self.instance, env, self.frame)
    }
}
