//! RabbitMQ, and what only it can do wrong.

use flagstop_bus::port::{BusError, Channel, PublishError};
use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use tokio::net::TcpListener;

use crate::place::{
    After, Place, bodies, in_time, letter, publish, publish_to, receive, receive_until, service, texts, tokens, watch,
};
use crate::proxy::{Proxy, closed_port};

crate::conformance!(crate::rabbitmq::place);

async fn place(case: &str) -> Place {
    let url = service("FLAGSTOP_TEST_RABBITMQ");
    let broker = url.clone();
    let remove = move |config: flagstop_bus::BusConfig| {
        let broker = broker.clone();
        Box::pin(async move {
            let (_connection, channel) = broker_channel(&broker).await;
            for queue in [&config.names.work, &config.names.dead_letters] {
                let name = format!("{}{queue}", config.prefix);
                channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
            }
            for exchange in [&config.names.input, &config.names.status, &config.names.output, &config.names.dead] {
                let name = format!("{}{exchange}", config.prefix);
                channel.exchange_delete(name.as_str().into(), ExchangeDeleteOptions::default()).await.unwrap();
            }
        }) as _
    };
    Place::new(url, case, After::Kept(Box::new(remove)))
}

async fn broker_channel(url: &str) -> (Connection, lapin::Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("the test's broker");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

fn topology(result: Result<(), BusError>) -> String {
    match result {
        Err(BusError::Topology(why)) => why,
        other => panic!("a topology error, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_properties_is_named_with_the_difference() {
    let place = place("mismatch").await;
    let queue = format!("{}flagstop.work", place.config.prefix);
    let (_connection, channel) = broker_channel(&place.url).await;
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await.unwrap();
    let bus = flagstop_bus::open(&place.url, &place.config).await.unwrap();
    let why = topology(bus.prepare(true).await);
    for part in [queue.as_str(), "inequivalent arg 'x-dead-letter-exchange'", "delete it, or choose another name"] {
        assert!(why.contains(part), "{why} names {part}");
    }
    assert!(topology(bus.prepare(false).await).contains("inequivalent arg"), "verifying finds it too");
    channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    bus.prepare(true).await.unwrap();
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verifying_makes_nothing_and_names_what_is_missing() {
    let place = place("missing").await;
    let bus = flagstop_bus::open(&place.url, &place.config).await.unwrap();
    let why = topology(bus.prepare(false).await);
    assert!(why.contains(&format!("`{}flagstop.in`", place.config.prefix)) && why.contains("bus.declare"), "{why}");
    assert!(matches!(bus.consume().await.err(), Some(BusError::Topology(_))), "there is no queue");
    let results = bus.publish(&[letter(Channel::In, "k", "x")]).await;
    assert!(matches!(&results[..], [Err(PublishError::Refused(why))] if why.contains("flagstop.in")), "{results:?}");
    bus.prepare(true).await.unwrap();
    bus.prepare(true).await.unwrap();
    bus.prepare(false).await.unwrap();
    publish(&bus, &texts(0, 1)).await;
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_queue_takes_is_refused_alone() {
    let place = place("unroutable").await;
    let bus = place.bus().await;
    let (_connection, channel) = broker_channel(&place.url).await;
    let name = |name: &str| format!("{}{name}", place.config.prefix);
    let (queue, exchange) = (name("flagstop.dead-letters"), name("flagstop.dead"));
    let unbind =
        channel.queue_unbind(queue.as_str().into(), exchange.as_str().into(), "#".into(), FieldTable::default());
    unbind.await.unwrap();
    let letters = [
        letter(Channel::In, "k", "a"),
        letter(Channel::Dead, "k", "nobody takes it"),
        letter(Channel::Status, "k", "nobody must take it"),
        letter(Channel::In, "k", "b"),
    ];
    let results = in_time("confirmations", bus.publish(&letters)).await;
    assert!(matches!(&results[1], Err(PublishError::Refused(why)) if why.contains(&exchange)), "{results:?}");
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3, "{results:?}");
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_made_again_and_everything_unacknowledged_comes_again() {
    let mut place = place("cut").await;
    let direct = place.url.clone();
    let mut uri: AMQPUri = direct.parse().unwrap();
    let proxy = Proxy::to(format!("{}:{}", uri.authority.host, uri.authority.port)).await;
    (uri.authority.host, uri.authority.port) = ("127.0.0.1".into(), proxy.port);
    place.url = uri.to_string();
    let bus = place.bus().await;
    let mut live = bus.subscribe(Channel::Status).await.unwrap();
    let mut consumer = bus.consume().await.unwrap();
    let acker = consumer.acker();
    publish(&bus, &texts(0, 6)).await;
    let first = receive(&mut consumer, 6).await;
    acker.ack(&tokens(&first[..2])).await;
    publish(&bus, &["settled".into()]).await;
    let settled = receive(&mut consumer, 1).await;

    assert!(proxy.cut() >= 2, "both connections were up");
    let second = receive(&mut consumer, 5).await;
    assert_eq!(bodies(&second), ["m2", "m3", "m4", "m5", "settled"]);
    assert!(second.iter().all(|delivery| delivery.redelivered));
    assert!(second.iter().all(|delivery| delivery.token.generation > settled[0].token.generation));
    acker.ack(&tokens(&first)).await;
    acker.ack(&tokens(&second)).await;

    // Publishing fails while the connection is away, and works again by itself.
    in_time("publishing again", async {
        while bus.publish(&[letter(Channel::In, "k", "after")]).await[0].is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    let seen = receive_until(&mut consumer, "after").await;
    assert!(seen.iter().all(|text| text == "after"), "stale tokens did no harm, fresh ones were taken: {seen:?}");
    in_time("health", async {
        while !bus.healthy() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    // The subscription goes on too, from the then present end.
    in_time("the live view", async {
        loop {
            publish_to(&bus, Channel::Status, &["status".into()]).await;
            let wait = std::time::Duration::from_millis(100);
            if tokio::time::timeout(wait, watch(&mut live, 1)).await.is_ok() {
                break;
            }
        }
    })
    .await;
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_or_says_nothing_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for port in [closed_port().await, silent.local_addr().unwrap().port()] {
        let config = flagstop_bus::BusConfig { connect_timeout_ms: 500, ..Default::default() };
        let bus = flagstop_bus::open(&format!("amqp://guest:s3cret@127.0.0.1:{port}"), &config).await.unwrap();
        let why = in_time("an answer", bus.prepare(true)).await.expect_err("nobody is there").to_string();
        assert!(why.starts_with("FS-BUS-UNREACHABLE") && why.contains("500 ms"), "{why}");
        assert!(!why.contains("s3cret"), "{why}");
        assert!(matches!(bus.consume().await.err(), Some(BusError::Unreachable(_))));
        let results = bus.publish(&[letter(Channel::In, "k", "x")]).await;
        assert!(matches!(results[..], [Err(PublishError::Unavailable(_))]), "at once, without waiting: {results:?}");
        assert!(!bus.healthy());
        in_time("the end", bus.close()).await;
    }
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_its_password() {
    let why =
        flagstop_bus::open("amqp://me:s3cret@h:notaport", &Default::default()).await.expect_err("no URL").to_string();
    assert!(why.starts_with("FS-BUS-URL") && why.contains("percent-encoded") && !why.contains("s3cret"), "{why}");
}
