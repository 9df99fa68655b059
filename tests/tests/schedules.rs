//! What the clock does in workers, on a real Postgres: timers that became due while nobody looked, `every`, `cron` and `after`;
//! and sets of events that start a workflow when their end is told.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flagstop_bus::port::Channel;
use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, Secrets, Worker};
use flagstop_schemas::{Hash16, InstanceId};
use flagstop_store::port::{Batch, DueTimer, Group, ScheduleWrite, Verdict};
use flagstop_store::rows::{InstanceSummary, ScheduleMemory};
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, WAITS, start, started};
use flagstop_tests::services::{eventually, postgres};
use flagstop_tests::stepped::Stepped;
use serde_json::json;

/// Its timer is due as soon as somebody looks.
const SLEEPS: &str = r"
document: { dsl: '1.0.3', namespace: t, name: sleeps, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.sleep } } }, read: data }
do:
  - rest: { wait: { milliseconds: 1 } }
  - done: { set: { rested: true } }
";

/// A scene with so many instances whose timers are due and have not fired, the oldest first; no worker is there any more.
async fn backlog(definitions: &[&str], count: usize) -> (Scene, Vec<DueTimer>) {
    let scene = Scene::new(definitions).await;
    // Small batches, for many different moments; and it never looks for timers again.
    let starts = Options { timer_poll_ms: 86_400_000, batch_max: 10, ..Options::default() };
    let (worker, bus) = scene.worker(starts).await;
    for n in 0..count {
        bus.deliver_event(&event(&format!("s{n}"), "t.sleep", &json!({})));
    }
    let all: Vec<i16> = (0..64).collect();
    let due = async || scene.store.due_timers(&all, None, 10_000).await.unwrap();
    eventually("all of them sleep", async || due().await.len() == count).await;
    worker.drain(Duration::from_secs(20)).await;
    let due = due().await;
    let moments: BTreeSet<i64> = due.iter().map(|timer| timer.due_us).collect();
    assert!(due.len() == count && moments.len() > 20, "{} of {count} at {} moments", due.len(), moments.len());
    (scene, due)
}

/// Who slept, in the order of `due`, once all have ended: each by two transitions, its start and its one timer.
async fn ended(scene: &Scene, due: &[DueTimer]) -> Vec<InstanceSummary> {
    let left = async || scene.store.census().await.unwrap().timers_due;
    eventually("all have fired", async || left().await == 0).await;
    let mut all = scene.all().await;
    let mut ended = Vec::new();
    for timer in due {
        let at = all.iter().position(|it| it.id == timer.instance).unwrap();
        let it = all.swap_remove(at);
        assert_eq!((it.status, it.revision), (Phase::Completed as i16, 2), "each fires once: {it:?}");
        ended.push(it);
    }
    ended
}

/// A worker may have so many timers in hand at the same time as its lanes have places for them (half of
/// `effects_in_flight_max` + 2 · `lanes` · `batch_max` in each), and a batch in each lane's work; only among these may a later
/// one be faster.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_of_timers_fires_once_and_oldest_first_and_lets_others_pass() {
    // Cut after each task: what is left goes on by a letter to itself.
    let steps = r"
document: { dsl: '1.0.3', namespace: t, name: steps, version: '1.0.0', metadata: { flagstop: { checkpoint: task } } }
schedule: { on: { one: { with: { type: t.start } } }, read: data }
do: [ { a: { set: { n: 1 } } }, { b: { set: { n: 2 } } }, { c: { set: { n: 3 } } } ]
";
    let (lanes, batch) = (3, 10);
    let places = 1 + 2 * lanes * batch;
    let in_hand = lanes * (places / 2 + 1 + batch) + 1;
    let (scene, due) = backlog(&[SLEEPS, WAITS, steps], 1_500).await;
    let few = Options { lanes, batch_max: batch, effects_in_flight_max: 1, timers_max: 200, ..Options::default() };
    let (_worker, bus) = scene.worker(few).await;
    bus.deliver_event(&start("guest", 1));
    let ended = ended(&scene, &due).await;
    for (place, it) in ended.iter().enumerate() {
        let older_but_later = ended[..place].iter().filter(|older| older.updated_us > it.updated_us).count();
        assert!(older_but_later <= in_hand, "number {place} was faster than {older_but_later} that were due before it");
    }
    let last_us = ended.iter().map(|it| it.updated_us).max().unwrap();
    for (name, phase) in [("waits", Phase::Waiting), ("steps", Phase::Completed)] {
        scene.becomes(started("guest", name), phase).await;
        let guest = scene.store.instance(started("guest", name)).await.unwrap().unwrap();
        assert!(guest.updated_us < last_us, "{name} did not have to wait for the whole backlog");
    }
}

