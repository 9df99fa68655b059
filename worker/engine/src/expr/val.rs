//! jq's values for jaq: the engine's [`Value`] with what is known about it, so that limits cost nothing per element.
//!
//! `bytes` and `depth` are upper bounds: taking a child out keeps its parent's. Only where a bound exceeds a limit is
//! the value measured. Values that come in count as small: they obey the limits already.

use super::walk::{all_finite, compare, compare_as_jq, measured_depth, write};
use super::{LimitHit, meter};
use crate::value::{self, Num, Value, whole};
use bytes::Bytes;
use jaq_core::ValR;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

pub(super) type Error = jaq_core::Error<V>;

/// A value inside an evaluation.
#[derive(Clone)]
pub(super) struct V {
    pub(super) v: Value,
    /// At most this many bytes were built for it.
    bytes: u32,
    /// At most this many levels; for null, how often it was reached through a null.
    depth: u16,
    /// Holds no NaN and no infinity.
    finite: bool,
}

/// What a value that comes in counts for.
const OLD_BYTES: u32 = 16;

impl V {
    /// A value that comes in. Its depth is within the limit for JSON.
    pub(super) fn incoming(v: Value, json_depth_max: usize) -> Self {
        let depth = if is_container(&v) { u16::try_from(json_depth_max).unwrap_or(u16::MAX) } else { 0 };
        Self { v, bytes: OLD_BYTES, depth, finite: true }
    }

    pub(super) const NULL: Self = Self { v: Value::Null, bytes: 4, depth: 0, finite: true };

