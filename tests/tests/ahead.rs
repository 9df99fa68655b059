//! Instances that run ahead of what is stored of them (checkpoint policy `suspend`): several calls cost one write, and what a
//! crash, a copy, a slow call, a command or another worker does to that.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use flagstop_bus::port::Channel;
use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, Secrets, Worker};
use flagstop_schemas::{Entry, InstanceId, StatusKind, journal};
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, command, go, start, started};
use flagstop_tests::services::{eventually, postgres};
use flagstop_tests::stepped::{Step, Stepped};
use serde_json::json;

/// A definition of this policy whose trigger carries `n`.
fn definition(name: &str, settings: &str, tasks: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0', metadata: {{ flagstop: {settings} }} }}\n\
         schedule: {{ on: {{ one: {{ with: {{ type: t.start }} }} }}, read: data }}\ninput: {{ from: '.[0]' }}\ndo: {tasks}\n"
    )
}

const SUSPEND: &str = "{ checkpoint: suspend }";

fn call(name: &str, hr: &Hr, more: &str) -> String {
    format!(
        "{{ {name}: {{ call: http, with: {{ method: post, endpoint: '{}/{name}', body: {{ id: '${{ $workflow.id }}' }} }}{more} }} }}",
        hr.url
    )
}

const HEAR: &str = "{ hear: { listen: { to: { one: { with: { type: t.go }, correlate: { n: { from: .data.n, expect: '${ $workflow.input[0].n }' } } } } } } }";

/// Long enough that only an answer ends it.
fn patient() -> Options {
    Options { ahead_ms: 60_000, beat_ms: 100, lease_ms: 1_000, mail_stale_ms: 300, sweep_ms: 200, ..Options::default() }
}

/// The last segments of the pointers of the tasks that each journal row completed.
async fn rows(scene: &Scene, id: InstanceId) -> Vec<Vec<String>> {
    let row = |events: &[u8]| {
        let (_, entries) = journal::decode(&bytes::Bytes::copy_from_slice(events)).unwrap();
        let completed = entries.into_iter().filter_map(|entry| match entry {
            Entry::Status(event) if event.kind == StatusKind::TaskCompleted => {
                Some(event.task?.rsplit('/').next()?.to_owned())
            }
            _ => None,
        });
        completed.collect()
    };
    scene.store.history(id).await.unwrap().iter().map(|it| row(&it.events)).collect()
}

