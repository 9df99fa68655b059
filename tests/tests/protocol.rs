//! PROTOCOL rules that concern a whole worker, on a real Postgres with a bus in the test's hands.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flagstop_bus::port::{Channel, RawMessage};
use flagstop_engine::api::Phase;
use flagstop_engine::{Limits, Plan};
use flagstop_runtime::{Options, Secrets, Worker, definition_row};
use flagstop_schemas::InstanceId;
use flagstop_store::StoreConfig;
use flagstop_store::port::{Batch, Group, InstanceFilter, InstanceWrite, Store, Verdict};
use flagstop_store::rows::{BookmarkRow, Diff};
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::{definition, event};
use flagstop_tests::services::{eventually, fresh_postgres, postgres};
use flagstop_tests::stepped::Stepped;
use serde_json::json;

const NOTED: &str = r"
document: { dsl: '1.0.3', namespace: t, name: noted, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.note } } } }
input: { from: '.[0].data' }
do:
  - note: { set: { n: '${ .n }' } }
";

struct Scene {
    store: Arc<dyn Store>,
    config: StoreConfig,
}

impl Scene {
    async fn new() -> Self {
        let (store, config) = fresh_postgres("protocol").await;
        Self { store, config }
    }

    async fn deploy(&self, text: &str) -> i32 {
        let plan = Plan::compile(text.as_bytes(), &Limits::default()).unwrap();
        self.store.deploy(&[definition_row(&plan, text.as_bytes())]).await.unwrap()[0].number
    }

    async fn worker(&self, options: Options) -> (Worker, Arc<HandBus>, Arc<Stepped>) {
        let store = Stepped::new(flagstop_store::open(&postgres(), &self.config).await.unwrap());
        let bus = Arc::new(HandBus::default());
        let worker = Worker::start(store.clone(), bus.clone(), options, Secrets::none()).await.unwrap();
        (worker, bus, store)
    }

    async fn ends(&self, phase: Phase) -> usize {
        let all = self.store.list_instances(&InstanceFilter::default()).await.unwrap();
        all.iter().filter(|it| it.status == phase as i16).count()
    }
}

fn note(n: usize) -> flagstop_schemas::CloudEvent {
    event(&format!("note-{n}"), "t.note", &json!({ "n": n }))
}

fn hired(n: usize) -> flagstop_schemas::CloudEvent {
    event(&format!("hired-{n}"), "com.example.employee.hired", &json!({ "employeeId": format!("e-{n}"), "name": "x" }))
}

fn checked(n: usize) -> flagstop_schemas::CloudEvent {
    let data = json!({ "employeeId": format!("e-{n}"), "passed": true });
    event(&format!("checked-{n}"), "com.example.background-check.completed", &data)
}

