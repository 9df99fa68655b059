//! The onboarding of employee e-1, as the other tests use it.

use flagstop_schemas::{CloudEvent, Data, Header, InstanceId, JsonText, STATUS, StatusEvent, StatusKind};
use serde_json::Value;
use uuid::Uuid;

pub const INSTANCE: &str = "8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11";
/// 2026-11-21T10:33:00.123456Z
pub const AT_US: i64 = 1_795_257_180_123_456;

pub fn header() -> Header {
    Header {
        namespace: "hr".into(),
        name: "onboarding".into(),
        version: "1.0.0".into(),
        instance: InstanceId(Uuid::parse_str(INSTANCE).unwrap()),
        business_key: Some("e-1".into()),
    }
}

pub fn raw(json: &str) -> Option<JsonText> {
    Some(JsonText::written(json.to_owned()))
}

/// An event with what its kind must carry, and nothing else.
pub fn least(kind: StatusKind, sequence: u64) -> StatusEvent {
    let is_task = kind.wire_type().contains(".task.");
    let faulted = matches!(kind, StatusKind::WorkflowFaulted | StatusKind::TaskFaulted);
    StatusEvent {
        kind,
        sequence,
        at_us: AT_US,
        task: is_task.then(|| "/do/1/orderBadge".to_owned()),
        output: None,
        error: raw(ERROR).filter(|_| faulted),
        correlation_keys: None,
        attributes: StatusKind::optional().contains(&kind).then(|| (STATUS, "waiting".into())).into_iter().collect(),
    }
}

/// An event with all that its kind may carry.
pub fn full(kind: StatusKind, sequence: u64) -> StatusEvent {
    let mut event = least(kind, sequence);
    match kind {
        StatusKind::WorkflowStarted => {
            event.attributes = vec![("causationid", "m-1".into()), ("causationsource", "/hr/portal".into())];
        }
        StatusKind::WorkflowCompleted | StatusKind::TaskCompleted => event.output = raw(r#"{"hired": true}"#),
        StatusKind::WorkflowCorrelationStarted => event.task = Some("/do/2/awaitCheck".into()),
        StatusKind::WorkflowCorrelationCompleted => {
            event.task = Some("/do/2/awaitCheck".into());
            event.correlation_keys = raw(r#"{"employeeId":"e-1"}"#);
        }
        _ => {}
    }
    event
}

pub const ERROR: &str = r#"{"type":"https://serverlessworkflow.io/spec/1.0.0/errors/communication","status":503,"title":"Service Unavailable","detail":"no answer","instance":"/do/1/orderBadge"}"#;

/// A message as an author's `emit` makes it.
pub fn emitted(data: Data) -> CloudEvent {
    CloudEvent {
        id: "b-1".into(),
        source: "/hr".into(),
        ty: "com.example.badge.ordered".into(),
        subject: None,
        time: Some("2026-11-21T10:33:00Z".into()),
        datacontenttype: None,
        dataschema: None,
        extensions: [("priority".to_owned(), Value::from(3)), ("urgent".to_owned(), Value::from(true))].into(),
        data,
    }
}

pub fn data(event: &CloudEvent) -> Value {
    match &event.data {
        Data::Json(bytes) => serde_json::from_slice(bytes).unwrap(),
        other => panic!("no JSON: {other:?}"),
    }
}
