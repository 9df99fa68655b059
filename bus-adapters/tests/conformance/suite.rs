//! What the runtime relies on, whatever the driver.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use flagstop_bus::port::{Channel, Commands, Content, Outgoing, PublishError, RawMessage};
use flagstop_bus::{BusConfig, CodecLimits, decode};
use flagstop_schemas::{CloudEvent, Data};

pub use crate::hostile::*;
use crate::place::{
    After, Place, bodies, in_time, letter, publish, publish_to, receive, receive_until, text, texts, tokens, watch,
};

/// How long nothing must come where nothing may come.
const QUIET: Duration = Duration::from_millis(400);

pub async fn a_message_comes_again_until_it_is_acknowledged(place: &Place) {
    let bus = place.bus().await;
    publish(&bus, &texts(0, 3)).await;
    let mut consumer = bus.consume().await.unwrap();
    let first = receive(&mut consumer, 3).await;
    assert_eq!(bodies(&first), texts(0, 3));
    drop(consumer);
    let mut consumer = bus.consume().await.unwrap();
    let second = receive(&mut consumer, 3).await;
    assert_eq!(bodies(&second), texts(0, 3), "after the consumer went");
    consumer.acker().ack(&tokens(&first)).await;
    drop(consumer);
    let bus = place.restarted(bus).await;
    let mut consumer = bus.consume().await.unwrap();
    assert_eq!(bodies(&receive(&mut consumer, 3).await), texts(0, 3), "stale tokens acknowledge nothing");
    bus.close().await;
}

pub async fn what_is_acknowledged_does_not_come_again(place: &Place) {
    let bus = place.bus().await;
    publish(&bus, &texts(0, 20)).await;
    let mut consumer = bus.consume().await.unwrap();
    let acker = consumer.acker();
    let mut deliveries = receive(&mut consumer, 20).await;
    // In any order, in parts.
    deliveries.rotate_left(7);
    for part in deliveries.chunks(6) {
        acker.ack(&tokens(part)).await;
    }
    acker.ack(&tokens(&deliveries)).await;
    drop((consumer, acker));
    let bus = place.restarted(bus).await;
    publish(&bus, &["next".into()]).await;
    let mut consumer = bus.consume().await.unwrap();
    assert_eq!(receive_until(&mut consumer, "next").await, ["next"]);
    bus.close().await;
}

pub async fn messages_keep_their_order_per_key(place: &Place) {
    let bus = place.bus().await;
    let keys = ["a", "b", "c", "d", "e"];
    let mut sent: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut letters = Vec::new();
    for number in 0..600 {
        let key = keys[number * 7 % keys.len()];
        let text = format!("{key}{number}");
        letters.push(letter(Channel::In, key, &text));
        sent.entry(key).or_default().push(text);
    }
    for burst in letters.chunks(500) {
        assert!(in_time("confirmations", bus.publish(burst)).await.iter().all(Result::is_ok));
    }
    let mut consumer = bus.consume().await.unwrap();
    let mut received: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for text in bodies(&receive(&mut consumer, 600).await) {
        let key = keys.into_iter().find(|key| text.starts_with(key)).unwrap();
        received.entry(key).or_default().push(text);
    }
    assert_eq!(received, sent);
    bus.close().await;
}

pub async fn each_message_has_its_own_verdict_in_the_order_of_the_call(place: &Place) {
    let config = BusConfig { body_bytes_max: 1_000, headers_bytes_max: 1_000, ..place.config.clone() };
    let bus = place.bus_with(&config).await;
    let mut letters: Vec<Outgoing> = texts(0, 5).iter().map(|text| letter(Channel::In, "k", text)).collect();
    letters[1] = letter(Channel::In, "k", &"x".repeat(1_001));
    letters[3].content = Content::Raw(RawMessage {
        headers: vec![("h".into(), Bytes::from(vec![b'x'; 1_000]))],
        ..RawMessage::default()
    });
    let results = in_time("confirmations", bus.publish(&letters)).await;
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, false, true], "{results:?}");
    for (index, what) in [(1, "1001 bytes"), (3, "headers")] {
        match &results[index] {
            Err(PublishError::Refused(why)) => assert!(why.contains(what), "{why}"),
            other => panic!("refused, not {other:?}"),
        }
    }
    let mut consumer = bus.consume().await.unwrap();
    assert_eq!(bodies(&receive(&mut consumer, 3).await), ["m0", "m2", "m4"]);
    assert!(bus.publish(&[]).await.is_empty());
    bus.close().await;
}

