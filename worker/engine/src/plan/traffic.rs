//! Which events a definition hears and emits, as its author wrote them: for documents about it.
//!
//! Must never decide anything: what an event concerns, the compiled filters alone say.

use super::Plan;
use crate::api::Value;
use crate::tasks::Kind;
use crate::value;

/// What goes in and out of a definition.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// What starts instances: the filters of `schedule.on`.
    pub starts: Vec<EventUse>,
    /// What its instances wait for: the filters of all `listen` tasks.
    pub listens: Vec<EventUse>,
    /// What its instances publish.
    pub emits: Vec<EventUse>,
}

/// One filter, or one `emit`.
#[derive(Debug, Clone)]
pub struct EventUse {
    /// JSON Pointer of where it stands.
    pub pointer: String,
    /// `with`: attributes and data, expressions as their text.
    pub with: serde_json::Value,
    /// `correlate`; null where there is none.
    pub correlate: serde_json::Value,
}

impl Plan {
    /// Which events it hears and emits, those of the functions that it calls included.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut traffic = Traffic::default();
        if let Some(on) = value::get(&self.definition, "schedule").and_then(|schedule| value::get(schedule, "on")) {
            strategy(on, "/schedule/on", &mut traffic.starts);
        }
        for task in &self.tasks {
            let at = |keys: &[&str]| keys.iter().try_fold(&task.definition, |node, key| value::get(node, key));
            match &task.kind {
                Kind::Listen(_) => {
                    if let Some(to) = at(&["listen", "to"]) {
                        strategy(to, &format!("{}/listen/to", task.pointer), &mut traffic.listens);
                    }
                }
                Kind::Emit(_) => {
                    if let Some(event) = at(&["emit", "event"]) {
                        traffic.emits.push(EventUse::of(event, format!("{}/emit/event", task.pointer)));
                    }
                }
                _ => {}
            }
        }
        traffic
    }
}

/// The filters of `one`, `any` and `all`, and of `until` where that is a strategy of its own.
fn strategy(node: &Value, pointer: &str, out: &mut Vec<EventUse>) {
    if let Some(one) = value::get(node, "one") {
        out.push(EventUse::of(one, format!("{pointer}/one")));
    }
    for way in ["any", "all"] {
        match value::get(node, way) {
            // `any: []` hears every event.
            Some(Value::Arr(filters)) if filters.is_empty() => {
                out.push(EventUse::of(&value::empty_object(), format!("{pointer}/{way}")));
            }
            Some(Value::Arr(filters)) => {
                let place = |(index, filter)| EventUse::of(filter, format!("{pointer}/{way}/{index}"));
                out.extend(filters.iter().enumerate().map(place));
            }
            _ => {}
        }
    }
    if let Some(until @ Value::Obj(_)) = value::get(node, "until") {
        strategy(until, &format!("{pointer}/until"), out);
    }
}

impl EventUse {
    fn of(node: &Value, pointer: String) -> Self {
        let part = |key: &str| value::get(node, key).map(value::to_serde).unwrap_or_default();
        Self { pointer, with: part("with"), correlate: part("correlate") }
    }

    /// The event's type, if it is a constant.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        self.with.get("type")?.as_str().filter(|text| !text.contains("${"))
    }
}
