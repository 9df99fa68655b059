//! `apply`: takes an instance from one state to the next.

pub(crate) mod cx;
pub(crate) mod frame;
mod journal;
pub(crate) mod look;
pub(crate) mod run;
pub(crate) mod vars;

use flagstop_schemas::{StatusKind, message_key};

use crate::api::{Effect, Env, Phase, Rejected, Stimulus, Transition, Value};
use crate::instance::{Instance, slot_parts};
use crate::plan::Plan;
use crate::problem::Problem;
use crate::tasks::Signal;
use crate::value;
use run::{Machine, Rest, Work};

/// Decides what a stimulus does to an instance. The instance itself is left as it was, so that a refused member of a
/// batch costs nothing (D2).
///
/// # Errors
/// A stimulus that changes nothing says why.
pub fn apply(plan: &Plan, instance: &Instance, stimulus: Stimulus, env: &Env<'_>) -> Result<Transition, Rejected> {
    let answered = match &stimulus {
        Stimulus::Effect { slot, .. } => Some(*slot),
        _ => None,
    };
    let mut machine = Machine::new(plan, env, instance.clone());
    let work = machine.take(stimulus)?;
    let rest = machine.drive(work);
    Ok(machine.conclude(instance, answered, rest))
}

impl Machine<'_> {
    /// Every stimulus in every phase. A new phase or stimulus does not compile until it is decided here.
    fn take(&mut self, stimulus: Stimulus) -> Result<Option<Work>, Rejected> {
        use Phase::{Cancelled, Completed, Faulted, Pending, Running, Suspended, Waiting};
        match (self.instance.phase, stimulus) {
            (Cancelled | Faulted | Completed, _) => Err(Rejected::Ended),

            (Pending, Stimulus::Start { input, cause, .. }) => Ok(self.start(input, cause)),
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
                if self.instance.heard.len() >= self.env.limits.heard_events_max {
                    self.instance.heard.pop_front();
                }
                self.instance.heard.push_back(key);
                Ok(work)
            }
            (Running | Waiting, Stimulus::Timer { slot }) => self.take_signal(slot, |part| Signal::Timer { part }),
            (Running | Waiting, Stimulus::Effect { slot, outcome }) => {
                self.take_signal(slot, |part| Signal::Effect { part, outcome })
            }
            (Pending, Stimulus::Event { .. } | Stimulus::Timer { .. } | Stimulus::Effect { .. }) => {
                Err(Rejected::NotWaiting)
            }
            (Suspended, Stimulus::Event { .. } | Stimulus::Timer { .. } | Stimulus::Effect { .. }) => {
                Err(Rejected::Illegal("it is suspended; continue it first"))
            }

            (_, Stimulus::Child { .. } | Stimulus::Suspend | Stimulus::Continue | Stimulus::Retry) => {
                Err(Rejected::Illegal("this build has no such stimulus yet"))
            }

            (Running, Stimulus::Proceed) if self.has_pure_work() => Ok(None),
            (Pending | Running | Waiting | Suspended, Stimulus::Proceed) => {
                Err(Rejected::Illegal("no pure work is left to proceed with"))
            }
        }
    }

    fn take_signal<'s>(&mut self, slot: i64, signal: impl FnOnce(u16) -> Signal<'s>) -> Result<Option<Work>, Rejected> {
        let (run, part) = slot_parts(slot).ok_or(Rejected::NotWaiting)?;
        self.wake(run, signal(part)).map(Some).ok_or(Rejected::NotWaiting)
    }

    fn start(&mut self, input: Value, cause: Option<(String, String)>) -> Option<Work> {
        self.instance.phase = Phase::Running;
        self.instance.started_us = self.env.now_us;
        self.instance.input = input.clone();
        self.journal(StatusKind::WorkflowStarted, |event| {
            if let Some((id, source)) = cause {
                event.attributes = vec![("causationid", id.into()), ("causationsource", source.into())];
            }
        });
        match self.take_workflow_input(input) {
            Ok(input) => {
                self.instance.business_key = self.business_key(&input);
                self.begin_list(None, self.plan.workflow().list, input)
            }
            Err(problem) => {
                self.fail(problem);
                None
            }
        }
    }

    fn take_workflow_input(&self, raw: Value) -> Result<Value, Problem> {
        let workflow = self.plan.workflow();
        if let Some(schema) = &workflow.input_schema {
            schema.validate(&raw, "/input/schema")?;
        }
        match &workflow.input_from {
            Some(from) => self.workflow_vars().eval(from, &raw).map_err(|problem| problem.located("/input/from")),
            None => Ok(raw),
        }
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
    }

    /// What has changed, as plain data.
    fn conclude(mut self, before: &Instance, answered: Option<i64>, rest: Rest) -> Transition {
        let wanted = self.instance.projection(self.plan).effects;
        if !self.instance.phase.has_ended() {
            let idle = wanted.is_empty() && rest == Rest::None;
            self.instance.phase = if idle { Phase::Waiting } else { Phase::Running };
        }
        let is_wanted = |slot: &i64| wanted.iter().any(|(wanted, _)| wanted == slot);
        let dropped_effects = before
            .projection(self.plan)
            .effects
            .into_iter()
            .map(|(slot, _)| slot)
            .filter(|slot| Some(*slot) != answered && !is_wanted(slot))
            .collect();
        let requests = std::mem::take(&mut self.requests);
        let effects = requests
            .into_iter()
            .filter(|(slot, _)| is_wanted(slot))
            .filter_map(|(slot, request)| {
                let frame = self.instance.frames.get(slot_parts(slot)?.0)?;
                Some(Effect {
                    slot,
                    pointer: self.plan.task(frame.task).pointer.clone(),
                    idempotency_key: self.instance.idempotency_key(self.plan, frame.task, &[]),
                    request,
                })
            })
            .collect();
        Transition {
            instance: self.instance,
            effects,
            dropped_effects,
            children: Vec::new(),
            cancelled_children: Vec::new(),
            events: self.entries,
            more: rest == Rest::Left,
        }
    }
}

/// The store's index on business keys holds no longer ones.
const BUSINESS_KEY_BYTES_MAX: usize = 256;
