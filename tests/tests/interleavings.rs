//! PROTOCOL D1, D2 and D3 step by step: two workers on one Postgres, stopped before each call of the hot path, in every
//! order in which their calls can fall.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::sync::Arc;
use std::time::Duration;

use flagstop_engine::{Instance, Limits, Plan, value};
use flagstop_runtime::{Options, Secrets, Worker, definition_row};
use flagstop_schemas::{Entry, InstanceId, journal};
use flagstop_store::port::Store;
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::onboarding::event;
use flagstop_tests::services::{eventually, fresh_postgres};
use flagstop_tests::stepped::Stepped;
use serde_json::json;

/// Hears two events, each once, in whichever order.
const TWICE: &str = r"
document: { dsl: '1.0.3', namespace: t, name: twice, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } } }
input: { from: '.[0].data' }
do:
  - first:
      listen:
        to:
          one:
            with: { type: t.resume }
            correlate: { n: { from: .data.n, expect: '${ .n }' } }
      output: { as: '$input + { heard: [.[0].id] }' }
  - second:
      listen:
        to:
          one:
            with: { type: t.resume }
            correlate: { n: { from: .data.n, expect: '${ .n }' } }
      output: { as: '$input + { heard: ($input.heard + [.[0].id]) }' }
";

/// Hears one.
const ONCE: &str = r"
document: { dsl: '1.0.3', namespace: t, name: once, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } } }
input: { from: '.[0].data' }
do:
  - first:
      listen:
        to:
          one:
            with: { type: t.resume }
            correlate: { n: { from: .data.n, expect: '${ .n }' } }
      output: { as: '$input + { heard: [.[0].id] }' }
";

struct Bench {
    store: Arc<dyn Store>,
    plans: Vec<Plan>,
    hands: [Hand; 2],
}

struct Hand {
    store: Arc<Stepped>,
    bus: Arc<HandBus>,
    _worker: Worker,
}

impl Bench {
    async fn new(definitions: &[&str]) -> Self {
        let (store, config) = fresh_postgres("interleavings").await;
        let plans: Vec<Plan> =
            definitions.iter().map(|text| Plan::compile(text.as_bytes(), &Limits::default()).unwrap()).collect();
        let rows: Vec<_> =
            plans.iter().zip(definitions).map(|(plan, text)| definition_row(plan, text.as_bytes())).collect();
        store.deploy(&rows).await.unwrap();
        let hand = async || {
            let store = flagstop_store::open(&flagstop_tests::services::postgres(), &config).await.unwrap();
            let store = Stepped::new(store);
            let bus = Arc::new(HandBus::default());
            let never_ms = 3_600_000;
            let options = Options {
                lanes: 1,
                // The sweep heals what a crash left; here the looks must do without it.
                sweep_ms: never_ms,
                mail_stale_ms: never_ms,
                ..Options::default()
            };
            let worker = Worker::start(store.clone(), bus.clone(), options, Secrets::none()).await.unwrap();
            Hand { store, bus, _worker: worker }
        };
        Self { hands: [hand().await, hand().await], store, plans }
    }

    fn hold(&self) {
        self.hands.iter().for_each(|hand| hand.store.hold());
    }

    fn release(&self) {
        self.hands.iter().for_each(|hand| hand.store.release());
    }

    async fn play(&self, order: &[usize]) {
        for &hand in order {
            let _nothing_to_do = self.hands[hand].store.step().await;
        }
    }

