//! The compatibility gate: what was released stays valid and stays what readers count on. A breaking change needs a new
//! file with the next version in its name, beside the old one, which is then published for as long as promised.

use std::collections::BTreeMap;
use std::path::Path;

use flagstop_schemas::schema_files;
use serde_json::{Value, json};

use crate::compatible::{Way, breaks};

/// The folder of the files as they were released last. A release copies the current ones over them.
fn released() -> BTreeMap<String, Value> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("released");
    let mut files = BTreeMap::new();
    for folder in ["status", "command", "cli"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = file.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            files.insert(name, serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap());
        }
    }
    files
}

/// Commands come in; their answers and everything else goes out.
fn way(path: &str) -> Way {
    let answer = ["command/accepted.", "command/rejected."].iter().any(|name| path.starts_with(name));
    if path.starts_with("command/") && !answer { Way::In } else { Way::Out }
}

#[test]
fn nothing_that_was_released_breaks() {
    let current: BTreeMap<String, Value> =
        schema_files().map(|(path, text)| (path, serde_json::from_str(text).unwrap())).collect();
    let released = released();
    assert!(released.len() >= 36, "the released files are gone");
    let mut broken = Vec::new();
    for (path, old) in &released {
        match current.get(path) {
            None => broken.push(format!("{path}: the file is gone")),
            Some(new) => broken.extend(breaks(old, new, way(path)).into_iter().map(|why| format!("{path}{why}"))),
        }
    }
    assert!(
        broken.is_empty(),
        "these changes break who relies on the released schemas; leave the file as it was and add a new version of it \
         beside it (NAME.v2.schema.json):\n{}",
        broken.join("\n")
    );
}

/// An object as the schemas here describe them.
fn object() -> Value {
    json!({
        "$id": "https://flagstop.io/schemas/cli/x.schema.json",
        "title": "X",
        "type": "object",
        "properties": {
            "id": { "type": "string", "minLength": 2, "description": "Its id." },
            "status": { "type": "string", "enum": ["running", "waiting"] },
            "count": { "type": "integer", "minimum": 1 },
            "key": { "type": ["string", "null"] },
            "rows": { "type": "array", "items": { "type": "object", "properties": { "at": { "type": "string" } },
                "required": ["at"], "additionalProperties": false } },
            "where": { "anyOf": [{ "type": "string" }, { "type": "null" }] },
        },
        "required": ["id", "status"],
        "additionalProperties": false,
    })
}

/// The object with one place changed; a pointer that ends in a new name adds it, `null` removes what is there.
fn with(pointer: &str, value: Value) -> Value {
    let mut changed = object();
    let (place, name) = pointer.rsplit_once('/').unwrap();
    match changed.pointer_mut(place).unwrap() {
        Value::Object(map) if value.is_null() => {
            map.remove(name).unwrap();
        }
        Value::Object(map) => {
            map.insert(name.to_owned(), value);
        }
        Value::Array(items) => items.push(value),
        other => panic!("{place} is {other}"),
    }
    changed
}

#[test]
fn a_breaking_change_is_found() {
    let both = [Way::In, Way::Out];
    let cases: [(&str, &[Way], Value, &str); 17] = [
        ("a removed property", &both, with("/properties/key", Value::Null), "/key: the property is gone"),
        (
            "a new required property",
            &both,
            with("/required", json!(["id", "status", "count"])),
            "/count: is required now",
        ),
        ("a narrowed type", &both, with("/properties/key", json!({ "type": "string" })), "/key: the type was"),
        (
            "another type",
            &both,
            with("/properties/id", json!({ "type": "integer", "minLength": 2 })),
            "/id: the type was",
        ),
        (
            "a type where none was",
            &both,
            with("/properties/where/type", json!("string")),
            "/where: the type is limited",
        ),
        (
            "a value that is gone",
            &both,
            with("/properties/status/enum", json!(["running"])),
            "/status: the value \"waiting\" is gone",
        ),
        ("only some values", &both, with("/properties/id/enum", json!(["a1"])), "/id: only some values"),
        ("a constant", &both, with("/properties/count/const", json!(1)), "/count: only some values"),
        ("a higher minimum", &both, with("/properties/count/minimum", json!(2)), "/count: `minimum` was 1 and is 2"),
        ("a new pattern", &both, with("/properties/id/pattern", json!("^a")), "/id: `pattern` was nothing"),
        (
            "an alternative that is gone",
            &both,
            with("/properties/where/anyOf", json!([{ "type": "string" }])),
            "/where/anyOf/1: the alternative is gone",
        ),
        (
            "a change within a list",
            &both,
            with("/properties/rows/items/properties/at", Value::Null),
            "/rows/items/at: the property is gone",
        ),
        ("another identity", &both, with("/$id", json!("https://flagstop.io/schemas/cli/y.schema.json")), "`$id` was"),
        (
            "a field that readers count on",
            &[Way::Out],
            with("/required", json!(["id"])),
            "/status: is no longer always there",
        ),
        (
            "a type that readers do not expect",
            &[Way::Out],
            with("/properties/id/type", json!(["string", "null"])),
            "/id: the type was string and may be another now",
        ),
        (
            "fields that nobody announced",
            &[Way::Out],
            with("/additionalProperties", json!(true)),
            ": unknown properties",
        ),
        (
            "an alternative that readers do not expect",
            &[Way::Out],
            with("/properties/where/anyOf", json!({ "type": "integer" })),
            "/where",
        ),
    ];
    for (what, ways, new, says) in cases {
        for way in ways {
            let found = breaks(&object(), &new, *way);
            assert!(found.iter().any(|why| why.contains(says)), "{what} ({way:?}): {found:?}");
        }
    }
    let mut open = object();
    open.as_object_mut().unwrap().remove("additionalProperties");
    let tightened = breaks(&open, &object(), Way::In);
    assert_eq!(tightened, [": other properties are limited now"]);
}

#[test]
fn a_compatible_change_passes() {
    let both = [Way::In, Way::Out];
    let cases: [(&str, &[Way], Value); 8] = [
        ("nothing", &both, object()),
        ("a new optional property", &both, with("/properties/more", json!({ "type": "string" }))),
        ("another text", &both, with("/properties/id/description", json!("The id."))),
        ("another order", &both, with("/required", json!(["status", "id"]))),
        ("a new value", &both, with("/properties/status/enum", json!(["running", "waiting", "done"]))),
        ("a demand less", &[Way::In], with("/required", json!(["id"]))),
        ("a wider type", &[Way::In], with("/properties/count/type", json!("number"))),
        ("a lower minimum", &[Way::In], with("/properties/count/minimum", json!(0))),
    ];
    for (what, ways, new) in cases {
        for way in ways {
            assert_eq!(breaks(&object(), &new, *way), [""; 0], "{what} ({way:?})");
        }
    }
}
