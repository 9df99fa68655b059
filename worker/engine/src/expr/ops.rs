//! jq 1.7.1's arithmetic on values.

use super::meter;
use super::val::{Error, V};
use super::walk::compare;
use crate::value::{self, Map, Num, Value};
use bytes::{Bytes, BytesMut};
use jaq_core::ValR;
use std::ops::{Add, Div, Mul, Neg, Rem, Sub};
use std::sync::Arc;

/// A number of an operation: exact as long as both are integers.
enum Number {
    Int(i128),
    Float(f64),
}

fn number(v: &Value) -> Option<Number> {
    match v {
        Value::Num(Num::Int(integer)) => Some(Number::Int(*integer as i128)),
        // At most 64 bits, see `V::wide`.
        Value::Num(Num::BigInt(integer)) => integer.to_string().parse().ok().map(Number::Int),
        Value::Num(_) => Some(Number::Float(value::as_f64(v)?)),
        _ => None,
    }
}

impl Number {
    fn float(&self) -> f64 {
        match self {
            Self::Int(integer) => *integer as f64,
            Self::Float(float) => *float,
        }
    }

    fn with(&self, other: &Self, ints: fn(i128, i128) -> Option<i128>, floats: fn(f64, f64) -> f64) -> V {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(result) = ints(*a, *b)
        {
            return V::wide(result);
        }
        V::float(floats(self.float(), other.float()))
    }

    /// Without its fraction, as `%` takes it; `None` is NaN.
    fn truncated(&self) -> Option<i128> {
        match self {
            Self::Int(integer) => Some(*integer),
            Self::Float(float) if float.is_nan() => None,
            // The cast saturates.
            Self::Float(float) => Some(i128::from(*float as i64)),
        }
    }
}

fn numbers(a: &V, b: &V) -> Option<(Number, Number)> {
    Some((number(&a.v)?, number(&b.v)?))
}

fn refused(a: &V, b: &V, what: &str) -> ValR<V> {
    Err(Error::str(format_args!("{} and {} cannot be {what}", a.described(), b.described())))
}

/// Pays for changing a container that others may hold too: then it is copied.
pub(super) fn pay_copy<T>(shared: &Arc<T>, len: usize) {
    if Arc::strong_count(shared) > 1 {
        pay_items(len);
    }
}

fn pay_items(len: usize) {
    meter::charge(len / 4);
    meter::build(len * size_of::<Value>());
}

impl Add for V {
    type Output = ValR<Self>;
    fn add(self, other: Self) -> ValR<Self> {
        meter::step();
        if let Some((a, b)) = numbers(&self, &other) {
            return Ok(a.with(&b, i128::checked_add, |a, b| a + b));
        }
        let (known_a, known_b) = (self.known(), other.known());
        match (self.v, other.v) {
            (Value::Null, v) => Ok(known_b.same(v)),
            (v, Value::Null) => Ok(known_a.same(v)),
            (Value::TStr(a), Value::TStr(b)) => {
                meter::charge(b.len() / 64);
                meter::build(b.len());
                let mut text = BytesMut::from(*a);
                text.extend_from_slice(&b);
                Ok(Self::paid_text(text.freeze()))
            }
            (Value::Arr(mut a), Value::Arr(b)) => {
                pay_copy(&a, a.len());
                pay_items(b.len());
                Arc::make_mut(&mut a).extend(b.iter().cloned());
                Ok(Self::joined(Value::Arr(a), known_a, known_b))
            }
            (Value::Obj(mut a), Value::Obj(b)) => {
                pay_copy(&a, a.len() * 2);
                pay_items(b.len() * 2);
                Arc::make_mut(&mut a).extend(b.iter().map(|(key, item)| (key.clone(), item.clone())));
                Ok(Self::joined(Value::Obj(a), known_a, known_b))
            }
            (a, b) => refused(&known_a.same(a), &known_b.same(b), "added"),
        }
    }
}

impl Sub for V {
    type Output = ValR<Self>;
    fn sub(self, other: Self) -> ValR<Self> {
        meter::step();
        if let Some((a, b)) = numbers(&self, &other) {
            return Ok(a.with(&b, i128::checked_sub, |a, b| a - b));
        }
        let known = self.known();
        match (self.v, &other.v) {
            (Value::Arr(mut a), Value::Arr(b)) => {
                pay_copy(&a, a.len());
                let mut without: Vec<&Value> = b.iter().collect();
                without.sort_by(|a, b| compare(a, b));
                Arc::make_mut(&mut a).retain(|item| without.binary_search_by(|other| compare(other, item)).is_err());
                Ok(known.same(Value::Arr(a)))
            }
            (a, _) => refused(&known.same(a), &other, "subtracted"),
        }
    }
}

