//! What the validator refuses.

use flagstop_schemas::{CloudEvent, Data, StatusKind, Validators, Violation, render};
use serde_json::json;

use crate::samples::{full, header, least, raw};

/// The violation after one change to a good event.
fn after(change: impl FnOnce(&mut CloudEvent)) -> String {
    let mut event = render(&header(), &full(StatusKind::WorkflowStarted, 3));
    change(&mut event);
    Validators::new().check(&event).expect_err("the change should have been refused").to_string()
}

fn put(name: &'static str, value: serde_json::Value) -> impl FnOnce(&mut CloudEvent) {
    move |event| drop(event.extensions.insert(name.to_owned(), value))
}

#[test]
fn each_rule_of_the_envelope_is_checked_and_named() {
    let cases = [
        (after(|event| event.ty = "io.serverlessworkflow.workflow.exploded.v1".into()), "FS-STATUS-TYPE"),
        (after(|event| event.subject = None), "`subject`"),
        (after(|event| event.subject = Some("e-1".into())), "`subject`"),
        (after(|event| event.time = None), "`time`"),
        (after(|event| event.time = Some("2026-11-21".into())), "`time`"),
        (after(|event| event.datacontenttype = None), "`datacontenttype`"),
        (after(|event| event.dataschema = Some(StatusKind::TaskCreated.schema_id().into())), "`dataschema`"),
        (after(|event| event.id.push('0')), "`id`"),
        (after(|event| event.id.clear()), "`id`"),
        (after(|event| event.source = "hr/onboarding/1.0.0".into()), "`source`"),
        (after(|event| event.source = "/hr//1.0.0".into()), "`source`"),
        (after(|event| event.source = "/hr/on boarding/1.0.0".into()), "`source`"),
        (after(|event| drop(event.extensions.remove("sequence"))), "`sequence`"),
        (after(put("sequence", json!(3))), "`sequence`"),
        (after(put("sequence", json!("03"))), "`sequence`"),
        (after(put("sequence", json!("0"))), "`sequence`"),
        (after(put("sequence", json!("+3"))), "`sequence`"),
        (after(put("sequence", json!("4"))), "`id`"),
        (after(put("partitionkey", json!("e-1"))), "`partitionkey`"),
        (after(|event| drop(event.extensions.remove("partitionkey"))), "`partitionkey`"),
        (after(put("Attempt", json!(1))), "`Attempt`"),
        (after(put("attempt", json!([1]))), "`attempt`"),
        (after(put("businesskey", json!("a\u{0}b"))), "`businesskey`"),
    ];
    for (violation, names) in cases {
        assert!(violation.contains(names), "`{violation}` should name {names}");
    }
}

#[test]
fn data_that_is_missing_binary_or_broken_is_refused() {
    for data in [Data::Absent, Data::Binary("{}".into()), Data::Json("{\"name\":".into()), Data::Json("[]".into())] {
        let violation = after(|event| event.data = data);
        assert!(violation.starts_with("FS-STATUS-DATA: "), "{violation}");
    }
    let twice = after(|event| event.data = Data::Json(r#"{"name":"a","name":"b"}"#.into()));
    assert!(twice.contains("`name` stands there twice"), "{twice}");
}

#[test]
fn data_of_another_instance_is_refused() {
    let text = r#"{"name":"onboarding-0.hr","definition":{"name":"onboarding","namespace":"hr","version":"1.0.0"},"startedAt":"2026-11-21T10:33:00Z"}"#;
    let violation = after(|event| event.data = Data::Json(text.into()));
    assert!(violation.contains("does not hold the instance's id"), "{violation}");
}

#[test]
fn a_violation_says_where_and_keeps_the_authors_values_out_of_the_logs() {
    let mut event = full(StatusKind::WorkflowFaulted, 3);
    event.error = raw(r#"{"type":"https://example.com/e","status":"my secret"}"#);
    let violation = Validators::new().check(&render(&header(), &event)).unwrap_err();
    let Violation::Schema { ty, place, .. } = &violation else { panic!("{violation:?}") };
    assert_eq!((*ty, place.as_str()), ("io.serverlessworkflow.workflow.faulted.v1", "/error/status"));
    assert!(!violation.to_string().contains("secret"), "{violation}");
}

#[test]
fn a_payload_where_the_specification_has_none_is_refused() {
    let checked = |event| Validators::new().check(&render(&header(), &event));
    let mut started = least(StatusKind::TaskStarted, 3);
    started.output = raw("1");
    assert!(matches!(checked(started), Err(Violation::Schema { .. })));
    let mut completed = least(StatusKind::TaskCompleted, 3);
    completed.error = raw(crate::samples::ERROR);
    assert!(matches!(checked(completed), Err(Violation::Schema { .. })));
    let mut orphan = least(StatusKind::TaskCreated, 3);
    orphan.task = None;
    assert!(matches!(checked(orphan), Err(Violation::Schema { .. })));
    let mut faulted = least(StatusKind::WorkflowFaulted, 3);
    faulted.error = None;
    assert!(matches!(checked(faulted), Err(Violation::Schema { .. })));
}
