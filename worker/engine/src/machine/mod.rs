//! `apply`: takes an instance from one state to the next.

pub(crate) mod answered;
pub(crate) mod apart;
mod checkpoint;
mod conclude;
pub(crate) mod cx;
mod extend;
pub(crate) mod fault;
pub(crate) mod frame;
pub(crate) mod frames;
mod hold;
mod journal;
mod leave;
pub(crate) mod look;
pub(crate) mod run;
pub(crate) mod vars;

use flagstop_schemas::{Hash16, StatusKind, message_key};

use crate::api::{Env, Phase, Rejected, Stimulus, Transition, Value};
use crate::instance::{GoOnAt, Instance, Kept, slot_parts};
use crate::plan::Plan;
use crate::problem::Problem;
use crate::tasks::Signal;
use crate::value;
use run::{Machine, Work};

/// Decides what a stimulus does to an instance. The instance itself is left as it was, so that a refused member of a
/// batch costs nothing (D2).
///
/// # Errors
/// A stimulus that changes nothing says why.
pub fn apply(plan: &Plan, instance: &Instance, stimulus: Stimulus, env: &Env<'_>) -> Result<Transition, Rejected> {
    let answered = match &stimulus {
        Stimulus::Effect { slot, .. } | Stimulus::Child { slot, .. } => Some(*slot),
        _ => None,
    };
    let mut machine = Machine::new(plan, env, instance);
    // What comes from outside shows that the instance does not run in circles.
    if !matches!(stimulus, Stimulus::Proceed) {
        machine.instance.steps_since_wait = 0;
    }
    let work = machine.take(stimulus)?;
    let rest = machine.drive(work);
    Ok(machine.conclude(answered, rest))
}

