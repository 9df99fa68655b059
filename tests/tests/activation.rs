//! Activation: one live instance per key, whoever starts it, and what becomes of the others.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use flagstop_bus::port::Channel;
use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, Order};
use flagstop_schemas::{CloudEvent, Data};
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, command, started};
use flagstop_tests::services::eventually;
use serde_json::{Value, json};

/// Lives until it is told to go, once per key.
fn waits(activation: &str) -> String {
    format!(
        r"
document: {{ dsl: '1.0.3', namespace: t, name: single, version: '1.0.0', metadata: {{ flagstop: {{ activation: {activation} }} }} }}
schedule: {{ on: {{ one: {{ with: {{ type: t.start }} }} }}, read: data }}
input: {{ from: '.[0]' }}
do:
  - hear: {{ listen: {{ to: {{ one: {{ with: {{ type: t.go }}, correlate: {{ n: {{ from: .data.n, expect: '${{ .n }}' }} }} }} }} }} }}
"
    )
}

fn start(id: &str, key: &Value, n: u32) -> CloudEvent {
    event(id, "t.start", &json!({ "key": key, "n": n }))
}

fn go(id: &str, n: u32) -> CloudEvent {
    event(id, "t.go", &json!({ "n": n }))
}

async fn codes(scene: &Scene) -> Vec<String> {
    scene.store.list_dead_letters(&Default::default()).await.unwrap().into_iter().map(|letter| letter.code).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_lives_per_key_and_the_others_triggers_are_dead_letters() {
    let scene = Scene::new(&[&waits("{ key: .key }")]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let first = started("s1", "single");
    bus.deliver_event(&start("s1", &json!(3), 1));
    scene.becomes(first, Phase::Waiting).await;
    // The same number in another spelling; then another text, and none at all, which live beside it.
    let duplicate = bus.deliver_event(&start("s2", &json!(3.0), 2));
    eventually("it is acknowledged", async || bus.acked(duplicate)).await;
    assert_eq!(codes(&scene).await, ["FS-ALREADY-ACTIVE"]);
    for (id, key) in [("s3", json!("3")), ("s4", Value::Null), ("s5", Value::Null)] {
        bus.deliver_event(&start(id, &key, 3));
        scene.becomes(started(id, "single"), Phase::Waiting).await;
    }
    assert_eq!(scene.phase(started("s2", "single")).await, None);
    // The same trigger once more changes nothing; and once the first has ended there is room for another.
    let again = bus.deliver_event(&start("s2", &json!(3.0), 2));
    eventually("it is acknowledged", async || bus.acked(again)).await;
    assert_eq!(codes(&scene).await.len(), 1);
    bus.deliver_event(&go("g", 1));
    scene.becomes(first, Phase::Completed).await;
    bus.deliver_event(&start("s6", &json!(3), 6));
    scene.becomes(started("s6", "single"), Phase::Waiting).await;
    assert_eq!(scene.all().await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_may_be_dropped_and_a_command_is_told_in_any_case() {
    let scene = Scene::new(&[&waits("{ key: .key, onDuplicate: drop }")]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_event(&start("s1", &json!("a"), 1));
    scene.becomes(started("s1", "single"), Phase::Waiting).await;
    let duplicate = bus.deliver_event(&start("s2", &json!("a"), 2));
    let data = json!({ "namespace": "t", "name": "single", "input": [{ "key": "a", "n": 3 }] });
    let told = bus.deliver_event(&event("c1", "io.flagstop.command.start.v1", &data));
    eventually("both are acknowledged", async || bus.acked(duplicate) && bus.acked(told)).await;
    let answer = || {
        let published = bus.published(Channel::Status);
        let answer = published.into_iter().find(|event| event.ty == "io.flagstop.command.rejected.v1")?;
        let Data::Json(data) = answer.data else { return None };
        serde_json::from_slice::<Value>(&data).ok()
    };
    eventually("the command is answered", async || answer().is_some()).await;
    assert_eq!(answer().unwrap()["code"], "FS-ALREADY-ACTIVE");
    assert!(answer().unwrap()["reason"].as_str().unwrap().contains(&started("s1", "single").to_string()));
    assert_eq!(codes(&scene).await, [""; 0]);
    assert_eq!(scene.all().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_triggers_at_once_in_two_workers_one_starts_an_instance() {
    let scene = Scene::new(&[&waits("{ key: .key, onDuplicate: drop }")]).await;
    let (_one, first) = scene.worker(Options::default()).await;
    let (_other, second) = scene.worker(Options::default()).await;
    let mut positions = Vec::new();
    for n in 0..120 {
        let bus = if n % 2 == 0 { &first } else { &second };
        positions.push((bus, bus.deliver_event(&start(&format!("s{n}"), &json!(n / 12), n))));
    }
    eventually("all are acknowledged", async || positions.iter().all(|(bus, position)| bus.acked(*position))).await;
    let all = scene.all().await;
    assert_eq!(all.len(), 10, "one for each key");
    assert!(all.iter().all(|it| it.status == Phase::Waiting as i16));
    assert_eq!(codes(&scene).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_faulted_can_be_retried_only_while_its_key_is_free() {
    let hr = Hr::start().await;
    let call = format!(
        "  - end: {{ call: http, with: {{ method: post, endpoint: '{}/x', body: {{ id: a }} }}, timeout: {{ after: {{ milliseconds: 300 }} }} }}\n",
        hr.url
    );
    let scene = Scene::new(&[&format!("{}{call}", waits("{ key: .key }"))]).await;
    let (_worker, bus) = scene.worker(Options { mail_stale_ms: 100, beat_ms: 100, ..Options::default() }).await;
    let (faulted, other) = (started("s1", "single"), started("s2", "single"));
    hr.hang(true);
    bus.deliver_event(&start("s1", &json!("a"), 1));
    scene.becomes(faulted, Phase::Waiting).await;
    bus.deliver_event(&go("g1", 1));
    scene.becomes(faulted, Phase::Faulted).await;
    bus.deliver_event(&start("s2", &json!("a"), 2));
    scene.becomes(other, Phase::Waiting).await;
    let refused = bus.deliver_event(&command("c1", "retry", faulted, &json!({})));
    eventually("it is acknowledged", async || bus.acked(refused)).await;
    assert_eq!(codes(&scene).await, ["FS-ALREADY-ACTIVE"]);
    assert_eq!(scene.phase(faulted).await, Some(Phase::Faulted));
    hr.hang(false);
    bus.deliver_event(&go("g2", 2));
    scene.becomes(other, Phase::Completed).await;
    bus.deliver_event(&command("c2", "retry", faulted, &json!({})));
    scene.becomes(faulted, Phase::Completed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_and_a_parent_hear_that_nothing_began() {
    let often = r"
document: { dsl: '1.0.3', namespace: t, name: often, version: '1.0.0', metadata: { flagstop: { activation: { key: '\'one\'', onDuplicate: drop } } } }
schedule: { every: { milliseconds: 200 } }
do:
  - rest: { wait: { hours: 1 } }
"
    .replace("'\\'one\\''", "'\"one\"'");
    let parent = r"
document: { dsl: '1.0.3', namespace: t, name: parent, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.parent } } }, read: data }
do:
  - child: { run: { workflow: { namespace: t, name: single, version: '1.0.0', input: [ { key: a, n: 9 } ] } } }
";
    let scene = Scene::new(&[&often, parent, &waits("{ key: .key }")]).await;
    let (_worker, bus) = scene.worker(Options { timer_poll_ms: 10, beat_ms: 50, ..Options::default() }).await;
    let runs = async || {
        let all = scene.all().await;
        all.into_iter().filter(|it| it.definition == scene.plans[0].0).collect::<Vec<_>>()
    };
    eventually("it runs", async || runs().await.len() == 1).await;
    let first = runs().await[0].id;
    // Several due times later there is still the one.
    bus.deliver_event(&start("s1", &json!("a"), 1));
    scene.becomes(started("s1", "single"), Phase::Waiting).await;
    bus.deliver_event(&event("p", "t.parent", &json!({})));
    scene.becomes(started("p", "parent"), Phase::Faulted).await;
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(runs().await.len(), 1);
    assert_eq!(codes(&scene).await, ["FS-ALREADY-ACTIVE"], "of the child; the schedule's are dropped");
    scene.tell(first, Order::Cancel).await;
    eventually("the next one runs", async || runs().await.len() == 2).await;
}