impl Mul for V {
    type Output = ValR<Self>;
    fn mul(self, other: Self) -> ValR<Self> {
        meter::step();
        match (number(&self.v), number(&other.v)) {
            (Some(a), Some(b)) => return Ok(a.with(&b, i128::checked_mul, |a, b| a * b)),
            (None, Some(times)) if self.as_text().is_some() => return Ok(repeated(&self, times.float())),
            (Some(times), None) if other.as_text().is_some() => return Ok(repeated(&other, times.float())),
            _ => {}
        }
        let (known_a, known_b) = (self.known(), other.known());
        match (self.v, other.v) {
            (Value::Obj(mut a), Value::Obj(b)) => {
                merge(&mut a, &b);
                Ok(Self::joined(Value::Obj(a), known_a, known_b))
            }
            (a, b) => refused(&known_a.same(a), &known_b.same(b), "multiplied"),
        }
    }
}

/// A string `times` over: null if less than not at all.
fn repeated(text: &V, times: f64) -> V {
    if times.is_nan() || times < 0.0 {
        return V::NULL;
    }
    // The cast saturates.
    let times = times as usize;
    let text = text.as_text().unwrap_or_default();
    meter::build(text.len().saturating_mul(times));
    V::paid_text(text.repeat(times).into())
}

/// Recursion is bounded by the depth of the values, and each level takes a step.
fn merge(a: &mut Arc<Map>, b: &Map) {
    meter::step();
    pay_copy(a, a.len() * 2);
    let a = Arc::make_mut(a);
    for (key, item) in b {
        meter::step();
        match (a.get_mut(key), item) {
            (Some(Value::Obj(a)), Value::Obj(b)) => merge(a, b),
            (Some(slot), item) => *slot = item.clone(),
            (None, item) => {
                a.insert(key.clone(), item.clone());
            }
        }
    }
}

impl Div for V {
    type Output = ValR<Self>;
    fn div(self, other: Self) -> ValR<Self> {
        meter::step();
        if let Some((a, b)) = numbers(&self, &other) {
            if b.float() == 0.0 {
                return refused(&self, &other, "divided because the divisor is zero");
            }
            let exact = |a: i128, b: i128| a.checked_rem(b).filter(|rest| *rest == 0).map(|_| a / b);
            return Ok(a.with(&b, exact, |a, b| a / b));
        }
        match (&self.v, &other.v) {
            (Value::TStr(text), Value::TStr(separator)) => Ok(split(text, separator)),
            _ => refused(&self, &other, "divided"),
        }
    }
}

fn split(text: &Bytes, separator: &Bytes) -> V {
    meter::charge((text.len() + separator.len()) / 8);
    let (Ok(whole), Ok(separator)) = (std::str::from_utf8(text), std::str::from_utf8(separator)) else {
        return V::array([]);
    };
    let part = |part: &str| V::paid_text(text.slice_ref(part.as_bytes()));
    if whole.is_empty() {
        V::array([])
    } else if separator.is_empty() {
        V::array(whole.char_indices().map(|(at, c)| part(&whole[at..at + c.len_utf8()])))
    } else {
        V::array(whole.split(separator).map(part))
    }
}

impl Rem for V {
    type Output = ValR<Self>;
    fn rem(self, other: Self) -> ValR<Self> {
        meter::step();
        let Some((a, b)) = numbers(&self, &other) else { return refused(&self, &other, "divided (remainder)") };
        match (a.truncated(), b.truncated()) {
            (Some(_), Some(0)) => refused(&self, &other, "divided (remainder) because the divisor is zero"),
            // As jq: the sign of the divisor does not matter.
            (Some(a), Some(b)) => Ok(V::wide(a % b.abs())),
            _ => Ok(V::float(f64::NAN)),
        }
    }
}

impl Neg for V {
    type Output = ValR<Self>;
    fn neg(self) -> ValR<Self> {
        meter::step();
        match number(&self.v) {
            Some(a) => Ok(Number::Int(0).with(&a, i128::checked_sub, |_, a| -a)),
            None => Err(Error::str(format_args!("{} cannot be negated", self.described()))),
        }
    }
}

/// How an array, string or null is sliced: positions from the front, within the length.
pub(super) fn slice_bounds(from: Option<&V>, upto: Option<&V>, len: usize) -> Result<(usize, usize), Error> {
    let bound = |at: Option<&V>, otherwise: usize, round: fn(f64) -> f64| match at.map(|at| &at.v) {
        None | Some(Value::Null) => Ok(otherwise),
        Some(at) => match value::as_f64(at) {
            None => Err(Error::str("Array/string slice indices must be integers")),
            Some(at) => {
                let at = round(at);
                let at = if at < 0.0 { at + len as f64 } else { at };
                // NaN counts as 0; the casts saturate.
                Ok(at.clamp(0.0, len as f64) as usize)
            }
        },
    };
    let from = bound(from, 0, f64::floor)?;
    let upto = bound(upto, len, f64::ceil)?;
    Ok((from, upto.max(from)))
}
