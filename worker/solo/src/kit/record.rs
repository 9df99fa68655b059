//! What happened in a case, as expectations look at it.

use std::collections::VecDeque;
use std::sync::OnceLock;

use flagstop_engine::api::{Phase, Value};
use flagstop_engine::{Instance, duration, value};
use flagstop_schemas::{CloudEvent, Entry, Header, Scope, StatusEvent, StatusKind, Validators, render};

use super::matching::Sent;
use super::{LOG_LINES_MAX, LogLine, events};

/// Status events that are held against their schemas: enough for any workflow, and quick for endless loops.
const CHECKED_EVENTS_MAX: usize = 2_000;

/// Characters of a log line's note.
const NOTE_CHARS_MAX: usize = 300;

/// What is written down while a case runs.
#[derive(Debug)]
pub(super) struct Record {
    start_us: i64,
    keeps_lifecycle: bool,
    /// Of the judged instance.
    pub(super) tasks: Vec<String>,
    pub(super) lifecycle: Vec<CloudEvent>,
    pub(super) emitted: Vec<CloudEvent>,
    pub(super) log: VecDeque<LogLine>,
    /// Status events that do not obey their schemas: defects of Flagstop.
    pub(super) violations: Vec<String>,
    checked: usize,
}

/// What became of an instance.
#[derive(Debug, Clone)]
pub(super) struct Fate {
    pub(super) status: &'static str,
    pub(super) input: Value,
    pub(super) output: Option<Value>,
    pub(super) error: Option<Value>,
    pub(super) context: Value,
}

/// All that the expectations are held against.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) record: Record,
    pub(super) requests: Vec<Sent>,
    /// The instances of the first workflow; the judged one comes first.
    pub(super) instances: Vec<Fate>,
    /// From the judged instance's start to its end.
    pub(super) elapsed_us: Option<i64>,
    /// From the deployment to its end, for a workflow that was not started but deployed.
    pub(super) since_deployed_us: Option<i64>,
}

impl Record {
    pub(super) fn new(start_us: i64, keeps_lifecycle: bool) -> Self {
        Self {
            start_us,
            keeps_lifecycle,
            tasks: Vec::new(),
            lifecycle: Vec::new(),
            emitted: Vec::new(),
            log: VecDeque::new(),
            violations: Vec::new(),
            checked: 0,
        }
    }

    /// What one transition put into the journal.
    pub(super) fn journal(&mut self, header: &Header, entries: Vec<Entry>, is_judged: bool, at_us: i64) {
        for entry in entries {
            match entry {
                Entry::Status(event) => self.status(header, &event, is_judged),
                Entry::Emitted(event) => {
                    self.log(at_us, "emitted", event.ty.clone(), &events::data_text(&event));
                    self.emitted.push(*event);
                }
                // A script's commands are carried out by the kit itself: there is nobody to answer.
                Entry::Answer(_) | Entry::Late(_) => {}
            }
        }
    }

    fn status(&mut self, header: &Header, event: &StatusEvent, is_judged: bool) {
        if self.checked < CHECKED_EVENTS_MAX {
            self.checked += 1;
            if let Err(violation) = validators().check(&render(header, event)) {
                self.violations.push(violation.to_string());
            }
        }
        let pointer = event.task.as_deref().unwrap_or_default();
        let raw = [&event.error, &event.output, &event.correlation_keys].into_iter().flatten().next();
        let note = raw.map(|raw| raw.get()).unwrap_or_default();
        let whose = if is_judged { String::new() } else { format!("{} ", header.name) };
        let what = format!("{} {}", event.kind.scope().as_str(), event.kind.what());
        self.log(event.at_us - self.start_us, &what, format!("{whose}{pointer}"), note);
        if !is_judged {
            return;
        }
        let is_own = event.kind.scope() == Scope::Task && !pointer.starts_with("/use/");
        if event.kind == StatusKind::TaskCompleted && is_own {
            self.tasks.push(pointer.to_owned());
        }
        if self.keeps_lifecycle {
            self.lifecycle.push(render(header, event));
        }
    }

    /// One more line; the oldest goes when there are too many.
    pub(super) fn log(&mut self, at_us: i64, what: &str, subject: String, note: &str) {
        if self.log.len() >= LOG_LINES_MAX {
            self.log.pop_front();
        }
        let note = match note.char_indices().nth(NOTE_CHARS_MAX) {
            Some((at, _)) => format!("{}…", &note[..at]),
            None => note.to_owned(),
        };
        self.log.push_back(LogLine { at_us, what: what.to_owned(), subject, note });
    }
}

fn validators() -> &'static Validators {
    static VALIDATORS: OnceLock<Validators> = OnceLock::new();
    VALIDATORS.get_or_init(Validators::new)
}

impl Fate {
    pub(super) fn of(instance: &Instance) -> Self {
        let has_faulted = instance.phase() == Phase::Faulted;
        Self {
            status: status(instance.phase()),
            input: instance.input().clone(),
            output: instance.output().cloned(),
            error: instance.error().filter(|_| has_faulted).map(|error| error.to_value()),
            context: instance.context().clone(),
        }
    }

    /// As `instances` lists it.
    pub(super) fn to_value(&self) -> Value {
        value::object([
            ("input", self.input.clone()),
            ("status", value::string(self.status)),
            ("output", self.output.clone().unwrap_or(Value::Null)),
        ])
    }
}

/// The word for a phase.
fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Pending | Phase::Running => "running",
        Phase::Waiting => "waiting",
        Phase::Suspended => "suspended",
        Phase::Cancelled => "cancelled",
        Phase::Faulted => "faulted",
        Phase::Completed => "completed",
    }
}

impl Found {
    pub(super) fn judged(&self) -> Option<&Fate> {
        self.instances.first()
    }

    /// `$result`: the whole record.
    pub(super) fn to_value(&self) -> Value {
        let judged = self.judged();
        let of = |field: fn(&Fate) -> Option<Value>| judged.and_then(field).unwrap_or(Value::Null);
        value::object([
            ("status", of(|fate| Some(value::string(fate.status)))),
            ("output", of(|fate| fate.output.clone())),
            ("error", of(|fate| fate.error.clone())),
            ("context", of(|fate| Some(fate.context.clone()))),
            ("tasks", value::array(self.record.tasks.iter().map(|pointer| value::string(pointer.as_str())))),
            ("lifecycle", value::array(self.record.lifecycle.iter().map(events::to_value))),
            ("emitted", value::array(self.record.emitted.iter().map(events::to_value))),
            ("requests", value::array(self.requests.iter().map(Sent::to_value))),
            ("instances", value::array(self.instances.iter().map(Fate::to_value))),
            ("elapsed", self.elapsed_us.map_or(Value::Null, |us| value::string(duration::to_iso(us)))),
        ])
    }
}
