//! One spelling for all keys, `snake_case`, whatever spelling a crate's own configuration has.

use serde_json::Value;

/// A crate's defaults with our keys.
pub fn ours(theirs: &Value) -> Value {
    match theirs {
        Value::Object(map) => map.iter().map(|(key, value)| (snake(key), ours(value))).collect(),
        value => value.clone(),
    }
}

/// A tree with our keys as the crate reads it, by its defaults. A free map, empty by default, is left as it is.
pub fn theirs(defaults: &Value, ours: &Value) -> Value {
    match (defaults, ours) {
        (Value::Object(keys), Value::Object(map)) if !keys.is_empty() => keys
            .iter()
            .filter_map(|(key, default)| Some((key.clone(), theirs(default, map.get(&snake(key))?))))
            .collect(),
        (_, value) => value.clone(),
    }
}

fn snake(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_keep_one_spelling_there_and_back() {
        let defaults = json!({ "bodyBytesMax": 1, "names": { "deadLetters": "x" }, "producer": {} });
        assert_eq!(ours(&defaults), json!({ "body_bytes_max": 1, "names": { "dead_letters": "x" }, "producer": {} }));
        let tree = json!({ "body_bytes_max": 2, "names": { "dead_letters": "y" }, "producer": { "Linger.ms": "5" } });
        let back = json!({ "bodyBytesMax": 2, "names": { "deadLetters": "y" }, "producer": { "Linger.ms": "5" } });
        assert_eq!(theirs(&defaults, &tree), back);
    }
}
