//! Golden vectors of every spelling, round trips, and every way in which a message can be wrong.

use bytes::Bytes;
use flagstop_schemas::{CloudEvent, Data};
use serde_json::{Value, json};

use super::*;

fn binary(prefix: &str, content_type: Option<&str>, extra: &[(&str, &str)], body: &[u8]) -> RawMessage {
    let required = [("specversion", "1.0"), ("id", "e1"), ("source", "/hr"), ("type", "com.example.hired")];
    let headers = required.iter().chain(extra);
    RawMessage {
        content_type: content_type.map(str::to_owned),
        headers: headers
            .map(|(name, value)| (format!("{prefix}{name}"), Bytes::copy_from_slice(value.as_bytes())))
            .collect(),
        key: None,
        body: Bytes::copy_from_slice(body),
    }
}

fn structured(body: impl Into<Vec<u8>>) -> RawMessage {
    RawMessage {
        content_type: Some("application/cloudevents+json; charset=UTF-8".into()),
        body: Bytes::from(body.into()),
        ..RawMessage::default()
    }
}

fn read(message: &RawMessage) -> Result<CloudEvent, CodecError> {
    decode(message, &CodecLimits::default())
}

fn refused(message: &RawMessage) -> (&'static str, String) {
    let why = read(message).expect_err("must be refused");
    assert!(why.to_string().starts_with(why.code()), "the text starts with its code: {why}");
    (why.code(), why.to_string())
}

fn hired() -> CloudEvent {
    CloudEvent {
        id: "e1".into(),
        source: "/hr".into(),
        ty: "com.example.hired".into(),
        subject: Some("ada lovelace".into()),
        time: Some("2026-11-21T10:00:00Z".into()),
        datacontenttype: Some("application/json".into()),
        dataschema: None,
        extensions: [("sequence".to_owned(), json!("7"))].into(),
        data: Data::Json(Bytes::from_static(b"{ \"n\": 1.50 }")),
    }
}

const EXTRA: [(&str, &str); 3] = [("subject", "ada lovelace"), ("time", "2026-11-21T10:00:00Z"), ("sequence", "7")];

#[test]
fn binary_mode_is_read_in_every_spelling() {
    for prefix in ["cloudEvents_", "cloudEvents:", "ce_", "ce-", "CE-", "cloudevents_"] {
        let message = binary(prefix, Some("application/json"), &EXTRA, b"{ \"n\": 1.50 }");
        assert_eq!(read(&message), Ok(hired()), "{prefix}");
    }
}

#[test]
fn attributes_are_percent_encoded_over_http_and_nowhere_else() {
    let message = binary("ce-", None, &[("Subject", "J%C3%BCrgen%20%"), ("Tenant", "a%zz%FF")], b"");
    let event = decode_http(&message, &CodecLimits::default()).unwrap();
    assert_eq!(event.subject.as_deref(), Some("Jürgen %"));
    assert_eq!(event.extensions["tenant"], json!("a%zz%FF"), "what would be no text stays as it is");
    for prefix in ["ce-", "ce_", "cloudEvents_", "cloudEvents:"] {
        let event = read(&binary(prefix, None, &[("subject", "Jürgen 100%25")], b"")).unwrap();
        assert_eq!(event.subject.as_deref(), Some("Jürgen 100%25"), "{prefix}");
    }
}

/// Some SDKs repeat the content type among the attributes.
#[test]
fn a_repeated_content_type_is_no_contradiction() {
    let extra = [EXTRA[0], EXTRA[1], EXTRA[2], ("datacontenttype", "application/json")];
    assert_eq!(read(&binary("ce_", Some("application/json"), &extra, b"{ \"n\": 1.50 }")), Ok(hired()));
    assert_eq!(read(&binary("cloudEvents_", None, &extra, b"{ \"n\": 1.50 }")), Ok(hired()));
}