    /// The ids that this instance has heard, once it has completed.
    async fn heard(&self, start: &str, name: usize) -> Vec<String> {
        let plan = &self.plans[name];
        let id = InstanceId::of_trigger("/tests", start, "t", &plan.reference().name);
        let completed = async || {
            let summary = self.store.instance(id).await.unwrap();
            summary.is_some_and(|it| it.status == flagstop_engine::api::Phase::Completed as i16)
        };
        eventually(&format!("{start} of {} completes", plan.reference().name), completed).await;
        let row = self.store.instance(id).await.unwrap().unwrap();
        let instance = Instance::decode(plan, &row.state).unwrap();
        let output = value::to_serde(instance.output().unwrap());
        self.sequence_has_no_gaps(id).await;
        let mut heard: Vec<String> =
            output["heard"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        heard.sort_unstable();
        heard
    }

    async fn sequence_has_no_gaps(&self, id: InstanceId) {
        let history = self.store.history(id).await.unwrap();
        let revisions: Vec<i32> = history.iter().map(|row| row.revision).collect();
        assert_eq!(revisions, (1..=i32::try_from(history.len()).unwrap()).collect::<Vec<_>>(), "one row a transition");
        let sequences: Vec<u64> = history
            .iter()
            .flat_map(|row| journal::decode(&row.events).unwrap().1)
            .filter_map(|entry| match entry {
                Entry::Status(event) => Some(event.sequence),
                Entry::Emitted(_) | Entry::Answer(_) | Entry::Late(_) => None,
            })
            .collect();
        assert_eq!(sequences, (1..=sequences.len() as u64).collect::<Vec<_>>());
    }
}

/// Every order in which `a` steps of the first and `b` of the second can fall.
fn orders(a: usize, b: usize) -> Vec<Vec<usize>> {
    if a == 0 || b == 0 {
        return vec![[vec![0; a], vec![1; b]].concat()];
    }
    let first = orders(a - 1, b).into_iter().map(|rest| [vec![0], rest].concat());
    let second = orders(a, b - 1).into_iter().map(|rest| [vec![1], rest].concat());
    first.chain(second).collect()
}

fn start(case: &str, n: usize) -> flagstop_schemas::CloudEvent {
    event(&format!("{case}-start-{n}"), "t.start", &json!({ "n": format!("{case}-{n}") }))
}

fn resume(case: &str, n: usize, which: &str) -> flagstop_schemas::CloudEvent {
    let id = format!("{case}-{which}-{n}");
    event(&id, "t.resume", &json!({ "n": format!("{case}-{n}"), "id": id }))
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_an_event_and_its_wait_meet_in_every_order_of_their_transactions() {
    let bench = Bench::new(&[ONCE]).await;
    for (n, order) in orders(3, 3).iter().enumerate() {
        bench.hold();
        let started = bench.hands[0].bus.deliver_event(&start("d3", n));
        let resumed = bench.hands[1].bus.deliver_event(&resume("d3", n, "a"));
        bench.play(order).await;
        bench.release();
        assert_eq!(bench.heard(&format!("d3-start-{n}"), 0).await, [format!("d3-a-{n}")], "{order:?}");
        eventually("both are acknowledged", async || {
            bench.hands[0].bus.acked(started) && bench.hands[1].bus.acked(resumed)
        })
        .await;
    }
    assert_eq!(bench.store.parked_of_type("t.resume", 10).await.unwrap(), [], "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn d2_a_message_that_two_workers_have_is_applied_once_and_its_company_is_not_lost() {
    let bench = Bench::new(&[TWICE]).await;
    for (n, order) in orders(3, 3).iter().enumerate() {
        bench.hands[0].bus.deliver_event(&start("d2", n));
        let waits = InstanceId::of_trigger("/tests", &format!("d2-start-{n}"), "t", "twice");
        eventually("it waits", async || bench.store.instance(waits).await.unwrap().is_some()).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
        bench.hold();
        // The first worker folds both into one group; the second has a copy of one.
        for which in ["a", "b"] {
            bench.hands[0].bus.deliver_event(&resume("d2", n, which));
        }
        bench.hands[1].bus.deliver_event(&resume("d2", n, "a"));
        bench.play(order).await;
        bench.release();
        let heard = bench.heard(&format!("d2-start-{n}"), 0).await;
        assert_eq!(heard, [format!("d2-a-{n}"), format!("d2-b-{n}")], "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d1_a_message_for_several_instances_reaches_each_once_whatever_conflicts() {
    // Each start event starts both, and each resume is for both.
    let bench = Bench::new(&[TWICE, &TWICE.replace("name: twice", "name: other")]).await;
    for (n, order) in orders(4, 4).iter().enumerate() {
        let started = bench.hands[0].bus.deliver_event(&start("d1", n));
        eventually("both are started", async || bench.hands[0].bus.acked(started)).await;
        for name in ["twice", "other"] {
            let id = InstanceId::of_trigger("/tests", &format!("d1-start-{n}"), "t", name);
            eventually(&format!("{name} {n} waits"), async || bench.store.instance(id).await.unwrap().is_some()).await;
        }
        bench.hold();
        // Each of them is for both instances, and the two workers get in each other's way.
        bench.hands[0].bus.deliver_event(&resume("d1", n, "a"));
        bench.hands[1].bus.deliver_event(&resume("d1", n, "b"));
        bench.play(order).await;
        bench.release();
        for name in [0, 1] {
            let heard = bench.heard(&format!("d1-start-{n}"), name).await;
            assert_eq!(heard, [format!("d1-a-{n}"), format!("d1-b-{n}")], "{order:?}");
        }
    }
}
