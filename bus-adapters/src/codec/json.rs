//! Checks that bytes are JSON that every later reader can parse: size of nesting first, in a loop, then the grammar.

use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{CodecError, CodecLimits};

/// Checks JSON text. What passes is UTF-8, well-formed, within the depth, and parses into a value.
pub(super) fn check(text: &Bytes, what: &'static str, limits: &CodecLimits) -> Result<(), CodecError> {
    check_depth(text, what, limits)?;
    serde_json::from_slice::<Checked>(text).map(|_| ()).map_err(|why| not_json(what, &why))
}

pub(super) fn not_json(what: &'static str, why: &serde_json::Error) -> CodecError {
    CodecError::NotJson { what, why: why.to_string() }
}

/// Runs over the bytes once, without recursion: 10,000-deep input must be an error, never an abort.
pub(super) fn check_depth(text: &[u8], what: &'static str, limits: &CodecLimits) -> Result<(), CodecError> {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for (offset, byte) in text.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => {
                depth += 1;
                if depth > limits.json_depth_max {
                    return Err(CodecError::TooDeep { what, depth_max: limits.json_depth_max, offset });
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

/// Visits every value and keeps none. `IgnoredAny` would let lone surrogates and numbers out of range pass.
struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Checked)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Checked, A::Error> {
        while items.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Checked, A::Error> {
        // With serde_json's number and raw value features, such values come as maps with one marked key; they are
        // only visited that way when asked for by type, which nothing here does.
        while entries.next_key::<Checked>()?.is_some() {
            entries.next_value::<Checked>()?;
        }
        Ok(Checked)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Checked, D::Error> {
        IgnoredAny::deserialize(inner).map(|_| Checked)
    }
}
