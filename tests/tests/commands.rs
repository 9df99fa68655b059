//! Commands over the bus and their answers: each command is answered once, when it is carried out, refused or given up.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use flagstop_bus::port::Channel;
use flagstop_engine::api::Phase;
use flagstop_runtime::Options;
use flagstop_schemas::{CloudEvent, InstanceId};
use flagstop_tests::answers::{answer, answers, by_key, keyed};
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, WAITS, command, go, start, started};
use flagstop_tests::services::eventually;
use serde_json::{Value, json};

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
    let letters = scene.store.list_dead_letters(&Default::default()).await.unwrap();
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
    let letters = scene.store.list_dead_letters(&Default::default()).await.unwrap();
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
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap().len(), 1, "only the command itself");
    assert_eq!(bus.published(Channel::Status).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_finds_its_instance_by_the_business_key_and_the_definition() {
    let scene = Scene::new(&[&keyed("1.0.0")]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    for n in [1, 2] {
        bus.deliver_event(&start(&format!("s{n}"), n));
        scene.becomes(started(&format!("s{n}"), "waits"), Phase::Waiting).await;
    }
    let (first, second) = (started("s1", "waits"), started("s2", "waits"));
    bus.deliver_event(&by_key("c1", "suspend", "1", json!({})));
    let accepted = answer(&bus, "c1").await;
    assert_eq!((&accepted["verdict"], &accepted["instance"]), (&json!("command.accepted"), &json!(first.to_string())));
    scene.becomes(first, Phase::Suspended).await;
    bus.deliver_event(&by_key("c2", "cancel", "1", json!({ "version": "1.0.0" })));
    scene.becomes(first, Phase::Cancelled).await;
    assert_eq!(scene.phase(second).await, Some(Phase::Waiting), "the other one goes on");
    let go = json!({ "specversion": "1.0", "id": "g", "source": "/tests", "type": "t.go", "data": { "n": 2 } });
    bus.deliver_event(&by_key("c3", "resume", "2", json!({ "event": go })));
    assert_eq!(scene.output(second).await, json!({ "heard": ["g"] }));
    bus.deliver_event(&by_key("c4", "cancel", "1", json!({ "name": "none" })));
    assert_eq!(answer(&bus, "c4").await["code"], "FS-DEFINITION-UNKNOWN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_by_business_key_waits_for_its_instance_and_passes_over_what_has_ended_and_other_versions() {
    let mut scene = Scene::new(&[&keyed("1.0.0")]).await;
    let (_worker, bus) = scene.worker(Options { sweep_ms: 100, ..Options::default() }).await;
    bus.deliver_event(&start("old", 1));
    let old = started("old", "waits");
    scene.becomes(old, Phase::Waiting).await;
    bus.deliver_event(&go("g", 1));
    scene.becomes(old, Phase::Completed).await;
    scene.deploy(&keyed("2.0.0")).await;
    for (id, version) in [("c1", "1.0.0"), ("c2", "2.0.0")] {
        let position = bus.deliver_event(&by_key(id, "suspend", "1", json!({ "version": version })));
        eventually("it is kept", async || bus.acked(position)).await;
    }
    bus.deliver_event(&start("new", 1));
    let new = started("new", "waits");
    scene.becomes(new, Phase::Suspended).await;
    assert_eq!(answer(&bus, "c2").await["instance"], new.to_string());
    assert_eq!(answers(&bus, "c1"), [Value::Null; 0], "nothing of version 1.0.0 has come");
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_whose_business_key_several_have_is_rejected_and_names_them() {
    let scene = Scene::new(&[&keyed("1.0.0")]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    for id in ["a", "b"] {
        bus.deliver_event(&start(id, 7));
        scene.becomes(started(id, "waits"), Phase::Waiting).await;
    }
    bus.deliver_event(&by_key("c1", "cancel", "7", json!({})));
    let rejected = answer(&bus, "c1").await;
    assert_eq!(rejected["code"], "FS-COMMAND-AMBIGUOUS");
    for id in ["a", "b"] {
        let id = started(id, "waits");
        assert!(rejected["reason"].as_str().unwrap().contains(&id.to_string()), "{rejected}");
        assert_eq!(scene.phase(id).await, Some(Phase::Waiting));
    }
    bus.deliver_event(&command("c2", "cancel", started("a", "waits"), &json!({})));
    scene.becomes(started("a", "waits"), Phase::Cancelled).await;
    bus.deliver_event(&by_key("c3", "cancel", "7", json!({})));
    scene.becomes(started("b", "waits"), Phase::Cancelled).await;
}

/// Faults unless its input says otherwise, which it never does.
const FAULTS: &str = r"
document:
  dsl: '1.0.3'
  namespace: t
  name: waits
  version: '1.0.0'
  metadata: { flagstop: { businessKey: .key } }
do:
  - fail: { raise: { error: { type: 'https://example.com/e', status: 500 } } }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_finds_what_has_faulted_by_its_business_key() {
    let scene = Scene::new(&[FAULTS]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_event(&starts("s", &json!({ "namespace": "t", "name": "waits", "input": { "key": "e-1" } })));
    let id = started("s", "waits");
    scene.becomes(id, Phase::Faulted).await;
    bus.deliver_event(&by_key("c1", "retry", "e-1", json!({})));
    let accepted = answer(&bus, "c1").await;
    assert_eq!((&accepted["verdict"], &accepted["instance"]), (&json!("command.accepted"), &json!(id.to_string())));
    // Anything else is for one that is still to come.
    let kept = bus.deliver_event(&by_key("c2", "cancel", "e-1", json!({})));
    eventually("it is kept", async || bus.acked(kept)).await;
    assert_eq!(answers(&bus, "c2"), [Value::Null; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rerun_begins_what_has_ended_anew_with_the_same_input_once() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options { mail_stale_ms: 100, beat_ms: 100, ..Options::default() }).await;
    bus.deliver_event(&start("s", 4));
    let ended = started("s", "waits");
    scene.becomes(ended, Phase::Waiting).await;
    bus.deliver_event(&command("early", "rerun", ended, &json!({})));
    assert_eq!(answer(&bus, "early").await["code"], "FS-NOT-ENDED");
    bus.deliver_event(&go("g1", 4));
    scene.becomes(ended, Phase::Completed).await;

    let rerun = command("c1", "rerun", ended, &json!({ "reason": "a test" }));
    bus.deliver_event(&rerun);
    let accepted = answer(&bus, "c1").await;
    let again = InstanceId::of_rerun("/tests", "c1");
    assert_eq!((&accepted["verdict"], &accepted["instance"]), (&json!("command.accepted"), &json!(again.to_string())));
    scene.becomes(again, Phase::Waiting).await;
    let copy = bus.deliver_event(&rerun);
    eventually("the copy is acknowledged", async || bus.acked(copy)).await;
    assert_eq!(scene.all().await.len(), 2);
    bus.deliver_event(&go("g2", 4));
    assert_eq!(scene.output(again).await, json!({ "heard": ["g2"] }), "it waits for the same number");
    eventually("its events are out", async || {
        let of = |event: &CloudEvent| event.subject == Some(again.to_string()) && event.ty.ends_with("completed.v1");
        bus.published(Channel::Status).iter().any(of)
    })
    .await;
    for event in bus.published(Channel::Status) {
        let is_status = event.ty.starts_with("io.serverlessworkflow.");
        let of_again = event.subject == Some(again.to_string());
        let says = event.extensions.get("rerunof").cloned();
        assert_eq!(says, (is_status && of_again).then(|| json!(ended.to_string())), "{event:?}");
    }
    assert_eq!(scene.output(ended).await, json!({ "heard": ["g1"] }), "what has ended stays as it was");

    // The same from the command line, which has no bus.
    let third = flagstop_runtime::rerun(&*scene.store, again, scene.plans[0].0).await.unwrap();
    scene.becomes(third, Phase::Waiting).await;
    assert_eq!(scene.instance(third).await.input(), scene.instance(ended).await.input());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_from_where_commands_are_refused_is_rejected_and_events_pass() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_from_everybody(&start("s", 1));
    let id = started("s", "waits");
    scene.becomes(id, Phase::Waiting).await;
    bus.deliver_from_everybody(&command("c1", "cancel", id, &json!({})));
    assert_eq!(answer(&bus, "c1").await["code"], "FS-COMMAND-FORBIDDEN");
    bus.deliver_from_everybody(&go("g", 1));
    assert_eq!(scene.output(id).await, json!({ "heard": ["g"] }));
    let letters = scene.store.list_dead_letters(&Default::default()).await.unwrap();
    assert_eq!(letters.iter().map(|letter| letter.code.as_str()).collect::<Vec<_>>(), ["FS-COMMAND-FORBIDDEN"]);
}