pub async fn what_is_skipped_by_acknowledgements_comes_again(place: &Place) {
    let bus = place.bus().await;
    publish(&bus, &texts(0, 6)).await;
    let mut consumer = bus.consume().await.unwrap();
    let deliveries = receive(&mut consumer, 6).await;
    let done: Vec<_> = [5, 3, 1].iter().map(|index| deliveries[*index].token).collect();
    consumer.acker().ack(&done).await;
    drop(consumer);
    let bus = place.restarted(bus).await;
    publish(&bus, &["next".into()]).await;
    let mut consumer = bus.consume().await.unwrap();
    let again: BTreeSet<String> = receive_until(&mut consumer, "next").await.into_iter().collect();
    for open in ["m0", "m2", "m4"] {
        assert!(again.contains(open), "{open} is among {again:?}");
    }
    bus.close().await;
}

pub async fn pausing_holds_back_and_resuming_lets_flow(place: &Place) {
    let bus = place.bus().await;
    let mut consumer = bus.consume().await.unwrap();
    let acker = consumer.acker();
    publish(&bus, &["first".into()]).await;
    receive_until(&mut consumer, "first").await;
    acker.pause(true).await;
    // What was under way may still come; soon nothing does.
    let mut number = 0;
    let held = loop {
        number += 1;
        assert!(number < 50, "pausing has no effect");
        let text = format!("held{number}");
        publish(&bus, std::slice::from_ref(&text)).await;
        match tokio::time::timeout(QUIET, consumer.recv(10)).await {
            Ok(some) => acker.ack(&tokens(&some)).await,
            Err(_) => break text,
        }
    };
    acker.pause(false).await;
    assert_eq!(receive_until(&mut consumer, &held).await, [held]);
    bus.close().await;
}

pub async fn stopping_drains_and_leaves_the_rest_to_others(place: &Place) {
    let bus = place.bus().await;
    publish(&bus, &texts(0, 30)).await;
    let mut consumer = bus.consume().await.unwrap();
    let acker = consumer.acker();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut deliveries = receive(&mut consumer, 5).await;
    acker.stop().await;
    loop {
        seen.extend(bodies(&deliveries));
        acker.ack(&tokens(&deliveries)).await;
        deliveries = in_time("the end", consumer.recv(4)).await;
        if deliveries.is_empty() {
            break;
        }
    }
    assert!(in_time("the end again", consumer.recv(4)).await.is_empty());
    publish(&bus, &["last".into()]).await;
    drop((consumer, acker));
    let bus = place.restarted(bus).await;
    let mut consumer = bus.consume().await.unwrap();
    let rest = receive_until(&mut consumer, "last").await;
    assert!(rest.iter().all(|text| !seen.contains(text)), "acknowledged while draining: {seen:?}, again: {rest:?}");
    seen.extend(rest);
    assert_eq!(seen.len(), 31, "none is lost: {seen:?}");
    bus.close().await;
}

pub async fn a_subscriber_sees_what_is_published_after_it(place: &Place) {
    let bus = place.bus().await;
    for channel in [Channel::Status, Channel::Out, Channel::Dead, Channel::In] {
        publish_to(&bus, channel, &["before".into()]).await;
        let mut one = bus.subscribe(channel).await.unwrap();
        let mut other = bus.subscribe(channel).await.unwrap();
        publish_to(&bus, channel, &texts(0, 50)).await;
        for subscription in [&mut one, &mut other] {
            let seen = watch(subscription, 50).await;
            assert_eq!(seen.iter().map(text).collect::<Vec<_>>(), texts(0, 50), "{channel:?}");
        }
    }
    bus.close().await;
}

pub async fn emitted_events_come_back_as_input(place: &Place) {
    let bus = place.bus().await;
    publish_to(&bus, Channel::Out, &["emitted".into()]).await;
    publish_to(&bus, Channel::Status, &["status".into()]).await;
    publish_to(&bus, Channel::In, &["input".into()]).await;
    let mut consumer = bus.consume().await.unwrap();
    let seen: BTreeSet<String> = bodies(&receive(&mut consumer, 2).await).into_iter().collect();
    assert_eq!(seen, ["emitted".to_owned(), "input".to_owned()].into());
    bus.close().await;
}

