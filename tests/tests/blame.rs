//! Blame (PROTOCOL D8) with real processes that die of what they are given: the one message and the one instance that kill are
//! set aside, and nobody of the hundred that were in the same hands is.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flagstop_bus::port::{Bus, Channel, Content, Outgoing};
use flagstop_bus::{BusConfig, CodecLimits};
use flagstop_engine::api::Phase;
use flagstop_schemas::{CloudEvent, InstanceId};
use flagstop_store::StoreConfig;
use flagstop_store::port::{InstanceFilter, Store};
use flagstop_store::rows::{DeadLetter, InstanceSummary};
use flagstop_tests::onboarding::event;
use flagstop_tests::process::{WorkerProcess, run};
use flagstop_tests::services::{postgres, unique, url};
use serde_json::json;

const HEALTHY: usize = 100;

/// Whoever meets this text dies of it: in a message's body, or in the name of a workflow whose timer fires.
const DEADLY: &str = "deadly-to-workers";

const GOOD: &str = r"
document: { dsl: '1.0.3', namespace: t, name: good, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.good } } } }
do:
  - rest: { wait: { milliseconds: 100 } }
  - done: { set: { ok: true } }
";

const BAD: &str = r"
document: { dsl: '1.0.3', namespace: t, name: deadly-to-workers, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.bad } } } }
do:
  - rest: { wait: { seconds: 1 } }
  - done: { set: { ok: true } }
";

