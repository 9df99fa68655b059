//! Status events as subscribers see them.

use flagstop_schemas::{Header, StatusKind, Validators, render, routing_key};
use serde_json::Value;

use crate::random::Random;
use crate::samples::{data, full, header, least, raw};

#[test]
fn a_started_event_on_the_wire() {
    assert_eq!(
        render(&header(), &full(StatusKind::WorkflowStarted, 1)).to_json(),
        r#"{"specversion":"1.0","id":"8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11-1","source":"/hr/onboarding/1.0.0","#
            .to_owned()
            + r#""type":"io.serverlessworkflow.workflow.started.v1","subject":"8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11","#
            + r#""time":"2026-11-21T10:33:00.123456Z","datacontenttype":"application/json","#
            + r#""dataschema":"https://flagstop.io/schemas/status/workflow.started.v1.schema.json","#
            + r#""businesskey":"e-1","causationid":"m-1","causationsource":"/hr/portal","#
            + r#""partitionkey":"8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11","sequence":"1","#
            + r#""data":{"name":"onboarding-8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11.hr","#
            + r#""definition":{"name":"onboarding","namespace":"hr","version":"1.0.0"},"#
            + r#""startedAt":"2026-11-21T10:33:00.123456Z"}}"#
    );
}

#[test]
fn a_faulted_task_on_the_wire() {
    assert_eq!(
        render(&Header { business_key: None, ..header() }, &full(StatusKind::TaskFaulted, 12)).to_json(),
        r#"{"specversion":"1.0","id":"8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11-12","source":"/hr/onboarding/1.0.0","#
            .to_owned()
            + r#""type":"io.serverlessworkflow.task.faulted.v1","subject":"8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11","#
            + r#""time":"2026-11-21T10:33:00.123456Z","datacontenttype":"application/json","#
            + r#""dataschema":"https://flagstop.io/schemas/status/task.faulted.v1.schema.json","#
            + r#""partitionkey":"8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11","sequence":"12","#
            + r#""data":{"workflow":"onboarding-8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11.hr","task":"/do/1/orderBadge","#
            + r#""faultedAt":"2026-11-21T10:33:00.123456Z","#
            + r#""error":{"type":"https://serverlessworkflow.io/spec/1.0.0/errors/communication","status":503,"#
            + r#""title":"Service Unavailable","detail":"no answer","instance":"/do/1/orderBadge"}}}"#
    );
}

#[test]
fn every_status_event_keeps_its_schema_with_the_least_and_with_all_it_may_carry() {
    let validators = Validators::new();
    for (sequence, kind) in (1..).zip(StatusKind::every()) {
        for event in [least(kind, sequence), full(kind, sequence)] {
            validators.check(&render(&header(), &event)).unwrap_or_else(|why| panic!("{kind:?}: {why}"));
        }
    }
}

#[test]
fn a_status_changed_event_has_an_id_and_no_number_of_its_own() {
    for (kind, whose) in [(StatusKind::WorkflowStatusChanged, "workflow"), (StatusKind::TaskStatusChanged, "task")] {
        let event = render(&header(), &least(kind, 7));
        assert_eq!(event.id, format!("8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11-7-{whose}-waiting"));
        assert_eq!(event.extensions.get("sequence"), None);
        assert_eq!(event.extensions.get("status"), None);
        assert_eq!(data(&event)["status"], "waiting");
        assert_eq!(data(&event)["updatedAt"], "2026-11-21T10:33:00.123456Z");
    }
}

#[test]
fn correlation_events_name_their_task_in_an_attribute_because_the_specification_has_no_field_for_it() {
    let event = render(&header(), &full(StatusKind::WorkflowCorrelationCompleted, 4));
    assert_eq!(event.extensions["task"], "/do/2/awaitCheck");
    assert_eq!(data(&event)["correlationKeys"]["employeeId"], "e-1");
    assert_eq!(data(&event).get("task"), None);
    let event = render(&header(), &full(StatusKind::TaskStarted, 5));
    assert_eq!(event.extensions.get("task"), None);
    assert_eq!(data(&event)["task"], "/do/1/orderBadge");
}

#[test]
fn an_output_leaves_exactly_as_it_was_written_whatever_its_type() {
    for output in ["null", "[1.0, 1e400 ,\"\\u00e9\"]", "\"done\"", "12345678901234567890123"] {
        let mut event = least(StatusKind::WorkflowCompleted, 9);
        event.output = raw(output);
        let event = render(&header(), &event);
        Validators::new().check(&event).unwrap_or_else(|why| panic!("{output}: {why}"));
        assert!(event.to_json().ends_with(&format!(",\"output\":{output}}}}}")), "{}", event.to_json());
    }
}

