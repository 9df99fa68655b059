//! What the runtime relies on when messages are malformed or as large as they may be, whatever the driver.

use bytes::Bytes;
use flagstop_bus::port::{Channel, Content, Outgoing, RawMessage};
use flagstop_bus::{CodecLimits, decode};

use crate::place::{Place, bodies, in_time, letter, publish, receive, receive_until, tokens, watch};

/// What no producer should send: it reaches the worker whole, so that it can become a dead letter with its bytes and headers.
pub async fn poison_comes_out_as_it_went_in_and_holds_nobody_up(place: &Place) {
    let bus = place.bus().await;
    let header = |name: &str, value: &[u8]| (name.to_owned(), Bytes::copy_from_slice(value));
    let raw = |content_type: Option<&str>, headers: Vec<(String, Bytes)>, body: &[u8]| RawMessage {
        content_type: content_type.map(str::to_owned),
        headers,
        key: None,
        body: Bytes::copy_from_slice(body),
    };
    let structured = Some("application/cloudevents+json; charset=utf-8");
    let deep = "[".repeat(100_000);
    let poison = [
        raw(None, vec![], b""),
        raw(None, vec![header("ce_id", b"")], b""),
        raw(structured, vec![], b""),
        raw(structured, vec![], b"{\"specversion\": \"1.0\", \"id\": "),
        raw(structured, vec![], b"\xff\xfe{}"),
        raw(structured, vec![], deep.as_bytes()),
        raw(Some("application/cloudevents-batch+json"), vec![], b"[1, null, {}]"),
        raw(Some("; ;;=\u{0}\u{7f} \u{fffd}"), vec![], b"what is this?"),
        raw(Some("text/plain"), vec![header("", b"without a name"), header("ce_\u{e4} \n:", b"\r\n\0")], b"x"),
        raw(
            Some("application/json"),
            vec![
                header("ce_specversion", b"1.0"),
                header("ce_id", b"\xc3\x28"),
                header("ce_type", &[0xff; 300]),
                header("cloudEvents_source", b"\0"),
                header("cloudEvents:time", b"yesterday"),
            ],
            b"{\"a\": \x80}",
        ),
    ];
    let outgoing = |raw: &RawMessage, channel: Channel| Outgoing {
        channel,
        routing_key: "test.poison".into(),
        order_key: "k".into(),
        content: Content::Raw(raw.clone()),
    };
    let letters: Vec<Outgoing> = poison.iter().map(|raw| outgoing(raw, Channel::In)).collect();
    let results = in_time("confirmations", bus.publish(&letters)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    publish(&bus, &["good".into()]).await;
    let mut consumer = bus.consume().await.unwrap();
    let received = receive(&mut consumer, poison.len() + 1).await;
    for (index, (delivery, raw)) in received.iter().zip(&poison).enumerate() {
        let came = RawMessage { key: None, ..delivery.message.clone() };
        // AMQP's tables have no order.
        let sorted = |raw: &RawMessage| {
            let mut raw = raw.clone();
            raw.headers.sort();
            raw
        };
        assert_eq!(sorted(&came), sorted(raw), "number {index}");
        assert!(decode(&came, &CodecLimits::default()).is_err(), "number {index} is no event");
    }
    assert_eq!(bodies(&received[poison.len()..]), ["good"]);
    // And on to the dead letters.
    let mut dead = bus.subscribe(Channel::Dead).await.unwrap();
    let letters: Vec<Outgoing> = received[..poison.len()]
        .iter()
        .map(|delivery| outgoing(&RawMessage { key: None, ..delivery.message.clone() }, Channel::Dead))
        .collect();
    let results = in_time("confirmations", bus.publish(&letters)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    for (came, raw) in watch(&mut dead, poison.len()).await.iter().zip(&poison) {
        assert_eq!(
            (&came.body, &came.content_type, came.headers.len()),
            (&raw.body, &raw.content_type, raw.headers.len())
        );
    }
    consumer.acker().ack(&tokens(&received)).await;
    publish(&bus, &["next".into()]).await;
    assert_eq!(receive_until(&mut consumer, "next").await, ["next"]);
    bus.close().await;
}

/// At the limits of bodies and headers together, where producer, broker, topic and consumer meet.
pub async fn the_largest_message_passes_and_a_larger_one_is_refused_with_the_limit(place: &Place) {
    let bus = place.bus().await;
    let config = &place.config;
    let big = |body_bytes: usize, headers_bytes: usize, first: u8| {
        let noise = |count: usize, salt: u32| -> Bytes {
            // Not to be compressed.
            let mut state = 0x9e37_79b9_u32 ^ salt;
            let next = |_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state.to_le_bytes()[0]
            };
            (0..count).map(next).collect()
        };
        let mut body = noise(body_bytes, u32::from(first)).to_vec();
        body[0] = first;
        let name = "big".to_owned();
        let value = noise(headers_bytes - name.len(), 7);
        let raw = RawMessage { headers: vec![(name, value)], body: body.into(), ..RawMessage::default() };
        Outgoing {
            channel: Channel::In,
            routing_key: "test.big".into(),
            order_key: "k".into(),
            content: Content::Raw(raw),
        }
    };
    let (body_max, headers_max) = (config.body_bytes_max, config.headers_bytes_max);
    let letters = [
        big(body_max, headers_max, 0),
        big(body_max + 1, 10, 1),
        big(body_max, headers_max + 1, 2),
        letter(Channel::In, "k", "small"),
        big(body_max, headers_max, 4),
        big(body_max, headers_max, 5),
    ];
    let results = in_time("confirmations", bus.publish(&letters)).await;
    let fits: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(fits, [true, false, false, true, true, true], "{results:?}");
    for (result, key, bytes) in
        [(&results[1], "bus.body_bytes_max", body_max), (&results[2], "bus.headers_bytes_max", headers_max)]
    {
        let why = result.as_ref().unwrap_err().to_string();
        let parts = [format!("has {} bytes", bytes + 1), format!("more than the {bytes} that `{key}` allows")];
        assert!(why.starts_with("FS-BUS-REFUSED") && parts.iter().all(|part| why.contains(part)), "{why}");
    }
    let mut consumer = bus.consume().await.unwrap();
    let received = receive(&mut consumer, 4).await;
    let came: Vec<&RawMessage> = received.iter().map(|delivery| &delivery.message).collect();
    assert_eq!(&came[1].body[..], b"small");
    for (came, sent) in [(came[0], &letters[0]), (came[2], &letters[4]), (came[3], &letters[5])] {
        let Content::Raw(sent) = &sent.content else { unreachable!("all are") };
        assert!(came.body == sent.body && came.headers == sent.headers, "byte for byte");
    }
    consumer.acker().ack(&tokens(&received)).await;
    bus.close().await;
}
