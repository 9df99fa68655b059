//! The schema files.

use std::collections::BTreeSet;
use std::path::Path;

use flagstop_schemas::{StatusKind, cli_schema, schema_files};
use jsonschema::{Draft, Validator};
use serde_json::{Value, json};

use crate::samples::{data, full, header};

fn compile(schema: &Value) -> Validator {
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
    options.should_ignore_unknown_formats(false).build(schema).unwrap()
}

/// Every object schema within: `properties` without `additionalProperties` would let anything through.
fn open_objects(schema: &Value, place: &str, found: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            if members.get("properties").is_some_and(Value::is_object) && !members.contains_key("additionalProperties")
            {
                found.push(place.to_owned());
            }
            for (name, member) in members.iter().filter(|(name, _)| *name != "examples") {
                open_objects(member, &format!("{place}/{name}"), found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| open_objects(item, place, found)),
        _ => {}
    }
}

#[test]
fn every_file_is_a_schema_that_says_what_it_is_and_whose_examples_keep_it() {
    for (path, text) in schema_files() {
        let schema: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{path}: {why}"));
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{path}");
        assert_eq!(schema["$id"], format!("https://flagstop.io/schemas/{path}"), "{path}");
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{path} has no title or description");
        jsonschema::draft202012::meta::validate(&schema).unwrap_or_else(|why| panic!("{path}: {why}"));
        let mut open = Vec::new();
        open_objects(&schema, "", &mut open);
        assert_eq!(open, [""; 0], "{path}: these objects let unknown fields through");

        let validator = compile(&schema);
        let examples = schema["examples"].as_array().unwrap_or_else(|| panic!("{path} has no examples"));
        assert!(!examples.is_empty(), "{path} has no examples");
        for example in examples {
            validator.validate(example).unwrap_or_else(|why| panic!("{path}: {why} at {}", why.instance_path()));
        }
    }
}

#[test]
fn every_file_stands_alone() {
    for (path, text) in schema_files() {
        assert!(!text.contains("\"$ref\""), "{path} refers to something else");
    }
}

#[test]
fn no_file_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let on_disk = ["status", "command", "cli"].into_iter().flat_map(|folder| {
        let files = std::fs::read_dir(root.join(folder)).unwrap();
        files.map(move |file| format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap()))
    });
    let embedded: BTreeSet<String> = schema_files().map(|(path, _)| path).collect();
    assert_eq!(embedded, on_disk.collect());
}

#[test]
fn every_status_event_has_its_file() {
    let files: Vec<_> = schema_files().filter(|(path, _)| path.starts_with("status/")).collect();
    assert_eq!((StatusKind::all().len(), StatusKind::optional().len()), (16, 2));
    assert_eq!(files.len(), StatusKind::every().count());
    for kind in StatusKind::every() {
        let (path, text) = files.iter().find(|(path, _)| kind.schema_id().ends_with(path.as_str())).unwrap();
        assert_eq!(*text, kind.schema_text(), "{path}");
        let word = format!("{}.{}.v1", kind.scope().as_str(), kind.what());
        assert_eq!(*path, format!("status/{word}.schema.json"));
        assert_eq!(kind.wire_type(), format!("io.serverlessworkflow.{word}"));
        assert_eq!(StatusKind::from_wire_type(kind.wire_type()), Some(kind));
    }
    assert_eq!(StatusKind::from_wire_type("com.example.hired"), None);
}