#[tokio::test(flavor = "multi_thread")]
async fn d8_what_kills_workers_is_set_aside_alone_on_rabbitmq() {
    what_kills_workers_is_set_aside_alone(&url("FLAGSTOP_TEST_RABBITMQ")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d8_what_kills_workers_is_set_aside_alone_on_kafka() {
    what_kills_workers_is_set_aside_alone(&url("FLAGSTOP_TEST_KAFKA")).await;
}

/// Definitions that are deployed, and a broker and a database of their own.
struct Stage {
    dir: PathBuf,
    /// What every command of the tests is told.
    common: Vec<String>,
    bus_url: String,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
}

impl Stage {
    async fn new(bus_url: &str, definitions: &[&str]) -> Self {
        let name = unique("blame");
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        for (n, text) in definitions.iter().enumerate() {
            std::fs::write(dir.join(format!("{n}.yaml")), text).unwrap();
        }
        let worker = "[worker]\nlease_ms = 1500\nbeat_ms = 300\nsweep_ms = 500\n";
        let config = format!("[store]\nschema = \"{name}\"\n\n[bus]\nprefix = \"{name}.\"\n\n{worker}");
        let config_file = dir.join("flagstop.toml");
        std::fs::write(&config_file, config).unwrap();
        let common = ["--config", config_file.to_str().unwrap(), "--store", &postgres()].map(str::to_owned).to_vec();

        let config = BusConfig { prefix: format!("{name}."), ..BusConfig::default() };
        let bus = flagstop_bus::open(bus_url, &config).await.unwrap();
        bus.prepare(true).await.unwrap();
        let config = StoreConfig { schema: name, ..StoreConfig::default() };
        let store = flagstop_store::open(&postgres(), &config).await.unwrap();
        let stage = Self { dir, common, bus_url: bus_url.to_owned(), bus, store };
        let _report = stage.run(&["migrate"]);
        let _report = stage.run(&["deploy", stage.dir.to_str().unwrap()]);
        stage
    }

    fn run(&self, args: &[&str]) -> String {
        let common = self.common.iter().map(String::as_str);
        run(&args.iter().copied().chain(common).collect::<Vec<_>>())
    }

    fn worker(&self, variables: &[(&str, &str)]) -> WorkerProcess {
        let common = self.common.iter().map(String::as_str);
        let args: Vec<&str> = common.chain(["--bus", &self.bus_url]).collect();
        WorkerProcess::start_with(&args, variables)
    }

    /// One that dies of what is deadly.
    fn mortal(&self) -> WorkerProcess {
        self.worker(&[("FLAGSTOP_TEST_CRASH", DEADLY)])
    }

    async fn publish(&self, events: Vec<CloudEvent>) {
        let outgoing = |event: CloudEvent| Outgoing {
            channel: Channel::In,
            routing_key: event.ty.clone(),
            order_key: event.id.clone(),
            content: Content::Event(Box::new(event)),
        };
        let messages: Vec<Outgoing> = events.into_iter().map(outgoing).collect();
        for result in self.bus.publish(&messages).await {
            result.unwrap();
        }
    }

    async fn all(&self) -> Vec<InstanceSummary> {
        self.store.list_instances(&InstanceFilter::default()).await.unwrap()
    }

    async fn letters(&self) -> Vec<DeadLetter> {
        self.store.list_dead_letters(&Default::default()).await.unwrap()
    }

    /// Waits for an instance to be released and done.
    async fn completes(&self, id: InstanceId) {
        let begun = Instant::now();
        loop {
            let now = self.store.instance(id).await.unwrap().unwrap();
            if now.status == Phase::Completed as i16 {
                assert_eq!(now.aside, None);
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "it is released and does not go on: {now:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

async fn what_kills_workers_is_set_aside_alone(bus_url: &str) {
    let stage = Stage::new(bus_url, &[GOOD, BAD]).await;
    let mut events: Vec<_> = (0..HEALTHY).map(|n| event(&format!("g{n}"), "t.good", &json!({ "n": n }))).collect();
    events.insert(HEALTHY / 3, event("killer", "t.good", &json!({ "text": DEADLY })));
    events.insert(HEALTHY / 2, event("bad", "t.bad", &json!({})));
    stage.publish(events).await;
    let mut workers = vec![stage.mortal(), stage.mortal()];
    let mut deaths = 0;
    let begun = Instant::now();
    let (instance, letters) = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for worker in &mut workers {
            if worker.has_ended() {
                deaths += 1;
                *worker = stage.mortal();
            }
        }
        let all = stage.all().await;
        let done = all.iter().filter(|it| it.status == Phase::Completed as i16).count();
        let letters = stage.letters().await;
        let aside: Vec<_> = all.into_iter().filter(|it| it.aside.is_some()).collect();
        if done == HEALTHY && letters.len() == 2 && aside.len() == 1 {
            break (aside[0].clone(), letters);
        }
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(240), "{done} done, {} letters, {deaths} deaths", letters.len());
        assert!(letters.len() <= 2 && aside.len() <= 1, "a healthy one was branded: {letters:?} {aside:?}");
    };
    println!("{deaths} workers died in {:?}", begun.elapsed());
    assert!(deaths >= 6, "three times each, by themselves: {deaths}");
    let with = |code: &str| letters.iter().find(|letter| letter.code == code).unwrap();
    let message = with("FS-MESSAGE-KILLS");
    assert!(String::from_utf8_lossy(&message.body).contains(DEADLY), "the message as it was");
    let reason = instance.aside.clone().unwrap();
    assert!(reason.ends_with(&with("FS-INSTANCE-KILLS").reason), "{reason}");
    assert!(reason.starts_with("FS-INSTANCE-KILLS") && reason.contains("a timer"), "{reason}");
    assert_eq!(instance.status, Phase::Waiting as i16, "it keeps its phase");
    let id = instance.id.to_string();
    let why = stage.run(&["instances", "why", &id]);
    assert!(why.contains("was set aside") && why.contains("FS-INSTANCE-KILLS"), "{why}");

    let listed = stage.run(&["instances", "list", "--output", "json"]);
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let said: Vec<_> = listed.iter().filter(|it| it.get("setAside").is_some()).collect();
    assert_eq!((said.len(), &said[0]["id"]), (1, &json!(id)));
    assert_eq!(said[0]["setAside"], json!(reason));

    // The defect is mended, and a person releases the instance.
    drop(workers);
    let _healthy = stage.worker(&[]);
    let _told = stage.run(&["instances", "continue", &id]);
    stage.completes(instance.id).await;
}

/// Starts by its schedule, by the same event as another, and as a child: each of these starts is deadly.
const DEADLY_STARTS: [&str; 3] = [
    r"
document: { dsl: '1.0.3', namespace: deadly-to-workers, name: payroll, version: '1.0.0' }
schedule: { every: { seconds: 2 } }
do: [ { done: { set: { ok: true } } } ]
",
    r"
document: { dsl: '1.0.3', namespace: deadly-to-workers, name: shared, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.good } } } }
do: [ { done: { set: { ok: true } } } ]
",
    r"
document: { dsl: '1.0.3', namespace: deadly-to-workers, name: child, version: '1.0.0' }
do: [ { done: { set: { ok: true } } } ]
",
];

const PARENT: &str = r"
document: { dsl: '1.0.3', namespace: t, name: parent, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.parent } } } }
do:
  - child: { run: { workflow: { namespace: deadly-to-workers, name: child, version: '1.0.0' } } }
