//! What may change in a published schema without a new version, and what may not.
//!
//! Written for documents that outlive a build: stored commands, recorded events, programs that read the command line's
//! output. Whatever is not known here to be harmless counts as breaking.

use serde_json::{Map, Value};

/// Which way the documents go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Others write them (commands): what was valid stays valid.
    In,
    /// We write them (status events, answers, output): what readers count on stays there, too.
    Out,
}

/// Keywords that only speak to people.
const REMARKS: [&str; 7] = ["title", "description", "examples", "$comment", "default", "deprecated", "$schema"];

/// Keywords with a look of their own below.
const KNOWN: [&str; 10] =
    ["properties", "required", "additionalProperties", "type", "enum", "const", "items", "anyOf", "oneOf", "allOf"];

/// What breaks somebody who relies on `old`; each with its place.
pub fn breaks(old: &Value, new: &Value, way: Way) -> Vec<String> {
    let mut found = Vec::new();
    schema(old, new, way, "", &mut found);
    found
}

fn schema(old: &Value, new: &Value, way: Way, place: &str, found: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        if old != new {
            found.push(format!("{place}: was {old} and is {new}"));
        }
        return;
    };
    properties(old, new, way, place, found);
    required(old, new, way, place, found);
    additional(old, new, way, place, found);
    values(old, new, way, place, found);
    match (old.get("items"), new.get("items")) {
        (Some(old), Some(new)) => schema(old, new, way, &format!("{place}/items"), found),
        (None, None) => {}
        (None, Some(_)) => found.push(format!("{place}: items are limited now")),
        (Some(_), None) if way == Way::Out => found.push(format!("{place}: items may be anything now")),
        (Some(_), None) => {}
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        branches(word, old, new, way, place, found);
    }
    rest(old, new, way, place, found);
}

fn properties(old: &Map<String, Value>, new: &Map<String, Value>, way: Way, place: &str, found: &mut Vec<String>) {
    let members = |schema: &Map<String, Value>| schema.get("properties").and_then(Value::as_object).cloned();
    let (old, new) = (members(old).unwrap_or_default(), members(new).unwrap_or_default());
    for (name, was) in &old {
        match new.get(name) {
            Some(is) => schema(was, is, way, &format!("{place}/{name}"), found),
            None => found.push(format!("{place}/{name}: the property is gone")),
        }
    }
}

fn required(old: &Map<String, Value>, new: &Map<String, Value>, way: Way, place: &str, found: &mut Vec<String>) {
    let names = |schema: &Map<String, Value>| -> Vec<String> {
        let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
    };
    let (old, new) = (names(old), names(new));
    found.extend(new.iter().filter(|name| !old.contains(name)).map(|name| format!("{place}/{name}: is required now")));
    if way == Way::Out {
        let lost = old.iter().filter(|name| !new.contains(name));
        found.extend(lost.map(|name| format!("{place}/{name}: is no longer always there")));
    }
}

fn additional(old: &Map<String, Value>, new: &Map<String, Value>, way: Way, place: &str, found: &mut Vec<String>) {
    let open = Value::Bool(true);
    let was = old.get("additionalProperties").unwrap_or(&open);
    let is = new.get("additionalProperties").unwrap_or(&open);
    match (was, is) {
        (was, is) if was == is => {}
        (Value::Bool(false), _) if way == Way::In => {}
        (Value::Bool(false), _) => found.push(format!("{place}: unknown properties may come now")),
        (Value::Object(_), Value::Object(_)) => schema(was, is, way, &format!("{place}/*"), found),
        _ => found.push(format!("{place}: other properties are limited now")),
    }
}

/// `type`, `enum` and `const`: the set of values.
fn values(old: &Map<String, Value>, new: &Map<String, Value>, way: Way, place: &str, found: &mut Vec<String>) {
    if let (Some(was), is) = (types(old), types(new)) {
        let is = is.unwrap_or_default();
        // No type is any type.
        let narrower = !is.is_empty() && was.iter().any(|ty| !takes(&is, ty));
        let wider = is.is_empty() || is.iter().any(|ty| !takes(&was, ty));
        if narrower {
            found.push(format!("{place}: the type was {} and is {} only", was.join(" or "), is.join(" or ")));
        } else if wider && way == Way::Out {
            found.push(format!("{place}: the type was {} and may be another now", was.join(" or ")));
        }
    } else if types(new).is_some() {
        found.push(format!("{place}: the type is limited now"));
    }
    // A constant is an enumeration of one. Readers of what we write must expect new words in an enumeration.
    match (words(old), words(new)) {
        (Some(was), Some(is)) => {
            let gone = was.iter().filter(|word| !is.contains(word));
            found.extend(gone.map(|word| format!("{place}: the value {word} is gone")));
        }
        (None, Some(_)) => found.push(format!("{place}: only some values are left")),
        (Some(_), None) if way == Way::Out => found.push(format!("{place}: the value may be any now")),
        _ => {}
    }
}

fn types(schema: &Map<String, Value>) -> Option<Vec<String>> {
    match schema.get("type")? {
        Value::String(one) => Some(vec![one.clone()]),
        several => {
            Some(several.as_array().into_iter().flatten().filter_map(|ty| ty.as_str().map(str::to_owned)).collect())
        }
    }
}

/// A whole number is a number.
fn takes(types: &[String], ty: &str) -> bool {
    types.iter().any(|known| known == ty || known == "number" && ty == "integer")
}

fn words(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(words)), _) => Some(words.clone()),
        (_, Some(word)) => Some(vec![word.clone()]),
        _ => None,
    }
}

/// Alternatives keep their order; new ones come behind.
fn branches(
    word: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    way: Way,
    place: &str,
    found: &mut Vec<String>,
) {
    let list = |schema: &Map<String, Value>| schema.get(word).and_then(Value::as_array).cloned();
    let (was, is) = match (list(old), list(new)) {
        (None, None) => return,
        (None, Some(_)) => return found.push(format!("{place}: `{word}` is new")),
        (Some(_), None) => return found.push(format!("{place}: `{word}` is gone")),
        (Some(was), Some(is)) => (was, is),
    };
    for (index, was) in was.iter().enumerate() {
        match is.get(index) {
            Some(is) => schema(was, is, way, &format!("{place}/{word}/{index}"), found),
            None => found.push(format!("{place}/{word}/{index}: the alternative is gone")),
        }
    }
    // A further part of `allOf` is a further demand; a further alternative of `oneOf` may also exclude an old one.
    if is.len() > was.len() && (word != "anyOf" || way == Way::Out) {
        found.push(format!("{place}: `{word}` has more parts now"));
    }
}

/// All other keywords: bounds may be loosened for what others write, nothing else may change.
fn rest(old: &Map<String, Value>, new: &Map<String, Value>, way: Way, place: &str, found: &mut Vec<String>) {
    let known = |name: &str| REMARKS.contains(&name) || KNOWN.contains(&name);
    let mut names: Vec<&String> = old.keys().chain(new.keys()).filter(|name| !known(name)).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (was, is) = (old.get(name), new.get(name));
        let looser = match (was, is) {
            (Some(_), None) => true,
            (Some(was), Some(is)) => match (was.as_f64(), is.as_f64()) {
                (Some(was), Some(is)) => name.starts_with("min") && is < was || name.starts_with("max") && is > was,
                _ => false,
            },
            _ => false,
        };
        if was != is && !(looser && way == Way::In) {
            let text = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            found.push(format!("{place}: `{name}` was {} and is {}", text(was), text(is)));
        }
    }
}
