//! What a transition tells the world: status events, numbered without gaps.

use flagstop_schemas::{CloudEvent, Data, Entry, StatusEvent, StatusKind};
use serde_json::value::RawValue;

use super::frame::{Frame, Run};
use super::run::Machine;
use crate::api::Value;
use crate::problem::Problem;
use crate::value::to_json;

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
        self.entries.push(Entry::Status(event));
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
    fn about(&self, run: Option<Run>) -> (Option<String>, Vec<(&'static str, serde_json::Value)>) {
        let Some(run) = run else { return (None, Vec::new()) };
        let mut attributes = Vec::new();
        let rounds: Vec<String> = self.instance.rounds(self.plan, run).iter().map(u32::to_string).collect();
        if !rounds.is_empty() {
            attributes.push(("iteration", rounds.join(".").into()));
        }
        let attempt = |frame: &Frame| self.plan.task(frame.task).kind.attempt(frame.memory()?);
        if let Some(attempt) = self.instance.frames.path(run).skip(1).find_map(attempt) {
            attributes.push(("attempt", attempt.into()));
        }
        (Some(self.task(run).pointer.clone()), attributes)
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
                Some(text) => event.output = Some(raw_text(text)),
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
            event.correlation_keys = keys.map(raw_text);
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
pub(super) fn raw(value: &Value) -> Box<RawValue> {
    raw_text(to_json(value))
}

fn raw_text(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("values are written as JSON")
}