    /// A string that was built.
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        let text: Bytes = text.into();
        meter::build(text.len());
        Self::paid_text(text)
    }

    /// A string whose building is paid for already.
    pub(super) fn paid_text(text: Bytes) -> Self {
        let bytes = u32::try_from(text.len() + 2).unwrap_or(u32::MAX);
        Self { v: Value::utf8_str(text), bytes, depth: 0, finite: true }
    }

    /// A string constant.
    pub(super) fn word(text: &'static str) -> Self {
        Self { v: Value::utf8_str(text.as_bytes()), bytes: OLD_BYTES, depth: 0, finite: true }
    }

    pub(super) fn int(number: i64) -> Self {
        Self { v: value::int(number), bytes: 8, depth: 0, finite: true }
    }

    /// A number, normalised: what is integral becomes an integer.
    pub(super) fn float(number: f64) -> Self {
        let v = whole(number).map_or_else(|| Value::from(number), value::int);
        Self { v, bytes: 8, depth: 0, finite: number.is_finite() }
    }

    /// An integer of any size: beyond 64 bits it becomes a float, as numbers do in jq.
    pub(super) fn wide(number: i128) -> Self {
        if let Ok(number) = i64::try_from(number) {
            return Self::int(number);
        }
        match u64::try_from(number) {
            Ok(number) => Self { v: Value::Num(Num::from_integral(number)), bytes: 8, depth: 0, finite: true },
            Err(_) => Self::float(number as f64),
        }
    }

    /// An array that was built from `items`.
    pub(super) fn array(items: impl IntoIterator<Item = Self>) -> Self {
        let mut whole = Made::default();
        let items: Vec<Value> = items.into_iter().map(|item| whole.add(item)).collect();
        whole.container(Value::Arr(Arc::new(items)))
    }

    /// A container that was changed: `part` went into it.
    pub(super) fn grown(v: Value, whole: Known, parts: impl IntoIterator<Item = Known>) -> Self {
        let mut made = Made { bytes: whole.bytes, depth: whole.depth.saturating_sub(1), finite: whole.finite };
        parts.into_iter().for_each(|part| made.note(part));
        made.container(v)
    }

    /// Two containers of one type as one.
    pub(super) fn joined(v: Value, a: Known, b: Known) -> Self {
        Self { v, bytes: a.bytes.saturating_add(b.bytes), depth: a.depth.max(b.depth), finite: a.finite && b.finite }
    }

    /// A child of this value.
    pub(super) fn child(&self, v: Value) -> Self {
        self.known().child(v)
    }

    pub(super) fn known(&self) -> Known {
        let depth = if is_container(&self.v) { self.depth } else { 0 };
        Known { bytes: self.bytes, depth, finite: self.finite }
    }

    /// What indexing null gives: null, but not for ever, since the path to it would grow without bound.
    pub(super) fn null_below(&self) -> Self {
        if self.depth >= meter::depth_max() {
            meter::stop(LimitHit::Depth);
        }
        Self { depth: self.depth + 1, ..Self::NULL }
    }

    pub(super) fn as_text(&self) -> Option<&[u8]> {
        match &self.v {
            Value::TStr(text) | Value::BStr(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        value::type_name(&self.v)
    }

    /// `number (1)`, as jq's errors name values.
    pub(super) fn described(&self) -> String {
        /// As many bytes as jq shows.
        const SHOWN_BYTES: usize = 11;
        format!("{} ({})", self.kind(), self.shown(SHOWN_BYTES))
    }

    /// The beginning of its JSON.
    fn shown(&self, bytes: usize) -> String {
        let mut text = Vec::new();
        // Three more would be dots anyway.
        if write(&self.v, bytes + 3, &mut text).is_ok() {
            return String::from_utf8_lossy(&text).into_owned();
        }
        text.truncate(bytes);
        String::from_utf8_lossy(&text).trim_end_matches('\u{fffd}').to_owned() + "..."
    }

    /// Its JSON, within what may still be built.
    pub(super) fn to_json(&self) -> Bytes {
        let mut text = Vec::new();
        if write(&self.v, meter::bytes_left(), &mut text).is_err() {
            meter::stop(LimitHit::Bytes);
        }
        text.into()
    }

    /// The result of an evaluation, checked: finite, neither too deep nor too big.
    pub(super) fn into_result(self, output_bytes_max: usize, depth_max: usize) -> Result<Value, super::ExprError> {
        let known = self.known();
        if !known.finite && !all_finite(&self.v) {
            return Err(super::ExprError::NotFinite);
        }
        if usize::from(known.depth) > depth_max && usize::from(measured_depth(&self.v)) > depth_max {
            return Err(super::ExprError::Limit(LimitHit::Depth));
        }
        if known.bytes as usize > output_bytes_max && write(&self.v, output_bytes_max, &mut Vec::new()).is_err() {
            return Err(super::ExprError::Limit(LimitHit::Output));
        }
        Ok(self.v)
    }
}

/// What is known about a value.
#[derive(Clone, Copy)]
pub(super) struct Known {
    bytes: u32,
    depth: u16,
    finite: bool,
}

impl Known {
    /// The value of which this is known, after it was taken apart.
    pub(super) fn same(self, v: Value) -> V {
        V { v, bytes: self.bytes, depth: self.depth, finite: self.finite }
    }

    /// About as many of the same.
    pub(super) fn times(self, count: usize) -> Self {
        Self { bytes: self.bytes.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)), ..self }
    }

    /// About a child of a value of which this is known.
    pub(super) fn child(self, v: Value) -> V {
        match &v {
            Value::Arr(_) | Value::Obj(_) => {
                V { v, bytes: self.bytes, depth: self.depth.saturating_sub(1), finite: self.finite }
            }
            Value::TStr(text) | Value::BStr(text) => {
                let bytes = self.bytes.min(u32::try_from(text.len() + 2).unwrap_or(u32::MAX));
                V { v, bytes, depth: 0, finite: true }
            }
            Value::Num(Num::Float(number)) => V { finite: number.is_finite(), v, bytes: 8, depth: 0 },
            _ => V { v, bytes: 8, depth: 0, finite: true },
        }
    }
}

/// What is known about a container while it is built.
pub(super) struct Made {
    bytes: u32,
    depth: u16,
    finite: bool,
}

impl Default for Made {
    fn default() -> Self {
        Self { bytes: 2, depth: 0, finite: true }
    }
}

impl Made {
    /// One more element.
    pub(super) fn add(&mut self, element: V) -> Value {
        self.note(element.known());
        element.v
    }