#[test]
fn structured_mode_is_read_with_its_types_and_its_data_byte_for_byte() {
    let event = read(&structured(
        r#"{"specversion":"1.0","id":"e1","source":"/hr","type":"com.example.hired","subject":null,
            "count":3,"urgent":true,"note":"x","data":{ "n": 1.50, "u": "\u0000" }}"#,
    ))
    .unwrap();
    assert_eq!(event.subject, None, "null is absent");
    assert_eq!(event.datacontenttype, None);
    assert_eq!(event.extensions["count"], json!(3));
    assert_eq!(event.extensions["urgent"], json!(true));
    assert_eq!(event.extensions["note"], json!("x"));
    assert_eq!(event.data, Data::Json(Bytes::from_static(br#"{ "n": 1.50, "u": "\u0000" }"#)));
}

#[test]
fn data_of_other_media_types_stays_bytes() {
    let required = r#""specversion":"1.0","id":"e1","source":"/hr","type":"t""#;
    for (members, expected) in [
        (r#""data_base64":"AAH/""#, Data::Binary(Bytes::from_static(&[0, 1, 255]))),
        (r#""datacontenttype":"text/plain","data":"a\nb""#, Data::Binary(Bytes::from_static(b"a\nb"))),
        (r#""datacontenttype":"application/hal+json","data_base64":"e30=""#, Data::Json(Bytes::from_static(b"{}"))),
        (r#""datacontenttype":"application/json","data":"text""#, Data::Json(Bytes::from_static(b"\"text\""))),
        (r#""data":null"#, Data::Absent),
    ] {
        assert_eq!(read(&structured(format!("{{{required},{members}}}"))).unwrap().data, expected, "{members}");
    }
    for (media_type, body, expected) in [
        (Some("application/avro"), &b"\x00\xff"[..], Data::Binary(Bytes::from_static(b"\x00\xff"))),
        (Some("text/plain"), b"{}", Data::Binary(Bytes::from_static(b"{}"))),
        (Some("application/problem+json; charset=utf-8"), b"{}", Data::Json(Bytes::from_static(b"{}"))),
        (None, b"{}", Data::Json(Bytes::from_static(b"{}"))),
        (None, b"\xff", Data::Binary(Bytes::from_static(b"\xff"))),
        (Some("application/json"), b"", Data::Absent),
    ] {
        assert_eq!(read(&binary("ce_", media_type, &[], body)).unwrap().data, expected, "{media_type:?}");
    }
}

#[test]
fn what_is_encoded_reads_back_the_same() {
    let mut binary = hired();
    binary.datacontenttype = Some("application/octet-stream".into());
    binary.data = Data::Binary(Bytes::from((0..=255).collect::<Vec<u8>>()));
    binary.dataschema = Some("urn:x".into());
    let mut bare = hired();
    bare.data = Data::Absent;
    bare.datacontenttype = None;
    for event in [hired(), binary, bare] {
        assert_eq!(read(&encode_amqp(&event)), Ok(event.clone()));
        assert_eq!(read(&encode_kafka(&event)), Ok(event));
    }
    let typed = CloudEvent {
        extensions: [("count".to_owned(), json!(3)), ("urgent".to_owned(), json!(true))].into(),
        ..hired()
    };
    let back = read(&encode_kafka(&typed)).unwrap().extensions;
    assert_eq!(back, [("count".to_owned(), json!("3")), ("urgent".to_owned(), json!("true"))].into());
}

#[test]
fn golden_headers_of_both_bindings() {
    let names = |message: RawMessage| message.headers.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(" ");
    assert_eq!(names(encode_kafka(&hired())), "ce_specversion ce_id ce_source ce_type ce_subject ce_time ce_sequence");
    let amqp = encode_amqp(&hired());
    assert_eq!(amqp.content_type.as_deref(), Some("application/json"));
    assert_eq!(amqp.body, "{ \"n\": 1.50 }");
    assert_eq!(amqp.headers[0], ("cloudEvents_specversion".into(), Bytes::from_static(b"1.0")));
    let untyped = CloudEvent { datacontenttype: None, ..hired() };
    assert_eq!(encode_kafka(&untyped).content_type.as_deref(), Some("application/json"), "others need to be told");
}

#[test]
fn what_is_no_cloudevent_says_how_to_send_one() {
    let plain = RawMessage { body: Bytes::from_static(b"{\"a\":1}"), ..RawMessage::default() };
    let (code, why) = refused(&plain);
    assert_eq!(code, "FS-EVENT-NOT-CLOUDEVENT");
    assert!(why.contains("ce_id") && why.contains("application/cloudevents+json"), "{why}");
    assert_eq!(refused(&structured("[1]")).0, "FS-EVENT-NOT-CLOUDEVENT");
}

#[test]
fn a_batch_is_taken_apart_and_each_part_stands_for_itself() {
    let batch = |body: &'static str| RawMessage {
        content_type: Some("application/cloudevents-batch+json; charset=utf-8".into()),
        body: Bytes::from_static(body.as_bytes()),
        ..RawMessage::default()
    };
    let limits = CodecLimits::default();
    let two = batch(
        r#"[{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{"n": 1.50}}, {"id":"2"},
            {"specversion":"1.0","id":"3","source":"/s","type":"t"}]"#,
    );
    let parts = split(&two, &limits).unwrap();
    let read: Vec<_> = parts.iter().map(|part| decode(part, &limits)).collect();
    assert_eq!(read[0].as_ref().unwrap().data, flagstop_schemas::Data::Json(Bytes::from_static(b"{\"n\": 1.50}")));
    assert_eq!(read[1].as_ref().unwrap_err().code(), "FS-EVENT-ATTRIBUTE");
    assert_eq!(read[2].as_ref().unwrap().id, "3");
    assert!(refused(&two).1.contains("a batch of events"), "where one event is expected");

    for (body, code) in [("[]", "FS-EVENT-NOT-CLOUDEVENT"), ("{}", "FS-EVENT-NOT-JSON"), ("[{}", "FS-EVENT-NOT-JSON")] {
        assert_eq!(split(&batch(body), &limits), None);
        assert_eq!(refused(&batch(body)).0, code, "{body}");
    }
    let deep = batch(Box::leak(("[".repeat(10_000) + &"]".repeat(10_000)).into_boxed_str()));
    assert_eq!((split(&deep, &limits), refused(&deep).0), (None, "FS-EVENT-TOO-DEEP"));
    assert_eq!(split(&structured("{}"), &limits), None, "no batch");
}

#[test]
fn broken_json_says_where() {
    for (message, place) in [
        (structured("{\"id\": \"x\",\n oops}"), "line 2"),
        (structured(b"{\"id\":\"\xff\"}".to_vec()), "UTF-8"),
        (binary("ce_", Some("application/json"), &[], b"{\"a\":}"), "line 1 column 6"),
        (binary("ce_", Some("application/json"), &[], b"1e999"), "number out of range"),
        (binary("ce_", Some("application/json"), &[], br#""\ud800""#), "hex escape"),
        (binary("ce_", Some("application/json"), &[], b"{} {}"), "trailing"),
    ] {
        let (code, why) = refused(&message);
        assert_eq!(code, "FS-EVENT-NOT-JSON");
        assert!(why.contains(place), "{why} names {place}");
    }
}

#[test]
fn ten_thousand_levels_are_an_error_and_never_an_abort() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let envelope = format!(r#"{{"specversion":"1.0","id":"e","source":"s","type":"t","data":{deep}}}"#);
    for message in [
        binary("ce_", Some("application/json"), &[], deep.as_bytes()),
        structured(envelope),
        structured("{\"a\":".repeat(10_000)),
    ] {
        assert_eq!(refused(&message).0, "FS-EVENT-TOO-DEEP");
    }
    let depth = CodecLimits::default().json_depth_max;
    let just = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let event = read(&binary("ce_", Some("application/json"), &[], just.as_bytes())).unwrap();
    let Data::Json(data) = event.data else { panic!("JSON expected") };
    assert!(serde_json::from_slice::<Value>(&data).is_ok(), "what passes can be parsed by the readers behind");
    let quoted = format!("\"{}\"", "[".repeat(10_000));
    assert!(read(&binary("ce_", Some("application/json"), &[], quoted.as_bytes())).is_ok(), "text does not nest");
}

#[test]
fn sizes_are_limited() {
    let limits = CodecLimits { body_bytes_max: 10, ..CodecLimits::default() };
    let why = decode(&binary("ce_", None, &[], b"12345678901"), &limits).unwrap_err();
    assert_eq!(why.code(), "FS-EVENT-TOO-LARGE");
    assert!(why.to_string().contains("11 bytes") && why.to_string().contains("limit of 10"), "{why}");
    let long = "x".repeat(1025);
    for name in ["subject", "myextension"] {
        let (code, why) = refused(&binary("ce_", None, &[(name, &long)], b""));
        assert_eq!(code, "FS-EVENT-TOO-LARGE");
        assert!(why.contains(name), "{why}");
    }
    let names: Vec<String> = (0..65).map(|number| format!("x{number}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "v")).collect();
    assert!(refused(&binary("ce_", None, &many, b"")).1.contains("at most 64"));
}

#[test]
fn wrong_attributes_are_named() {
    let missing = |name: &str| {
        let mut message = binary("ce_", None, &[], b"");
        message.headers.retain(|(header, _)| header != &format!("ce_{name}"));
        message
    };
    for name in ["specversion", "id", "source", "type"] {
        assert!(refused(&missing(name)).1.contains(&format!("`{name}`")));
    }
    for (message, expected) in [
        (binary("ce_", None, &[("my_ext", "1")], b""), "`my_ext`"),
        (binary("ce_", None, &[("id", "e2")], b""), "given twice"),
        (structured(r#"{"specversion":"0.3","id":"e","source":"s","type":"t"}"#), "only 1.0"),
        (structured(r#"{"specversion":"1.0","id":7,"source":"s","type":"t"}"#), "must be a string"),
        (structured(r#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#), "missing or empty"),
        (structured(r#"{"specversion":"1.0","id":"e","source":"s","type":"t","x":[1]}"#), "`x`"),
        (
            structured(r#"{"specversion":"1.0","id":"e","source":"s","type":"t","data":1,"data_base64":"AA=="}"#),
            "one of the two",
        ),
        (structured(r#"{"specversion":"1.0","id":"e","source":"s","type":"t","data_base64":"@"}"#), "base64"),
    ] {
        let (code, why) = refused(&message);
        assert_eq!(code, "FS-EVENT-ATTRIBUTE", "{why}");
        assert!(why.contains(expected), "{why} says {expected}");
    }
}

/// Whatever bytes come: an answer, no panic. Prints its seed.
#[test]
fn random_bytes_get_an_answer() {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let valid = br#"{"specversion":"1.0","id":"e","source":"s","type":"t","data":{"a":[1,"x\u00e4"]}}"#;
    for _ in 0..20_000 {
        let mut bytes = valid.to_vec();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..bytes.len());
            bytes[place] = random.random();
        }
        if let Ok(CloudEvent { data: Data::Json(data), .. }) = read(&structured(bytes)) {
            assert!(serde_json::from_slice::<Value>(&data).is_ok(), "seed {seed}");
        }
    }
}
