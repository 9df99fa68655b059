//! What the relay does with a broker that does not take an event: for now, or at all (PROTOCOL D13, D14, D16, promise 3).
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use flagstop_bus::BusConfig;
use flagstop_bus::port::{Bus, Channel, Content, Outgoing};
use flagstop_engine::api::Phase;
use flagstop_runtime::{Options, Secrets, Worker};
use flagstop_schemas::{CloudEvent, InstanceId};
use flagstop_store::port::{Ahead, Batch, Group, InstanceWrite, Redrive, Verdict};
use flagstop_store::rows::WorkerId;
use flagstop_tests::hand_bus::HandBus;
use flagstop_tests::onboarding::event;
use flagstop_tests::scene::{Scene, WAITS, go, start, started};
use flagstop_tests::services::{eventually, postgres, unique, url};
use lapin::options::{ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueuePurgeOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::json;

const COMPLETED: &str = "io.serverlessworkflow.workflow.completed.v1";

fn brisk() -> Options {
    Options { relay_refusals_max: 2, relay_retry_max_ms: 200, ..Options::default() }
}

fn of(instance: InstanceId) -> impl Fn(&Outgoing) -> bool {
    let subject = instance.to_string();
    move |message| matches!(&message.content, Content::Event(event) if event.subject.as_deref() == Some(&subject))
}

/// Its status events, as a subscriber sees them who drops by id.
fn statuses(bus: &HandBus, instance: InstanceId) -> Vec<CloudEvent> {
    let mut seen = HashSet::new();
    let mut events = copies(bus, instance);
    events.retain(|event| seen.insert(event.id.clone()));
    events
}

/// The same with all copies.
fn copies(bus: &HandBus, instance: InstanceId) -> Vec<CloudEvent> {
    let subject = instance.to_string();
    let mut events = bus.published(Channel::Status);
    events.retain(|event| event.subject.as_deref() == Some(&subject));
    events
}

/// Its status events came each once, in order, up to its end.
fn is_whole(events: &[CloudEvent]) -> bool {
    let numbers = events.iter().filter_map(|event| event.extensions.get("sequence")?.as_str()?.parse::<usize>().ok());
    let in_order = numbers.eq(1..=events.len());
    in_order && events.last().is_some_and(|event| event.ty == COMPLETED)
}

/// Ids of starts whose instances are of the same shard as the first one's.
fn neighbours(first: &str, count: usize) -> Vec<String> {
    let shard = started(first, "waits").shard(64);
    let names = (0..).map(|n| format!("neighbour-{n}"));
    names.filter(|name| started(name, "waits").shard(64) == shard).take(count).collect()
}

/// An instance that starts and ends.
fn play(bus: &HandBus, id: &str, n: u32) {
    bus.deliver_event(&start(id, n));
    bus.deliver_event(&go(&format!("go-{id}"), n));
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_a_stream_that_is_refused_is_set_aside_alone_and_comes_back_whole_when_it_is_released() {
    let scene = Scene::new(&[WAITS]).await;
    let (worker, bus) = scene.worker(brisk()).await;
    let refused = started("s1", "waits");
    bus.refuse(of(refused));
    bus.deliver_event(&start("s1", 1));
    let quarantined = async || scene.store.quarantined(None).await.unwrap();
    eventually("the refused stream is set aside", async || !quarantined().await.is_empty()).await;
    let told = quarantined().await;
    assert_eq!((told[0].instance, told[0].revision, told.len()), (refused, 1, 1));
    assert!(told[0].reason.contains("told to") && told[0].reason.contains("events release"), "{}", told[0].reason);
    // It goes on, and so do the others; only its events stay.
    bus.deliver_event(&go("g1", 1));
    scene.becomes(refused, Phase::Completed).await;
    for (n, name) in neighbours("s1", 3).iter().enumerate() {
        play(&bus, name, 10 + n as u32);
        let other = started(name, "waits");
        eventually("another stream is published", async || is_whole(&statuses(&bus, other))).await;
    }
    assert_eq!(statuses(&bus, refused), []);
    // Released too early, it is set aside again.
    assert_eq!(scene.store.release(&[refused]).await.unwrap(), 1);
    let last = neighbours("s1", 4).pop().unwrap();
    play(&bus, &last, 20);
    eventually("the relay goes on", async || is_whole(&statuses(&bus, started(&last, "waits")))).await;
    // Once the cause is mended it comes whole and in order.
    bus.refuse(|_| false);
    assert_eq!(scene.store.release(&[refused]).await.unwrap(), 1);
    eventually("the released stream is published", async || is_whole(&statuses(&bus, refused))).await;
    eventually("it is like any other", async || quarantined().await.is_empty()).await;
    assert_eq!(scene.store.release(&[refused]).await.unwrap(), 0, "nothing is set aside");
    worker.drain(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_what_the_broker_does_not_take_for_now_holds_up_its_own_stream_alone_and_is_never_set_aside() {
    let scene = Scene::new(&[WAITS]).await;
    let (worker, bus) = scene.worker(brisk()).await;
    let held = started("s1", "waits");
    let tries = Arc::new(AtomicUsize::new(0));
    let (counted, its) = (tries.clone(), of(held));
    bus.push_back(move |message| its(message) && counted.fetch_add(1, Ordering::SeqCst) < usize::MAX);
    play(&bus, "s1", 1);
    eventually("it is tried more often than a refused one may be", async || tries.load(Ordering::SeqCst) > 6).await;
    // Others of the same shard, whose cursor can't be saved, are read and published all the same.
    for (n, name) in neighbours("s1", 5).iter().enumerate() {
        play(&bus, name, 10 + n as u32);
        let other = started(name, "waits");
        eventually("another stream is published", async || is_whole(&statuses(&bus, other))).await;
    }
    assert_eq!(scene.store.quarantined(None).await.unwrap(), []);
    let signs = worker.vitals().read().await;
    let told = signs.held_up.unwrap();
    let shard = format!("shard {}", held.shard(64));
    for part in ["workflow.started.v1", &held.to_string(), &shard, "its queue is full"] {
        assert!(told.contains(part), "`{told}` names {part}");
    }
    assert_eq!(signs.streams_held, 1);
    assert_eq!(statuses(&bus, held), []);
    bus.push_back(|_| false);
    eventually("what waited is published, in order", async || is_whole(&statuses(&bus, held))).await;
    eventually("nothing is held up", async || worker.vitals().read().await.held_up.is_none()).await;
    for name in neighbours("s1", 5) {
        assert!(is_whole(&copies(&bus, started(&name, "waits"))), "nothing was published twice");
    }
    worker.drain(Duration::from_secs(20)).await;
    assert_eq!(unread(&scene).await, [], "every cursor was saved");
}

/// What a relay that takes over would publish.
async fn unread(scene: &Scene) -> Vec<(InstanceId, i32)> {
    let other = WorkerId(uuid::Uuid::new_v4());
    assert_eq!(scene.store.beat(other, 60_000_000).await.unwrap().shards.len(), 64);
    let pages = scene.store.read(other, 1_000, &Ahead::default()).await.unwrap();
    scene.store.leave(other).await.unwrap();
    pages.iter().flat_map(|page| page.rows.iter().map(|row| (row.instance, row.revision))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn d16_a_transition_that_a_newer_build_wrote_is_left_to_that_build() {
    let scene = Scene::new(&[WAITS]).await;
    let newer = started("s1", "waits");
    let write = InstanceWrite {
        definition: scene.plans[0].0,
        status: Phase::Waiting as i16,
        state: Bytes::from_static(&[0xff; 40]),
        events: Bytes::from_static(&[0xff; 40]),
        ..InstanceWrite::default()
    };
    let batch = Batch { worker: None, groups: vec![Group { instance: Some((newer, write)), ..Group::default() }] };
    assert_eq!(scene.store.commit(&batch).await.unwrap(), [Verdict::Applied]);
    let (worker, bus) = scene.worker(Options { relay_lag_max_ms: 200, ..brisk() }).await;
    for (n, name) in neighbours("s1", 3).iter().enumerate() {
        play(&bus, name, 10 + n as u32);
        let other = started(name, "waits");
        eventually("another stream of its shard is published", async || is_whole(&statuses(&bus, other))).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    worker.drain(Duration::from_secs(20)).await;
    assert!(unread(&scene).await.contains(&(newer, 1)), "the cursor has not passed it");
    assert_eq!(scene.store.quarantined(None).await.unwrap(), [], "it is no poison");
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_a_transition_that_is_damaged_sets_its_stream_aside() {
    let scene = Scene::new(&[WAITS]).await;
    let damaged = started("s1", "waits");
    let write = InstanceWrite {
        definition: scene.plans[0].0,
        status: Phase::Waiting as i16,
        state: Bytes::from_static(&[0xff; 40]),
        events: Bytes::from_static(&[1, 0xff]),
        ..InstanceWrite::default()
    };
    let batch = Batch { worker: None, groups: vec![Group { instance: Some((damaged, write)), ..Group::default() }] };
    assert_eq!(scene.store.commit(&batch).await.unwrap(), [Verdict::Applied]);
    let (_worker, bus) = scene.worker(brisk()).await;
    eventually("it is set aside", async || {
        let told = scene.store.quarantined(Some(damaged)).await.unwrap();
        told.first().is_some_and(|it| it.revision == 1 && it.reason.contains("FS-JOURNAL-DAMAGED"))
    })
    .await;
    play(&bus, "s2", 2);
    eventually("the others go on", async || is_whole(&statuses(&bus, started("s2", "waits")))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_keeps_its_body_unless_that_is_too_large() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(brisk()).await;
    let pushed = Arc::new(AtomicBool::new(false));
    let seen = pushed.clone();
    bus.push_back(move |message| message.channel == Channel::Dead && !seen.swap(true, Ordering::SeqCst));
    let junk = |body: &'static str| flagstop_bus::port::RawMessage { body: body.into(), ..Default::default() };
    bus.deliver(junk("first"));
    eventually("it is published", async || bus.published_raw(Channel::Dead).len() == 1).await;
    assert!(pushed.load(Ordering::SeqCst));
    assert_eq!(bus.published_raw(Channel::Dead)[0].body, "first", "what was only in the way costs it nothing");
    bus.refuse(|message| matches!(&message.content, Content::Raw(raw) if !raw.body.is_empty()));
    bus.deliver(junk("second"));
    eventually("it is published without its body", async || bus.published_raw(Channel::Dead).len() == 2).await;
    let letter = &bus.published_raw(Channel::Dead)[1];
    assert!(letter.body.is_empty() && letter.headers.iter().any(|(name, _)| name == "flagstop-body"), "{letter:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_command_goes_back_to_where_commands_come_from() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(brisk()).await;
    let command = event("c-1", "io.flagstop.command.start.v1", &json!({ "namespace": "t", "name": "nobody" }));
    bus.deliver_command(&command);
    bus.deliver(flagstop_bus::port::RawMessage { body: "junk".into(), ..Default::default() });
    let letters = async || scene.store.list_dead_letters(&Default::default()).await.unwrap();
    eventually("both are dead letters", async || letters().await.len() == 2).await;
    let all: Vec<Redrive> = letters().await.iter().map(|letter| Redrive { letter: letter.id, message: None }).collect();
    assert_eq!(scene.store.redrive(&all).await.unwrap(), 2);
    eventually("each goes back", async || {
        (bus.published_raw(Channel::Commands).len(), bus.published_raw(Channel::In).len()) == (1, 1)
    })
    .await;
    assert_eq!(bus.published_raw(Channel::In)[0].body, "junk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_letter_that_the_broker_refuses_can_be_redriven_again() {
    let scene = Scene::new(&[WAITS]).await;
    let (_worker, bus) = scene.worker(brisk()).await;
    bus.deliver(flagstop_bus::port::RawMessage { body: "junk".into(), ..Default::default() });
    let letters = async || scene.store.list_dead_letters(&Default::default()).await.unwrap();
    eventually("it is a dead letter", async || letters().await.len() == 1).await;
    let redrive = Redrive { letter: letters().await[0].id, message: None };
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = tries.clone();
    bus.refuse(move |message| message.channel == Channel::In && counted.fetch_add(1, Ordering::SeqCst) < usize::MAX);
    scene.store.redrive(&[redrive]).await.unwrap();
    eventually("it is refused often enough", async || tries.load(Ordering::SeqCst) == 2).await;
    // It is no stream that could be set aside, and holds up nobody.
    play(&bus, "s1", 1);
    eventually("the others go on", async || is_whole(&statuses(&bus, started("s1", "waits")))).await;
    assert_eq!(scene.store.quarantined(None).await.unwrap(), []);
    assert_eq!(tries.load(Ordering::SeqCst), 2, "and is not tried for ever");
    bus.refuse(|_| false);
    scene.store.redrive(&[redrive]).await.unwrap();
    eventually("it goes back", async || bus.published_raw(Channel::In).len() == 1).await;
}

/// A worker on RabbitMQ, with a broker's own view of its exchange for status events.
struct Rabbit {
    config: BusConfig,
    bus: Arc<dyn Bus>,
    channel: lapin::Channel,
    _connection: lapin::Connection,
}

impl Rabbit {
    async fn new() -> Self {
        let url = url("FLAGSTOP_TEST_RABBITMQ");
        let config = BusConfig { prefix: format!("{}.", unique("relay")), ..BusConfig::default() };
        let bus = flagstop_bus::open(&url, &config).await.unwrap();
        bus.prepare(true).await.unwrap();
        let connection = lapin::Connection::connect(&url, lapin::ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self { config, bus, channel, _connection: connection }
    }

    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.config.prefix)
    }

    async fn worker(&self, scene: &Scene) -> Worker {
        let store = flagstop_store::open(&postgres(), &scene.config).await.unwrap();
        Worker::start(store, self.bus.clone(), brisk(), Secrets::none()).await.unwrap()
    }

    /// A queue of the test's own, which goes with its connection.
    async fn queue(&self, name: &str, key: &str, messages_max: Option<i32>) {
        let mut arguments = FieldTable::default();
        if let Some(messages_max) = messages_max {
            arguments.insert("x-max-length".into(), AMQPValue::LongInt(messages_max));
            arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
        }
        let (queue, exchange) = (self.name(name), self.name("flagstop.status"));
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        self.channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
        let (to, bound) = (queue.as_str().into(), QueueBindOptions::default());
        self.channel.queue_bind(to, exchange.as_str().into(), key.into(), bound, FieldTable::default()).await.unwrap();
    }

    /// Reads on in a queue until the events of this instance are whole; gives all that came.
    async fn until_whole(&self, name: &str, seen: &mut Vec<CloudEvent>, instance: InstanceId) {
        let subject = instance.to_string();
        let queue = self.name(name);
        for _ in 0..3_000 {
            let its: Vec<CloudEvent> = seen
                .iter()
                .enumerate()
                // At least once: copies are known by their id.
                .filter(|(at, event)| !seen[..*at].iter().any(|before| before.id == event.id))
                .map(|(_, event)| event)
                .filter(|event| event.subject.as_deref() == Some(&subject))
                .cloned()
                .collect();
            if is_whole(&its) {
                return;
            }
            let options = lapin::options::BasicGetOptions { no_ack: true };
            match self.channel.basic_get(queue.as_str().into(), options).await.unwrap() {
                Some(message) => seen.push(read(&message.delivery)),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!(
            "the events of {instance} never come whole; seen: {:#?}",
            seen.iter().map(|e| &e.id).collect::<Vec<_>>()
        );
    }
}

fn read(delivery: &lapin::message::Delivery) -> CloudEvent {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Bytes::copy_from_slice(text.as_bytes()),
        other => panic!("a text, not {other:?}"),
    };
    let headers = headers.inner().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let content_type = delivery.properties.content_type().as_ref().map(|it| it.as_str().to_owned());
    let body = Bytes::from(delivery.data.clone());
    let message = flagstop_bus::port::RawMessage { content_type, headers, key: None, body };
    flagstop_bus::decode(&message, &Default::default()).unwrap()
}

async fn publish(bus: &Arc<dyn Bus>, events: &[CloudEvent]) {
    let outgoing = |event: &CloudEvent| Outgoing {
        channel: Channel::In,
        routing_key: event.ty.clone(),
        order_key: event.id.clone(),
        content: Content::Event(Box::new(event.clone())),
    };
    let results = bus.publish(&events.iter().map(outgoing).collect::<Vec<_>>()).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promise_3_an_exchange_that_is_gone_for_a_while_silences_nobody() {
    let scene = Scene::new(&[WAITS]).await;
    let rabbit = Rabbit::new().await;
    let worker = rabbit.worker(&scene).await;
    let exchange = rabbit.name("flagstop.status");
    rabbit.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
    let ids: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    for (n, id) in ids.iter().enumerate() {
        publish(&rabbit.bus, &[start(id, n as u32), go(&format!("g{n}"), n as u32)]).await;
    }
    for id in &ids {
        scene.becomes(started(id, "waits"), Phase::Completed).await;
    }
    eventually("all of them wait", async || worker.vitals().read().await.streams_held == 10).await;
    let told = worker.vitals().read().await.held_up.unwrap();
    assert!(told.contains("FS-BUS-PUSHBACK") && told.contains(&exchange), "{told}");
    // Longer than a message may be refused.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.store.quarantined(None).await.unwrap(), []);
    // Nobody publishes between the exchange and the queue that sees it: status events need no subscriber.
    worker.drain(Duration::from_secs(10)).await;
    rabbit.bus.prepare(true).await.unwrap();
    rabbit.queue("seen", "#", None).await;
    let worker = rabbit.worker(&scene).await;
    let mut seen = Vec::new();
    for id in &ids {
        rabbit.until_whole("seen", &mut seen, started(id, "waits")).await;
    }
    assert_eq!(scene.store.quarantined(None).await.unwrap(), []);
    worker.drain(Duration::from_secs(20)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d13_a_full_queue_of_one_subscriber_holds_up_only_what_it_would_get() {
    let other = WAITS.replace("name: waits", "name: other").replace("t.start", "t.other");
    let scene = Scene::new(&[WAITS, &other]).await;
    let rabbit = Rabbit::new().await;
    // The small one wants the events of one definition, the healthy one all.
    rabbit.queue("small", "t.waits.#", Some(1)).await;
    rabbit.queue("healthy", "#", None).await;
    let worker = rabbit.worker(&scene).await;
    publish(&rabbit.bus, &[start("s1", 1)]).await;
    eventually("a stream waits", async || worker.vitals().read().await.streams_held == 1).await;
    let mut seen = Vec::new();
    for n in 0..20_u32 {
        let id = format!("o{n}");
        publish(&rabbit.bus, &[event(&id, "t.other", &json!({ "n": 100 + n })), go(&format!("go{n}"), 100 + n)]).await;
        let instance = InstanceId::of_trigger("/tests", &id, "t", "other");
        rabbit.until_whole("healthy", &mut seen, instance).await;
    }
    // Somebody reads the small queue again.
    publish(&rabbit.bus, &[go("g1", 1)]).await;
    let small = rabbit.name("small");
    let emptied = tokio::spawn({
        let channel = rabbit.channel.clone();
        async move {
            loop {
                channel.queue_purge(small.as_str().into(), QueuePurgeOptions::default()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    rabbit.until_whole("healthy", &mut seen, started("s1", "waits")).await;
    emptied.abort();
    assert_eq!(scene.store.quarantined(None).await.unwrap(), []);
    worker.drain(Duration::from_secs(20)).await;
}
