//! Reading values from JSON that nobody vouches for, and the way to and from `serde_json`.

use super::{Map, Num, Value, ValueError, float, int, string};
use crate::limits::Limits;
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

/// Marks our own depth error among serde's.
const TOO_DEEP: &str = "nested too deeply";

/// Reads JSON. Depth and size are limited; of duplicate keys the last counts.
pub fn parse_json(bytes: &[u8], limits: &Limits) -> Result<Value, ValueError> {
    if bytes.len() > limits.payload_bytes_max {
        return Err(ValueError::Size { bytes: bytes.len(), max: limits.payload_bytes_max });
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let seed = ValueSeed { levels_left: limits.json_depth_max };
    let read = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| {
        let text = error.to_string();
        if text.contains(TOO_DEEP) || text.contains("recursion limit exceeded") {
            ValueError::Depth { max: limits.json_depth_max }
        } else {
            ValueError::Syntax(text)
        }
    })
}

/// From serde's value, which came through a reader with a depth limit.
pub fn from_serde(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(*truth),
        serde_json::Value::Number(number) => from_serde_number(number),
        serde_json::Value::String(text) => string(text.as_str()),
        serde_json::Value::Array(items) => items.iter().map(from_serde).collect(),
        serde_json::Value::Object(map) => super::object(map.iter().map(|(key, item)| (key.as_str(), from_serde(item)))),
    }
}

/// To serde's value.
pub fn to_serde(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Num(number) => to_serde_number(number),
        Value::TStr(text) | Value::BStr(text) => String::from_utf8_lossy(text).into(),
        Value::Arr(items) => items.iter().map(to_serde).collect(),
        Value::Obj(map) => {
            map.iter().map(|(key, item)| (super::as_str(key).unwrap_or_default().to_owned(), to_serde(item))).collect()
        }
    }
}

fn from_serde_number(number: &serde_json::Number) -> Value {
    if let Some(integer) = number.as_i64() {
        int(integer)
    } else if let Some(integer) = number.as_u64() {
        Value::Num(Num::from_integral(integer))
    } else {
        float(number.as_f64().unwrap_or_default())
    }
}

fn to_serde_number(number: &Num) -> serde_json::Value {
    let mut text = Vec::new();
    super::json::write_number(number, &mut text);
    // `write_number` writes JSON.
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Builds a value, counting levels.
struct ValueSeed {
    levels_left: usize,
}

impl ValueSeed {
    fn below<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.levels_left.checked_sub(1).ok_or_else(|| E::custom(TOO_DEEP))
    }
}

impl<'de> DeserializeSeed<'de> for ValueSeed {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueSeed {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(int(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Num(Num::from_integral(number)))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Value, E> {
        if number.is_finite() { Ok(float(number)) } else { Err(E::custom("number out of range")) }
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(string(text))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(string(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let levels_left = self.below()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(ValueSeed { levels_left })? {
            array.push(item);
        }
        Ok(array.into_iter().collect())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let levels_left = self.below()?;
        let mut map = Map::default();
        while let Some(key) = entries.next_key::<String>()? {
            let item = entries.next_value_seed(ValueSeed { levels_left }).map_err(A::Error::custom)?;
            map.insert(string(key), item);
        }
        Ok(Value::obj(map))
    }
}