pub async fn events_and_raw_messages_arrive_byte_for_byte(place: &Place) {
    let bus = place.bus().await;
    let event = CloudEvent {
        id: "i-1".into(),
        source: "/ä/b".into(),
        ty: "com.example.\u{1F680}".into(),
        subject: Some("s".into()),
        time: Some("2026-11-21T10:00:00.123Z".into()),
        datacontenttype: Some("application/octet-stream".into()),
        dataschema: Some("urn:schema".into()),
        extensions: [("sequence".to_owned(), "12".into()), ("tenant".to_owned(), "ü ".into())].into(),
        data: Data::Binary(Bytes::from((0..=255).cycle().take(100_000).collect::<Vec<u8>>())),
    };
    let json = CloudEvent {
        id: "i-2".into(),
        datacontenttype: Some("application/json".into()),
        data: Data::Json(Bytes::from_static(b"{ \"n\": 1.50 , \"u\": \"\\u0000\" }")),
        ..event.clone()
    };
    let outgoing = |event: &CloudEvent| Outgoing {
        channel: Channel::In,
        routing_key: event.ty.clone(),
        order_key: "k".into(),
        content: Content::Event(Box::new(event.clone())),
    };
    let results = in_time("confirmations", bus.publish(&[outgoing(&event), outgoing(&json)])).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let mut consumer = bus.consume().await.unwrap();
    let received = receive(&mut consumer, 2).await;
    for (delivery, event) in received.iter().zip([event, json]) {
        assert_eq!(decode(&delivery.message, &CodecLimits::default()), Ok(event));
    }
    // A dead letter is shown as it was, whatever it was.
    let raw = RawMessage {
        content_type: Some("application/x-broken; a=b".into()),
        headers: vec![("bytes".into(), Bytes::from_static(&[0xff, 0, 1])), ("flagstop-reason".into(), "ä".into())],
        key: None,
        body: Bytes::from_static(&[0, 0xff, 0xfe]),
    };
    let mut letters = bus.subscribe(Channel::Dead).await.unwrap();
    let content = Content::Raw(raw.clone());
    let outgoing = Outgoing { channel: Channel::Dead, routing_key: "dead".into(), order_key: String::new(), content };
    assert_eq!(in_time("confirmations", bus.publish(&[outgoing])).await, [Ok(())]);
    let seen = watch(&mut letters, 1).await.remove(0);
    assert_eq!(RawMessage { key: None, ..seen }, raw);
    bus.close().await;
}

pub async fn no_more_than_the_prefetch_is_in_hand(place: &Place) {
    let config = BusConfig { prefetch: 10, ..place.config.clone() };
    let bus = place.bus_with(&config).await;
    publish(&bus, &texts(0, 35)).await;
    let mut consumer = bus.consume().await.unwrap();
    let acker = consumer.acker();
    let mut seen = 0;
    while seen < 35 {
        let count = 10.min(35 - seen);
        let held = receive(&mut consumer, count).await;
        assert_eq!(bodies(&held), texts(seen, seen + count));
        let more = tokio::time::timeout(QUIET, consumer.recv(1)).await;
        assert!(more.is_err(), "while {count} are in hand, no more come: {more:?}");
        acker.ack(&tokens(&held)).await;
        seen += count;
    }
    bus.close().await;
}

pub async fn a_consumer_that_goes_leaves_its_messages_to_the_other(place: &Place) {
    let bus = place.bus().await;
    // Over both of Kafka's topics that are consumed: each of the two may get all partitions of one.
    let channel = |n: usize| if n.is_multiple_of(2) { Channel::In } else { Channel::Out };
    let letters: Vec<Outgoing> =
        texts(0, 200).iter().enumerate().map(|(n, text)| letter(channel(n), &format!("key{n}"), text)).collect();
    let mut one = bus.consume().await.unwrap();
    let mut other = bus.consume().await.unwrap();
    assert!(in_time("confirmations", bus.publish(&letters)).await.iter().all(Result::is_ok));
    let first = receive(&mut one, 1).await;
    drop(one);
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while seen.len() < 200 {
        let some = in_time(&format!("200 messages, {} are there", seen.len()), other.recv(50)).await;
        other.acker().ack(&tokens(&some)).await;
        seen.extend(bodies(&some));
    }
    assert!(seen.contains(&bodies(&first)[0]), "the one that was in the other's hands too");
    bus.close().await;
}

pub async fn receiving_can_be_cancelled_at_any_moment(place: &Place) {
    let bus = place.bus().await;
    let mut consumer = bus.consume().await.unwrap();
    let publisher = tokio::spawn({
        let bus = bus.clone();
        async move {
            for number in 0..100 {
                publish(&bus, &texts(number * 3, number * 3 + 3)).await;
            }
        }
    });
    let mut seen = Vec::new();
    in_time("all messages", async {
        while seen.len() < 300 {
            if let Ok(some) = tokio::time::timeout(Duration::from_micros(300), consumer.recv(7)).await {
                consumer.acker().ack(&tokens(&some)).await;
                seen.extend(bodies(&some));
            }
        }
    })
    .await;
    publisher.await.unwrap();
    assert_eq!(seen, texts(0, 300));
    bus.close().await;
}

