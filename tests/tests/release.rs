//! The release of what was set aside (PROTOCOL D8): however the word comes, and whoever dies meanwhile, it is carried out once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::sync::Arc;

use flagstop_bus::port::Channel;
use flagstop_engine::Instance;
use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, Order, Secrets, Worker};
use flagstop_schemas::{Header, InstanceId, journal};
use flagstop_store::port::{Aside, Batch, Group, InstanceWrite, MAIL_MAX, Verdict};
use flagstop_store::rows::NewMail;
use flagstop_tests::answers::{answer, answers, by_key, keyed};
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::scene::{Scene, WAITS, command, go, start, started};
use flagstop_tests::services::{eventually, postgres};
use flagstop_tests::stepped::{Step, Stepped};
use serde_json::{Value, json};

/// An instance that is set aside, and perhaps suspended before that.
async fn aside(scene: &Scene, bus: &HandBus, n: u32, before: Phase) -> InstanceId {
    let name = format!("s{n}");
    bus.deliver_event(&start(&name, n));
    let id = started(&name, "waits");
    scene.becomes(id, Phase::Waiting).await;
    if before == Phase::Suspended {
        bus.deliver_event(&command(&format!("hold{n}"), "suspend", id, &json!({})));
        scene.becomes(id, Phase::Suspended).await;
    }
    scene.set_aside(id).await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_continue_releases_what_was_set_aside_and_is_accepted() {
    let scene = Scene::new(&[&keyed("1.0.0")]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    for (n, before) in [(1, Phase::Waiting), (2, Phase::Suspended), (3, Phase::Waiting), (4, Phase::Suspended)] {
        let id = aside(&scene, &bus, n, before).await;
        let (name, event) = (format!("c{n}"), go(&format!("g{n}"), n));
        let meanwhile = bus.deliver_event(&event);
        eventually("the event is recorded", async || bus.acked(meanwhile)).await;
        assert_eq!(scene.phase(id).await, Some(before), "it waits for it");
        bus.deliver_event(&match n {
            1 | 2 => command(&name, "continue", id, &json!({})),
            _ => by_key(&name, "continue", &n.to_string(), json!({ "version": "1.0.0" })),
        });
        assert_eq!(answer(&bus, &name).await["verdict"], "command.accepted");
        assert_eq!(scene.output(id).await, json!({ "heard": [event.id] }));
        assert_eq!(scene.aside(id).await, None);
    }
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), []);
}