    pub(super) fn note(&mut self, element: Known) {
        /// Memory of one element beside its content.
        const ELEMENT_BYTES: usize = 16;
        meter::charge(1);
        meter::build(ELEMENT_BYTES);
        self.bytes = self.bytes.saturating_add(element.bytes).saturating_add(2);
        self.depth = self.depth.max(element.depth);
        self.finite &= element.finite;
    }

    /// The container is whole.
    pub(super) fn container(self, v: Value) -> V {
        let mut depth = self.depth.saturating_add(1);
        if depth > meter::depth_max() {
            depth = measured_depth(&v);
            if depth > meter::depth_max() {
                meter::stop(LimitHit::Depth);
            }
        }
        V { v, bytes: self.bytes, depth, finite: self.finite }
    }
}

pub(super) fn is_container(v: &Value) -> bool {
    matches!(v, Value::Arr(_) | Value::Obj(_))
}

impl PartialEq for V {
    fn eq(&self, other: &Self) -> bool {
        // NaN equals nothing, not even inside of arrays.
        compare_as_jq(&self.v, &other.v).is_eq()
    }
}

impl Eq for V {}

// jq says `nan < nan`, which no total order can.
#[allow(clippy::non_canonical_partial_ord_impl)]
impl PartialOrd for V {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(compare_as_jq(&self.v, &other.v))
    }
}

impl Ord for V {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(&self.v, &other.v)
    }
}

impl fmt::Display for V {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Only for messages, so never long.
        const SHOWN_BYTES: usize = 60;
        f.write_str(&self.shown(SHOWN_BYTES))
    }
}

impl From<bool> for V {
    fn from(truth: bool) -> Self {
        Self { v: Value::Bool(truth), bytes: 5, depth: 0, finite: true }
    }
}

impl From<isize> for V {
    fn from(number: isize) -> Self {
        Self { v: Value::from(number), bytes: 8, depth: 0, finite: true }
    }
}

impl From<usize> for V {
    fn from(number: usize) -> Self {
        Self::wide(number as i128)
    }
}

impl From<f64> for V {
    fn from(number: f64) -> Self {
        Self::float(number)
    }
}

impl From<String> for V {
    fn from(text: String) -> Self {
        Self::text(text)
    }
}

impl From<jaq_core::val::Range<V>> for V {
    fn from(range: jaq_core::val::Range<V>) -> Self {
        /// Only paths hold slices. A path is a list that is dropped recursively, and slicing, unlike indexing, never
        /// comes to an end by itself: so this keeps paths short.
        const STEPS: usize = 1_000;
        meter::charge(STEPS);
        let entries = [("start", range.start), ("end", range.end)];
        let entries = entries.map(|(key, bound)| (Self::word(key), bound.unwrap_or(Self::NULL)));
        // The keys are strings.
        object(entries).unwrap_or(Self::NULL)
    }
}

impl FromIterator<V> for V {
    fn from_iter<I: IntoIterator<Item = V>>(items: I) -> Self {
        Self::array(items)
    }
}

/// An object that was built from entries.
pub(super) fn object(entries: impl IntoIterator<Item = (V, V)>) -> ValR<V> {
    let entries = entries.into_iter();
    let mut object = ObjectMaker::with_capacity(entries.size_hint().0);
    for (key, item) in entries {
        object.insert(key, item)?;
    }
    Ok(object.made())
}

/// An object while it is built.
pub(super) struct ObjectMaker {
    made: Made,
    map: value::Map,
}

impl ObjectMaker {
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self { made: Made::default(), map: value::Map::with_capacity_and_hasher(entries, Default::default()) }
    }

    pub(super) fn insert(&mut self, key: V, item: V) -> Result<(), Error> {
        if key.as_text().is_none() {
            return Err(Error::str(format_args!("Cannot use {} as object key", key.described())));
        }
        let key = self.made.add(key);
        self.map.insert(key, self.made.add(item));
        Ok(())
    }

    pub(super) fn made(self) -> V {
        self.made.container(Value::obj(self.map))
    }
}
