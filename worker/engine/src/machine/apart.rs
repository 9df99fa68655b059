//! Effects that nobody awaits (`await: false`): their task is over and the flow goes on, but they stay asked for, even
//! when the instance ends, until an answer came. So they are made at least once, like all others.

use std::sync::Arc;

use super::cx::Cx;
use super::frame::{Frame, Run, State};
use crate::api::{Request, Value};
use crate::expr::Vars as _;
use crate::instance::slot;
use crate::plan::Plan;
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::tasks::Memory;

/// The run that asked, as it was: all that its request is rendered from again.
#[derive(Debug, Clone)]
pub(crate) struct Apart {
    pub(crate) frame: Frame,
    /// The variables of the tasks around it that its expressions use.
    pub(crate) locals: Vec<(String, Value)>,
    pub(crate) idempotency_key: String,
}

impl Apart {
    pub(crate) fn read(plan: &Plan, from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let frame = Frame::read(plan, from)?;
        let mut locals = Vec::new();
        for _ in 0..from.count()? {
            locals.push((Stored::read(from)?, Stored::read(from)?));
        }
        Ok(Self { frame, locals, idempotency_key: Stored::read(from)? })
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        self.frame.write(to);
        to.number(self.locals.len() as u64);
        for (name, local) in &self.locals {
            name.write(to);
            local.write(to);
        }
        self.idempotency_key.write(to);
    }
}

impl Cx<'_, '_> {
    /// Asks the outside for something whose answer nobody awaits; `memory` is what the task's type renders it from again,
    /// and `locals` names the variables around the task that it needs for that.
    pub(crate) fn request_apart(
        &mut self,
        request: Request,
        memory: Memory,
        locals: &[String],
    ) -> Result<(), crate::Problem> {
        let vars = self.vars();
        let locals = locals.iter().map(|name| Ok((name.clone(), vars.get(name)?))).collect::<Result<_, _>>()?;
        let idempotency_key = self.idempotency_key();
        let context = Some(self.context().clone());
        let run = self.run();
        let frame = Frame { parent: None, context, state: State::Live(memory), ..self.frame().clone() };
        self.count_answer();
        self.machine.requests.insert(slot(run, 0), request);
        self.machine.instance.apart.insert(run, Arc::new(Apart { frame, locals, idempotency_key }));
        Ok(())
    }
}

impl super::Machine<'_> {
    /// An answer that nobody awaits: it was made, and that is all.
    pub(super) fn take_apart(&mut self, run: Run) -> bool {
        let was_there = self.instance.apart.remove(&run).is_some();
        if was_there {
            self.touched.push(run);
        }
        was_there
    }
}