/// Two workers divide the shards, also in the middle of a backlog. With one lane each, every shard's timers fire exactly in the
/// order of their due times, whoever fires them; between the workers there is no order.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_fire_each_timer_once_and_each_shards_in_order() {
    let (scene, due) = backlog(&[SLEEPS], 1_500).await;
    let slow = || Options { lanes: 1, batch_max: 5, beat_ms: 20, timers_max: 100, ..Options::default() };
    let (one, first) = scene.worker(slow()).await;
    let (other, second) = scene.worker(slow()).await;
    let ended = ended(&scene, &due).await;
    for shard in 0..64 {
        let of: Vec<(i64, i64)> = due
            .iter()
            .zip(&ended)
            .filter(|(timer, _)| timer.instance.shard(64) == shard)
            .map(|(timer, it)| (timer.due_us, it.updated_us))
            .collect();
        let in_order = of.windows(2).all(|pair| pair[0].0 == pair[1].0 || pair[0].1 <= pair[1].1);
        assert!(in_order, "shard {shard}: {of:?}");
    }
    let (one, other) = (one.counters().transitions, other.counters().transitions);
    assert!(one > 0 && other > 0 && one + other == due.len() as u64, "{one} and {other}");
    let told = async || {
        let all = first.published(Channel::Status).into_iter().chain(second.published(Channel::Status));
        let ended = all.filter(|event| event.ty == "io.serverlessworkflow.workflow.completed.v1");
        ended.map(|event| event.id).collect::<BTreeSet<_>>().len()
    };
    eventually("each is told of", async || told().await == due.len()).await;
}

