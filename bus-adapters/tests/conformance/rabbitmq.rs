//! RabbitMQ, and what only it can do wrong.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flagstop_bus::port::{Bus, BusError, Channel, Prepared, PublishError};
use lapin::options::{
    BasicPublishOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
    QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use tokio::net::TcpListener;

use crate::place::{
    After, Place, bodies, in_time, letter, publish, publish_to, receive, receive_until, service, texts, tokens, watch,
};
use crate::proxy::{Proxy, closed_port};

/// A generous limit for the broker to notice a stopped worker, with the default heartbeat.
const STOPPED_MAX: Duration = Duration::from_secs(15);

crate::conformance!(crate::rabbitmq::place);

async fn place(case: &str) -> Place {
    let url = service("FLAGSTOP_TEST_RABBITMQ");
    let broker = url.clone();
    let remove = move |config: flagstop_bus::BusConfig| {
        let broker = broker.clone();
        Box::pin(async move {
            let (_connection, channel) = broker_channel(&broker).await;
            let names = &config.names;
            let own = (!names.commands.is_empty()).then_some(&names.commands);
            for queue in [&names.work, &names.dead_letters].into_iter().chain(own) {
                let name = format!("{}{queue}", config.prefix);
                channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
            }
            for exchange in [&names.input, &names.status, &names.output, &names.dead].into_iter().chain(own) {
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

/// A bus whose connections go through a proxy.
async fn proxied(place: &Place) -> (Proxy, Arc<dyn Bus>) {
    let mut uri: AMQPUri = place.url.parse().unwrap();
    let proxy = Proxy::to(format!("{}:{}", uri.authority.host, uri.authority.port)).await;
    (uri.authority.host, uri.authority.port) = ("127.0.0.1".into(), proxy.port);
    let bus = flagstop_bus::open(&uri.to_string(), &place.config).await.expect("a bus");
    bus.prepare(true).await.expect("its topology");
    (proxy, bus)
}

fn topology(result: Result<Prepared, BusError>) -> String {
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
    // Ours but for one thing, each of which would lose messages without a word.
    let dead = format!("{}flagstop.dead", place.config.prefix);
    let text = |text: &str| AMQPValue::LongString(text.into());
    let ours = [
        ("x-queue-type", text("quorum")),
        ("x-dead-letter-exchange", text(&dead)),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    let classic = vec![("x-queue-type", text("classic")), ("x-dead-letter-exchange", text(&dead))];
    let expiring = [&ours[..], &[("x-message-ttl", AMQPValue::LongInt(60_000))]].concat();
    let bounded = [&ours[..], &[("x-max-length", AMQPValue::LongInt(10))]].concat();
    let dropping =
        [&ours[..2], &[("x-overflow", text("drop-head")), ("x-max-length", AMQPValue::LongInt(10))]].concat();
    for (named, arguments) in
        [("x-", classic), ("x-message-ttl", expiring), ("x-max-length", bounded), ("x-", dropping)]
    {
        let mut table = FieldTable::default();
        for (key, value) in arguments {
            table.insert(key.into(), value);
        }
        channel.queue_declare(queue.as_str().into(), options, table).await.unwrap();
        for declare in [true, false] {
            let why = topology(bus.prepare(declare).await);
            let part = format!("inequivalent arg '{named}");
            assert!(why.contains(&part) && why.contains(&queue) && why.contains("delete it"), "{named}: {why}");
        }
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    }
    assert_eq!(bus.prepare(true).await, Ok(Prepared::default()));
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
    assert!(matches!(&results[..], [Err(PublishError::Pushback(why))] if why.contains("flagstop.in")), "{results:?}");
    bus.prepare(true).await.unwrap();
    bus.prepare(true).await.unwrap();
    bus.prepare(false).await.unwrap();
    publish(&bus, &texts(0, 1)).await;
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_queue_takes_waits_alone_for_its_binding() {
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
    assert!(matches!(&results[1], Err(PublishError::Pushback(why)) if why.contains(&exchange)), "{results:?}");
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3, "{results:?}");
    bus.prepare(true).await.unwrap();
    assert_eq!(in_time("a confirmation", bus.publish(&letters[1..2])).await, [Ok(())], "once it is bound again");
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_made_again_and_everything_unacknowledged_comes_again() {
    let place = place("cut").await;
    let (proxy, bus) = proxied(&place).await;
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
    assert_eq!(bus.counters().acks_lost, 0);
    acker.ack(&tokens(&first)).await;
    assert_eq!(bus.counters().acks_lost, 6, "what comes too late is counted");
    acker.ack(&tokens(&second)).await;
    assert_eq!(bus.counters().acks_lost, 6);

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

/// A stopped process keeps its connections open; only the heartbeat tells the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stopped_worker_holds_goes_to_another_worker() {
    let place = place("stopped").await;
    let (proxy, stopped) = proxied(&place).await;
    let mut consumer = stopped.consume().await.unwrap();
    let other = place.bus().await;
    publish(&other, &texts(0, 6)).await;
    assert_eq!(bodies(&receive(&mut consumer, 6).await), texts(0, 6));
    proxy.freeze();
    // More than the sockets' buffers take: the broker is stuck in the middle of a message that nobody reads.
    let pad = "x".repeat(64 * 1024);
    let long: Vec<String> = (6..300).map(|number| format!("m{number} {pad}")).collect();
    publish(&other, &long).await;
    let mut second = other.consume().await.unwrap();
    let mut seen = BTreeSet::new();
    let all = async {
        while seen.len() < 300 {
            let some = second.recv(100).await;
            second.acker().ack(&tokens(&some)).await;
            seen.extend(bodies(&some).iter().map(|body| body.split(' ').next().unwrap_or_default().to_owned()));
        }
    };
    let came = tokio::time::timeout(STOPPED_MAX, all).await;
    assert!(came.is_ok(), "within {STOPPED_MAX:?} only {} of 300 messages came to the other worker", seen.len());
    assert_eq!(seen, texts(0, 300).into_iter().collect());
    drop(proxy);
    stopped.close().await;
    other.close().await;
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_that_refuses_is_worth_another_try_and_is_named_as_the_likely_cause() {
    let place = place("full").await;
    let bus = place.bus().await;
    let (_connection, channel) = broker_channel(&place.url).await;
    let (queue, exchange) =
        (format!("{}small", place.config.prefix), format!("{}flagstop.status", place.config.prefix));
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    // Goes with the test's connection.
    let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
    channel.queue_declare(queue.as_str().into(), options, arguments).await.unwrap();
    let bind = channel.queue_bind(
        queue.as_str().into(),
        exchange.as_str().into(),
        "#".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bind.await.unwrap();
    let status = |text: &str| letter(Channel::Status, "k", text);
    assert_eq!(in_time("a confirmation", bus.publish(&[status("fits")])).await, [Ok(())]);
    let letters = [status("too much"), letter(Channel::In, "k", "elsewhere"), status("too much again")];
    let results = in_time("confirmations", bus.publish(&letters)).await;
    for refused in [&results[0], &results[2]] {
        match refused {
            Err(PublishError::Pushback(why)) => assert!(why.contains(&exchange) && why.contains("full?"), "{why}"),
            other => panic!("worth another try, not {other:?}"),
        }
    }
    assert_eq!(results[1], Ok(()), "another queue has room");
    channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await.unwrap();
    assert_eq!(in_time("a confirmation", bus.publish(&[status("fits again")])).await, [Ok(())]);
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

/// Each part of the URL that can be wrong is named, with the way out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_virtual_host_or_host_says_how_to_mend_it() {
    let right: AMQPUri = service("FLAGSTOP_TEST_RABBITMQ").parse().unwrap();
    let wrong = |change: fn(&mut AMQPUri)| {
        let mut wrong = right.clone();
        change(&mut wrong);
        wrong.to_string()
    };
    for (url, said, mend) in [
        (
            wrong(|uri| uri.authority.userinfo.password = "s3cret".into()),
            "ACCESS_REFUSED",
            "correct them (special characters percent-encoded)",
        ),
        (wrong(|uri| uri.authority.userinfo.username = "nobody".into()), "ACCESS_REFUSED", "rabbitmqctl add_user"),
        (wrong(|uri| uri.vhost = "no-such-vhost".into()), "no-such-vhost", "rabbitmqctl add_vhost"),
        (wrong(|uri| uri.authority.host = "no-such-host.invalid".into()), "", "check the URL's host and port"),
    ] {
        let config = flagstop_bus::BusConfig { connect_timeout_ms: 3_000, ..Default::default() };
        let bus = flagstop_bus::open(&url, &config).await.unwrap();
        let why = in_time("an answer", bus.prepare(true)).await.expect_err("must be refused").to_string();
        assert!(why.starts_with("FS-BUS-UNREACHABLE: ") && !why.contains("s3cret"), "{why}");
        assert!(why.contains(said) && why.contains(mend), "{why} names {said} and {mend}");
        in_time("the end", bus.close()).await;
    }
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_its_password() {
    let why =
        flagstop_bus::open("amqp://me:s3cret@h:notaport", &Default::default()).await.expect_err("no URL").to_string();
    assert!(why.starts_with("FS-BUS-URL") && why.contains("percent-encoded") && !why.contains("s3cret"), "{why}");
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

/// The broker takes what its clients can't read back: it looks neither at the text nor at the depth of names and tables. Such
/// a message must not come again for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_no_client_would_send_hold_nobody_up_and_keep_what_can_be_read() {
    let place = place("wire").await;
    let bus = place.bus().await;
    let mut consumer = bus.consume().await.unwrap();
    let uri: AMQPUri = place.url.parse().unwrap();
    let target = format!("{}:{}", uri.authority.host, uri.authority.port);
    // A header of bytes becomes one of arrays, each within the other.
    let replaced: [(&[u8], &[u8]); 3] =
        [(b"caf-name", b"caf\xe9name"), (b"rou-ting", b"rou\xffting"), (b"\x04deepx", b"\x04deepA")];
    let proxy = Proxy::replacing(target, &replaced).await;
    let mut evil = uri.clone();
    (evil.authority.host, evil.authority.port) = ("127.0.0.1".into(), proxy.port);
    let (_connection, channel) = broker_channel(&evil.to_string()).await;
    let exchange = format!("{}flagstop.in", place.config.prefix);
    let mut deep = b"t\x01".to_vec();
    for _ in 0..10_000 {
        deep = [b"A", &u32::try_from(deep.len()).unwrap().to_be_bytes()[..], &deep].concat();
    }
    let mut headers = FieldTable::default();
    headers.insert("caf-name".into(), AMQPValue::LongString("latin 1".into()));
    headers.insert("deep".into(), AMQPValue::ByteArray(deep.into()));
    headers.insert("ok".into(), AMQPValue::LongString("fine".into()));
    let properties = BasicProperties::default().with_headers(headers).with_content_type("text/caf-name".into());
    let options = BasicPublishOptions::default();
    let published = channel.basic_publish(exchange.as_str().into(), "rou-ting".into(), options, b"body", properties);
    published.await.unwrap();
    let mut received = receive(&mut consumer, 1).await;
    publish(&bus, &["good".into()]).await;
    received.extend(receive(&mut consumer, 1).await);
    let poison = &received[0].message;
    assert_eq!((&poison.body[..], poison.content_type.as_deref()), (&b"body"[..], Some("text/caf?name")));
    let names: Vec<&str> = poison.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["caf?name", "deep", "ok"]);
    assert_eq!((&poison.headers[0].1[..], &poison.headers[2].1[..]), (&b"latin 1"[..], &b"fine"[..]));
    assert_eq!(bodies(&received[1..]), ["good"]);
    assert_eq!(received[0].token.generation, received[1].token.generation, "over one and the same channel");
    consumer.acker().ack(&tokens(&received)).await;
    publish(&bus, &["next".into()]).await;
    assert_eq!(receive_until(&mut consumer, "next").await, ["next"]);
    bus.close().await;
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