/// A letter that says: continue.
async fn write_continue(scene: &Scene, instance: InstanceId) {
    let mail = NewMail { instance, definition: scene.plans[0].0, stimulus: "\"continue\"".into() };
    let batch = Batch { worker: None, groups: vec![Group { post: vec![mail], ..Group::default() }] };
    assert_eq!(scene.store.commit(&batch).await.unwrap(), [Verdict::Applied]);
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_a_worker_that_dies_while_it_releases_leaves_all_or_nothing_done() {
    let scene = Scene::new(&[&keyed("1.0.0")]).await;
    let options = || Options { mail_stale_ms: 100, beat_ms: 100, lease_ms: 1_000, ..Options::default() };
    let cases = [Phase::Waiting, Phase::Suspended]
        .map(|before| [1, 2].map(|steps| ["message", "letter"].map(|way| (before, steps, way))));
    for (n, (before, steps, way)) in (1..).zip(cases.as_flattened().as_flattened()) {
        let case = format!("{way}, {before:?}, died after {steps} steps");
        let stepped = Stepped::new(flagstop_store::open(&postgres(), &scene.config).await.unwrap());
        let first = Arc::new(HandBus::default());
        let worker = Worker::start(stepped.clone(), first.clone(), options(), Secrets::none()).await.unwrap();
        let id = aside(&scene, &first, n, *before).await;
        let name = format!("c{n}");
        let message = command(&name, "continue", id, &json!({}));
        stepped.hold();
        match *way {
            "message" => _ = first.deliver_event(&message),
            _ => write_continue(&scene, id).await,
        }
        for expected in [Step::Load, Step::Commit].iter().take(*steps) {
            eventually("the worker stands before its next step", async || stepped.step().await == Some(*expected))
                .await;
        }
        drop(worker);
        stepped.release();
        assert_eq!(scene.aside(id).await.is_none(), *steps == 2, "{case}");

        let (_worker, second) = scene.worker(options()).await;
        if *way == "message" {
            let copy = second.deliver_event(&message);
            eventually("the copy is acknowledged", async || second.acked(copy)).await;
        }
        second.deliver_event(&go(&format!("g{n}"), n));
        assert_eq!(scene.output(id).await, json!({ "heard": [format!("g{n}")] }), "{case}");
        assert_eq!(scene.aside(id).await, None, "{case}");
        if *way == "message" {
            eventually("it is answered", async || {
                !answers(&first, &name).is_empty() || !answers(&second, &name).is_empty()
            })
            .await;
        }
        let all = [answers(&first, &name), answers(&second, &name)].concat();
        assert!(all.iter().all(|answer| answer["verdict"] == "command.accepted"), "{case}: {all:?}");
        assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), [], "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_an_operator_releases_an_instance_however_much_mail_waits_for_it() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options { mail_stale_ms: 100, beat_ms: 100, ..Options::default() }).await;
    let id = aside(&scene, &bus, 1, Phase::Suspended).await;
    let letter = NewMail { instance: id, definition: scene.plans[0].0, stimulus: "\"suspend\"".into() };
    let batch = Batch { worker: None, groups: vec![Group { post: vec![letter; MAIL_MAX + 1], ..Group::default() }] };
    scene.store.commit(&batch).await.unwrap();
    scene.tell(id, Order::Continue).await;
    assert_eq!(scene.aside(id).await, None);
    scene.becomes(id, Phase::Waiting).await;
    bus.deliver_event(&go("g", 1));
    assert_eq!(scene.output(id).await, json!({ "heard": ["g"] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn d16_a_build_that_cannot_read_what_is_set_aside_releases_nothing_and_keeps_the_command() {
    let scene = Scene::new(&[WAITS]).await;
    let options = Options { mail_stale_ms: 100, beat_ms: 100, sweep_ms: 100, ..Options::default() };
    let (_worker, bus) = scene.worker(options).await;
    for (n, way) in [(1, "message"), (2, "letter")] {
        let id = aside(&scene, &bus, n, Phase::Waiting).await;
        let summary = scene.store.instance(id).await.unwrap().unwrap();
        let rewrite = async |revision, state| {
            let (definition, status) = (summary.definition, summary.status);
            let write = InstanceWrite { revision, definition, status, state, ..InstanceWrite::default() };
            let group = Group { instance: Some((id, write)), ..Group::default() };
            let batch = Batch { worker: None, groups: vec![group] };
            assert_eq!(scene.store.commit(&batch).await.unwrap(), [Verdict::Applied]);
        };
        rewrite(summary.revision, "a newer form".into()).await;
        let name = format!("c{n}");
        if way == "message" {
            let kept = bus.deliver_event(&command(&name, "continue", id, &json!({})));
            eventually("the command is kept", async || bus.acked(kept)).await;
        } else {
            write_continue(&scene, id).await;
        }
        // What comes after it has been looked at with it.
        let meanwhile = bus.deliver_event(&go(&format!("g{n}"), n));
        eventually("the event is recorded", async || bus.acked(meanwhile)).await;
        assert!(scene.aside(id).await.is_some());
        assert_eq!(answers(&bus, &name), [Value::Null; 0]);
        // A build that can read it carries it out.
        rewrite(summary.revision + 1, summary.state.clone()).await;
        assert_eq!(scene.output(id).await, json!({ "heard": [format!("g{n}")] }));
        assert_eq!(scene.aside(id).await, None);
        if way == "message" {
            assert_eq!(answer(&bus, &name).await["verdict"], "command.accepted");
        }
    }
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), []);
}

/// What was set aside because its start kills is got rid of without another try.
#[tokio::test(flavor = "multi_thread")]
async fn d8_what_was_set_aside_before_it_began_can_be_cancelled() {
    let scene = Scene::new(&[WAITS]).await;
    let (definition, plan) = &scene.plans[0];
    let id = started("s", "waits");
    let header = Header {
        namespace: "t".into(),
        name: "waits".into(),
        version: "1.0.0".into(),
        instance: id,
        business_key: None,
    };
    let (state, events) = (Instance::new(id, plan).encode(), journal::encode(&header, &[]));
    let new = InstanceWrite { definition: *definition, state, events, ..InstanceWrite::default() };
    let start = br#"{"start":{"input":[{"n":1}],"cause":null}}"#;
    let start = NewMail { instance: id, definition: *definition, stimulus: start.as_slice().into() };
    let aside = Some(Aside { instance: id, reason: Some("its start kills".into()) });
    let group = Group { instance: Some((id, new)), post: vec![start], aside, ..Group::default() };
    let batch = Batch { worker: None, groups: vec![group] };
    assert_eq!(scene.store.commit(&batch).await.unwrap(), [Verdict::Applied]);

    let (_worker, bus) = scene.worker(Options { mail_stale_ms: 100, beat_ms: 100, ..Options::default() }).await;
    scene.tell(id, Order::Cancel).await;
    scene.tell(id, Order::Continue).await;
    scene.becomes(id, Phase::Cancelled).await;
    let types = || bus.published(Channel::Status).into_iter().map(|event| event.ty).collect::<Vec<_>>();
    eventually("it is told", async || !types().is_empty()).await;
    assert_eq!(types(), ["io.serverlessworkflow.workflow.cancelled.v1"], "it never began");
}
