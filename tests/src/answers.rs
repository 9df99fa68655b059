//! Commands by business key, and the answers that commands get.

use flagstop_bus::port::Channel;
use flagstop_schemas::{Answer, CloudEvent, Data, Validators};
use serde_json::{Value, json};

use crate::hand_bus::HandBus;
use crate::onboarding::event;
use crate::scene::WAITS;
use crate::services::eventually;

/// The answers that were published to this command, each checked: data.
pub fn answers(bus: &HandBus, id: &str) -> Vec<Value> {
    let published = bus.published(Channel::Status).into_iter();
    let answers =
        published.filter(|event| event.ty.starts_with("io.flagstop.") && event.extensions["causationid"] == id);
    let data = |answer: CloudEvent| {
        Validators::new().check_answer(&answer).unwrap();
        let Data::Json(data) = &answer.data else { panic!("{answer:?}") };
        let mut data: Value = serde_json::from_slice(data).unwrap();
        data["verdict"] = Answer::routing_key(&answer.ty).unwrap().into();
        data
    };
    answers.map(data).collect()
}

/// The one answer to a command.
pub async fn answer(bus: &HandBus, id: &str) -> Value {
    eventually(&format!("{id} is answered"), async || !answers(bus, id).is_empty()).await;
    let all = answers(bus, id);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// [`WAITS`] with a business key: the number that it waits for.
pub fn keyed(version: &str) -> String {
    WAITS.replace(
        "version: '1.0.0' }",
        &format!("version: '{version}', metadata: {{ flagstop: {{ businessKey: '${{ .n | tostring }}' }} }} }}"),
    )
}

/// A command to whoever has this business key.
pub fn by_key(id: &str, verb: &str, key: &str, more: Value) -> CloudEvent {
    let mut data = json!({ "businessKey": key, "namespace": "t", "name": "waits" });
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event(id, &format!("io.flagstop.command.{verb}.v1"), &data)
}