impl Machine<'_> {
    /// Every stimulus in every phase. A new phase or stimulus does not compile until it is decided here.
    fn take(&mut self, stimulus: Stimulus) -> Result<Option<Work>, Rejected> {
        use Phase::{Cancelled, Completed, Faulted, Pending, Running, Suspended, Waiting};
        if let Stimulus::Effect { slot, .. } = stimulus
            && let Some((run, 0)) = slot_parts(slot)
            && self.take_apart(run)
        {
            return Ok(None);
        }
        match (self.instance.phase, stimulus) {
            (Faulted, Stimulus::Retry) => Ok(self.retry()),
            (Cancelled | Faulted | Completed, _) => Err(Rejected::Ended),

            (Pending, Stimulus::Start { input, cause, depth, heard }) => {
                for event in heard {
                    self.instance.heard.push(event, self.env.limits.heard_events_max);
                }
                Ok(self.start(input, cause, depth))
            }
            (Running | Waiting | Suspended, Stimulus::Start { .. }) => Err(Rejected::Illegal("it has already started")),

            (Pending | Running | Waiting | Suspended, Stimulus::Cancel) => {
                self.cancel();
                Ok(None)
            }

            (Running | Waiting, Stimulus::Event { slot, event }) => {
                let key = message_key(&event.envelope().source, &event.envelope().id);
                if self.instance.heard.contains(&key) {
                    return Err(Rejected::Heard);
                }
                let work = self.take_signal(slot, |part| Signal::Event { part, event: &event })?;
                self.instance.heard.push(key, self.env.limits.heard_events_max);
                Ok(work)
            }
            (Running | Waiting, Stimulus::Timer { slot }) => match slot_parts(slot) {
                Some((run, fault::TIMEOUT_PART)) => self.cut(run),
                _ => self.take_signal(slot, |part| Signal::Timer { part }),
            },
            (Running | Waiting, Stimulus::Effect { slot, outcome }) => {
                self.take_signal(slot, |part| Signal::Effect { part, outcome })
            }
            (Running | Waiting, Stimulus::Child { slot, outcome }) => {
                self.take_signal(slot, |part| Signal::Child { part, outcome })
            }
            // Neither is projected while it is held: they wait outside.
            (Pending | Suspended, Stimulus::Event { .. } | Stimulus::Timer { .. }) => Err(Rejected::NotWaiting),
            (Suspended, Stimulus::Effect { slot, outcome }) => self.keep(slot, Kept::effect(outcome)),
            (Suspended, Stimulus::Child { slot, outcome }) => self.keep(slot, Kept::Child(outcome)),
            (Pending, Stimulus::Effect { .. } | Stimulus::Child { .. }) => Err(Rejected::NotWaiting),

            (Running | Waiting, Stimulus::Suspend) => {
                self.suspend();
                Ok(None)
            }
            (Suspended, Stimulus::Suspend) => Err(Rejected::Illegal("it is suspended already")),
            (Pending, Stimulus::Suspend) => Err(Rejected::Illegal("it has not started yet")),

            (Suspended, Stimulus::Continue) => {
                self.resume();
                Ok(None)
            }
            (Pending | Running | Waiting, Stimulus::Continue) => Err(Rejected::Illegal("it is not suspended")),

            (Pending | Running | Waiting | Suspended, Stimulus::Retry) => {
                Err(Rejected::Illegal("it has not faulted: only what has faulted can be retried"))
            }

            (Running, Stimulus::Proceed) if self.has_pure_work() => Ok(None),
            (Pending | Running | Waiting | Suspended, Stimulus::Proceed) => {
                Err(Rejected::Illegal("no pure work is left to proceed with"))
            }
        }
    }

    fn take_signal<'s>(&mut self, slot: i64, signal: impl FnOnce(u16) -> Signal<'s>) -> Result<Option<Work>, Rejected> {
        let (run, part) = slot_parts(slot).ok_or(Rejected::NotWaiting)?;
        if self.instance.kept.iter().any(|(kept, _)| *kept == slot) {
            return Err(Rejected::NotWaiting);
        }
        self.wake(run, signal(part)).map(Some).ok_or(Rejected::NotWaiting)
    }

    fn start(&mut self, input: Value, cause: Option<(String, String)>, depth: u32) -> Option<Work> {
        self.instance.phase = Phase::Running;
        self.instance.started_us = self.env.now_us;
        self.instance.input = input;
        self.instance.depth = depth;
        self.journal(StatusKind::WorkflowStarted, |event| {
            if let Some((id, source)) = cause.clone() {
                event.attributes = vec![("causationid", id.into()), ("causationsource", source.into())];
            }
        });
        // Nobody hears what started it: it is part of the input.
        if let Some((id, source)) = cause {
            let key = message_key(&source, &id);
            if !self.instance.heard.contains(&key) {
                self.instance.heard.push(key, self.env.limits.heard_events_max);
            }
        }
        self.begin_workflow()
    }

    fn begin_workflow(&mut self) -> Option<Work> {
        let taken = self.take_workflow_input(self.instance.input.clone());
        match taken.and_then(|input| Ok((self.activation(&input)?, input))) {
            Ok((activation, input)) => {
                self.instance.activation = activation;
                self.instance.business_key = self.business_key(&input);
                self.begin_list(None, self.plan.workflow().list, input)
            }
            Err(problem) => {
                self.fail(problem);
                self.instance.go_on_at = GoOnAt::Start;
                None
            }
        }
    }

    fn take_workflow_input(&mut self, raw: Value) -> Result<Value, Problem> {
        let workflow = self.plan.workflow();
        if let Some(timeout) = &workflow.timeout {
            let after = self.workflow_vars().eval(timeout, &raw).map_err(|problem| problem.located("/timeout"))?;
            let deadline = self.deadline(&after).map_err(|problem| problem.located("/timeout"))?;
            self.instance.timeout = Some(deadline);
        }
        if let Some(schema) = &workflow.input_schema {
            schema.validate(&raw, "/input/schema")?;
        }
        match &workflow.input_from {
            Some(from) => self.workflow_vars().eval(from, &raw).map_err(|problem| problem.located("/input/from")),
            None => Ok(raw),
        }
    }

    /// The key under which only one instance may live, of the workflow's transformed input; null is none. Unlike the business
    /// key it decides something, so whatever goes wrong with it is a fault.
    fn activation(&self, input: &Value) -> Result<Option<Hash16>, Problem> {
        let Some(activation) = &self.plan.workflow().activation else { return Ok(None) };
        let key = self.workflow_vars().eval(&activation.key, input);
        let key = key.map_err(|problem| problem.located("/document/metadata/flagstop/activation/key"))?;
        let it = self.plan.reference();
        let parts = [it.namespace.as_bytes(), it.name.as_bytes(), &value::canonical(&key)];
        Ok((key != Value::Null).then(|| Hash16::of("flagstop/activation", &parts)))
    }

    /// The author's name for the business object, of the workflow's transformed input. It is a label: whatever can't be
    /// one (an error, no text or number, too long) leaves the instance without, and never faults it.
    fn business_key(&self, input: &Value) -> Option<String> {
        let key = self.workflow_vars().eval(self.plan.workflow().business_key.as_ref()?, input).ok()?;
        let text = match &key {
            Value::Num(_) => value::to_json(&key),
            key => value::as_str(key)?.to_owned(),
        };
        (1..=BUSINESS_KEY_BYTES_MAX).contains(&text.len()).then_some(text)
    }

    fn cancel(&mut self) {
        self.cancel_inside(None);
        self.journal(StatusKind::WorkflowCancelled, |_| {});
        self.instance.phase = Phase::Cancelled;
        self.instance.kept.clear();
    }
}

/// The store's index on business keys holds no longer ones.
const BUSINESS_KEY_BYTES_MAX: usize = 256;
