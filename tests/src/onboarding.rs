//! The onboarding workload: triggers, resumes, copies, early ones and junk in a shuffled order, with the outcome that is
//! expected of it, computed without the engine.

use std::collections::BTreeMap;

use bytes::Bytes;
use flagstop_bus::port::RawMessage;
use flagstop_schemas::{CloudEvent, Data};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// The definition: set, HTTP, durable wait, switch, emit. `{hr}` is the HR service's address.
#[must_use]
pub fn definition(hr: &str) -> String {
    include_str!("onboarding.yaml").replace("{hr}", hr)
}

/// An event with JSON data.
#[must_use]
pub fn event(id: &str, ty: &str, data: &serde_json::Value) -> CloudEvent {
    CloudEvent {
        id: id.to_owned(),
        source: "/tests".to_owned(),
        ty: ty.to_owned(),
        subject: None,
        time: None,
        datacontenttype: Some("application/json".to_owned()),
        dataschema: None,
        extensions: BTreeMap::new(),
        data: Data::Json(Bytes::from(data.to_string())),
    }
}

/// One employee's expected end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The business key.
    pub employee: String,
    /// Whether the check passes.
    pub hired: bool,
}

/// What is sent, and what must come of it.
#[derive(Debug)]
pub struct Workload {
    /// In this order.
    pub messages: Vec<RawMessage>,
    /// Per employee.
    pub expected: Vec<Expected>,
    /// How many of the messages are junk: each one dead letter.
    pub junk: usize,
}

/// Builds the workload for `count` employees; the same seed gives the same.
#[must_use]
pub fn workload(count: usize, seed: u64) -> Workload {
    let mut random = StdRng::seed_from_u64(seed);
    let mut events = Vec::new();
    let mut expected = Vec::new();
    for n in 0..count {
        let employee = format!("e-{n}");
        let hired = random.random_bool(0.8);
        let trigger = event(
            &format!("hired-{n}"),
            "com.example.employee.hired",
            &serde_json::json!({
                "employeeId": employee, "name": format!("Employee {n}"),
            }),
        );
        let resume = event(
            &format!("checked-{n}"),
            "com.example.background-check.completed",
            &serde_json::json!({
                "employeeId": employee, "passed": hired,
            }),
        );
        for message in [trigger, resume] {
            let copies = if random.random_bool(0.2) { 2 } else { 1 };
            events.extend(std::iter::repeat_n(flagstop_bus::encode_kafka(&message), copies));
        }
        expected.push(Expected { employee, hired });
    }
    let junk: Vec<RawMessage> = (0..count.div_ceil(50)).map(|n| junk(n, &mut random)).collect();
    let junk_count = junk.len();
    let mut messages = events;
    messages.extend(junk);
    messages.shuffle(&mut random);
    Workload { messages, expected, junk: junk_count }
}

/// A message that can't be carried out; all different, so that each is a letter of its own.
fn junk(n: usize, random: &mut StdRng) -> RawMessage {
    let cloud_event = |data: String| {
        let mut message = flagstop_bus::encode_kafka(&event(
            &format!("junk-{n}"),
            "com.example.employee.hired",
            &serde_json::json!({}),
        ));
        message.body = Bytes::from(data);
        message
    };
    match random.random_range(0..5) {
        0 => RawMessage { body: Bytes::from(format!("not an event {n}")), ..RawMessage::default() },
        1 => cloud_event(format!("{{not json {n}")),
        2 => cloud_event(format!("{}{n}{}", "[".repeat(10_000), "]".repeat(10_000))),
        3 => {
            let mut message = flagstop_bus::encode_kafka(&event(
                &format!("junk-{n}"),
                "io.flagstop.command.start.v1",
                &serde_json::json!({"namespace": "nowhere", "name": format!("nobody-{n}")}),
            ));
            message.key = None;
            message
        }
        _ => {
            let mut message = cloud_event(format!("{{\"n\": {n}}}"));
            message.headers.retain(|(name, _)| name != "ce_id");
            message
        }
    }
}
