//! The main job under faults: three worker processes on a real broker and Postgres, one killed with −9 in the middle and
//! one stopped past its lease, with copies, early messages and junk in a shuffled order.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flagstop_bus::BusConfig;
use flagstop_bus::port::{Bus, Channel, Content, Outgoing, RawMessage, Subscription};
use flagstop_schemas::{COMMAND_PREFIX, CloudEvent, Data, Validators};
use flagstop_store::StoreConfig;
use flagstop_store::port::{InstanceFilter, Store};
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::{Workload, definition, workload};
use flagstop_tests::process::{WorkerProcess, run};
use flagstop_tests::services::{postgres, unique, url};
use tokio::sync::Mutex;

const EMPLOYEES: usize = 1_000;

/// Each of the tests uses the whole machine.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_onboardings_on_rabbitmq_survive_a_killed_and_a_stopped_worker() {
    onboardings_survive(&url("FLAGSTOP_TEST_RABBITMQ")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_onboardings_on_kafka_survive_a_killed_and_a_stopped_worker() {
    onboardings_survive(&url("FLAGSTOP_TEST_KAFKA")).await;
}

/// Everything that subscribers saw, in the order in which they saw it.
#[derive(Default)]
struct Seen {
    status: Mutex<Vec<RawMessage>>,
    out: Mutex<Vec<RawMessage>>,
    dead: Mutex<Vec<RawMessage>>,
}

async fn onboardings_survive(bus_url: &str) {
    let _alone = ALONE.lock().await;
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let hr = Hr::start().await;
    let name = unique("faults");
    let dir = std::env::temp_dir().join(&name);
    std::fs::create_dir_all(&dir).unwrap();
    let (definition_file, config_file) = (dir.join("onboarding.yaml"), dir.join("flagstop.toml"));
    std::fs::write(&definition_file, definition(&hr.url)).unwrap();
    std::fs::write(&config_file, format!("[store]\nschema = \"{name}\"\n\n[bus]\nprefix = \"{name}.\"\n")).unwrap();
    let (definition_file, config_file) = (definition_file.to_str().unwrap(), config_file.to_str().unwrap());
    let common = ["--config", config_file, "--store", &postgres()];
    let _report = run(&[&["migrate"], &common[..]].concat());
    let _report = run(&[&["deploy"], &common[..], &[definition_file]].concat());

    let config = BusConfig { prefix: format!("{name}."), ..BusConfig::default() };
    let bus = flagstop_bus::open(bus_url, &config).await.unwrap();
    bus.prepare(true).await.unwrap();
    let seen = Arc::new(Seen::default());
    let done = Arc::new(AtomicBool::new(false));
    let mut followers = Vec::new();
    for channel in [Channel::Status, Channel::Out, Channel::Dead] {
        let subscription = bus.subscribe(channel).await.unwrap();
        followers.push(tokio::spawn(follow(subscription, channel, seen.clone(), done.clone())));
    }

    let args = [&common[..], &["--bus", bus_url]].concat();
    let mut workers: Vec<WorkerProcess> = (0..3).map(|_| WorkerProcess::start(&args)).collect();
    let Workload { messages, expected, junk } = workload(EMPLOYEES, seed);
    let half = messages.len() / 2;
    send(&*bus, &messages[..half]).await;

    let store_config = StoreConfig { schema: name.clone(), ..StoreConfig::default() };
    let store = flagstop_store::open(&postgres(), &store_config).await.unwrap();
    until(&store, "some are done and most are not", |completed, _| completed > EMPLOYEES / 20).await;
    workers[0].signal("KILL");
    workers[1].signal("STOP");
    let killed = Instant::now();
    send(&*bus, &messages[half..]).await;
    // The stopped one wakes past its lease of 5 s, in the middle of others driving what was its.
    let stopped = workers.remove(1);
    let waker = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(7)).await;
        stopped.signal("CONT");
        stopped
    });
    until(&store, "all are done", |completed, total| completed == EMPLOYEES && total == EMPLOYEES).await;
    println!("all {EMPLOYEES} done {:?} after the kill", killed.elapsed());
    let stopped = waker.await.unwrap();

    let ends = |seen: &[RawMessage]| {
        let ids: HashSet<String> =
            seen.iter().map(decode).filter(|e| e.ty.ends_with("workflow.completed.v1")).map(|e| e.id).collect();
        ids.len()
    };
    let start = Instant::now();
    while ends(&seen.status.lock().await) < EMPLOYEES || letters(&seen).await.len() < junk {
        assert!(start.elapsed() < Duration::from_secs(60), "status events or dead letters are missing");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The workers that are left, the woken one among them, leave as they should.
    for mut worker in workers.into_iter().skip(1).chain([stopped]) {
        worker.signal("TERM");
        assert_eq!(worker.wait(), Some(0), "a drained worker ends with 0");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    done.store(true, Ordering::Relaxed);
    for follower in followers {
        follower.await.unwrap();
    }

    let completed = check_status(&seen.status.lock().await);
    assert_eq!(completed.len(), EMPLOYEES, "each trigger exactly one instance");
    for it in &expected {
        let output = &completed[&it.employee];
        assert_eq!(output["hired"], it.hired, "{it:?}");
        assert_eq!(output["employeeId"], it.employee, "{it:?}");
        if it.hired {
            assert_eq!(output["account"], format!("account-of-{}", it.employee), "{it:?}");
        }
    }
    check_emitted(
        &seen.out.lock().await,
        expected.iter().filter(|it| it.hired).map(|it| it.employee.clone()).collect(),
    );
    check_calls(&hr);
    assert_eq!(letters(&seen).await.len(), junk, "each junk message is one dead letter, and nothing else is");
    assert_eq!(store.list_dead_letters(&Default::default()).await.unwrap().len(), junk);
    for ty in ["com.example.background-check.completed", "com.example.employee.hired"] {
        assert_eq!(store.parked_of_type(ty, 5).await.unwrap(), [], "each resume was consumed");
    }
    bus.close().await;
    std::fs::remove_dir_all(dir).unwrap();
}

async fn follow(mut subscription: Box<dyn Subscription>, channel: Channel, seen: Arc<Seen>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        if let Ok(batch) = tokio::time::timeout(Duration::from_millis(100), subscription.next(500)).await {
            let list = match channel {
                Channel::Status => &seen.status,
                Channel::Out => &seen.out,
                _ => &seen.dead,
            };
            list.lock().await.extend(batch);
        }
    }
}

