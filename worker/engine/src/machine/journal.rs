//! What a transition tells the world: status events, numbered without gaps.

use flagstop_schemas::{Entry, StatusEvent, StatusKind};
use serde_json::value::RawValue;

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
        self.entries.push(Entry::Status(event));
    }

    /// Publishes one status event about a task.
    pub(super) fn journal_task(&mut self, kind: StatusKind, pointer: &str) {
        self.journal(kind, |event| event.task = Some(pointer.to_owned()));
    }

    /// Publishes that a task, or the workflow, has completed.
    pub(super) fn journal_completed(&mut self, kind: StatusKind, pointer: Option<&str>, output: &Value) {
        let text = to_json(output);
        let bytes_max = self.env.limits.output_bytes_max;
        self.journal(kind, |event| {
            event.task = pointer.map(str::to_owned);
            if text.len() <= bytes_max {
                event.output = Some(raw_text(text));
            } else {
                event.attributes.push(("outputbytes", text.len().into()));
            }
        });
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

    /// Publishes that a task, or the workflow, has faulted.
    pub(super) fn journal_faulted(&mut self, kind: StatusKind, pointer: Option<&str>, problem: &Problem) {
        // An author's error may hold a whole document; no event of it may be larger than brokers take.
        let text_bytes_max = self.env.limits.output_bytes_max / Problem::TEXTS;
        let error = raw(&problem.shortened(text_bytes_max).to_value());
        self.journal(kind, |event| {
            event.task = pointer.map(str::to_owned);
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