#[test]
fn the_data_of_every_status_event_has_the_specifications_fields_and_no_others() {
    let fields = |kind: StatusKind| -> (Vec<String>, Vec<String>) {
        let schema: Value = serde_json::from_str(kind.schema_text()).unwrap();
        let all = schema["properties"].as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        let required = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned());
        let required = required.collect::<BTreeSet<_>>();
        (required.iter().cloned().collect(), all.difference(&required).cloned().collect())
    };
    let is = |kind, required: &[&str], optional: &[&str]| {
        let (found_required, found_optional) = fields(kind);
        assert_eq!(found_required, required, "{kind:?}");
        assert_eq!(found_optional, optional, "{kind:?}");
    };
    is(StatusKind::WorkflowStarted, &["definition", "name", "startedAt"], &[]);
    is(StatusKind::WorkflowSuspended, &["name", "suspendedAt"], &[]);
    is(StatusKind::WorkflowResumed, &["name", "resumedAt"], &[]);
    is(StatusKind::WorkflowCorrelationStarted, &["name", "startedAt"], &[]);
    is(StatusKind::WorkflowCorrelationCompleted, &["completedAt", "name"], &["correlationKeys"]);
    is(StatusKind::WorkflowCancelled, &["cancelledAt", "name"], &[]);
    is(StatusKind::WorkflowFaulted, &["error", "faultedAt", "name"], &[]);
    is(StatusKind::WorkflowCompleted, &["completedAt", "name"], &["output"]);
    is(StatusKind::TaskCreated, &["createdAt", "task", "workflow"], &[]);
    is(StatusKind::TaskStarted, &["startedAt", "task", "workflow"], &[]);
    is(StatusKind::TaskSuspended, &["suspendedAt", "task", "workflow"], &[]);
    is(StatusKind::TaskResumed, &["resumedAt", "task", "workflow"], &[]);
    is(StatusKind::TaskRetried, &["retriedAt", "task", "workflow"], &[]);
    is(StatusKind::TaskCancelled, &["cancelledAt", "task", "workflow"], &[]);
    is(StatusKind::TaskFaulted, &["error", "faultedAt", "task", "workflow"], &[]);
    is(StatusKind::TaskCompleted, &["completedAt", "task", "workflow"], &["output"]);
    is(StatusKind::WorkflowStatusChanged, &["name", "status", "updatedAt"], &[]);
    is(StatusKind::TaskStatusChanged, &["status", "task", "updatedAt", "workflow"], &[]);
}

#[test]
fn a_field_too_few_or_too_many_is_refused_in_every_status_event() {
    for kind in StatusKind::every() {
        let schema: Value = serde_json::from_str(kind.schema_text()).unwrap();
        let validator = compile(&schema);
        let data = data(&flagstop_schemas::render(&header(), &full(kind, 1)));
        assert!(validator.is_valid(&data), "{kind:?}");
        let required = schema["required"].as_array().unwrap();
        for name in data.as_object().unwrap().keys() {
            let mut fewer = data.clone();
            fewer.as_object_mut().unwrap().remove(name);
            let may_miss = !required.contains(&json!(name));
            assert_eq!(validator.is_valid(&fewer), may_miss, "{kind:?} without `{name}`");
        }
        let mut more = data.clone();
        more["businessKey"] = "e-1".into();
        assert!(!validator.is_valid(&more), "{kind:?} with a field that the specification does not have");
        for time in [json!("yesterday"), json!(1), Value::Null] {
            let mut wrong = data.clone();
            wrong[kind.time_field()] = time.clone();
            assert!(!validator.is_valid(&wrong), "{kind:?} at {time}");
        }
        if let Some(error) = data.get("error") {
            for name in ["type", "status"] {
                let mut wrong = data.clone();
                wrong["error"] = error.clone();
                wrong["error"].as_object_mut().unwrap().remove(name);
                assert!(!validator.is_valid(&wrong), "{kind:?} with an error without `{name}`");
            }
            let mut wrong = data.clone();
            wrong["error"]["stack"] = "…".into();
            assert!(!validator.is_valid(&wrong), "{kind:?} with an unknown field in its error");
        }
    }
}

#[test]
fn the_schemas_of_the_commands_are_found_by_name() {
    let names = [
        "instances-list",
        "instances-show",
        "instances-history",
        "instances-why",
        "instances-order",
        "instances-rerun",
    ];
    for name in names.into_iter().chain([
        "validate",
        "run",
        "test",
        "deploy",
        "migrate",
        "publish",
        "bench",
        "config",
        "healthcheck",
        "schemas",
    ]) {
        let schema: Value = serde_json::from_str(cli_schema(name).unwrap()).unwrap();
        assert_eq!(schema["$id"], format!("https://flagstop.io/schemas/cli/{name}.schema.json"));
    }
    assert_eq!(cli_schema("instances-dance"), None);
}

#[test]
fn the_history_takes_every_status_event_in_its_json_form() {
    let history = compile(&serde_json::from_str(cli_schema("instances-history").unwrap()).unwrap());
    let events = StatusKind::all().iter().map(|kind| flagstop_schemas::render(&header(), &full(*kind, 1)).to_json());
    let events: Vec<Value> = events.map(|json| serde_json::from_str(&json).unwrap()).collect();
    let rows = json!([{"revision": 1, "at": "2026-11-21T10:33:00Z", "events": events}]);
    history.validate(&rows).unwrap_or_else(|why| panic!("{why}"));
}
