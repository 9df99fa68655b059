//! The language in a worker, on a real Postgres with a bus in the test's hands: commands, suspension, open sets,
//! and what becomes of them when workers race or die.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::time::Duration;

use flagstop_bus::port::Channel;
use flagstop_engine::api::Phase;
use flagstop_engine::value;
use flagstop_runtime::{Options, Order};
use flagstop_schemas::{Entry, InstanceId, LateResult, journal};
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, WAITS, command, go, start, started};
use flagstop_tests::services::eventually;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_moves_its_instance_once_however_often_it_comes() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let id = started("s", "waits");
    bus.deliver_event(&start("s", 1));
    scene.becomes(id, Phase::Waiting).await;
    bus.deliver_event(&command("c1", "suspend", id, &json!({ "reason": "a test" })));
    scene.becomes(id, Phase::Suspended).await;
    bus.deliver_event(&command("c2", "continue", id, &json!(null)));
    scene.becomes(id, Phase::Waiting).await;
    // The same message again: it must not suspend what goes on.
    let copy = bus.deliver_event(&command("c1", "suspend", id, &json!({ "reason": "a test" })));
    eventually("the copy is acknowledged", async || bus.acked(copy)).await;
    assert_eq!(scene.phase(id).await, Some(Phase::Waiting));
    let inner =
        json!({ "specversion": "1.0", "id": "g", "source": "/tests", "type": "t.go", "data": { "n": 1, "id": "g" } });
    bus.deliver_event(&command("c3", "resume", id, &json!({ "event": inner })));
    assert_eq!(scene.output(id).await, json!({ "heard": ["g"] }));
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), []);

    bus.deliver_event(&start("s2", 2));
    scene.becomes(started("s2", "waits"), Phase::Waiting).await;
    bus.deliver_event(&command("c4", "cancel", started("s2", "waits"), &json!({})));
    scene.becomes(started("s2", "waits"), Phase::Cancelled).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_5_a_command_that_cannot_be_carried_out_is_a_dead_letter_with_its_reason() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let id = started("s", "waits");
    bus.deliver_event(&start("s", 1));
    scene.becomes(id, Phase::Waiting).await;
    let other = json!({ "specversion": "1.0", "id": "g", "source": "/tests", "type": "t.go", "data": { "n": 7 } });
    for (n, (verb, data, code)) in [
        ("continue", json!({}), "FS-ILLEGAL"),
        ("retry", json!({}), "FS-ILLEGAL"),
        ("resume", json!({ "event": other }), "FS-NOT-WAITING"),
    ]
    .into_iter()
    .enumerate()
    {
        let position = bus.deliver_event(&command(&format!("c{n}"), verb, id, &data));
        eventually(verb, async || bus.acked(position)).await;
        let letters = scene.store.list_dead_letters(&Default::default()).await.unwrap();
        assert_eq!(letters.len(), n + 1, "{letters:?}");
        assert!(letters.iter().any(|letter| letter.code == code), "{verb}: {letters:?}");
    }
    bus.deliver_event(&go("g", 1));
    assert_eq!(scene.output(id).await, json!({ "heard": ["g"] }));
    let late = bus.deliver_event(&command("late", "cancel", id, &json!({})));
    eventually("it is acknowledged", async || bus.acked(late)).await;
    let letters = scene.store.list_dead_letters(&Default::default()).await.unwrap();
    assert!(letters.iter().any(|letter| letter.code == "FS-INSTANCE-ENDED"), "{letters:?}");
    eventually("all are published", async || bus.published_raw(Channel::Dead).len() == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_comes_before_its_instance_is_kept_for_it() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(Options { sweep_ms: 100, ..Options::default() }).await;
    let id = started("s", "waits");
    let early = bus.deliver_event(&command("c", "suspend", id, &json!({})));
    eventually("it is acknowledged", async || bus.acked(early)).await;
    bus.deliver_event(&start("s", 1));
    scene.becomes(id, Phase::Suspended).await;
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_events_for_a_suspended_instance_are_kept_for_it_also_when_others_hear_them() {
    let all = WAITS
        .replace("name: waits", "name: everybody")
        .replace("            correlate: { n: { from: .data.n, expect: '${ .n }' } }\n", "");
    let scene = Scene::new(&[&all]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let (held, free) = (started("a", "everybody"), started("b", "everybody"));
    bus.deliver_event(&start("a", 1));
    bus.deliver_event(&start("b", 1));
    scene.becomes(held, Phase::Waiting).await;
    scene.becomes(free, Phase::Waiting).await;
    scene.tell(held, Order::Suspend).await;
    scene.becomes(held, Phase::Suspended).await;
    bus.deliver_event(&go("for both", 1));
    assert_eq!(scene.output(free).await, json!({ "heard": ["for both"] }));
    assert_eq!(scene.phase(held).await, Some(Phase::Suspended));
    scene.tell(held, Order::Continue).await;
    assert_eq!(scene.output(held).await, json!({ "heard": ["for both"] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_an_event_and_a_continue_meet_in_whichever_order_they_are_committed() {
    let scene = Scene::new(&[WAITS]).await;
    let (_one, first) = scene.worker(Options::default()).await;
    let (_other, second) = scene.worker(Options::default()).await;
    for n in 0..40 {
        let (trigger, id) = (format!("s{n}"), started(&format!("s{n}"), "waits"));
        first.deliver_event(&start(&trigger, n));
        scene.becomes(id, Phase::Waiting).await;
        first.deliver_event(&command(&format!("hold{n}"), "suspend", id, &json!({})));
        scene.becomes(id, Phase::Suspended).await;
        // Two workers, at the same moment.
        first.deliver_event(&command(&format!("on{n}"), "continue", id, &json!({})));
        second.deliver_event(&go(&format!("g{n}"), n));
        assert_eq!(scene.output(id).await, json!({ "heard": [format!("g{n}")] }), "round {n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d15_a_suspended_instances_timers_rest_and_what_was_due_fires_when_it_goes_on() {
    let sleeps = r"
document: { dsl: '1.0.3', namespace: t, name: sleeps, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } }, read: data }
do:
  - rest: { wait: { milliseconds: 700 } }
  - done: { set: { rested: true } }
";
    let scene = Scene::new(&[sleeps]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let id = started("s", "sleeps");
    bus.deliver_event(&start("s", 1));
    scene.becomes(id, Phase::Waiting).await;
    bus.deliver_event(&command("c", "suspend", id, &json!({})));
    scene.becomes(id, Phase::Suspended).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(scene.phase(id).await, Some(Phase::Suspended));
    let shards: Vec<i16> = (0..64).collect();
    assert_eq!(scene.store.due_timers(&shards, None, 10).await.unwrap(), [], "no timer row");
    scene.tell(id, Order::Continue).await;
    assert_eq!(scene.output(id).await, json!({ "rested": true }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_faulted_instance_goes_on_where_it_faulted() {
    let hr = Hr::start().await;
    let calls = format!(
        r"
document: {{ dsl: '1.0.3', namespace: t, name: calls, version: '1.0.0' }}
schedule: {{ on: {{ one: {{ with: {{ type: t.start }} }} }}, read: data }}
do:
  - ask: {{ call: http, with: {{ method: post, endpoint: '{}/x', body: {{ id: a }} }}, timeout: {{ after: {{ milliseconds: 300 }} }} }}
",
        hr.url
    );
    let scene = Scene::new(&[&calls]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let id = started("s", "calls");
    hr.hang(true);
    bus.deliver_event(&start("s", 1));
    scene.becomes(id, Phase::Faulted).await;
    hr.hang(false);
    scene.tell(id, Order::Retry).await;
    assert_eq!(scene.output(id).await, json!({ "account": "account-of-a" }));
    let asked = hr.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].key, asked[1].key, "no answer came, so it is the same request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listen_goes_on_until_its_end_also_in_another_worker() {
    let listens = |name: &str, until: &str| {
        format!(
            r"
document: {{ dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0' }}
schedule: {{ on: {{ one: {{ with: {{ type: t.start }} }} }}, read: data }}
input: {{ from: '.[0]' }}
do:
  - hear:
      listen:
        to:
          any: [ {{ with: {{ type: t.item }}, correlate: {{ n: {{ from: .data.n, expect: '${{ .n }}' }} }} }} ]
          until: {until}
        read: data
      output: {{ as: '[.[].item]' }}
"
        )
    };
    let told =
        listens("told", "{ one: { with: { type: t.stop }, correlate: { n: { from: .data.n, expect: '${ .n }' } } } }");
    let counted = listens("counted", "'length == 4'");
    let scene = Scene::new(&[&told, &counted]).await;
    let brisk = || Options { beat_ms: 50, lease_ms: 500, ..Options::default() };
    let (one, first) = scene.worker(brisk()).await;
    let (told, counted) = (started("s", "told"), started("s", "counted"));
    first.deliver_event(&start("s", 1));
    scene.becomes(told, Phase::Waiting).await;
    scene.becomes(counted, Phase::Waiting).await;
    let item = |item: u32, n: u32| event(&format!("{n}-{item}"), "t.item", &json!({ "n": n, "item": item }));
    for it in [item(1, 1), item(2, 1), item(9, 2), item(2, 1)] {
        let position = first.deliver_event(&it);
        eventually("it is heard", async || first.acked(position)).await;
    }
    // That worker is gone; what it has heard is not.
    drop(one);
    let (_two, second) = scene.worker(brisk()).await;
    let stop = event("stop", "t.stop", &json!({ "n": 1 }));
    for it in [item(3, 1), item(2, 1), stop, item(4, 1)] {
        let position = second.deliver_event(&it);
        eventually("it is heard", async || second.acked(position)).await;
    }
    assert_eq!(scene.output(told).await, json!([1, 2, 3]));
    assert_eq!(scene.output(counted).await, json!([1, 2, 3, 4]));
}

#[tokio::test(flavor = "multi_thread")]
async fn d17_open_sets_collect_by_key_across_workers_and_start_each_instance_once() {
    let pair = r"
document: { dsl: '1.0.3', namespace: t, name: pair, version: '1.0.0' }
schedule:
  read: data
  on:
    all:
      - { with: { type: t.left }, correlate: { n: { from: .data.n } } }
      - { with: { type: t.right }, correlate: { n: { from: .data.n } } }
do:
  - both: { set: '${ { sides: [.[].side] | sort, n: .[0].n } }' }
";
    let scene = Scene::new(&[pair]).await;
    let (_one, first) = scene.worker(Options::default()).await;
    let (_other, second) = scene.worker(Options::default()).await;
    let pairs = 60;
    for n in 0..pairs {
        let side = |side: &str| event(&format!("{side}-{n}"), &format!("t.{side}"), &json!({ "n": n, "side": side }));
        // The same key at the same moment in two workers, and each message twice.
        for (bus, which) in [(&first, "left"), (&second, "right"), (&second, "left"), (&first, "right")] {
            bus.deliver_event(&side(which));
        }
    }
    let completed = async || scene.all().await.iter().filter(|it| it.status == Phase::Completed as i16).count();
    eventually("each pair has started one", async || completed().await == pairs).await;
    assert_eq!(scene.all().await.len(), pairs);
    let mut seen = Vec::new();
    for summary in scene.all().await {
        let output = scene.output(summary.id).await;
        assert_eq!(output["sides"], json!(["left", "right"]));
        seen.push(output["n"].as_u64().unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..pairs as u64).collect::<Vec<_>>());
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn d17_an_open_set_goes_on_under_the_version_that_opened_it() {
    let version = |version: &str, types: &str| {
        format!(
            "document: {{ dsl: '1.0.3', namespace: t, name: trio, version: '{version}' }}\nschedule: {{ read: data, on: {{ all: [{types}] }} }}\ndo:\n  - x: {{ set: {{ version: '{version}', all: '${{ length }}' }} }}\n"
        )
    };
    let filter = |ty: &str| format!("{{ with: {{ type: t.{ty} }} }}");
    let mut scene = Scene::new(&[&version("1.0.0", &[filter("a"), filter("b")].join(", "))]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let opened = bus.deliver_event(&event("a1", "t.a", &json!({})));
    eventually("the set is open", async || bus.acked(opened)).await;
    scene.deploy(&version("2.0.0", &[filter("a"), filter("b"), filter("c")].join(", "))).await;
    for (id, ty) in [("b1", "b"), ("b2", "b"), ("a2", "a"), ("c2", "c")] {
        let position = bus.deliver_event(&event(id, &format!("t.{ty}"), &json!({})));
        eventually(id, async || bus.acked(position)).await;
    }
    assert_eq!(scene.output(started("b1", "trio")).await, json!({ "version": "1.0.0", "all": 2 }));
    assert_eq!(scene.output(started("c2", "trio")).await, json!({ "version": "2.0.0", "all": 3 }));
    assert_eq!(scene.all().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn d19_a_loop_over_a_large_value_does_not_write_it_again() {
    let hr = Hr::start().await;
    let calls = 20;
    let loops = format!(
        r"
document: {{ dsl: '1.0.3', namespace: t, name: loops, version: '1.0.0' }}
schedule: {{ on: {{ one: {{ with: {{ type: t.start }} }} }}, read: data }}
do:
  - each:
      for: {{ each: n, in: '[range({calls})]' }}
      do:
        - ask: {{ call: http, with: {{ method: post, endpoint: '{}/x', body: {{ id: a }} }}, output: {{ as: '$input' }} }}
  - end: {{ set: {{ bytes: '${{ .[0].text | length }}' }} }}
",
        hr.url
    );
    let scene = Scene::new(&[&loops]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let text = "x".repeat(900_000);
    bus.deliver_event(&event("s", "t.start", &json!({ "text": text })));
    let id = started("s", "loops");
    hr.hang(true);
    eventually("a call is in flight", async || !hr.asked().is_empty()).await;
    let summary = scene.store.instance(id).await.unwrap().unwrap();
    assert!(summary.state.len() < 50_000, "the snapshot holds what should be beside it: {}", summary.state.len());
    let stored = scene.store.large_values(id).await.unwrap();
    hr.hang(false);
    assert_eq!(scene.output(id).await, json!({ "bytes": 900_000 }));
    assert!(hr.asked().len() >= calls);
    let still = scene.store.large_values(id).await.unwrap();
    assert!(stored.iter().any(|value| still.contains(value)), "the same rows");
    let journal: usize = scene.store.history(id).await.unwrap().iter().map(|row| row.events.len()).sum();
    assert!(journal < 20 * text.len() / 10, "nor does the journal repeat it: {journal} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_no_longer_wanted_is_given_up() {
    let hr = Hr::start().await;
    hr.hang(true);
    let calls = format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: calls, version: '1.0.0' }}\nschedule: {{ on: {{ one: {{ with: {{ type: t.start }} }} }}, read: data }}\ndo:\n  - ask: {{ call: http, with: {{ method: get, endpoint: '{}/x' }} }}\n",
        hr.url
    );
    let scene = Scene::new(&[&calls]).await;
    // Only one call may be in flight: the second one is made when the first is given up.
    let (_worker, bus) = scene.worker(Options { effects_per_host_max: 1, ..Options::default() }).await;
    bus.deliver_event(&start("s1", 1));
    eventually("the first is asked", async || hr.asked().len() == 1).await;
    bus.deliver_event(&start("s2", 2));
    scene.becomes(started("s2", "calls"), Phase::Running).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(hr.asked().len(), 1, "one at a time for one host");
    bus.deliver_event(&command("c", "cancel", started("s1", "calls"), &json!({})));
    scene.becomes(started("s1", "calls"), Phase::Cancelled).await;
    eventually("the second is asked", async || hr.asked().len() == 2).await;
    hr.hang(false);
    scene.becomes(started("s2", "calls"), Phase::Completed).await;

    // D9: it is still listened to, and the history tells what became of it; nothing else has changed.
    let cancelled = started("s1", "calls");
    let late = async || {
        let rows = scene.store.history(cancelled).await.unwrap();
        let entries = rows.iter().flat_map(|row| journal::decode(&row.events).unwrap().1);
        entries.filter_map(|entry| if let Entry::Late(late) = entry { Some(late) } else { None }).collect::<Vec<_>>()
    };
    eventually("its answer is noted", async || !late().await.is_empty()).await;
    assert_eq!(late().await, [LateResult { task: "/do/0/ask".to_owned(), result: "HTTP 201".to_owned() }]);
    assert_eq!(scene.phase(cancelled).await, Some(Phase::Cancelled));
    let late_of_other = scene.store.history(started("s2", "calls")).await.unwrap();
    assert!(late_of_other.iter().all(|row| row.revision > 0), "whose call was answered in time has none");
}

const CHILD: &str = r"
document: { dsl: '1.0.3', namespace: t, name: child, version: '1.0.0' }
do:
  - hear:
      if: .waits
      listen: { to: { one: { with: { type: t.go }, correlate: { n: { from: .data.n, expect: '${ .n }' } } } } }
  - fail:
      if: '$workflow.input.fails'
      raise: { error: { type: 'https://example.com/broken', status: 418, title: Broken, detail: by design } }
  - give: { set: { square: '${ $workflow.input.n * $workflow.input.n }', text: '${ $workflow.input.text }' } }
";

fn parent(task: &str) -> String {
    format!(
        r"
document: {{ dsl: '1.0.3', namespace: t, name: parent, version: '1.0.0' }}
schedule: {{ on: {{ one: {{ with: {{ type: t.start }} }} }}, read: data }}
input: {{ from: '.[0]' }}
do:
  - child:
      {task}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_a_parent_gets_its_childs_output_of_any_size_and_its_fault() {
    let runs = parent("run: { workflow: { namespace: t, name: child, version: latest } }");
    let scene = Scene::new(&[CHILD, &runs]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    let text = "y".repeat(600_000);
    bus.deliver_event(&event("s1", "t.start", &json!({ "n": 7, "text": text })));
    bus.deliver_event(&event("s2", "t.start", &json!({ "n": 8, "fails": true })));
    assert_eq!(scene.output(started("s1", "parent")).await, json!({ "square": 49, "text": text }));
    scene.becomes(started("s2", "parent"), Phase::Faulted).await;
    let error = scene.instance(started("s2", "parent")).await.error().unwrap().to_value();
    let error = value::to_serde(&error);
    assert_eq!((&error["status"], &error["instance"]), (&json!(418), &json!("/do/0/child")));
    assert_eq!((&error["type"], &error["detail"]), (&json!("https://example.com/broken"), &json!("by design")));
    for child in scene.all().await.iter().filter(|it| it.definition == scene.plans[0].0) {
        assert!(child.parent.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_a_child_that_cannot_be_started_faults_its_parent_and_one_that_nobody_awaits_is_reported() {
    let unknown = "run: { workflow: { namespace: t, name: nobody, version: latest } }";
    let awaits = parent(unknown);
    let leaves = parent("run: { workflow: { namespace: t, name: nobody, version: latest }, await: false }")
        .replace("name: parent", "name: leaves");
    let scene = Scene::new(&[&awaits, &leaves]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_event(&event("s", "t.start", &json!({ "n": 1 })));
    scene.becomes(started("s", "parent"), Phase::Faulted).await;
    assert_eq!(scene.output(started("s", "leaves")).await, json!({ "n": 1 }), "it goes on with its input");
    let letters = scene.store.list_dead_letters(&Default::default()).await.unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0].code, "FS-CHILD-NOT-STARTED");
    assert_eq!(letters[0].body, r#"{"n":1}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_cancelling_or_cutting_a_parent_cancels_the_child_that_it_awaits() {
    let runs = parent("run: { workflow: { namespace: t, name: child, version: latest } }");
    let cuts = parent(
        "try: [ { inner: { run: { workflow: { namespace: t, name: child, version: latest } }, timeout: { after: { milliseconds: 300 } } } } ]\n      catch: { retry: { limit: { attempt: { count: 1 } } }, do: [ { end: { set: { cut: true } } } ] }",
    )
    .replace("name: parent", "name: cuts");
    let scene = Scene::new(&[CHILD, &runs, &cuts]).await;
    let (_worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_event(&event("s", "t.start", &json!({ "n": 1, "waits": true })));
    let children = async |of: InstanceId| {
        let mut all = scene.all().await;
        all.retain(|it| it.parent == Some(of));
        all
    };
    let (id, cut) = (started("s", "parent"), started("s", "cuts"));
    assert_eq!(scene.output(cut).await, json!({ "cut": true }));
    let ended = async || children(cut).await.iter().filter(|it| it.status == Phase::Cancelled as i16).count();
    eventually("both attempts' children are cancelled", async || ended().await == 2).await;

    eventually("the child waits", async || {
        children(id).await.first().is_some_and(|child| child.status == Phase::Waiting as i16)
    })
    .await;
    scene.tell(id, Order::Cancel).await;
    scene.becomes(id, Phase::Cancelled).await;
    scene.becomes(children(id).await[0].id, Phase::Cancelled).await;
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_run_where_they_are_enabled_and_fault_where_not() {
    let shell = parent("run: { shell: { command: 'cat; exit 3' , stdin: '${ .word }' }, return: all }");
    let scene = Scene::new(&[&shell]).await;
    let (worker, bus) = scene.worker(Options::default()).await;
    bus.deliver_event(&event("off", "t.start", &json!({ "word": "hello" })));
    scene.becomes(started("off", "parent"), Phase::Faulted).await;
    worker.drain(Duration::from_secs(10)).await;
    let (_worker, bus) = scene.worker(Options { processes: true, ..Options::default() }).await;
    bus.deliver_event(&event("on", "t.start", &json!({ "word": "hello" })));
    let output = scene.output(started("on", "parent")).await;
    assert_eq!((&output["code"], &output["stdout"]), (&json!(3), &json!("hello")));
}
