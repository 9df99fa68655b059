//! Blame (PROTOCOL D8) with real processes that die of what they are given: the one message and the one instance that kill are
//! set aside, and nobody of the hundred that were in the same hands is.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::time::{Duration, Instant};

use flagstop_bus::BusConfig;
use flagstop_bus::port::{Channel, Content, Outgoing};
use flagstop_engine::api::Phase;
use flagstop_store::StoreConfig;
use flagstop_store::port::InstanceFilter;
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

async fn what_kills_workers_is_set_aside_alone(bus_url: &str) {
    let name = unique("blame");
    let dir = std::env::temp_dir().join(&name);
    std::fs::create_dir_all(&dir).unwrap();
    let path = |file: &str| dir.join(file).to_str().unwrap().to_owned();
    std::fs::write(path("good.yaml"), GOOD).unwrap();
    std::fs::write(path("bad.yaml"), BAD).unwrap();
    let worker = "[worker]\nlease_ms = 1500\nbeat_ms = 300\nsweep_ms = 500\n";
    let config = format!("[store]\nschema = \"{name}\"\n\n[bus]\nprefix = \"{name}.\"\n\n{worker}");
    std::fs::write(path("flagstop.toml"), config).unwrap();
    let (config_file, postgres_url) = (path("flagstop.toml"), postgres());
    let common = ["--config", &config_file, "--store", &postgres_url];
    let _report = run(&[&["migrate"], &common[..]].concat());
    let _report = run(&[&["deploy"], &common[..], &[dir.to_str().unwrap()]].concat());

    let config = BusConfig { prefix: format!("{name}."), ..BusConfig::default() };
    let bus = flagstop_bus::open(bus_url, &config).await.unwrap();
    bus.prepare(true).await.unwrap();
    let mut events: Vec<_> = (0..HEALTHY).map(|n| event(&format!("g{n}"), "t.good", &json!({ "n": n }))).collect();
    events.insert(HEALTHY / 3, event("killer", "t.good", &json!({ "text": DEADLY })));
    events.insert(HEALTHY / 2, event("bad", "t.bad", &json!({})));
    let messages: Vec<Outgoing> = events
        .into_iter()
        .map(|event| Outgoing {
            channel: Channel::In,
            routing_key: event.ty.clone(),
            order_key: event.id.clone(),
            content: Content::Event(Box::new(event)),
        })
        .collect();
    for result in bus.publish(&messages).await {
        result.unwrap();
    }

    let store_config = StoreConfig { schema: name.clone(), ..StoreConfig::default() };
    let store = flagstop_store::open(&postgres(), &store_config).await.unwrap();
    let args = [&common[..], &["--bus", bus_url]].concat();
    let mortal = || WorkerProcess::start_with(&args, &[("FLAGSTOP_TEST_CRASH", DEADLY)]);
    let mut workers = vec![mortal(), mortal()];
    let mut deaths = 0;
    let begun = Instant::now();
    let (instance, letters) = loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        for worker in &mut workers {
            if worker.has_ended() {
                deaths += 1;
                *worker = mortal();
            }
        }
        let all = store.list_instances(&InstanceFilter::default()).await.unwrap();
        let done = all.iter().filter(|it| it.status == Phase::Completed as i16).count();
        let letters = store.list_dead_letters(&Default::default()).await.unwrap();
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
    let why = run(&[&["instances", "why", &id], &common[..]].concat());
    assert!(why.contains("was set aside") && why.contains("FS-INSTANCE-KILLS"), "{why}");

    let listed = run(&[&["instances", "list", "--output", "json"], &common[..]].concat());
    let listed: Vec<serde_json::Value> = serde_json::from_str(&listed).unwrap();
    let said: Vec<_> = listed.iter().filter(|it| it.get("setAside").is_some()).collect();
    assert_eq!((said.len(), &said[0]["id"]), (1, &json!(id)));
    assert_eq!(said[0]["setAside"], json!(reason));

    // The defect is mended, and a person releases the instance.
    drop(workers);
    let _healthy = WorkerProcess::start(&args);
    let _told = run(&[&["instances", "continue", &id], &common[..]].concat());
    let begun = Instant::now();
    loop {
        let now = store.instance(instance.id).await.unwrap().unwrap();
        if now.status == Phase::Completed as i16 {
            assert_eq!(now.aside, None);
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it is released and does not go on: {now:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    std::fs::remove_dir_all(&dir).ok();
}