pub async fn publishing_after_the_end_is_refused(place: &Place) {
    let bus = place.bus().await;
    assert!(bus.healthy());
    let mut consumer = bus.consume().await.unwrap();
    bus.close().await;
    assert!(!bus.healthy());
    let results = in_time("an answer", bus.publish(&[letter(Channel::In, "k", "late")])).await;
    assert!(matches!(results[..], [Err(PublishError::Unavailable(_))]), "{results:?}");
    assert!(in_time("the consumer's end", consumer.recv(1)).await.is_empty());
}

/// Two installations on one broker, each with its prefix: for brokers only, where names are shared.
pub async fn installations_with_different_prefixes_hear_nothing_of_each_other(place: &Place) {
    let other = BusConfig { prefix: format!("{}other.", place.config.prefix), ..place.config.clone() };
    let (ours, theirs) = (place.bus().await, place.bus_with(&other).await);
    let mut their_status = theirs.subscribe(Channel::Status).await.unwrap();
    let mut their_letters = theirs.subscribe(Channel::Dead).await.unwrap();
    let mut consumer = theirs.consume().await.unwrap();
    for channel in [Channel::In, Channel::Out, Channel::Status, Channel::Dead] {
        publish_to(&ours, channel, &["ours".into()]).await;
    }
    publish(&theirs, &["theirs".into()]).await;
    publish_to(&theirs, Channel::Status, &["their status".into()]).await;
    publish_to(&theirs, Channel::Dead, &["their letter".into()]).await;
    assert_eq!(receive_until(&mut consumer, "theirs").await, ["theirs"]);
    assert_eq!(text(&watch(&mut their_status, 1).await[0]), "their status");
    assert_eq!(text(&watch(&mut their_letters, 1).await[0]), "their letter");
    let mut consumer = ours.consume().await.unwrap();
    assert_eq!(bodies(&receive(&mut consumer, 2).await), ["ours", "ours"], "input and output");
    ours.close().await;
    theirs.close().await;
    if let After::Kept(remove) = &place.after {
        remove(other).await;
    }
}

/// Commands with a queue or topic of their own, refused on the shared one: for brokers only. The place's configuration names
/// it.
pub async fn commands_can_have_a_place_of_their_own(place: &Place) {
    let config = BusConfig { commands: Commands::Refuse, ..place.config.clone() };
    let bus = place.bus_with(&config).await;
    bus.prepare(false).await.unwrap();
    // Whoever may write there.
    let mut door = config.clone();
    door.names.input.clone_from(&config.names.commands);
    let commander = flagstop_bus::open(&place.url, &door).await.unwrap();
    publish(&commander, &["command".into()]).await;
    publish(&bus, &["event".into()]).await;
    let mut shared = bus.consume().await.unwrap();
    let mut own = bus.consume_commands().await.unwrap().expect("there is one");
    let (event, command) = (receive(&mut shared, 1).await, receive(&mut own, 1).await);
    assert_eq!((bodies(&event), event[0].commands), (vec!["event".to_owned()], Commands::Refuse));
    assert_eq!((bodies(&command), command[0].commands), (vec!["command".to_owned()], Commands::Accept));
    // Each acker knows its own tokens only.
    shared.acker().ack(&tokens(&command)).await;
    own.acker().ack(&tokens(&event)).await;
    assert_eq!(bus.counters().acks_lost, 0, "what is another's is not lost");
    drop((shared, own));
    let mut own = bus.consume_commands().await.unwrap().unwrap();
    let again = receive(&mut own, 1).await;
    assert_eq!(bodies(&again), ["command"], "it was not acknowledged");
    own.acker().ack(&tokens(&again)).await;
    publish(&commander, &["next".into()]).await;
    assert_eq!(receive_until(&mut own, "next").await, ["next"]);
    let mut shared = bus.consume().await.unwrap();
    let mut events = receive(&mut shared, 1).await;
    assert_eq!(bodies(&events), ["event"]);
    // A worker tells both of all that it has done, and nothing of it was lost.
    publish(&bus, &texts(0, 20)).await;
    publish(&commander, &texts(20, 40)).await;
    events.extend(receive(&mut shared, 20).await);
    let commands = receive(&mut own, 20).await;
    let done = tokens(&[events, commands].concat());
    for acker in [shared.acker(), own.acker()] {
        acker.ack(&done).await;
    }
    assert_eq!(bus.counters().acks_lost, 0);
    commander.close().await;
    bus.close().await;
}