fn keys(hr: &Hr) -> Vec<String> {
    hr.asked().into_iter().map(|asked| asked.key).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_written_together_when_the_instance_waits_or_ends() {
    let hr = Hr::start().await;
    let fork =
        format!("{{ both: {{ fork: {{ branches: [ {}, {} ] }} }} }}", call("left", &hr, ""), call("right", &hr, ""));
    let tasks = format!(
        "[ {}, {}, {fork}, {HEAR}, {}, {{ last: {{ set: {{ done: true }} }} }} ]",
        call("a", &hr, ""),
        call("b", &hr, ""),
        call("c", &hr, "")
    );
    // One task may ask for a write of its own, in front of it.
    let mixed = format!(
        "[ {}, {}, {} ]",
        call("a", &hr, ""),
        call("b", &hr, ", metadata: { flagstop: { checkpoint: effects } }"),
        call("c", &hr, "")
    );
    let scene = Scene::new(&[&definition("all", SUSPEND, &tasks), &definition("mixed", SUSPEND, &mixed)]).await;
    let (_worker, bus) = scene.worker(patient()).await;
    bus.deliver_event(&start("s", 1));
    let (all, mixed) = (started("s", "all"), started("s", "mixed"));
    scene.becomes(all, Phase::Waiting).await;
    bus.deliver_event(&go("g", 1));
    assert_eq!(scene.output(all).await, json!({ "done": true }));
    let written = rows(&scene, all).await;
    assert_eq!(written.len(), 3, "{written:?}");
    assert_eq!(written[0][..2], ["a", "b"], "the first row: until it waits");
    assert_eq!(written[0].iter().collect::<BTreeSet<_>>().len(), 5, "{written:?}");
    // Which event came is written before anything follows from it: a replay must not make other calls under the same keys.
    assert_eq!(written[1..], [vec!["hear".to_owned()], vec!["c".into(), "last".into()]]);
    scene.becomes(mixed, Phase::Completed).await;
    assert_eq!(rows(&scene, mixed).await, [vec!["a".to_owned()], vec!["b".into()], vec!["c".into()]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_calls_are_made_again_with_the_same_keys() {
    let (first, second) = (Hr::start().await, Hr::start().await);
    let tasks = format!("[ {}, {} ]", call("a", &first, ""), call("b", &second, ""));
    let scene = Scene::new(&[&definition("two", SUSPEND, &tasks)]).await;
    let (worker, bus) = scene.worker(patient()).await;
    second.hang(true);
    let position = bus.deliver_event(&start("s", 1));
    eventually("the second call is made", async || second.asked().len() == 1).await;
    let id = started("s", "two");
    assert_eq!(scene.phase(id).await, None, "nothing is written");
    assert!(!bus.acked(position), "what is not written is not acknowledged");
    drop(worker);

    let (_worker, bus) = scene.worker(patient()).await;
    second.hang(false);
    let position = bus.deliver_event(&start("s", 1));
    scene.becomes(id, Phase::Completed).await;
    eventually("it is acknowledged", async || bus.acked(position)).await;
    for hr in [&first, &second] {
        let keys = keys(hr);
        assert_eq!((keys.len(), &keys[0]), (2, &keys[1]), "{keys:?}");
    }
    assert_eq!(rows(&scene, id).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_long_is_written_and_can_be_taken_over() {
    let hr = Hr::start().await;
    let scene = Scene::new(&[&definition("slow", SUSPEND, &format!("[ {} ]", call("a", &hr, "")))]).await;
    let (worker, bus) = scene.worker(Options { ahead_ms: 50, ..patient() }).await;
    hr.hang(true);
    let position = bus.deliver_event(&start("s", 1));
    let id = started("s", "slow");
    scene.becomes(id, Phase::Running).await;
    eventually("it is acknowledged", async || bus.acked(position)).await;
    assert_eq!(hr.asked().len(), 1, "it is the same call");
    drop(worker);

    let (_worker, _bus) = scene.worker(patient()).await;
    eventually("another worker makes it again", async || hr.asked().len() == 2).await;
    hr.hang(false);
    scene.becomes(id, Phase::Completed).await;
    let keys = keys(&hr);
    assert_eq!(keys[0], keys[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_written_late_is_not_made_again_by_its_own_worker() {
    let hr = Hr::start().await;
    let scene = Scene::new(&[&definition("slow", SUSPEND, &format!("[ {} ]", call("a", &hr, "")))]).await;
    let (_worker, bus) = scene.worker(Options { ahead_ms: 50, ..patient() }).await;
    hr.hang(true);
    bus.deliver_event(&start("s", 1));
    let id = started("s", "slow");
    scene.becomes(id, Phase::Running).await;
    // Several beats, at which what is not known would be taken over.
    tokio::time::sleep(Duration::from_millis(500)).await;
    hr.hang(false);
    scene.becomes(id, Phase::Completed).await;
    assert_eq!(hr.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_and_what_follows_stay_behind_it() {
    let hr = Hr::start().await;
    let scene = Scene::new(&[&definition("one", SUSPEND, &format!("[ {}, {HEAR} ]", call("a", &hr, "")))]).await;
    // What belongs together goes through one lane.
    let (_worker, bus) = scene.worker(Options { lanes: 1, ..patient() }).await;
    hr.hang(true);
    let positions = [start("s", 1), start("s", 1), go("early", 1)].map(|event| bus.deliver_event(&event));
    eventually("the call is made", async || !hr.asked().is_empty()).await;
    let copy = bus.deliver_event(&start("s", 1));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!bus.acked(positions[0]) && !bus.acked(copy), "who led there and his copies wait for the write");
    hr.hang(false);
    scene.becomes(started("s", "one"), Phase::Completed).await;
    for position in positions.into_iter().chain([copy]) {
        eventually("all are acknowledged", async || bus.acked(position)).await;
    }
    assert_eq!(hr.asked().len(), 1);
    assert_eq!(scene.all().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_meanwhile_wins() {
    let hr = Hr::start().await;
    let scene = Scene::new(&[
        &definition("held", SUSPEND, &format!("[ {HEAR}, {} ]", call("a", &hr, ""))),
        &definition("fresh", SUSPEND, &format!("[ {} ]", call("b", &hr, ""))),
    ])
    .await;
    let (_worker, bus) = scene.worker(Options { ahead_ms: 1_500, ..patient() }).await;
    hr.hang(true);
    bus.deliver_event(&start("s", 1));
    let (held, fresh) = (started("s", "held"), started("s", "fresh"));
    scene.becomes(held, Phase::Waiting).await;
    let went = bus.deliver_event(&go("g", 1));
    eventually("both calls are made", async || hr.asked().len() >= 2).await;
    // One is stored as it waited, the other not at all: that command waits for it.
    for (name, id) in [("c1", held), ("c2", fresh)] {
        bus.deliver_event(&command(name, "cancel", id, &json!({})));
    }
    scene.becomes(held, Phase::Cancelled).await;
    scene.becomes(fresh, Phase::Cancelled).await;
    eventually("the event was not lost on the way", async || bus.acked(went)).await;
    hr.hang(false);
    let accepted = || bus.published(Channel::Status).iter().filter(|event| event.ty.contains("accepted")).count();
    eventually("both commands are answered", async || accepted() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timeouts_end_a_call_that_is_not_written() {
    let hr = Hr::start().await;
    let tasks = format!("[ {} ]", call("a", &hr, ", timeout: { after: { milliseconds: 300 } }"));
    let scene = Scene::new(&[&definition("late", SUSPEND, &tasks)]).await;
    let (_worker, bus) = scene.worker(patient()).await;
    hr.hang(true);
    bus.deliver_event(&start("s", 1));
    scene.becomes(started("s", "late"), Phase::Faulted).await;
    hr.hang(false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_leaves_writes_first() {
    let hr = Hr::start().await;
    let scene = Scene::new(&[&definition("leave", SUSPEND, &format!("[ {} ]", call("a", &hr, "")))]).await;
    let (worker, bus) = scene.worker(patient()).await;
    hr.hang(true);
    let position = bus.deliver_event(&start("s", 1));
    eventually("the call is made", async || hr.asked().len() == 1).await;
    let id = started("s", "leave");
    let drained = tokio::spawn(worker.drain(Duration::from_secs(20)));
    scene.becomes(id, Phase::Running).await;
    hr.hang(false);
    drained.await.unwrap();
    assert_eq!(scene.phase(id).await, Some(Phase::Completed), "its answer came in time");
    assert!(bus.acked(position));
    assert_eq!(hr.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_for_an_instance_that_may_not_live() {
    let hr = Hr::start().await;
    let settings = "{ checkpoint: suspend, activation: { key: .n } }";
    let tasks = format!("[ {}, {HEAR} ]", call("a", &hr, ""));
    let scene = Scene::new(&[&definition("single", settings, &tasks)]).await;
    let (_worker, bus) = scene.worker(patient()).await;
    bus.deliver_event(&start("first", 1));
    scene.becomes(started("first", "single"), Phase::Waiting).await;
    let position = bus.deliver_event(&start("second", 1));
    eventually("the second one is refused", async || bus.acked(position)).await;
    assert_eq!((hr.asked().len(), scene.all().await.len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_in_two_workers_each_is_done_once_and_told_without_gaps() {
    const COUNT: u32 = 60;
    let hr = Hr::start().await;
    let tasks = format!(
        "[ {}, {}, {HEAR}, {}, {} ]",
        call("a", &hr, ""),
        call("b", &hr, ""),
        call("c", &hr, ""),
        call("d", &hr, "")
    );
    let scene = Scene::new(&[&definition("many", SUSPEND, &tasks)]).await;
    let workers = [scene.worker(patient()).await, scene.worker(patient()).await];
    let mut positions = Vec::new();
    // Every message reaches both, and the event half of the instances before they wait for it.
    for n in 0..COUNT {
        let (trigger, resume) = (start(&format!("s{n}"), n), go(&format!("g{n}"), n));
        for (turn, (_, bus)) in workers.iter().enumerate() {
            let pair = if (n as usize + turn).is_multiple_of(2) { [&trigger, &resume] } else { [&resume, &trigger] };
            positions.push(pair.map(|event| bus.deliver_event(event)));
        }
    }
    for n in 0..COUNT {
        let id = started(&format!("s{n}"), "many");
        scene.becomes(id, Phase::Completed).await;
        let history = scene.store.history(id).await.unwrap();
        let entries = history.iter().flat_map(|row| journal::decode(&row.events).unwrap().1);
        let sequence: Vec<u64> = entries
            .filter_map(|entry| match entry {
                Entry::Status(event) => Some(event.sequence),
                _ => None,
            })
            .collect();
        assert_eq!(sequence, (1..=sequence.len() as u64).collect::<Vec<_>>(), "{id}");
    }
    for (index, pair) in positions.iter().enumerate() {
        for position in pair {
            eventually("all is acknowledged", async || workers[index % 2].1.acked(*position)).await;
        }
    }
    assert_eq!(scene.all().await.len(), COUNT as usize);
    let unique: BTreeSet<String> = keys(&hr).into_iter().collect();
    assert_eq!(unique.len(), 4 * COUNT as usize, "a call that is made again has the same key");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_while_its_instance_is_being_written_is_not_lost() {
    let hr = Hr::start().await;
    let scene =
        Scene::new(&[&definition("slow", SUSPEND, &format!("[ {}, {} ]", call("a", &hr, ""), call("b", &hr, "")))])
            .await;
    let stepped = Stepped::new(flagstop_store::open(&postgres(), &scene.config).await.unwrap());
    let bus = Arc::new(HandBus::default());
    let options = Options { ahead_ms: 100, ..patient() };
    let _worker = Worker::start(stepped.clone(), bus.clone(), options, Secrets::none()).await.unwrap();
    hr.hang(true);
    stepped.hold();
    bus.deliver_event(&start("s", 1));
    assert_eq!(stepped.step().await, Some(Step::Load));
    eventually("the call is made", async || hr.asked().len() == 1).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    eventually("it stands before the early write", async || stepped.step().await == Some(Step::Load)).await;
    hr.hang(false);
    tokio::time::sleep(Duration::from_millis(100)).await;
    stepped.release();
    scene.becomes(started("s", "slow"), Phase::Completed).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(hr.asked().len(), 2, "each call is made once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_follows_from_the_event_that_the_history_tells() {
    let hr = Hr::start().await;
    let listens = "{ hear: { listen: { to: { any: [ { with: { type: t.go } } ], until: '(. | length) > 0' } }, output: { as: '.[0]' } } }";
    let pays = format!(
        "{{ pay: {{ call: http, with: {{ method: post, endpoint: '{}/pay', body: {{ id: '${{ .id }}' }} }} }} }}",
        hr.url
    );
    let scene =
        Scene::new(&[&definition("any", SUSPEND, &format!("[ {listens}, {pays}, {} ]", call("b", &hr, "")))]).await;
    let (_worker, bus) = scene.worker(patient()).await;
    for n in 0..10 {
        bus.deliver_event(&start(&format!("s{n}"), n));
        scene.becomes(started(&format!("s{n}"), "any"), Phase::Waiting).await;
    }
    // Both reach all ten, in whichever lanes.
    let positions = ["left", "right"].map(|id| bus.deliver_event(&go(id, 1)));
    for n in 0..10 {
        let id = started(&format!("s{n}"), "any");
        scene.becomes(id, Phase::Completed).await;
    }
    for position in positions {
        eventually("both events are acknowledged", async || bus.acked(position)).await;
    }
    let pays = hr.asked().into_iter().filter(|asked| asked.body["id"] == "left" || asked.body["id"] == "right");
    let mut bodies: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for asked in pays {
        bodies.entry(asked.key).or_default().insert(asked.body["id"].to_string());
    }
    assert_eq!(bodies.len(), 10, "one payment for each");
    assert!(bodies.values().all(|of| of.len() == 1), "one key never stands for two requests: {bodies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_beside_another_one_that_lives_calls_nothing() {
    let hr = Hr::start().await;
    let settings = "{ checkpoint: suspend, activation: { key: .n } }";
    let broken = "{ broken: { call: http, with: { method: get, endpoint: 'http://127.0.0.1:9/' } } }";
    let tasks = format!(
        "[ {{ which: {{ switch: [ {{ first: {{ when: .fails, then: broken }} }}, {{ other: {{ then: hear }} }} ] }} }}, {broken}, {HEAR} ]"
    );
    let scene = Scene::new(&[&definition("single", settings, &tasks)]).await;
    let (_worker, bus) = scene.worker(patient()).await;
    let first = started("first", "single");
    bus.deliver_event(&event("first", "t.start", &json!({ "n": 1, "fails": true })));
    scene.becomes(first, Phase::Faulted).await;
    bus.deliver_event(&start("second", 1));
    scene.becomes(started("second", "single"), Phase::Waiting).await;
    let before = scene.store.history(first).await.unwrap().len();
    bus.deliver_event(&command("c", "retry", first, &json!({})));
    let rejected = || bus.published(Channel::Status).iter().filter(|event| event.ty.contains("rejected")).count();
    eventually("the retry is refused", async || rejected() == 1).await;
    assert_eq!(scene.store.history(first).await.unwrap().len(), before, "it has not moved");
    assert_eq!(hr.asked().len(), 0);
}

/// The event finds the instance in the very batch that starts it: still it is written before a call follows from it.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_the_same_batch_is_written_before_its_calls_too() {
    let hr = Hr::start().await;
    let scene = Scene::new(&[&definition("same", SUSPEND, &format!("[ {HEAR}, {} ]", call("a", &hr, "")))]).await;
    let stepped = Stepped::new(flagstop_store::open(&postgres(), &scene.config).await.unwrap());
    let bus = Arc::new(HandBus::default());
    let options = Options { lanes: 1, ..patient() };
    let _worker = Worker::start(stepped.clone(), bus.clone(), options, Secrets::none()).await.unwrap();
    hr.hang(true);
    // While the first batch is held, the others gather for the second.
    stepped.hold();
    bus.deliver_event(&event("none", "t.nobody", &json!({})));
    tokio::time::sleep(Duration::from_millis(100)).await;
    for n in 0..5 {
        bus.deliver_event(&start(&format!("s{n}"), n));
        bus.deliver_event(&go(&format!("g{n}"), n));
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    stepped.release();
    for n in 0..5 {
        scene.becomes(started(&format!("s{n}"), "same"), Phase::Running).await;
    }
    hr.hang(false);
    for n in 0..5 {
        scene.becomes(started(&format!("s{n}"), "same"), Phase::Completed).await;
    }
    assert_eq!(hr.asked().len(), 5);
}