/// A worker that never looks at the catalogue by itself within a test.
fn without_beats() -> Options {
    Options { beat_ms: 600_000, lease_ms: 3_600_000, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn d5_a_definition_that_is_deployed_and_triggered_at_once_drops_nothing() {
    let scene = Scene::new().await;
    let (_worker, bus, _) = scene.worker(without_beats()).await;
    let unheard = bus.deliver_event(&note(1));
    eventually("what nobody listens to is acknowledged", async || bus.acked(unheard)).await;
    scene.deploy(NOTED).await;
    bus.deliver_event(&note(2));
    eventually("the new definition's trigger starts it", async || scene.ends(Phase::Completed).await == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d7_an_effect_whose_driver_died_is_driven_by_another_under_the_same_key() {
    let scene = Scene::new().await;
    let hr = Hr::start().await;
    hr.hang(true);
    scene.deploy(&definition(&hr.url)).await;
    let brisk = Options { lease_ms: 600, beat_ms: 100, ..Options::default() };
    let (dies, bus, _) = scene.worker(brisk.clone()).await;
    bus.deliver_event(&hired(1));
    bus.deliver_event(&checked(1));
    eventually("the call is in flight", async || hr.asked().len() == 1).await;
    drop(dies);
    let (_lives, _, _) = scene.worker(brisk).await;
    eventually("the call is made again", async || hr.asked().len() >= 2).await;
    hr.hang(false);
    eventually("the instance completes", async || scene.ends(Phase::Completed).await == 1).await;
    let keys: HashSet<String> = hr.asked().into_iter().map(|asked| asked.key).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn d11_a_commit_whose_answer_is_lost_is_made_once_and_its_effects_are_driven() {
    let scene = Scene::new().await;
    let hr = Hr::start().await;
    scene.deploy(&definition(&hr.url)).await;
    let (_worker, bus, store) = scene.worker(Options { lanes: 1, ..Options::default() }).await;
    store.lose_answers(3);
    let acks = [bus.deliver_event(&hired(1)), bus.deliver_event(&checked(1))];
    eventually("the instance completes", async || scene.ends(Phase::Completed).await == 1).await;
    eventually("both are acknowledged", async || acks.iter().all(|ack| bus.acked(*ack))).await;
    assert_eq!(hr.asked().len(), 1, "one call");
    let all = scene.store.list_instances(&InstanceFilter::default()).await.unwrap();
    assert_eq!(all.len(), 1, "one instance");
}

#[tokio::test(flavor = "multi_thread")]
async fn d16_what_a_newer_build_wrote_is_handed_back_and_never_treated_as_poison() {
    let scene = Scene::new().await;
    let hr = Hr::start().await;
    let number = scene.deploy(&definition(&hr.url)).await;
    let plan = Plan::compile(definition(&hr.url).as_bytes(), &Limits::default()).unwrap();
    let resume = flagstop_engine::Event::parse(checked(1), &Limits::default()).unwrap();
    let id = InstanceId::of_trigger("/tests", "hired-1", "hr", "onboarding");
    let newer = InstanceWrite {
        definition: number,
        status: Phase::Waiting as i16,
        state: Bytes::from_static(&[0xff; 40]),
        bookmarks: Diff {
            add: vec![BookmarkRow { key: plan.waits()[0].keys(&resume)[0], slot: 1, since_us: None }],
            drop: Vec::new(),
        },
        ..InstanceWrite::default()
    };
    let batch = Batch { worker: None, groups: vec![Group { instance: Some((id, newer)), ..Group::default() }] };
    assert_eq!(scene.store.commit(&batch).await.unwrap(), [Verdict::Applied]);
    let (_worker, bus, _) = scene.worker(Options::default()).await;
    let message = bus.deliver_event(&checked(1));
    eventually("the message is acknowledged", async || bus.acked(message)).await;
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), [], "no dead letter");
    let waiting = flagstop_store::port::LoadRequest { instances: vec![id], ..Default::default() };
    let mail = scene.store.load(&waiting).await.unwrap().mail;
    assert_eq!(mail.len(), 1, "the message waits in the mailbox for a worker that can read the instance");
    let untouched = scene.store.instance(id).await.unwrap().unwrap();
    assert_eq!((untouched.revision, untouched.status), (1, Phase::Waiting as i16));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_become_dead_letters_and_the_worker_goes_on() {
    let scene = Scene::new().await;
    scene.deploy(NOTED).await;
    let (_worker, bus, _) = scene.worker(Options::default()).await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let with_body = |id: &str, body: String| RawMessage {
        body: Bytes::from(body),
        ..flagstop_bus::encode_kafka(&event(id, "t.note", &json!({})))
    };
    let command = |id: &str, data: serde_json::Value| {
        flagstop_bus::encode_kafka(&event(id, "io.flagstop.command.start.v1", &data))
    };
    let bad = [
        ("FS-EVENT-NOT-CLOUDEVENT", RawMessage { body: Bytes::from_static(b"hello"), ..RawMessage::default() }),
        ("FS-EVENT-NOT-JSON", with_body("b1", "{oops".into())),
        ("FS-EVENT-TOO-DEEP", with_body("b2", deep)),
        ("FS-EVENT-TOO-LARGE", with_body("b3", format!("\"{}\"", "x".repeat(2 << 20)))),
        ("FS-DEFINITION-UNKNOWN", command("b4", json!({ "namespace": "t", "name": "nobody" }))),
        ("FS-COMMAND-INVALID", command("b5", json!({ "name": 3 }))),
        ("FS-COMMAND-UNKNOWN", flagstop_bus::encode_kafka(&event("b6", "io.flagstop.command.fly.v1", &json!({})))),
    ];
    for (code, message) in &bad {
        let position = bus.deliver(message.clone());
        eventually(code, async || bus.acked(position)).await;
    }
    let letters = scene.store.list_dead_letters(&Default::default()).await.unwrap();
    assert_eq!(letters.len(), bad.len());
    for (code, message) in &bad {
        let letter = letters.iter().find(|letter| letter.code == *code && letter.body == message.body);
        let letter = letter.unwrap_or_else(|| {
            panic!("no letter {code}; there are {:?}", letters.iter().map(|l| (&l.code, &l.reason)).collect::<Vec<_>>())
        });
        assert!(letter.reason.len() > 20, "{code} says what to do: {}", letter.reason);
    }
    eventually("all are published", async || bus.published_raw(Channel::Dead).len() == bad.len()).await;
    bus.deliver_event(&note(1));
    bus.deliver(command("ok", json!({ "namespace": "t", "name": "noted", "input": [{ "data": { "n": 1 } }] })));
    eventually("the worker goes on", async || scene.ends(Phase::Completed).await == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_worker_leaves_nothing_in_its_hands() {
    let scene = Scene::new().await;
    scene.deploy(NOTED).await;
    let (worker, bus, _) = scene.worker(Options::default()).await;
    for n in 0..300 {
        bus.deliver_event(&note(n));
    }
    eventually("some are done", async || scene.ends(Phase::Completed).await > 0).await;
    let id = worker.id();
    worker.drain(Duration::from_secs(20)).await;
    let done = scene.ends(Phase::Completed).await;
    let published = bus.published(Channel::Status).iter().filter(|e| e.ty.ends_with("workflow.completed.v1")).count();
    assert_eq!(published, done, "all that was committed is published");
    assert_eq!(scene.store.held(id).await.unwrap(), [], "no effect is its own any more");
}
