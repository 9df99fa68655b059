//! What changes while workers run, and that none of it needs a restart.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use flagstop_bus::BusConfig;
use flagstop_bus::port::{Channel, Content, Outgoing};
use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, Secrets, Worker};
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::http::Hr;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, started};
use flagstop_tests::services::{eventually, postgres, unique, url};
use serde_json::json;

fn says(version: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: says, version: '{version}' }}\n\
         schedule: {{ on: {{ one: {{ with: {{ type: t.say }} }} }} }}\ndo: [ {{ say: {{ set: {{ version: '{version}' }} }} }} ]\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deployed_takes_the_very_next_message_in_every_worker() {
    let mut scene = Scene::new(&[&says("1.0.0")]).await;
    let workers = [scene.worker(Options::default()).await, scene.worker(Options::default()).await];
    for minor in 1..=5 {
        let version = format!("1.{minor}.0");
        scene.deploy(&says(&version)).await;
        for (number, (_, bus)) in workers.iter().enumerate() {
            let id = format!("{minor}-{number}");
            bus.deliver_event(&event(&id, "t.say", &json!({})));
            assert_eq!(scene.output(started(&id, "says")).await, json!({ "version": version }));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_schedule_begins_without_a_message() {
    let mut scene = Scene::new(&[]).await;
    let (_worker, _bus) = scene.worker(Options::default()).await;
    scene
        .deploy(
            "document: { dsl: '1.0.3', namespace: t, name: often, version: '1.0.0' }\nschedule: { every: { seconds: 1 } }\ndo: [ { a: { set: { n: 1 } } } ]\n",
        )
        .await;
    eventually("two runs have begun", async || scene.all().await.len() >= 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_read_again_when_their_files_change_and_stay_when_they_break() {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let hr = Hr::start().await;
    let definition = format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: tells, version: '1.0.0' }}\nuse: {{ secrets: [ token ] }}\n\
         schedule: {{ on: {{ one: {{ with: {{ type: t.tell }} }} }} }}\n\
         do: [ {{ tell: {{ call: http, with: {{ method: post, endpoint: '{}/x', body: {{ id: '${{ $secrets.token }}' }} }} }} }} ]\n",
        hr.url
    );
    let scene = Scene::new(&[&definition]).await;
    let folder = std::env::temp_dir().join(unique("secrets"));
    std::fs::create_dir_all(&folder).unwrap();
    let (file, token) = (folder.join("secrets.yaml"), folder.join("token"));
    std::fs::write(&file, "token: first").unwrap();
    for path in [&file, &folder] {
        // In a folder each file is a secret.
        if *path == folder {
            std::fs::write(&token, "first").unwrap();
        }
        let write = |text: &str| match *path == folder {
            true => std::fs::write(&token, text).unwrap(),
            false => std::fs::write(&file, format!("token: {text}")).unwrap(),
        };
        let store = flagstop_store::open(&postgres(), &scene.config).await.unwrap();
        let bus = Arc::new(HandBus::default());
        let options = Options { beat_ms: 100, ..Options::default() };
        let _worker = Worker::start(store, bus.clone(), options, Secrets::load(path).unwrap()).await.unwrap();
        let told = async || {
            let id = TURN.fetch_add(1, Ordering::Relaxed).to_string();
            bus.deliver_event(&event(&id, "t.tell", &json!({})));
            scene.output(started(&id, "tells")).await;
            hr.asked().last().unwrap().body["id"].as_str().unwrap().to_owned()
        };
        assert_eq!(told().await, "first");
        write("second one");
        eventually("the new secret is told", async || told().await == "second one").await;
        if *path == file {
            // From outside both look the same, as when no more than a right or a free file handle was missing.
            let now = SystemTime::now();
            let put = |text: &str| {
                let aside = folder.join("aside");
                std::fs::write(&aside, text).unwrap();
                std::fs::File::options().append(true).open(&aside).unwrap().set_modified(now).unwrap();
                std::fs::rename(&aside, &file).unwrap();
            };
            put("token: 'no end");
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            assert_eq!(told().await, "second one", "what can't be read changes nothing");
            put("token:   third");
            eventually("it is tried until it can be read", async || told().await == "third").await;
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Two builds side by side (PROTOCOL D16): the older one, which can't compile what is deployed now, judges no message by what
/// it knows, and keeps none from the newer one.
#[tokio::test(flavor = "multi_thread")]
async fn d16_a_build_that_is_too_old_for_a_definition_gives_its_messages_to_others() {
    for bus_url in ["embedded:".to_owned(), url("FLAGSTOP_TEST_RABBITMQ"), url("FLAGSTOP_TEST_KAFKA")] {
        let mut scene = Scene::new(&[&says("1.0.0")]).await;
        let config = BusConfig { prefix: format!("{}.", unique("outdated")), ..BusConfig::default() };
        let bus = flagstop_bus::open(&bus_url, &config).await.unwrap();
        bus.prepare(true).await.unwrap();
        let store_config = scene.config.clone();
        let start = async |options: Options| {
            let store = flagstop_store::open(&postgres(), &store_config).await.unwrap();
            Worker::start(store, bus.clone(), options, Secrets::none()).await.unwrap()
        };
        let mut older = Options::default();
        older.engine.definition_bytes_max = 1_000;
        let older = start(older).await;
        let publish = async |id: &str, ty: &str| {
            let message = Outgoing {
                channel: Channel::In,
                routing_key: ty.into(),
                order_key: id.into(),
                content: Content::Event(Box::new(event(id, ty, &json!({})))),
            };
            assert_eq!(bus.publish(&[message]).await, [Ok(())]);
        };
        publish("before", "t.say").await;
        scene.becomes(started("before", "says"), Phase::Completed).await;
        // Nothing but its length is beyond the older build.
        scene
            .deploy(&format!(
                "# {}\n{}",
                "x".repeat(2_000),
                says("2.0.0").replace("says", "more").replace("t.say", "t.more")
            ))
            .await;
        for n in 0..20 {
            publish(&format!("more-{n}"), "t.more").await;
        }
        eventually("the older worker is not ready", async || !older.vitals().read().await.catalogue_whole).await;
        let _newer = start(Options::default()).await;
        for n in 0..20 {
            scene.becomes(started(&format!("more-{n}"), "more"), Phase::Completed).await;
        }
        older.drain(std::time::Duration::from_secs(5)).await;
        bus.close().await;
    }
}
