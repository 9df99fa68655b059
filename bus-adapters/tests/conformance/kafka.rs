//! Kafka, and what only it can do wrong.

use std::collections::BTreeSet;

use bytes::Bytes;
use flagstop_bus::BusConfig;
use flagstop_bus::port::{BusError, Channel};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;

use crate::kafka_wire::{Record, produce};
use crate::place::{
    After, Place, bodies, in_time, letter, publish, receive, receive_until, service, text, texts, tokens, watch,
};
use crate::proxy::closed_port;

crate::conformance!(crate::kafka::place);

/// The brokers of a URL.
pub fn brokers(url: &str) -> String {
    url.trim_start_matches("kafka://").split(['/', '?']).next().unwrap_or_default().to_owned()
}

pub fn admin(url: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers(url)).create().unwrap()
}

pub async fn place(case: &str) -> Place {
    let url = service("FLAGSTOP_TEST_KAFKA");
    let broker = url.clone();
    let remove = move |config: BusConfig| {
        let admin = admin(&broker);
        Box::pin(async move {
            let names = &config.names;
            let all = [&names.input, &names.status, &names.output, &names.dead_letters, &names.commands];
            let topics: Vec<String> =
                all.iter().filter(|name| !name.is_empty()).map(|name| format!("{}{name}", config.prefix)).collect();
            let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
            admin.delete_topics(&topics, &AdminOptions::new()).await.unwrap();
        }) as _
    };
    Place::new(url, case, After::Kept(Box::new(remove)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_makes_nothing_and_names_every_missing_topic() {
    let place = place("missing").await;
    let bus = flagstop_bus::open(&place.url, &place.config).await.unwrap();
    for _ in 0..2 {
        let Err(BusError::Topology(why)) = bus.prepare(false).await else { panic!("nothing is there yet") };
        for topic in ["flagstop.in", "flagstop.status", "flagstop.out", "flagstop.dead-letters"] {
            assert!(why.contains(&format!("`{}{topic}`", place.config.prefix)), "{why}");
        }
        assert!(why.contains("bus.declare"), "{why}");
    }
    bus.prepare(true).await.unwrap();
    bus.prepare(true).await.unwrap();
    bus.prepare(false).await.unwrap();
    let foreign = BusConfig { extra_inputs: vec![format!("{}others", place.config.prefix)], ..place.config.clone() };
    let bus = flagstop_bus::open(&place.url, &foreign).await.unwrap();
    let Err(BusError::Topology(why)) = bus.prepare(true).await else { panic!("others' topics are never made") };
    assert!(why.contains(".others`") && why.contains("bus.extra_inputs"), "{why}");
    place.clean_up().await;
}

/// Brokers learn of a topic, and lead it, a moment after it is said to be made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_can_be_followed_filled_and_consumed_as_soon_as_they_are_prepared() {
    for round in 0..20 {
        let place = place(&format!("fresh{round}")).await;
        let bus = place.bus().await;
        for channel in [Channel::In, Channel::Status, Channel::Out, Channel::Dead] {
            let mut live = bus.subscribe(channel).await.unwrap_or_else(|why| panic!("{channel:?} in {round}: {why}"));
            let letters: Vec<_> = texts(0, 40).iter().map(|text| letter(channel, text, text)).collect();
            let results = in_time("confirmations", bus.publish(&letters)).await;
            assert!(results.iter().all(Result::is_ok), "{channel:?} in round {round}: {results:?}");
            let seen: BTreeSet<String> = watch(&mut live, 40).await.iter().map(text).collect();
            assert_eq!(seen, texts(0, 40).into_iter().collect(), "{channel:?} in round {round}, over all partitions");
        }
        let mut consumer = bus.consume().await.unwrap();
        assert_eq!(receive(&mut consumer, 80).await.len(), 80, "input and output in round {round}");
        bus.close().await;
        place.clean_up().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_never_comes_is_named_when_it_is_followed() {
    let mut place = place("never").await;
    place.config.connect_timeout_ms = 1_000;
    let bus = flagstop_bus::open(&place.url, &place.config).await.unwrap();
    let Err(BusError::Unreachable(why)) = in_time("an answer", bus.subscribe(Channel::Status)).await else {
        panic!("there is no topic")
    };
    let topic = format!("`{}flagstop.status`", place.config.prefix);
    assert!(why.contains(&topic) && why.contains("is it there"), "{why}");
    bus.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_is_unreachable() {
    let config = BusConfig { connect_timeout_ms: 500, publish_timeout_ms: 1_000, ..Default::default() };
    let url = format!("kafka://127.0.0.1:{}/?sasl.password=s3cret", closed_port().await);
    let bus = flagstop_bus::open(&url, &config).await.unwrap();
    let why = in_time("an answer", bus.prepare(true)).await.expect_err("nobody is there").to_string();
    assert!(why.starts_with("FS-BUS-UNREACHABLE") && why.contains("500 ms") && !why.contains("s3cret"), "{why}");
    assert!(why.contains("check the URL's hosts and ports"), "{why}");
    let results = in_time("an answer", bus.publish(&[letter(Channel::In, "k", "x")])).await;
    assert!(results[0].as_ref().is_err_and(|why| why.to_string().starts_with("FS-BUS-UNAVAILABLE")), "{results:?}");
    assert!(!bus.healthy());
    in_time("the end", bus.close()).await;

    let config = BusConfig { connect_timeout_ms: 3_000, ..Default::default() };
    let bus = flagstop_bus::open("kafka://no-such-host.invalid:9092", &config).await.unwrap();
    let why = in_time("an answer", bus.prepare(true)).await.expect_err("there is no such host").to_string();
    assert!(why.starts_with("FS-BUS-UNREACHABLE") && why.contains("correct the host in the URL"), "{why}");
    in_time("the end", bus.close()).await;
}

/// Only bytes on the wire can do this: no client of ours lets anybody send a header whose name isn't UTF-8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_no_client_would_send_hold_nobody_up_and_keep_what_can_be_read() {
    let place = place("wire").await;
    let bus = place.bus().await;
    let mut consumer = bus.consume().await.unwrap();
    let bytes = |text: &[u8]| Some(text.to_vec());
    let records = [
        Record::default(),
        Record { key: bytes(b"\xff\0"), value: None, headers: vec![(b"ce_id".to_vec(), None)] },
        Record {
            value: bytes(b"{}"),
            headers: vec![
                (b"ce_specversion".to_vec(), bytes(b"1.0")),
                (b"caf\xe9".to_vec(), bytes(b"latin 1")),
                (b"content-type".to_vec(), bytes(b"text/\xff")),
                (b"after".to_vec(), bytes(b"\xff\xfe")),
            ],
            ..Record::default()
        },
        Record { value: bytes(b"good"), ..Record::default() },
    ];
    produce(&brokers(&place.url), &format!("{}flagstop.in", place.config.prefix), &records).await;
    let received = receive(&mut consumer, 4).await;
    let raw: Vec<_> = received.iter().map(|delivery| delivery.message.clone()).collect();
    assert_eq!((&raw[0].body[..], raw[0].headers.len(), &raw[0].key), (&b""[..], 0, &None));
    assert_eq!((&raw[1].body[..], raw[1].key.as_deref()), (&b""[..], Some(&b"\xff\0"[..])));
    let header = |name: &str, value: &'static [u8]| (name.to_owned(), Bytes::from_static(value));
    let expected = [
        header("ce_specversion", b"1.0"),
        header("\u{fffd}", b""),
        header("content-type", b"text/\xff"),
        header("after", b"\xff\xfe"),
    ];
    assert_eq!(raw[2].headers, expected, "the unreadable one leaves a mark, and takes no other along");
    assert_eq!((&raw[2].body[..], &raw[2].content_type), (&b"{}"[..], &None));
    assert_eq!(&raw[3].body[..], b"good");
    consumer.acker().ack(&tokens(&received)).await;
    publish(&bus, &["next".into()]).await;
    assert_eq!(receive_until(&mut consumer, "next").await, ["next"]);
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test]
async fn a_wrong_property_is_refused_by_its_name() {
    for property in ["sesion.timeout.ms=1", "session.timeout.ms=soon", "enable.auto.commit=false"] {
        let url = format!("kafka://127.0.0.1:9/?{property}");
        let why = flagstop_bus::open(&url, &BusConfig::default()).await.expect_err("no such property").to_string();
        let name = property.split('=').next().unwrap();
        assert!(why.starts_with("FS-BUS-URL") && why.contains(name), "{why}");
    }
    let producer = [("acks".to_owned(), "0".to_owned())].into();
    let config = BusConfig { producer, ..BusConfig::default() };
    let why = flagstop_bus::open("kafka://127.0.0.1:9", &config).await.expect_err("not with us").to_string();
    assert!(why.starts_with("FS-BUS-URL") && why.contains("`acks` can't be `0`"), "{why}");
}

/// Members come and go while messages flow; every message reaches somebody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rebalances_lose_nothing() {
    let place = place("rebalance").await;
    let bus = place.bus().await;
    let mut first = bus.consume().await.unwrap();
    let count = 400;
    let letters: Vec<_> = texts(0, count)
        .iter()
        .enumerate()
        .map(|(number, text)| letter(Channel::In, &format!("key{}", number % 16), text))
        .collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (round, part) in letters.chunks(100).enumerate() {
        assert!(in_time("confirmations", bus.publish(part)).await.iter().all(Result::is_ok));
        let mut second = bus.consume().await.unwrap();
        let wanted = (round + 1) * 100;
        in_time("a rebalance with nothing lost", async {
            while seen.len() < wanted {
                let some = tokio::select! {
                    some = first.recv(20) => { first.acker().ack(&tokens(&some)).await; some }
                    some = second.recv(20) => { second.acker().ack(&tokens(&some)).await; some }
                };
                seen.extend(bodies(&some));
            }
        })
        .await;
    }
    assert_eq!(seen.len(), count);
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_worker_holds_back_the_partitions_and_gets_everything_in_the_end() {
    let mut place = place("slow").await;
    place.config.prefetch = 20;
    let bus = place.bus().await;
    publish(&bus, &texts(0, 500)).await;
    let mut consumer = bus.consume().await.unwrap();
    let held = receive(&mut consumer, 20).await;
    // Longer than the driver waits before it pauses.
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    consumer.acker().ack(&tokens(&held)).await;
    assert_eq!(receive_until(&mut consumer, "m499").await, texts(20, 500), "in order, each once");
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installations_with_different_prefixes_hear_nothing_of_each_other() {
    let place = place("prefixes").await;
    crate::suite::installations_with_different_prefixes_hear_nothing_of_each_other(&place).await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_can_have_a_place_of_their_own() {
    let mut place = place("commands").await;
    place.config.names.commands = "flagstop.commands".into();
    crate::suite::commands_can_have_a_place_of_their_own(&place).await;
    place.clean_up().await;
}

/// Limits that were raised hold from the producer over the broker to the consumer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_raised_limit_holds_all_the_way() {
    let mut place = place("raised").await;
    place.config.body_bytes_max = 3 * 1024 * 1024;
    crate::suite::the_largest_message_passes_and_a_larger_one_is_refused_with_the_limit(&place).await;
    place.clean_up().await;
}
