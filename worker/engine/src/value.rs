//! The engine's one value type and what is done with it at the edges: reading and writing JSON, equality, sizes.
//!
//! Every value inside the engine obeys: strings are UTF-8, object keys are strings, numbers are finite, nesting is at
//! most [`crate::limits::Limits::json_depth_max`]. Whatever makes a value keeps to that, so nothing here can fail on the way out.

mod json;
mod read;
mod sizes;

use crate::source::{Node, NodeValue};
pub use jaq_json::{Map, Num, Val as Value};
pub use json::{canonical, to_json, to_json_bytes, write_json};
pub use read::{from_serde, parse_json, to_serde};
pub(crate) use sizes::Sizes;

/// Why bytes are no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not JSON.
    #[error("FS-JSON-INVALID: not JSON: {0}")]
    Syntax(String),
    /// Nested too deeply.
    #[error("FS-JSON-DEPTH: nested deeper than {max} levels: flatten the data")]
    Depth {
        /// The limit.
        max: usize,
    },
    /// Too big.
    #[error("FS-JSON-SIZE: {bytes} bytes, at most {max} are taken: pass a reference to the data instead")]
    Size {
        /// How big.
        bytes: usize,
        /// The limit.
        max: usize,
    },
}

/// A string.
pub fn string(text: impl Into<String>) -> Value {
    Value::from(text.into())
}

/// An integer.
pub fn int(number: i64) -> Value {
    Value::Num(Num::from_integral(number))
}

/// A number that may have a fraction; what is not finite becomes null, as JSON has no such number.
pub fn float(number: f64) -> Value {
    match whole(number) {
        Some(integer) => int(integer),
        None if number.is_finite() => Value::from(number),
        None => Value::Null,
    }
}

/// A truth value.
pub fn bool(truth: bool) -> Value {
    Value::Bool(truth)
}

/// An array.
pub fn array(items: impl IntoIterator<Item = Value>) -> Value {
    items.into_iter().collect()
}

/// An object; keys keep this order.
pub fn object<K: Into<String>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
    Value::obj(entries.into_iter().map(|(key, value)| (string(key), value)).collect())
}

/// The empty object.
pub fn empty_object() -> Value {
    Value::obj(Map::default())
}

/// The property, if this is an object that has it.
pub fn get<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    match value {
        Value::Obj(map) => lookup(map, key),
        _ => None,
    }
}

/// The property of that name, which is a string.
pub(crate) fn lookup_key<'a>(map: &'a Map, key: &Value) -> Option<&'a Value> {
    match (map.len() <= SCANNED_KEYS_MAX, as_bytes(key)) {
        (true, Some(key)) => scan(map, key),
        _ => map.get(key),
    }
}

/// Below this a scan is cheaper than hashing a key.
const SCANNED_KEYS_MAX: usize = 8;

fn scan<'a>(map: &'a Map, key: &[u8]) -> Option<&'a Value> {
    map.iter().find(|(name, _)| as_bytes(name) == Some(key)).map(|(_, value)| value)
}

/// The property of that name.
pub(crate) fn lookup<'a>(map: &'a Map, key: &str) -> Option<&'a Value> {
    if map.len() <= SCANNED_KEYS_MAX {
        return scan(map, key.as_bytes());
    }
    map.get(&Value::utf8_str(bytes::Bytes::copy_from_slice(key.as_bytes())))
}

fn as_bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::TStr(bytes) | Value::BStr(bytes) => Some(bytes),
        _ => None,
    }
}

/// The same object with the property set; anything else than an object is replaced by one.
#[must_use]
pub fn with(value: Value, key: &str, item: Value) -> Value {
    let mut map = match value {
        Value::Obj(map) => std::sync::Arc::unwrap_or_clone(map),
        _ => Map::default(),
    };
    map.insert(string(key), item);
    Value::obj(map)
}

/// The entries of an object in their order; nothing for other types.
pub fn entries(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let map = match value {
        Value::Obj(map) => Some(map),
        _ => None,
    };
    map.into_iter().flat_map(|map| map.iter()).filter_map(|(key, value)| Some((as_str(key)?, value)))
}

/// The items, if this is an array.
pub fn as_array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Arr(items) => Some(items),
        _ => None,
    }
}

/// The text, if this is a string.
pub fn as_str(value: &Value) -> Option<&str> {
    match value {
        Value::TStr(bytes) | Value::BStr(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// The number, if this is one with an integral value that fits.
pub fn as_i64(value: &Value) -> Option<i64> {
    match value {
        Value::Num(Num::Int(number)) => i64::try_from(*number).ok(),
        Value::Num(Num::Float(number)) => whole(*number),
        _ => None,
    }
}

/// The number, if this is one.
pub fn as_f64(value: &Value) -> Option<f64> {
    jaq_std::ValT::as_f64(value)
}

/// True for everything but null and false.
pub fn truthy(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

/// True for null.
pub fn is_null(value: &Value) -> bool {
    matches!(value, Value::Null)
}

/// `null`, `boolean`, `number`, `string`, `array` or `object`.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Num(_) => "number",
        Value::TStr(_) | Value::BStr(_) => "string",
        Value::Arr(_) => "array",
        Value::Obj(_) => "object",
    }
}

/// Equality of JSON values: `3` equals `3.0`, the order of keys never matters.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Arr(a), Value::Arr(b)) if std::sync::Arc::ptr_eq(a, b) => true,
        (Value::Obj(a), Value::Obj(b)) if std::sync::Arc::ptr_eq(a, b) => true,
        (a, b) => a == b,
    }
}

/// About how many bytes this is as JSON: for limits, not for buffers.
pub fn size_bytes(value: &Value) -> usize {
    match value {
        Value::Null => 4,
        Value::Bool(_) => 5,
        Value::Num(Num::Int(number)) if (-9..100).contains(number) => 2,
        Value::Num(_) => 10,
        Value::TStr(text) | Value::BStr(text) => text.len() + 2,
        Value::Arr(items) => 2 + items.iter().map(|item| size_bytes(item) + 1).sum::<usize>(),
        Value::Obj(map) => 2 + map.iter().map(|(key, item)| size_bytes(key) + size_bytes(item) + 2).sum::<usize>(),
    }
}

/// The constant that a node of a definition stands for.
pub fn from_node(node: &Node) -> Value {
    match &node.value {
        NodeValue::Null => Value::Null,
        NodeValue::Bool(truth) => Value::Bool(*truth),
        NodeValue::Int(number) => int(*number),
        NodeValue::UInt(number) => Value::Num(Num::from_integral(*number)),
        NodeValue::Float(number) => float(*number),
        NodeValue::Str(text) => string(text.as_ref()),
        NodeValue::Seq(items) => items.iter().map(from_node).collect(),
        NodeValue::Map(entries) => object(entries.iter().map(|(key, item)| (key.text.as_ref(), from_node(item)))),
    }
}

/// Floats with an integral value below this are written as integers: beyond it neighbours are no longer told apart.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The integer that this float is, if it is one below 2^53.
pub(crate) fn whole(number: f64) -> Option<i64> {
    // The cast is exact in this range.
    (number.fract() == 0.0 && number.abs() < WHOLE_MAX).then_some(number as i64)
}

#[cfg(test)]
mod tests;