";

#[tokio::test(flavor = "multi_thread")]
async fn d8_a_start_that_kills_is_kept_as_an_instance_that_is_set_aside() {
    let [payroll, shared, child] = DEADLY_STARTS;
    let stage = Stage::new(&url("FLAGSTOP_TEST_RABBITMQ"), &[payroll, shared, child, GOOD, PARENT]).await;
    stage.publish(vec![event("g", "t.good", &json!({})), event("p", "t.parent", &json!({}))]).await;
    let mut worker = stage.mortal();
    let begun = Instant::now();
    let mut deaths = 0;
    let (aside, letters) = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if worker.has_ended() {
            deaths += 1;
            worker = stage.mortal();
        }
        let (all, letters) = (stage.all().await, stage.letters().await);
        let done = all.iter().filter(|it| it.status == Phase::Completed as i16).count();
        let aside: Vec<_> = all.into_iter().filter(|it| it.aside.is_some()).collect();
        let of_schedule = letters.iter().filter(|it| it.code == "FS-SCHEDULE-KILLS").count();
        if done == 1 && letters.len() - of_schedule == 2 && of_schedule > 0 && aside.len() == letters.len() {
            break (aside, letters);
        }
        assert!(begun.elapsed() < Duration::from_secs(240), "{done} done: {aside:?} {letters:?}");
    };
    drop(worker);
    // Four for each of the two, once unawares; as many for the schedule's first run, and one for each of its further ones.
    let expected = 4 * 3 + (letters.len() - 3) + 1;
    assert!(deaths <= expected, "{deaths} workers died, {expected} may");
    for instance in &aside {
        assert_eq!(instance.status, Phase::Pending as i16, "it has not begun");
        let id = instance.id.to_string();
        let letter = letters.iter().find(|letter| letter.reason.contains(&id)).unwrap();
        assert_eq!(instance.aside, Some(format!("{}: {}", letter.code, letter.reason)));
        assert!(letter.reason.contains(&format!("flagstop instances continue {id}")), "{}", letter.reason);
        let redriven = flagstop_runtime::redrive(letter, &CodecLimits::default(), &flagstop_bus::BusConfig::default());
        assert!(redriven.unwrap_err().contains(&format!("instances continue {id}")));
        let why = stage.run(&["instances", "why", &id]);
        assert!(why.contains("was set aside") && why.contains(&letter.code), "{why}");
        if letter.code == "FS-SCHEDULE-KILLS" {
            assert!(letter.reason.contains("deadly-to-workers/payroll 1.0.0 that was due at 20"), "{}", letter.reason);
            assert_eq!(letter.origin, "schedule of deadly-to-workers/payroll");
        } else {
            assert_eq!((letter.code.as_str(), &letter.origin), ("FS-INSTANCE-KILLS", &format!("instance {id}")));
        }
    }
    // The defect is mended. The schedule has gone on, and nobody's run is lost.
    let _healthy = stage.worker(&[]);
    for instance in &aside {
        let _told = stage.run(&["instances", "continue", &instance.id.to_string()]);
        stage.completes(instance.id).await;
    }
    let begun = Instant::now();
    loop {
        let all = stage.all().await;
        // The last mortal worker may have died of one more run, which was then set aside without another try.
        for one_more in all.iter().filter(|it| it.aside.is_some()) {
            let _told = stage.run(&["instances", "continue", &one_more.id.to_string()]);
        }
        if all.len() > aside.len() + 3 && all.iter().all(|it| it.status == Phase::Completed as i16) {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "the schedule, the parent or another does not go on: {all:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
