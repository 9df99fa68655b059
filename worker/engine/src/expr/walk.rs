//! Walks through whole values: each node takes a step, since a value that shares its parts can be far bigger than it is
//! in memory, and since recursion must show itself to the meter.

use super::meter;
use crate::value::{self, Num, Value};
use std::cmp::Ordering;
use std::sync::Arc;

pub(super) fn measured_depth(v: &Value) -> u16 {
    meter::step();
    let children = match v {
        Value::Arr(items) => items.iter().map(measured_depth).max(),
        Value::Obj(map) => map.values().map(measured_depth).max(),
        _ => return 0,
    };
    children.unwrap_or(0).saturating_add(1)
}

pub(super) fn all_finite(v: &Value) -> bool {
    meter::step();
    match v {
        Value::Num(Num::Float(number)) => number.is_finite(),
        Value::Arr(items) => items.iter().all(all_finite),
        Value::Obj(map) => map.values().all(all_finite),
        _ => true,
    }
}

/// The JSON would be longer than asked for.
pub(super) struct TooLong;

/// Writes JSON as jq's `tojson`: NaN as null, infinity as the greatest number.
pub(super) fn write(v: &Value, bytes_max: usize, out: &mut Vec<u8>) -> Result<(), TooLong> {
    meter::step();
    match v {
        Value::Num(Num::Float(number)) if !number.is_finite() => out.extend_from_slice(match number {
            number if number.is_nan() => b"null",
            number if *number > 0.0 => b"1.7976931348623157e+308",
            _ => b"-1.7976931348623157e+308",
        }),
        Value::TStr(text) | Value::BStr(text) if text.len() > bytes_max => {
            out.extend(b"\"".iter().chain(&text[..bytes_max]));
            return Err(TooLong);
        }
        Value::Arr(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, bytes_max, out)?;
            }
            out.push(b']');
        }
        Value::Obj(map) => {
            out.push(b'{');
            for (i, (key, item)) in map.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(key, bytes_max, out)?;
                out.push(b':');
                write(item, bytes_max, out)?;
            }
            out.push(b'}');
        }
        scalar => value::write_json(scalar, out),
    }
    if out.len() > bytes_max { Err(TooLong) } else { Ok(()) }
}

/// A total order of values, for sorting: NaN equals itself.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    compare_with(a, b, Ordering::Equal)
}

/// jq's order of values: NaN is less than itself.
pub(super) fn compare_as_jq(a: &Value, b: &Value) -> Ordering {
    compare_with(a, b, Ordering::Less)
}

/// Takes steps: shared values can be far bigger than they are in memory.
fn compare_with(a: &Value, b: &Value, nans: Ordering) -> Ordering {
    meter::step();
    match (a, b) {
        (Value::Arr(a), Value::Arr(b)) => {
            if Arc::ptr_eq(a, b) && nans.is_eq() {
                return Ordering::Equal;
            }
            let first = a.iter().zip(b.iter()).map(|(a, b)| compare_with(a, b, nans)).find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Obj(a), Value::Obj(b)) => {
            if Arc::ptr_eq(a, b) && nans.is_eq() {
                return Ordering::Equal;
            }
            let sorted = |map: &value::Map| {
                let mut keys: Vec<Value> = map.keys().cloned().collect();
                meter::charge(keys.len());
                keys.sort();
                keys
            };
            let keys = (sorted(a), sorted(b));
            keys.0.cmp(&keys.1).then_with(|| {
                let pairs = keys.0.iter().map(|key| compare_with(&a[key], &b[key], nans));
                pairs.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            })
        }
        (Value::Num(Num::Float(a)), Value::Num(Num::Float(b))) if a.is_nan() && b.is_nan() => nans,
        (Value::TStr(text), Value::TStr(_)) => {
            meter::charge(text.len() / 64);
            a.cmp(b)
        }
        (a, b) => a.cmp(b),
    }
}
