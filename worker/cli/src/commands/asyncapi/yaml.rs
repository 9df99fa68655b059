//! Writes JSON values as YAML: block style, and quotes wherever a reader could take a text for something else.

use serde_json::{Map, Value};

/// The value as a YAML document.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

/// A value that stands on lines of its own, at this depth.
fn write(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => mapping(map, depth, out),
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(depth, out);
                out.push_str("- ");
                match item {
                    // The first key stands behind the dash, the others below it.
                    Value::Object(map) if !map.is_empty() => {
                        let mut text = String::new();
                        mapping(map, depth + 1, &mut text);
                        out.push_str(text.trim_start());
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push_str(&item.to_string());
                        out.push('\n');
                    }
                    item => scalar(item, out),
                }
            }
        }
        value => {
            indent(depth, out);
            scalar(value, out);
        }
    }
}

fn mapping(map: &Map<String, Value>, depth: usize, out: &mut String) {
    for (key, value) in map {
        indent(depth, out);
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                write(value, depth + 1, out);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                write(value, depth + 1, out);
            }
            value => {
                out.push(' ');
                scalar(value, out);
            }
        }
    }
}

fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::String(string) => out.push_str(&text(string)),
        // Empty collections, numbers, truth values and null are the same in both languages.
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Plain where nobody can misread it; else as JSON writes it, which every YAML reader takes.
fn text(string: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain_inside = |c: char| c.is_ascii_alphanumeric() || "-_./$".contains(c);
    let plain = string.starts_with(|c: char| c.is_ascii_alphabetic() || c == '$')
        && string.chars().all(plain_inside)
        && !WORDS.contains(&string.to_ascii_lowercase().as_str());
    if plain { string.to_owned() } else { Value::from(string).to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::to_yaml;

    #[test]
    fn what_is_written_is_read_again_as_the_same_value() {
        let value = json!({
            "asyncapi": "3.0.0",
            "texts": ["a: b", "- x", "#", "", " lead", "line\nbreak", "yes", "No", "1", "1e3", "é\u{1f600}", "{x}", "a\"b\\", "~", "0x1"],
            "empty": { "map": {}, "list": [] },
            "nested": [{ "a": { "b": [1, 2.5, true, null] }, "c": [[1, [2]], []] }, [], {}],
            "$ref": "#/components/messages/x",
            "on": null,
            "io.flagstop/x-y_z": "plain.text/with-signs_",
        });
        let yaml = to_yaml(&value);
        let read = crate::value::yaml(yaml.as_bytes(), "test").unwrap();
        assert_eq!(read, value, "{yaml}");
    }
}
