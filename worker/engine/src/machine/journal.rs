//! What a transition tells the world: status events, numbered without gaps.

use flagstop_schemas::{CloudEvent, Data, Entry, JsonText, STATUS, StatusEvent, StatusKind};

use super::frame::{Frame, Run};
use super::run::Machine;
use crate::api::{Phase, StatusChanges, Value};
use crate::problem::Problem;
use crate::value::to_json;

/// Extension attributes of a status event.
type Attributes = Vec<(&'static str, serde_json::Value)>;

/// The attributes that a status-changed event has in common with the event that led to it.
const SHARED: [&str; 3] = ["iteration", "attempt", "rerunof"];

impl Machine<'_> {
    /// Publishes one status event.
    pub(super) fn journal(&mut self, kind: StatusKind, complete: impl FnOnce(&mut StatusEvent)) {
        self.instance.sequence += 1;
        let mut event = StatusEvent {
            kind,
            sequence: self.instance.sequence,
            at_us: self.env.now_us,
            task: None,
            output: None,
            error: None,
            correlation_keys: None,
            attributes: Vec::new(),
        };
        complete(&mut event);
        event.attributes.extend(self.instance.rerun_of.map(|ended| ("rerunof", ended.to_string().into())));
        let changed = self.changed_by(&event);
        self.entries.push(Entry::Status(event));
        self.entries.extend(changed);
    }

    /// The status-changed event that says the same as this one, if such are told.
    fn changed_by(&mut self, event: &StatusEvent) -> Option<Entry> {
        let status = event.kind.status().filter(|_| self.env.status_changes == StatusChanges::Told)?;
        let changed = event.kind.status_changed();
        if changed == StatusKind::WorkflowStatusChanged {
            self.told = Some(self.instance.phase);
        }
        let attributes = event.attributes.iter().filter(|(name, _)| SHARED.contains(name)).cloned();
        let attributes = attributes.chain([(STATUS, status.into())]).collect();
        Some(Entry::Status(StatusEvent {
            kind: changed,
            task: event.task.clone(),
            output: None,
            error: None,
            correlation_keys: None,
            attributes,
            ..*event
        }))
    }

    /// Tells that a task waits for an event or a moment, which no required event says.
    pub(super) fn tell_waiting(&mut self, run: Run) {
        if self.env.status_changes == StatusChanges::Left || !self.waits(run) {
            return;
        }
        let (task, attributes) = self.about(Some(run));
        self.tell(StatusKind::TaskStatusChanged, task, attributes, "waiting");
    }

    fn waits(&self, run: Run) -> bool {
        let flights = self.instance.flights(self.plan, run);
        let outside = flights.effects.len() + flights.children.len();
        outside == 0 && !(flights.bookmarks.is_empty() && flights.timers.is_empty())
    }

    /// Tells the phase that a transition has ended in, unless an event of it has led there.
    pub(super) fn tell_phase(&mut self) {
        let (was, is) = (self.before.phase, self.instance.phase);
        let status = match is {
            Phase::Running => "running",
            Phase::Waiting => "waiting",
            _ => return,
        };
        if self.env.status_changes == StatusChanges::Told && self.told.unwrap_or(was) != is {
            self.tell(StatusKind::WorkflowStatusChanged, None, Vec::new(), status);
        }
    }

    fn tell(&mut self, kind: StatusKind, task: Option<String>, mut attributes: Attributes, status: &'static str) {
        attributes.push((STATUS, status.into()));
        attributes.extend(self.instance.rerun_of.map(|ended| ("rerunof", ended.to_string().into())));
        let (sequence, at_us) = (self.instance.sequence, self.env.now_us);
        let (output, error, correlation_keys) = (None, None, None);
        self.entries.push(Entry::Status(StatusEvent {
            kind,
            sequence,
            at_us,
            task,
            output,
            error,
            correlation_keys,
            attributes,
        }));
    }

    /// Publishes one status event about a task.
    pub(super) fn journal_task(&mut self, kind: StatusKind, run: Run) {
        let (pointer, attributes) = self.about(Some(run));
        self.journal(kind, |event| {
            event.task = pointer;
            event.attributes = attributes;
        });
    }

    /// Publishes that another attempt at what is inside of a task begins.
    pub(super) fn journal_retried(&mut self, run: Run, attempt: u32) {
        let (pointer, mut attributes) = self.about(Some(run));
        attributes.retain(|(name, _)| *name != "attempt");
        attributes.push(("attempt", attempt.into()));
        self.journal(StatusKind::TaskRetried, |event| {
            event.task = pointer;
            event.attributes = attributes;
        });
    }

    /// The pointer of a run's task, and which of its runs it is.
    fn about(&self, run: Option<Run>) -> (Option<String>, Attributes) {
        let Some(run) = run else { return (None, Vec::new()) };
        let mut attributes = Vec::new();
        if let Some(rounds) = self.rounds_text(run) {
            attributes.push(("iteration", rounds.into()));
        }
        let attempt = |frame: &Frame| self.plan.task(frame.task).kind.attempt(frame.memory()?);
        if let Some(attempt) = self.instance.frames.path(run).skip(1).find_map(attempt) {
            attributes.push(("attempt", attempt.into()));
        }
        (Some(self.task(run).pointer.clone()), attributes)
    }

    /// The rounds of the loops around a run, as `2.0`; `None`: there is no loop.
    fn rounds_text(&self, run: Run) -> Option<String> {
        let rounds = self.instance.rounds(self.plan, run);
        let (first, inner) = rounds.split_first()?;
        let mut text = first.to_string();
        for round in inner {
            text.push('.');
            text.push_str(&round.to_string());
        }
        Some(text)
    }

    /// Publishes that a task, or the workflow, has completed.
    pub(super) fn journal_completed(&mut self, kind: StatusKind, run: Option<Run>, output: &Value) {
        let bytes_max = self.env.limits.output_bytes_max;
        let (text, text_bytes) = self.output_text(output, bytes_max);
        self.bytes += text_bytes;
        let (pointer, attributes) = self.about(run);
        self.journal(kind, |event| {
            event.task = pointer;
            event.attributes = attributes;
            match text {
                Some(text) => event.output = Some(JsonText::written(text)),
                None => event.attributes.push(("outputbytes", text_bytes.into())),
            }
        });
    }

    /// An output as JSON, unless that is longer than `bytes_max`, and its length. What is handed on from task to task and is
    /// too long each time is not written each time.
    fn output_text(&self, output: &Value, bytes_max: usize) -> (Option<String>, usize) {
        let sizes = &self.instance.sizes;
        if !sizes.is_empty() {
            let size = sizes.measure(output);
            if size.json_bytes > bytes_max {
                return (None, size.json_bytes);
            }
        }
        let text = to_json(output);
        let text_bytes = text.len();
        if text_bytes > bytes_max {
            sizes.measure(output);
        }
        ((text_bytes <= bytes_max).then_some(text), text_bytes)
    }

    /// Publishes one of the specification's correlation events; keys above the limit stay out of it.
    pub(super) fn journal_correlation(&mut self, kind: StatusKind, pointer: String, keys: Option<&Value>) {
        let bytes_max = self.env.limits.output_bytes_max;
        let keys = keys.map(to_json).filter(|text| text.len() <= bytes_max);
        self.journal(kind, |event| {
            event.task = Some(pointer);
            event.correlation_keys = keys.map(JsonText::written);
        });
    }

    /// Publishes the author's own event.
    pub(super) fn emit(&mut self, event: CloudEvent) {
        self.bytes += match &event.data {
            Data::Absent => 0,
            Data::Json(data) | Data::Binary(data) => data.len(),
        };
        self.entries.push(Entry::Emitted(Box::new(event)));
    }

    /// Publishes that a task, or the workflow, has faulted.
    pub(super) fn journal_faulted(&mut self, kind: StatusKind, run: Option<Run>, problem: &Problem) {
        // An author's error may hold a whole document; no event of it may be larger than brokers take.
        let text_bytes_max = self.env.limits.output_bytes_max / Problem::TEXTS;
        let error = raw(&problem.shortened(text_bytes_max).to_value());
        self.bytes += error.get().len();
        let (pointer, attributes) = self.about(run);
        self.journal(kind, |event| {
            event.task = pointer;
            event.attributes = attributes;
            event.error = Some(error);
        });
    }
}

/// A value as JSON text.
pub(super) fn raw(value: &Value) -> JsonText {
    JsonText::written(to_json(value))
}