async fn send(bus: &dyn Bus, messages: &[RawMessage]) {
    let outgoing: Vec<Outgoing> = messages
        .iter()
        .enumerate()
        .map(|(n, message)| Outgoing {
            channel: Channel::In,
            routing_key: "tests".into(),
            order_key: n.to_string(),
            content: Content::Raw(message.clone()),
        })
        .collect();
    for chunk in outgoing.chunks(200) {
        for result in bus.publish(chunk).await {
            result.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits on the state of the instances: how many have completed, of how many.
async fn until(store: &Arc<dyn Store>, what: &str, check: impl Fn(usize, usize) -> bool) {
    let start = Instant::now();
    loop {
        let all = store.list_instances(&InstanceFilter::default()).await.unwrap();
        let completed = all.iter().filter(|it| it.status == flagstop_engine::api::Phase::Completed as i16).count();
        if check(completed, all.len()) {
            return;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "did not happen: {what}; {completed} of {} completed; open: {:?}",
            all.len(),
            all.iter()
                .filter(|it| it.ended_us.is_none())
                .map(|it| (it.id, it.status, it.revision))
                .take(10)
                .collect::<Vec<_>>()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn decode(message: &RawMessage) -> CloudEvent {
    flagstop_bus::decode(message, &flagstop_bus::CodecLimits::default()).unwrap()
}

/// Ids of the dead letters, copies aside.
async fn letters(seen: &Seen) -> HashSet<(Vec<u8>, Vec<u8>)> {
    let dead = seen.dead.lock().await;
    let header = |message: &RawMessage, wanted: &str| {
        message.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.to_vec()).unwrap_or_default()
    };
    dead.iter()
        .map(|message| {
            assert!(!header(message, "flagstop-reason").is_empty(), "a letter says why");
            assert!(header(message, "flagstop-code").starts_with(b"FS-"), "a letter has a code");
            (
                header(message, "flagstop-code"),
                [&message.body[..], &header(message, "ce_id"), &header(message, "ce_type")].concat(),
            )
        })
        .collect()
}

/// Schema-valid, without gaps, in order per instance for whoever drops copies by id. Returns the outputs by business key.
fn check_status(seen: &[RawMessage]) -> HashMap<String, serde_json::Value> {
    let validators = Validators::new();
    let mut ids = HashSet::new();
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    let mut outputs = HashMap::new();
    let mut answered = HashMap::new();
    for event in seen.iter().map(decode) {
        if event.ty.starts_with(COMMAND_PREFIX) {
            validators.check_answer(&event).unwrap_or_else(|why| panic!("{} {}: {why}", event.ty, event.id));
            let first = answered.entry(event.extensions["causationid"].to_string()).or_insert_with(|| event.id.clone());
            assert_eq!(*first, event.id, "two answers to one command");
            continue;
        }
        validators.check(&event).unwrap_or_else(|why| panic!("{} {}: {why}", event.ty, event.id));
        if !ids.insert(event.id.clone()) {
            continue;
        }
        let instance = event.subject.clone().unwrap();
        let sequence: u64 = event.extensions["sequence"].as_str().unwrap().parse().unwrap();
        let expected = next.entry(instance.clone()).or_insert(1);
        assert_eq!(sequence, *expected, "{instance}: gap or disorder at {}", event.ty);
        *expected += 1;
        if event.ty.ends_with("workflow.completed.v1") {
            let Data::Json(data) = &event.data else { panic!("{}: no data", event.id) };
            let data: serde_json::Value = serde_json::from_slice(data).unwrap();
            let key = event.extensions["businesskey"].as_str().unwrap().to_owned();
            assert!(outputs.insert(key.clone(), data["output"].clone()).is_none(), "{key} completed twice");
        }
    }
    outputs
}

fn check_emitted(seen: &[RawMessage], hired: HashSet<String>) {
    let by_id: HashMap<String, String> =
        seen.iter().map(decode).map(|event| (event.id, event.subject.unwrap())).collect();
    let employees: HashSet<String> = by_id.values().cloned().collect();
    assert_eq!(by_id.len(), hired.len(), "each emitted event has one id, whenever it is published again");
    assert_eq!(employees, hired);
}

/// Every employee was registered, at least once, always under the same key.
fn check_calls(hr: &Hr) {
    let mut keys: HashMap<String, HashSet<String>> = HashMap::new();
    for asked in hr.asked() {
        keys.entry(asked.body["id"].as_str().unwrap().to_owned()).or_default().insert(asked.key);
    }
    assert_eq!(keys.len(), EMPLOYEES);
    let twice: Vec<_> = keys.iter().filter(|(_, keys)| keys.len() != 1).collect();
    assert!(twice.is_empty(), "one idempotency key per call: {twice:?}");
    let all: HashSet<&String> = keys.values().flatten().collect();
    assert_eq!(all.len(), EMPLOYEES, "no two calls share a key");
}