fn timed(name: &str, schedule: &str, missed: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0', metadata: {{ flagstop: {{ missedRuns: {missed} }} }} }}
schedule: {schedule}
do:
  - x: {{ set: {{ ran: true }} }}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn d12_a_schedule_fires_once_in_a_cluster_and_after_counts_from_the_end() {
    let every = timed("often", "{ every: { milliseconds: 300 } }", "once");
    let after = timed("again", "{ after: { milliseconds: 200 } }", "once");
    let scene = Scene::new(&[&every, &after]).await;
    let brisk = || Options { timer_poll_ms: 10, beat_ms: 50, ..Options::default() };
    let (_one, first) = scene.worker(brisk()).await;
    let (two, second) = scene.worker(brisk()).await;
    let of = async |name: usize| runs(&scene, name).await;
    eventually("both have run several times", async || of(0).await.len() >= 4 && of(1).await.len() >= 4).await;
    // One of the workers goes; the other takes over what it saw to.
    let before = of(0).await.len();
    drop(two);
    eventually("the schedules go on", async || of(0).await.len() >= before + 3 && of(1).await.len() >= 6).await;
    let runs = of(0).await;
    let close = runs.windows(2).filter(|pair| pair[1].created_us - pair[0].created_us < 100_000).count();
    assert!(close <= 1, "the same moment twice: {runs:?}");
    for pair in of(1).await.windows(2) {
        let pause_us = pair[1].created_us - pair[0].ended_us.unwrap();
        assert!(pause_us >= 200_000, "the next run counts from the end of the one before: {pause_us} µs");
    }
    let status = first.published(Channel::Status).len() + second.published(Channel::Status).len();
    assert!(status > 0);
}

/// The instances of one of the scene's definitions, the oldest first.
async fn runs(scene: &Scene, definition: usize) -> Vec<InstanceSummary> {
    let number = scene.plans[definition].0;
    let mut all = scene.all().await;
    all.retain(|it| it.definition == number);
    all.sort_by_key(|it| it.created_us);
    all
}

/// Nobody was there for an hour: each due time of that hour has its run, or one stands for all, or none, as the author says;
/// each run has the identity of its due time, so two workers make it once.
#[tokio::test(flavor = "multi_thread")]
async fn d12_cron_makes_up_for_what_was_missed_as_its_author_says() {
    const MARK_US: i64 = 600_000_000;
    let missed = ["all", "once", "none"];
    let texts = missed.map(|missed| timed(missed, "{ cron: '*/10 * * * *' }", missed));
    let scene = Scene::new(&texts.each_ref().map(String::as_str)).await;
    let now = async || scene.store.census().await.unwrap().now_us;
    let begun_us = now().await;
    let first_us = (begun_us / MARK_US - 6) * MARK_US;
    // As a worker left them behind, an hour ago.
    let schedule = |name: &str| Hash16::of("flagstop/schedule", &["t", name, "cron"].map(str::as_bytes));
    let left = missed.iter().zip(&scene.plans).map(|(name, (number, _))| {
        let memory = ScheduleMemory { definition: *number, due_us: Some(first_us), ..ScheduleMemory::default() };
        let write = ScheduleWrite { id: schedule(name), was: None, becomes: 1, memory: Some(memory) };
        Group { schedules: vec![write], ..Group::default() }
    });
    let verdicts = scene.store.commit(&Batch { worker: None, groups: left.collect() }).await.unwrap();
    assert_eq!(verdicts, vec![Verdict::Applied; 3]);

    let brisk = || Options { timer_poll_ms: 10, beat_ms: 50, ..Options::default() };
    let (_one, _first) = scene.worker(brisk()).await;
    let (_two, _second) = scene.worker(brisk()).await;
    let marks = |until_us: i64| (0..).map(|n| first_us + n * MARK_US).take_while(move |mark| *mark <= until_us);
    let expected: Vec<i64> = marks(begun_us).collect();
    assert_eq!(expected.len(), 7);
    eventually("all have run", async || runs(&scene, 0).await.len() >= 7 && !runs(&scene, 1).await.is_empty()).await;
    // Had any fired twice, or too much, it would be there by now: both look a hundred times a second.
    tokio::time::sleep(Duration::from_millis(500)).await;
    // A mark may pass while this runs.
    let passed = marks(now().await).count() - expected.len();
    let all: BTreeSet<InstanceId> = runs(&scene, 0).await.iter().map(|it| it.id).collect();
    for due_us in expected {
        assert!(all.contains(&InstanceId::of_schedule("t", "all", "cron", due_us)), "no run for {due_us}");
    }
    assert!((7..=7 + passed).contains(&all.len()), "{all:?}");
    let once = runs(&scene, 1).await;
    assert!(once.iter().any(|it| it.id == InstanceId::of_schedule("t", "once", "cron", first_us)));
    assert!(once.len() <= 1 + passed, "{once:?}");
    assert!(runs(&scene, 2).await.len() <= passed);
}

/// A busy lane gets to a due time after it was looked for several times: still one run, and not none.
#[tokio::test(flavor = "multi_thread")]
async fn d12_a_due_time_that_is_seen_several_times_before_its_turn_starts_one_run() {
    let scene = Scene::new(&[&timed("hourly", "{ every: { hours: 1 } }", "once"), WAITS]).await;
    let now_us = scene.store.census().await.unwrap().now_us;
    let id = Hash16::of("flagstop/schedule", &["t", "hourly", "every"].map(str::as_bytes));
    let memory = ScheduleMemory { definition: 1, due_us: Some(now_us + 1_000_000), ..ScheduleMemory::default() };
    let left = ScheduleWrite { id, was: None, becomes: 1, memory: Some(memory) };
    let groups = vec![Group { schedules: vec![left], ..Group::default() }];
    assert_eq!(scene.store.commit(&Batch { worker: None, groups }).await.unwrap(), [Verdict::Applied]);

    let stepped = Stepped::new(flagstop_store::open(&postgres(), &scene.config).await.unwrap());
    let bus = Arc::new(HandBus::default());
    let options = Options { timer_poll_ms: 10, lanes: 1, ..Options::default() };
    let _worker = Worker::start(stepped.clone(), bus.clone(), options, Secrets::none()).await.unwrap();
    bus.deliver_event(&start("first", 1));
    scene.becomes(started("first", "waits"), Phase::Waiting).await;
    stepped.hold();
    bus.deliver_event(&start("busy", 2));
    let all: Vec<i16> = (0..64).collect();
    eventually("it is due", async || !scene.store.due_schedules(&all, 1).await.unwrap().is_empty()).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    stepped.release();
    scene.becomes(started("busy", "waits"), Phase::Waiting).await;
    eventually("the schedule moved on", async || scene.store.due_schedules(&all, 1).await.unwrap().is_empty()).await;
    assert_eq!(runs(&scene, 0).await.len(), 1);
}

/// A set that other events end, across workers of which one is killed in between, each message twice: one instance per key,
/// with all that came before the end.
#[tokio::test(flavor = "multi_thread")]
async fn d17_a_set_that_is_ended_by_other_events_starts_one_instance_with_all_of_it() {
    let sheet = r"
document: { dsl: '1.0.3', namespace: t, name: sheet, version: '1.0.0' }
schedule:
  read: data
  on:
    any: [ { with: { type: t.line }, correlate: { n: { from: .data.n } } } ]
    until: { one: { with: { type: t.end }, correlate: { n: { from: .data.n } } } }
do:
  - all: { set: '${ { n: .[0].n, lines: [.[].line] | sort } }' }
";
    let scene = Scene::new(&[sheet]).await;
    let brisk = || Options { beat_ms: 50, lease_ms: 500, ..Options::default() };
    let (one, first) = scene.worker(brisk()).await;
    let (_two, second) = scene.worker(brisk()).await;
    let sheets = 20;
    let line = |n: i64, line: i64| event(&format!("{n}-{line}"), "t.line", &json!({ "n": n, "line": line }));
    let mut sent = Vec::new();
    for n in 0..sheets {
        for bus in [&first, &second] {
            sent.extend([1, 2, 3].map(|of| (bus, bus.deliver_event(&line(n, of)))));
        }
    }
    eventually("they are kept", async || sent.iter().all(|(bus, position)| bus.acked(*position))).await;
    assert_eq!(scene.all().await, [], "nothing starts before the end");
    drop(one);
    let end = |n: i64| event(&format!("end-{n}"), "t.end", &json!({ "n": n }));
    for n in 0..sheets {
        let last = second.deliver_event(&line(n, 4));
        eventually("the last line is kept", async || second.acked(last)).await;
        second.deliver_event(&end(n));
        second.deliver_event(&end(n));
    }
    let completed = async || scene.all().await.iter().filter(|it| it.status == Phase::Completed as i16).count();
    eventually("each sheet has started one", async || completed().await == sheets as usize).await;
    for n in 0..sheets {
        let output = scene.output(started(&format!("end-{n}"), "sheet")).await;
        assert_eq!(output, json!({ "n": n, "lines": [1, 2, 3, 4] }));
    }
    assert_eq!(scene.all().await.len(), sheets as usize);
}

/// What started an instance is part of its input: it is not heard once more, whichever of its events came last.
#[tokio::test(flavor = "multi_thread")]
async fn d17_an_instance_hears_no_event_of_the_set_that_started_it() {
    let pair = r"
document: { dsl: '1.0.3', namespace: t, name: pair, version: '1.0.0' }
schedule:
  read: data
  on:
    all:
      - { with: { type: t.left }, correlate: { n: { from: .data.n } } }
      - { with: { type: t.right }, correlate: { n: { from: .data.n } } }
do:
  - amended:
      listen:
        to: { one: { with: { type: t.left }, correlate: { n: { from: .data.n, expect: '${ .[0].n }' } } } }
        read: envelope
      output: { as: '{ heard: [.[].id] }' }
";
    let scene = Scene::new(&[pair]).await;
    let (_worker, bus) = scene.worker(Options { sweep_ms: 50, ..Options::default() }).await;
    let side =
        |side: &str, which: &str, n: u32| event(&format!("{side}-{which}"), &format!("t.{side}"), &json!({ "n": n }));
    for (n, which, order) in [(1, "a", ["left", "right"]), (2, "b", ["right", "left"])] {
        for one in order {
            let taken = bus.deliver_event(&side(one, which, n));
            eventually("it is taken", async || bus.acked(taken)).await;
        }
        let id = started(&format!("{}-{which}", order[1]), "pair");
        scene.becomes(id, Phase::Waiting).await;
        // Looked for again and again meanwhile.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        assert_eq!(scene.phase(id).await, Some(Phase::Waiting));
        bus.deliver_event(&side("left", &format!("{which}-amended"), n));
        assert_eq!(scene.output(id).await, json!({ "heard": [format!("left-{which}-amended")] }));
    }
    assert_eq!(scene.store.list_dead_letters(&Default::default()).await.unwrap(), []);
}
