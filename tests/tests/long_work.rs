//! Long pure work (PROTOCOL D18): it is cut, so that others have their turn, commands reach it, and a crash repeats little.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use flagstop_engine::api::Phase;
use flagstop_runtime::Options;
use flagstop_schemas::{Entry, StatusKind, journal};
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, WAITS, command, start, started};
use flagstop_tests::services::eventually;
use serde_json::json;

const COUNTS: &str = r"
document: { dsl: '1.0.3', namespace: t, name: counts, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.count } } }, read: data }
input: { from: '.[0]' }
do:
  - all:
      for: { each: n, in: '[range(.rounds)]' }
      do: [ { one: { set: { counted: '${ $n }' } } } ]
";

/// One lane, so that whoever holds it up holds up all.
fn options() -> Options {
    let mut options = Options { lanes: 1, beat_ms: 100, lease_ms: 1_000, mail_stale_ms: 300, ..Options::default() };
    options.engine.steps_per_apply_max = 100;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn d18_long_work_holds_up_neither_others_nor_commands() {
    let scene = Scene::new(&[COUNTS, WAITS]).await;
    let (worker, bus) = scene.worker(options()).await;
    bus.deliver_event(&event("long", "t.count", &json!({ "rounds": 100_000 })));
    let long = started("long", "counts");
    scene.becomes(long, Phase::Running).await;
    for n in 0..30 {
        bus.deliver_event(&start(&format!("s{n}"), n));
    }
    for n in 0..30 {
        scene.becomes(started(&format!("s{n}"), "waits"), Phase::Waiting).await;
    }
    assert_eq!(scene.phase(long).await, Some(Phase::Running), "it goes on beside them");
    assert!(worker.vitals().read().await.shards > 0, "its worker gives its signs of life meanwhile");
    bus.deliver_event(&command("c", "cancel", long, &json!({})));
    scene.becomes(long, Phase::Cancelled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d18_what_is_left_of_long_work_goes_on_in_another_worker() {
    let scene = Scene::new(&[COUNTS]).await;
    let (worker, bus) = scene.worker(options()).await;
    bus.deliver_event(&event("long", "t.count", &json!({ "rounds": 2_000 })));
    let long = started("long", "counts");
    eventually("some of it is done", async || {
        scene.store.instance(long).await.unwrap().is_some_and(|summary| summary.revision > 3)
    })
    .await;
    drop(worker);
    let (_worker, _bus) = scene.worker(options()).await;
    assert_eq!(scene.output(long).await, json!({ "counted": 1_999 }));
    let history = scene.store.history(long).await.unwrap();
    let revisions: Vec<i32> = history.iter().map(|row| row.revision).collect();
    assert_eq!(revisions, (1..=i32::try_from(revisions.len()).unwrap()).collect::<Vec<_>>());
    let entries = history.iter().flat_map(|row| journal::decode(&row.events).unwrap().1);
    let told: Vec<_> =
        entries.filter_map(|entry| if let Entry::Status(event) = entry { Some(event) } else { None }).collect();
    assert!(told.iter().map(|event| event.sequence).eq(1..=told.len() as u64));
    let completed = told.iter().filter(|event| event.kind == StatusKind::TaskCompleted).count();
    assert_eq!(completed, 2_000 + 1, "each round is told once, and the loop");
}
