//! Kafka with connections that break, workers that stop and partitions that move while messages are in hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flagstop_bus::port::{Bus, Channel};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{brokers, place};
use crate::place::{Place, bodies, in_time, letter, publish, receive, receive_until, texts, tokens};
use crate::proxy::Proxy;

/// A bus all of whose connections go through a proxy.
async fn proxied(place: &Place) -> (Proxy, Arc<dyn Bus>) {
    let proxy = Proxy::hiding(brokers(&place.url)).await;
    let host = brokers(&place.url).rsplit_once(':').unwrap().0.to_owned();
    let bus = flagstop_bus::open(&format!("kafka://{host}:{}", proxy.port), &place.config).await.expect("a bus");
    bus.prepare(true).await.expect("its topology");
    (proxy, bus)
}

/// Waits until the group has committed that many messages of the input, over all partitions.
async fn committed(place: &Place, wanted: i64) {
    let group = format!("{}flagstop", place.config.prefix);
    let (brokers, topic) = (brokers(&place.url), format!("{}flagstop.in", place.config.prefix));
    let asked = tokio::task::spawn_blocking(move || {
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", brokers).set("group.id", group).create().unwrap();
        loop {
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&topic, 0, 3);
            let answer = client.committed_offsets(list, Duration::from_secs(10)).unwrap();
            let of = |offset: Offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
            if answer.elements().iter().map(|partition| of(partition.offset())).sum::<i64>() >= wanted {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    in_time("a commit", asked).await.unwrap();
}

/// A cut connection doesn't end a membership: what is in hand stays there, and is acknowledged over the next connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_made_again_and_only_what_is_unacknowledged_comes_again() {
    let place = place("cut").await;
    let (proxy, bus) = proxied(&place).await;
    let mut consumer = bus.consume().await.unwrap();
    let acker = consumer.acker();
    publish(&bus, &texts(0, 6)).await;
    let first = receive(&mut consumer, 6).await;
    acker.ack(&tokens(&first[..2])).await;
    assert!(proxy.cut() >= 2, "to publish and to consume");
    // The producer sends again what had no answer, and not twice.
    publish(&bus, &texts(6, 9)).await;
    let second = receive(&mut consumer, 3).await;
    assert_eq!(bodies(&second), texts(6, 9), "nothing that is in hand comes again meanwhile");
    assert!(proxy.cut() >= 2, "it is connected again");
    acker.ack(&tokens(&first[2..4])).await;
    committed(&place, 4).await;
    // Gone without a goodbye: it may have had all of the rest in its hands.
    proxy.freeze();
    let survivor = place.bus().await;
    let mut consumer = survivor.consume().await.unwrap();
    let again = receive(&mut consumer, 5).await;
    assert_eq!(bodies(&again), texts(4, 9), "none that was acknowledged, all others, each once");
    assert!(again.iter().all(|delivery| delivery.redelivered));
    drop(proxy);
    bus.close().await;
    survivor.close().await;
    place.clean_up().await;
}

/// It wakes when its partitions have long been somebody else's: what it acknowledges then must not set the group back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_worker_that_wakes_harms_nobody() {
    let place = place("stopped").await;
    let (proxy, stopped) = proxied(&place).await;
    let mut asleep = stopped.consume().await.unwrap();
    let other = place.bus().await;
    publish(&other, &texts(0, 6)).await;
    let held = receive(&mut asleep, 6).await;
    asleep.acker().ack(&tokens(&held[..2])).await;
    committed(&place, 2).await;
    proxy.freeze();
    let mut consumer = other.consume().await.unwrap();
    assert_eq!(receive_until(&mut consumer, "m5").await, texts(2, 6), "once its session has timed out");
    publish(&other, &texts(6, 8)).await;
    assert_eq!(receive_until(&mut consumer, "m7").await, texts(6, 8));
    committed(&place, 8).await;
    proxy.thaw();
    asleep.acker().ack(&tokens(&held[2..3])).await;
    drop(asleep);
    in_time("the end", stopped.close()).await;
    drop(consumer);
    other.close().await;
    let last = place.bus().await;
    publish(&last, &["next".into()]).await;
    let mut consumer = last.consume().await.unwrap();
    assert_eq!(receive_until(&mut consumer, "next").await, ["next"]);
    last.close().await;
    place.clean_up().await;
}

/// When a partition is to go, what is in hand gets a moment, and what was acknowledged in it is committed before the next
/// one begins to read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_while_a_partition_is_taken_away_does_not_come_again() {
    let mut place = place("revoked").await;
    place.config.revoke_wait_ms = 20_000;
    let bus = place.bus().await;
    let mut first = bus.consume().await.unwrap();
    let spread = |from: usize, to: usize| -> Vec<_> {
        // Over both topics: each of the two consumers may get all partitions of one.
        let channel = |n: usize| if n.is_multiple_of(2) { Channel::In } else { Channel::Out };
        texts(from, to).iter().enumerate().map(|(n, text)| letter(channel(n), text, text)).collect()
    };
    assert!(in_time("confirmations", bus.publish(&spread(0, 100))).await.iter().all(Result::is_ok));
    let held = receive(&mut first, 100).await;
    let other = flagstop_bus::open(&place.url, &place.config).await.unwrap();
    let mut second = other.consume().await.unwrap();
    // Long enough for the rebalance to begin; it would be over by now if it waited for nobody.
    let early = tokio::time::timeout(Duration::from_secs(3), second.recv(100)).await;
    assert!(early.is_err(), "in somebody's hands: {:?}", early.map(|early| bodies(&early)));
    first.acker().ack(&tokens(&held)).await;
    // Both have partitions now, and each message of the second hundred comes once.
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut moved = 0;
    in_time("the second hundred, over both", async {
        let mut number = 100;
        while moved == 0 || seen.len() < number - 100 {
            if moved == 0 {
                assert!(bus.publish(&spread(number, number + 20)).await.iter().all(Result::is_ok));
                number += 20;
            }
            let (some, acker, of_second) = tokio::select! {
                some = first.recv(100) => (some, first.acker(), false),
                some = second.recv(100) => (some, second.acker(), true),
            };
            acker.ack(&tokens(&some)).await;
            moved += if of_second { some.len() } else { 0 };
            for body in bodies(&some) {
                let again = held.iter().any(|delivery| delivery.message.body == body.as_bytes());
                assert!(!again, "{body} was acknowledged before its partition went");
                seen.insert(body);
            }
        }
    })
    .await;
    assert_eq!(bus.counters().acks_lost, 0);
    other.close().await;
    bus.close().await;
    place.clean_up().await;
}
