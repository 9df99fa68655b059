//! PROTOCOL D4: run ids that leave the process come from the snapshot, so that a replay makes the same ones.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::HashMap;
use std::sync::Arc;

use flagstop_engine::api::Phase;
use flagstop_engine::{Limits, Plan};
use flagstop_runtime::{Options, Secrets, Worker, definition_row};
use flagstop_schemas::InstanceId;
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::event;
use flagstop_tests::services::{eventually, fresh_postgres, postgres};

/// Calls the same task three times.
const THRICE: &str = r"
document: { dsl: '1.0.3', namespace: t, name: thrice, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } } }
input: { from: '.[0].data' }
do:
  - ask:
      call: http
      with: { method: post, endpoint: '{hr}/x', body: { id: '${ .n }' } }
      output: { as: '$input + { turns: ($input.turns + 1) }' }
  - more:
      switch:
        - again: { when: .turns < 3, then: ask }
        - done: { then: end }
";

#[tokio::test(flavor = "multi_thread")]
async fn d4_a_replay_makes_the_same_keys_and_no_two_runs_share_one() {
    let (store, config) = fresh_postgres("identity").await;
    let hr = Hr::start().await;
    let text = THRICE.replace("{hr}", &hr.url);
    let plan = Plan::compile(text.as_bytes(), &Limits::default()).unwrap();
    store.deploy(&[definition_row(&plan, text.as_bytes())]).await.unwrap();
    let brisk = Options { lease_ms: 600, beat_ms: 100, ..Options::default() };
    let worker = async || {
        let store = flagstop_store::open(&postgres(), &config).await.unwrap();
        let bus = Arc::new(HandBus::default());
        (Worker::start(store, bus.clone(), brisk.clone(), Secrets::none()).await.unwrap(), bus)
    };
    hr.hang(true);
    let (dies, bus) = worker().await;
    bus.deliver_event(&event("one", "t.start", &serde_json::json!({ "n": "n-1", "turns": 0 })));
    eventually("the first call is in flight", async || hr.asked().len() == 1).await;
    drop(dies);
    let (_lives, _bus) = worker().await;
    eventually("it is made again", async || hr.asked().len() == 2).await;
    hr.hang(false);
    let id = InstanceId::of_trigger("/tests", "one", "t", "thrice");
    eventually("the instance completes", async || {
        store.instance(id).await.unwrap().is_some_and(|it| it.status == Phase::Completed as i16)
    })
    .await;
    let mut times: HashMap<String, usize> = HashMap::new();
    for asked in hr.asked() {
        *times.entry(asked.key).or_default() += 1;
    }
    let mut counts: Vec<usize> = times.values().copied().collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, 1, 2], "three runs, three keys; the one that was made again kept its own: {times:?}");
    assert!(times.keys().all(|key| key.starts_with(&format!("{id}:/do/0/ask:"))), "{times:?}");
}
