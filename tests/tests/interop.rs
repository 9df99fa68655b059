//! CloudEvents round trips with programs that know nothing of Flagstop: clients built on the official SDKs of Python, Go and
//! JavaScript trigger a workflow that gives back what it heard, and read what the worker publishes. `tests/interop/README.md`
//! says what the clients take and tell; `tests/run` installs them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use flagstop_bus::BusConfig;
use flagstop_bus::port::{Bus, Channel, Content, Outgoing, RawMessage};
use flagstop_schemas::{CloudEvent, Data, Validators};
use flagstop_tests::onboarding::event;
use flagstop_tests::process::{WorkerProcess, run};
use flagstop_tests::services::{postgres, unique, url};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const LANGUAGES: [&str; 3] = ["python", "go", "javascript"];
const MODES: [&str; 2] = ["binary", "structured"];

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_of_three_languages_and_a_worker_understand_each_other_on_rabbitmq() {
    round_trips(&url("FLAGSTOP_TEST_RABBITMQ"), check_rabbitmq).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdks_of_three_languages_and_a_worker_understand_each_other_on_kafka() {
    round_trips(&url("FLAGSTOP_TEST_KAFKA"), check_kafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_subscriber_prints_each_event_once_on_rabbitmq() {
    subscriber_prints_once(&url("FLAGSTOP_TEST_RABBITMQ")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_subscriber_prints_each_event_once_on_kafka() {
    subscriber_prints_once(&url("FLAGSTOP_TEST_KAFKA")).await;
}

/// One event to be sent, and how.
struct Order {
    mode: &'static str,
    event: Value,
}

/// One event that a client received, as its SDK read it.
struct Told {
    channel: String,
    event: CloudEvent,
    transport: Value,
}

async fn round_trips(bus_url: &str, check_transport: fn(&Told)) {
    let name = unique("interop");
    let dir = std::env::temp_dir().join(&name);
    std::fs::create_dir_all(&dir).unwrap();
    let config_file = dir.join("flagstop.toml");
    std::fs::write(&config_file, format!("[store]\nschema = \"{name}\"\n\n[bus]\nprefix = \"{name}.\"\n")).unwrap();
    let common = ["--config", config_file.to_str().unwrap(), "--store", &postgres()];
    let _report = run(&[&["migrate"], &common[..]].concat());
    let definition = interop().join("echo.yaml");
    let _report = run(&[&["deploy"], &common[..], &[definition.to_str().unwrap()]].concat());

    let prefix = format!("{name}.");
    let config = BusConfig { prefix: prefix.clone(), ..BusConfig::default() };
    let bus = flagstop_bus::open(bus_url, &config).await.unwrap();
    bus.prepare(true).await.unwrap();
    bus.close().await;
    let mut worker = WorkerProcess::start(&[&common[..], &["--bus", bus_url]].concat());

    let clients = LANGUAGES.map(|language| {
        let (bus_url, prefix) = (bus_url.to_owned(), prefix.clone());
        tokio::task::spawn_blocking(move || {
            let orders = orders(language);
            let told = talk(language, &bus_url, &prefix, &orders);
            (orders, told)
        })
    });
    for (language, client) in LANGUAGES.into_iter().zip(clients) {
        let (orders, told) = client.await.unwrap();
        assert_eq!(orders.len(), 6);
        told.iter().for_each(check_transport);
        for order in &orders {
            check_one(language, order, &told);
        }
    }
    worker.signal("TERM");
    assert_eq!(worker.wait(), Some(0));
    std::fs::remove_dir_all(dir).unwrap();
}

/// Every mode with every kind of data, attributes with what needs care: other letters, a percent sign, a number.
fn orders(language: &str) -> Vec<Order> {
    let payloads = [
        json!({ "datacontenttype": "application/json",
                "data": { "name": "Jürgen Größe ☃", "n": 1.5, "list": [1, null, "\u{0}"] } }),
        json!({ "datacontenttype": "text/plain", "data": "Grüße\n☃" }),
        json!({ "datacontenttype": "application/octet-stream", "data_base64": "AAECA/7/" }),
    ];
    let mut orders = Vec::new();
    for mode in MODES {
        for payload in &payloads {
            let mut event = json!({
                "specversion": "1.0", "id": format!("{language}-{}", orders.len()), "source": format!("/interop/{language}"),
                "type": "com.example.interop.asked", "subject": "Jürgen ☃", "time": "2026-11-21T10:00:00Z",
                "note": "100%25 größe", "count": 7,
            });
            event.as_object_mut().unwrap().extend(payload.as_object().unwrap().clone());
            orders.push(Order { mode, event });
        }
    }
    orders
}

fn interop() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop")
}

/// Runs a client to its end.
fn talk(language: &str, bus_url: &str, prefix: &str, orders: &[Order]) -> Vec<Told> {
    let mut client = Command::new(interop().join("client"))
        .args([language, bus_url, prefix])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    for Order { mode, event } in orders {
        writeln!(input, "{}", json!({ "mode": mode, "event": event })).unwrap();
    }
    drop(input);
    let output = client.wait_with_output().unwrap();
    assert!(output.status.success(), "the {language} client ended with {}; what it said is above", output.status);
    let lines = String::from_utf8(output.stdout).unwrap();
    let told = |line| {
        let told: Value = serde_json::from_str(line).unwrap();
        Told {
            channel: told["channel"].as_str().unwrap().to_owned(),
            event: read(&told["event"]),
            transport: told["transport"].clone(),
        }
    };
    lines.lines().map(told).collect()
}

/// An event in CloudEvents' JSON format. Equal times are spelled the same.
fn read(event: &Value) -> CloudEvent {
    let message = RawMessage {
        content_type: Some("application/cloudevents+json".into()),
        body: Bytes::from(event.to_string()),
        ..RawMessage::default()
    };
    let mut event = flagstop_bus::decode(&message, &flagstop_bus::CodecLimits::default()).unwrap();
    event.time = event.time.map(|time| time.replace(".000Z", "Z"));
    event
}

fn value(data: &Data) -> Value {
    match data {
        Data::Absent => Value::Null,
        Data::Json(text) => serde_json::from_slice(text).unwrap(),
        Data::Binary(bytes) => json!(bytes.to_vec()),
    }
}

/// The worker heard what was sent, and the client heard the echo and the whole story of its instance.
fn check_one(language: &str, order: &Order, told: &[Told]) {
    let mut sent = read(&order.event);
    let id = sent.id.clone();
    let context = format!("{id}, {} mode, {:?}", order.mode, sent.datacontenttype);
    if order.mode == "binary" {
        sent.extensions.insert("count".into(), json!("7"));
    }

    let story = story(&id, told);
    let [first, .., last] = &story[..] else { panic!("{context}: {story:?}") };
    assert!(first.ty.ends_with(".workflow.started.v1"), "{context}");
    assert_eq!(first.extensions["causationid"], json!(id), "{context}");
    assert_eq!(first.extensions["causationsource"], json!(format!("/interop/{language}")), "{context}");
    assert!(last.ty.ends_with(".workflow.completed.v1"), "{context}");
    let heard = read(&value(&last.data)["output"]);
    assert_eq!(value(&heard.data), value(&sent.data), "{context}: data as the worker heard it");
    let without_data = |event: &CloudEvent| CloudEvent { data: Data::Absent, ..event.clone() };
    assert_eq!(without_data(&heard), without_data(&sent), "{context}: attributes as the worker heard them");

    let echoes: BTreeMap<&str, &CloudEvent> = told
        .iter()
        .filter(|it| it.channel == "out" && it.event.subject.as_deref() == Some(&id))
        .map(|it| (it.event.id.as_str(), &it.event))
        .collect();
    assert_eq!(echoes.len(), 1, "{context}: one echo, however often it was published");
    let echo = echoes.values().next().unwrap();
    assert_eq!(value(&echo.data), value(&sent.data), "{context}: data as the client heard it");
    assert_eq!(echo.datacontenttype, sent.datacontenttype, "{context}");
    assert_eq!(echo.ty, "com.example.interop.echoed", "{context}");
    assert_eq!(echo.source, "/interop/echo", "{context}");
    assert_eq!(echo.extensions["note"], sent.extensions["note"], "{context}");
    assert_eq!(echo.extensions["count"], json!("7"), "{context}");
}

/// The status events of the instance that the event `id` began: each obeys its schema, and none is missing.
fn story(id: &str, told: &[Told]) -> Vec<CloudEvent> {
    let validators = Validators::new();
    let mut story = BTreeMap::new();
    for Told { event, .. } in told.iter().filter(|it| it.channel == "status") {
        if event.extensions["businesskey"] == id {
            validators.check(event).unwrap_or_else(|why| panic!("{} {}: {why}", event.ty, event.id));
            let sequence: usize = event.extensions["sequence"].as_str().unwrap().parse().unwrap();
            assert_eq!(event.id, format!("{}-{sequence}", event.subject.as_deref().unwrap()));
            story.insert(sequence, event.clone());
        }
    }
    assert!(story.keys().copied().eq(1..=story.len()), "{id}: {:?}", story.keys());
    story.into_values().collect()
}

fn check_kafka(told: &Told) {
    let key = told.event.subject.as_deref();
    assert_eq!(told.transport["key"].as_str(), key, "instance id or subject: {}", told.event.id);
}

fn check_rabbitmq(told: &Told) {
    let Told { channel, event, transport } = told;
    assert_eq!(transport["messageId"], event.id.as_str());
    assert_eq!(transport["type"], event.ty.as_str());
    assert!(transport["timestamp"].as_u64().is_some_and(|seconds| seconds > 0), "{transport}");
    if channel == "status" {
        assert_eq!(transport["correlationId"].as_str(), event.subject.as_deref());
        let what = event.ty.strip_prefix("io.serverlessworkflow.").and_then(|ty| ty.strip_suffix(".v1")).unwrap();
        assert_eq!(transport["routingKey"], format!("interop.echo.{what}"));
    } else {
        assert_eq!(transport["routingKey"], event.ty.as_str());
    }
}

async fn subscriber_prints_once(bus_url: &str) {
    let name = unique("subscriber");
    let config = BusConfig { prefix: format!("{name}."), ..BusConfig::default() };
    let bus = flagstop_bus::open(bus_url, &config).await.unwrap();
    bus.prepare(true).await.unwrap();
    let mut subscriber = tokio::process::Command::new(interop().join("client"))
        .arg("subscriber")
        .envs([("BUS_URL", bus_url), ("STATUS", &format!("{name}.flagstop.status")), ("NAME", &name)])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(subscriber.stdout.take().unwrap()).lines();
    // Copies of the first event, until it is there: on RabbitMQ it gets only what comes after its queue was bound.
    let first = loop {
        publish(&*bus, "first").await;
        match tokio::time::timeout(Duration::from_millis(200), lines.next_line()).await {
            Ok(line) => break line.unwrap().expect("the subscriber ended"),
            Err(_not_yet) => {}
        }
    };
    publish(&*bus, "first").await;
    publish(&*bus, "second").await;
    let second = lines.next_line().await.unwrap().expect("the subscriber ended");
    assert!(first.starts_with("first com.example.subscribed ") && first.contains("Jürgen"), "{first}");
    assert!(second.starts_with("second "), "{second}");
    bus.close().await;
}

async fn publish(bus: &dyn Bus, id: &str) {
    let event = event(id, "com.example.subscribed", &json!({ "name": "Jürgen" }));
    let message = Outgoing {
        channel: Channel::Status,
        routing_key: "example.subscribed".into(),
        order_key: "one".into(),
        content: Content::Event(Box::new(event)),
    };
    bus.publish(&[message]).await.pop().unwrap().unwrap();
}
