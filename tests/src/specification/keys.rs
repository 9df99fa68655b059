//! All keys of the specification's JSON Schema, each as `object.key`: the objects are the schema's definitions, calls by kind.

use std::collections::BTreeSet;

use serde_json::Value;

/// The keys of a whole schema.
pub fn of(schema: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    walk(schema, "", &mut found);
    for (name, definition) in schema["$defs"].as_object().expect("the schema has definitions") {
        walk(definition, name, &mut found);
    }
    found
}

fn walk(schema: &Value, name: &str, found: &mut BTreeSet<String>) {
    if !schema.is_object() {
        return;
    }
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        if inner == &Value::Bool(false) {
            continue;
        }
        let key = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        walk(inner, &key, found);
        found.insert(key);
    }
    for group in ["oneOf", "anyOf", "allOf"] {
        for inner in schema[group].as_array().into_iter().flatten() {
            // The kinds of calls are told apart by their titles only.
            let name = if name == "callTask" { inner["title"].as_str().unwrap_or(name) } else { name };
            walk(inner, name, found);
        }
    }
    for inner in ["items", "additionalProperties"] {
        walk(&schema[inner], name, found);
    }
}
