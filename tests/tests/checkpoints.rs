//! Checkpoints in a worker: how often it writes under each policy, and what a crash between two of them repeats.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::sync::Arc;

use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, Secrets, Worker};
use flagstop_schemas::{Entry, InstanceId, StatusKind, journal};
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, started};
use flagstop_tests::services::{eventually, postgres};
use flagstop_tests::stepped::{Step, Stepped};
use serde_json::json;

fn definition(name: &str, policy: &str, tasks: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0', metadata: {{ flagstop: {{ checkpoint: {policy} }} }} }}\n\
         schedule: {{ on: {{ one: {{ with: {{ type: t.start }} }} }}, read: data }}\ndo: {tasks}\n"
    )
}

/// The tasks that each journal row completed, by the last letter of their pointers, and each row's time.
async fn rows(scene: &Scene, id: InstanceId) -> Vec<(String, i64)> {
    let row = |events: &[u8]| {
        let (_, entries) = journal::decode(&bytes::Bytes::copy_from_slice(events)).unwrap();
        let completed = entries.into_iter().filter_map(|entry| match entry {
            Entry::Status(event) if event.kind == StatusKind::TaskCompleted => event.task?.pop(),
            _ => None,
        });
        completed.collect()
    };
    let history = scene.store.history(id).await.unwrap();
    history.into_iter().map(|it| (row(&it.events), it.at_us)).collect()
}

const PURE: &str = "[ { a: { set: { n: 1 } } }, { b: { set: { n: 2 } } }, { c: { set: { n: 3 } } } ]";

#[tokio::test(flavor = "multi_thread")]
async fn each_policy_writes_as_many_rows_as_it_says_and_gives_the_same_output() {
    let hr = Hr::start().await;
    let call =
        format!("{{ x: {{ call: http, with: {{ method: post, endpoint: '{}/x', body: {{ id: a }} }} }} }}", hr.url);
    let mixed = format!(
        "[ {{ a: {{ set: {{ n: 1 }} }} }}, {{ b: {{ set: {{ n: 2 }} }} }}, {call}, {{ c: {{ set: {{ n: 3 }} }} }}, {{ d: {{ set: {{ n: 4 }} }} }} ]"
    );
    let cases = [
        // Before the call, and with its answer.
        ("effects", "effects", &["ab", "xcd"][..]),
        ("suspend", "suspend", &["abxcd"]),
        ("task", "task", &["a", "b", "", "x", "c", "d"]),
        ("tasks", "{ tasks: 2 }", &["ab", "", "xc", "d"]),
        ("when", "{ when: .n == 1 }", &["a", "b", "xcd"]),
    ];
    let texts: Vec<String> = cases.iter().map(|(name, policy, _)| definition(name, policy, &mixed)).collect();
    let scene = Scene::new(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_event(&event("s", "t.start", &json!({})));
    for (name, _, expected) in cases {
        let id = started("s", name);
        assert_eq!(scene.output(id).await, json!({ "n": 4 }), "{name}");
        let rows: Vec<String> = rows(&scene, id).await.into_iter().map(|(completed, _)| completed).collect();
        assert_eq!(rows, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_checkpoints_repeats_only_what_was_not_written() {
    let scene = Scene::new(&[&definition("steps", "task", PURE)]).await;
    let stepped = Stepped::new(flagstop_store::open(&postgres(), &scene.config).await.unwrap());
    let bus = Arc::new(HandBus::default());
    let worker = Worker::start(stepped.clone(), bus.clone(), Options::default(), Secrets::none()).await.unwrap();
    stepped.hold();
    bus.deliver_event(&event("s", "t.start", &json!({})));
    eventually("the first checkpoint is written", async || stepped.step().await == Some(Step::Commit)).await;
    drop(worker);
    let id = started("s", "steps");
    let before = rows(&scene, id).await;
    assert_eq!(before.iter().map(|(completed, _)| completed.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(scene.phase(id).await, Some(Phase::Running));

    // Another worker finds the letter that the first one left.
    let (_worker, _bus) = scene.worker(Options { mail_stale_ms: 100, beat_ms: 100, ..Options::default() }).await;
    assert_eq!(scene.output(id).await, json!({ "n": 3 }));
    let after = rows(&scene, id).await;
    assert_eq!(after.iter().map(|(completed, _)| completed.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(after[0], before[0], "what was written stays as it was");
    stepped.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployments_policy_is_checked_before_anything_runs() {
    let scene = Scene::new(&[&definition("steps", "{ tasks: 2 }", PURE)]).await;
    let store = flagstop_store::open(&postgres(), &scene.config).await.unwrap();
    let mut options = Options::default();
    options.engine.checkpoint = "sometimes".into();
    let refused = Worker::start(store, Arc::new(HandBus::default()), options, Secrets::none()).await.err();
    let why = refused.expect("no worker starts with it").to_string();
    assert!(why.contains("worker.engine.checkpoint") && why.contains("`sometimes`"), "{why}");
}
