//! CloudEvents by themselves: their JSON form and their rules.

use bytes::Bytes;
use flagstop_schemas::{AttributeError, CloudEvent, Data};
use serde_json::{Value, json};

use crate::samples::emitted;

fn json_of(event: &CloudEvent) -> Value {
    serde_json::from_str(&event.to_json()).unwrap_or_else(|why| panic!("{why} in {}", event.to_json()))
}

#[test]
fn attributes_keep_their_types_and_json_data_its_spelling() {
    let event = emitted(Data::Json("{\"amount\": 1.50}".into()));
    assert_eq!(
        event.to_json(),
        r#"{"specversion":"1.0","id":"b-1","source":"/hr","type":"com.example.badge.ordered","#.to_owned()
            + r#""time":"2026-11-21T10:33:00Z","priority":3,"urgent":true,"data":{"amount": 1.50}}"#
    );
}

#[test]
fn an_event_is_one_line_whatever_its_data() {
    let event = emitted(Data::Json("{\r\n  \"note\": \"two\\nlines\"\n}\n".into()));
    assert!(!event.to_json().contains(['\n', '\r']));
    assert_eq!(json_of(&event)["data"], json!({"note": "two\nlines"}));
}

#[test]
fn binary_data_goes_as_base64_and_no_data_as_nothing() {
    let event = json_of(&emitted(Data::Binary(Bytes::from_static(b"\xff\x00\xfe"))));
    assert_eq!((event.get("data"), &event["data_base64"]), (None, &json!("/wD+")));
    let event = json_of(&emitted(Data::Absent));
    assert_eq!((event.get("data"), event.get("data_base64")), (None, None));
    let event = json_of(&emitted(Data::Json("{broken".into())));
    assert_eq!((event.get("data"), &event["data_base64"]), (None, &json!("e2Jyb2tlbg==")));
}

#[test]
fn a_good_event_passes() {
    let mut event = emitted(Data::Absent);
    assert_eq!(event.validate(), Ok(()));
    for time in ["2026-11-21t10:33:00z", "2026-11-21T10:33:00.5+05:30", "2026-12-31T23:59:60Z"] {
        event.time = Some(time.into());
        assert_eq!(event.validate(), Ok(()), "{time}");
    }
}

#[test]
fn what_cloudevents_forbids_is_named() {
    let after = |change: &dyn Fn(&mut CloudEvent)| {
        let mut event = emitted(Data::Absent);
        change(&mut event);
        event.validate().expect_err("the change should have been refused")
    };
    let name_of = |error: AttributeError| match error {
        AttributeError::Missing(name) => name.to_owned(),
        AttributeError::Invalid { name, .. } => name,
    };
    assert_eq!(after(&|event| event.id.clear()), AttributeError::Missing("id"));
    assert_eq!(after(&|event| event.source.clear()), AttributeError::Missing("source"));
    assert_eq!(after(&|event| event.ty.clear()), AttributeError::Missing("type"));
    assert_eq!(name_of(after(&|event| event.subject = Some(String::new()))), "subject");
    assert_eq!(name_of(after(&|event| event.id = "a\tb".into())), "id");
    assert_eq!(name_of(after(&|event| event.source = "not a uri".into())), "source");
    for time in ["", "now", "2026-11-21", "2026-11-21 10:33:00Z", "2026-11-21T10:33Z", "2026-11-21T10:33:00Z[UTC]"] {
        assert_eq!(name_of(after(&|event| event.time = Some(time.into()))), "time", "{time}");
    }
    for name in ["", "camelCase", "with-hyphen", "ünï", "data", "data_base64", "specversion", "type"] {
        let refused = after(&|event| drop(event.extensions.insert(name.into(), "x".into())));
        assert_eq!(name_of(refused), name);
    }
    for value in [Value::Null, json!([]), json!({}), json!(1.5), json!("a\u{7f}")] {
        let refused = after(&|event| drop(event.extensions.insert("ext".into(), value.clone())));
        assert_eq!(name_of(refused), "ext", "{value}");
    }
}
