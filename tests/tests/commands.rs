//! Commands over the bus and their answers: each command is answered once, when it is carried out, refused or given up.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use flagstop_bus::port::Channel;
use flagstop_engine::api::Phase;
use flagstop_runtime::Options;
use flagstop_schemas::{Answer, CloudEvent, Data, Validators};
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, WAITS, command, go, start, started};
use flagstop_tests::services::eventually;
use serde_json::{Value, json};

/// The answers that were published to this command, each checked: data.
fn answers(bus: &HandBus, id: &str) -> Vec<Value> {
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
async fn answer(bus: &HandBus, id: &str) -> Value {
    eventually(&format!("{id} is answered"), async || !answers(bus, id).is_empty()).await;
    let all = answers(bus, id);
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

fn starts(id: &str, data: &Value) -> CloudEvent {
    event(id, "io.flagstop.command.start.v1", data)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_carried_out_is_accepted_once_in_the_order_of_its_instances_events() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_event(&starts("c1", &json!({ "namespace": "t", "name": "waits", "input": [{ "n": 1 }] })));
    let id = started("c1", "waits");
    let accepted = answer(&bus, "c1").await;
    assert_eq!(accepted["verdict"], "command.accepted");
    assert_eq!(accepted["commandSource"], "/tests");
    assert_eq!(accepted["commandType"], "io.flagstop.command.start.v1");
    assert_eq!(accepted["instance"], id.to_string());
    scene.becomes(id, Phase::Waiting).await;
    let suspend = command("c2", "suspend", id, &json!({}));
    bus.deliver_event(&suspend);
    assert_eq!(answer(&bus, "c2").await["verdict"], "command.accepted");
    bus.deliver_event(&command("c3", "cancel", id, &json!({})));
    assert_eq!(answer(&bus, "c3").await["verdict"], "command.accepted");
    // The answer stands behind the events of the transition that it speaks of.
    let types: Vec<_> = bus.published(Channel::Status).iter().map(|event| event.ty.clone()).collect();
    let cancelled = types.iter().position(|ty| ty == "io.serverlessworkflow.workflow.cancelled.v1");
    assert!(cancelled.unwrap() < types.iter().rposition(|ty| ty == "io.flagstop.command.accepted.v1").unwrap());
    let copy = bus.deliver_event(&suspend);
    eventually("the copy is acknowledged", async || bus.acked(copy)).await;
    bus.deliver_event(&starts("last", &json!({ "namespace": "t", "name": "waits", "input": [{ "n": 2 }] })));
    answer(&bus, "last").await;
    assert_eq!(answers(&bus, "c2").len(), 1, "a duplicate gets no second answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_not_carried_out_is_rejected_once_with_code_and_reason() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let id = started("s", "waits");
    bus.deliver_event(&start("s", 1));
    scene.becomes(id, Phase::Waiting).await;
    let nobody = CloudEvent { subject: None, ..command("c4", "cancel", id, &json!({})) };
    for (message, id, code, says) in [
        (command("c1", "continue", id, &json!({})), "c1", "FS-ILLEGAL", "it is not suspended"),
        (command("c2", "fly", id, &json!({})), "c2", "FS-COMMAND-UNKNOWN", "it knows start"),
        (command("c3", "suspend", id, &json!({ "when": "now" })), "c3", "FS-COMMAND-INVALID", "unknown field `when`"),
        (nobody, "c4", "FS-COMMAND-INVALID", "`subject`"),
        (starts("c5", &json!({ "namespace": "t", "name": "none" })), "c5", "FS-DEFINITION-UNKNOWN", "t/waits"),
    ] {
        bus.deliver_event(&message);
        let rejected = answer(&bus, id).await;
        assert_eq!(rejected["verdict"], "command.rejected");
        assert_eq!(rejected["code"], code);
        let reason = rejected["reason"].as_str().unwrap();
        assert!(reason.contains(says) && !reason.starts_with("FS-"), "{reason}");
        let copy = bus.deliver_event(&message);
        eventually("the copy is acknowledged", async || bus.acked(copy)).await;
    }
    let letters = scene.store.list_dead_letters(0).await.unwrap();
    assert_eq!(letters.len(), 5, "each is among the dead letters, once: {letters:?}");
    bus.deliver_event(&go("g", 1));
    scene.becomes(id, Phase::Completed).await;
    eventually("the last events are out", async || {
        bus.published(Channel::Status).iter().any(|event| event.ty == "io.serverlessworkflow.workflow.completed.v1")
    })
    .await;
    for id in ["c1", "c2", "c3", "c4", "c5"] {
        assert_eq!(answers(&bus, id).len(), 1, "a duplicate gets no second answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_waits_is_answered_when_its_instance_comes_or_when_it_expires() {
    let scene = Scene::new(&[WAITS]).await;
    let (worker, bus) = scene.worker(Options { sweep_ms: 100, ..Options::default() }).await;
    let id = started("s", "waits");
    let early = bus.deliver_event(&command("c1", "suspend", id, &json!({})));
    eventually("it is acknowledged", async || bus.acked(early)).await;
    assert_eq!(answers(&bus, "c1"), [Value::Null; 0]);
    bus.deliver_event(&start("s", 1));
    let accepted = answer(&bus, "c1").await;
    assert_eq!((&accepted["verdict"], &accepted["instance"]), (&json!("command.accepted"), &json!(id.to_string())));
    scene.becomes(id, Phase::Suspended).await;
    drop(worker);

    let (_worker, bus) = scene.worker(Options { parked_hours: 0, beat_ms: 100, ..Options::default() }).await;
    bus.deliver_event(&command("c2", "cancel", started("never", "waits"), &json!({})));
    let rejected = answer(&bus, "c2").await;
    assert_eq!(rejected["code"], "FS-COMMAND-EXPIRED");
    let letters = scene.store.list_dead_letters(0).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.code.as_str()).collect::<Vec<_>>(), ["FS-COMMAND-EXPIRED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_back_in_is_no_command() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_event(&starts("c1", &json!({ "namespace": "t", "name": "none" })));
    answer(&bus, "c1").await;
    let published = bus.published(Channel::Status);
    let back = bus.deliver_event(&published[0]);
    eventually("it is acknowledged", async || bus.acked(back)).await;
    assert_eq!(scene.store.list_dead_letters(0).await.unwrap().len(), 1, "only the command itself");
    assert_eq!(bus.published(Channel::Status).len(), 1);
}