#[test]
fn an_output_of_any_depth_and_size_does_not_keep_its_event_back() {
    let mut event = least(StatusKind::TaskCompleted, 9);
    event.output = raw(&format!("{}{}", "[".repeat(5_000), "]".repeat(5_000)));
    assert_eq!(Validators::new().check(&render(&header(), &event)), Ok(()));
    event.output = raw(&format!("\"{}\"", "x".repeat(1_000_000)));
    assert_eq!(Validators::new().check(&render(&header(), &event)), Ok(()));
}

#[test]
fn names_with_odd_characters_are_escaped_where_they_stand() {
    let odd = Header {
        namespace: "h r".into(),
        name: "on\"board\\ing/é".into(),
        version: "1.0.0-rc.1+b%7".into(),
        business_key: Some("line\none".into()),
        ..header()
    };
    let event = render(&odd, &full(StatusKind::WorkflowStarted, 1));
    assert_eq!(event.source, "/h%20r/on%22board%5Cing%2F%C3%A9/1.0.0-rc.1+b%257");
    assert_eq!(event.extensions["businesskey"], "line\u{FFFD}one", "attributes can't hold control characters");
    let data = data(&event);
    assert_eq!(data["definition"]["name"], "on\"board\\ing/é");
    assert_eq!(data["name"], format!("on\"board\\ing/é-{}.h r", odd.instance));
    assert_eq!(Validators::new().check(&event), Ok(()));
}

#[test]
fn no_name_key_or_pointer_of_an_author_can_make_an_invalid_event() {
    let mut random = Random::new();
    let validators = Validators::new();
    for sequence in 1..=1_000 {
        let header = random.header();
        let mut event = full(random.kind(), sequence);
        event.attributes.push(("causationid", random.text().into()));
        event.task = event.task.map(|_| random.pointer());
        let event = render(&header, &event);
        validators.check(&event).unwrap_or_else(|why| panic!("{why} in {event:?}"));
        assert_eq!(serde_json::from_str::<Value>(&event.to_json()).unwrap()["data"], data(&event));
    }
}

#[test]
fn times_sort_as_texts_and_never_leave_rfc_3339() {
    let times = [i64::MIN, -1, 0, 1, 999_999, 1_000_000, crate::samples::AT_US, i64::MAX].map(|at_us| {
        let event = render(&header(), &flagstop_schemas::StatusEvent { at_us, ..least(StatusKind::TaskCreated, 1) });
        assert_eq!(Validators::new().check(&event), Ok(()), "at {at_us}");
        assert_eq!(data(&event)["createdAt"], event.time.clone().unwrap());
        event.time.unwrap()
    });
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(times[2], "1970-01-01T00:00:00.000000Z");
}

#[test]
fn the_events_own_attributes_never_replace_those_that_subscribers_order_by() {
    let mut event = full(StatusKind::TaskStarted, 7);
    event.attributes = vec![("sequence", "99".into()), ("partitionkey", "x".into()), ("attempt", 2.into())];
    let event = render(&header(), &event);
    assert_eq!(event.extensions["sequence"], "7");
    assert_eq!(event.extensions["partitionkey"], crate::samples::INSTANCE);
    assert_eq!(event.extensions["attempt"], 2);
}

#[test]
fn routing_keys_are_namespace_name_scope_and_what() {
    assert_eq!(routing_key(&header(), StatusKind::WorkflowStarted), "hr.onboarding.workflow.started");
    assert_eq!(
        routing_key(&header(), StatusKind::WorkflowCorrelationStarted),
        "hr.onboarding.workflow.correlation-started"
    );
    assert_eq!(routing_key(&header(), StatusKind::TaskRetried), "hr.onboarding.task.retried");
}

#[test]
fn ten_thousand_events_are_rendered_and_checked() {
    let validators = Validators::new();
    let header = header();
    let kinds = StatusKind::all().iter().cycle();
    let failed = (1..=10_000).zip(kinds).filter(|(sequence, kind)| {
        let event = render(&header, &full(**kind, *sequence));
        validators.check(&event).is_err() || event.id != format!("{}-{sequence}", crate::samples::INSTANCE)
    });
    assert_eq!(failed.count(), 0);
}
