//! jq 1.7.1's reading and changing of parts of values: what jaq calls with each path.
//!
//! Unlike jaq's own value: null becomes what a path needs, arrays grow, deleting keeps the order, numbers with a
//! fraction index without it, only strings are keys.

use super::meter;
use super::ops::{pay_copy, slice_bounds};
use super::val::{Error, Made, V, object};
use crate::value::{self, Map, Value};
use bytes::Bytes;
use jaq_core::box_iter::box_once;
use jaq_core::path::Opt;
use jaq_core::val::Range;
use jaq_core::{Exn, ValR, ValX};
use std::sync::Arc;

type Items<T> = Box<dyn Iterator<Item = T>>;

/// As jq: beyond this an index is a mistake.
const INDEX_MAX: f64 = 536_870_911.0;

fn not_indexable(v: &V, index: &V) -> Error {
    /// Longer keys are not shown.
    const KEY_BYTES_MAX: usize = 30;
    match index.as_text() {
        Some(key) if key.len() < KEY_BYTES_MAX => {
            let key = String::from_utf8_lossy(key);
            Error::str(format_args!("Cannot index {} with string \"{key}\"", v.kind()))
        }
        _ => Error::str(format_args!("Cannot index {} with {}", v.kind(), index.kind())),
    }
}

fn not_iterable(v: &V) -> Error {
    Error::str(format_args!("Cannot iterate over {}", v.described()))
}

/// A position from the front; `None` is before the front or NaN.
fn position(index: f64, len: usize) -> Option<usize> {
    let index = index.trunc();
    let index = if index < 0.0 { index + len as f64 } else { index };
    // The cast saturates.
    (index >= 0.0).then_some(index as usize)
}

/// `start` and `end` of an object that stands for a slice.
fn slice_of(index: &V) -> Option<(V, V)> {
    match &index.v {
        Value::Obj(map) => {
            let bound = |key| value::lookup(map, key).map_or(V::NULL, |bound| index.child(bound.clone()));
            Some((bound("start"), bound("end")))
        }
        _ => None,
    }
}

impl jaq_core::ValT for V {
    fn from_num(text: &str) -> ValR<Self> {
        match text.parse::<i128>() {
            Ok(integer) => Ok(Self::wide(integer)),
            Err(_) => Ok(Self::float(text.parse().unwrap_or(f64::NAN))),
        }
    }

    fn from_map<I: IntoIterator<Item = (Self, Self)>>(entries: I) -> ValR<Self> {
        object(entries)
    }

    fn key_values(self) -> Items<Result<(Self, Self), Error>> {
        meter::step();
        let known = self.known();
        match self.v {
            Value::Arr(items) => Box::new((0..items.len()).map(move |at| {
                meter::step();
                Ok((Self::from(at), known.child(items[at].clone())))
            })),
            Value::Obj(map) => Box::new((0..map.len()).filter_map(move |at| {
                meter::step();
                map.get_index(at).map(|(key, item)| Ok((known.child(key.clone()), known.child(item.clone()))))
            })),
            v => box_once(Err(Error::str(format_args!("{} has no keys", known.same(v).described())))),
        }
    }

    fn values(self) -> Items<ValR<Self>> {
        meter::step();
        let known = self.known();
        match self.v {
            Value::Arr(items) => Box::new((0..items.len()).map(move |at| {
                meter::step();
                Ok(known.child(items[at].clone()))
            })),
            Value::Obj(map) => Box::new((0..map.len()).map(move |at| {
                meter::step();
                Ok(known.child(map[at].clone()))
            })),
            v => box_once(Err(not_iterable(&known.same(v)))),
        }
    }

    fn index(self, index: &Self) -> ValR<Self> {
        meter::step();
        if let Some((from, upto)) = slice_of(index)
            && !matches!(self.v, Value::Obj(_))
        {
            return self.range(Some(&from)..Some(&upto));
        }
        match (&self.v, &index.v) {
            (Value::Obj(map), Value::TStr(_)) => {
                Ok(map.get(&index.v).map_or(Self::NULL, |item| self.child(item.clone())))
            }
            (Value::Arr(items), Value::Num(_)) => {
                let at = value::as_f64(&index.v).and_then(|at| position(at, items.len()));
                Ok(at.and_then(|at| items.get(at)).map_or(Self::NULL, |item| self.child(item.clone())))
            }
            (Value::Null, Value::TStr(_) | Value::Num(_)) => Ok(self.null_below()),
            (Value::Arr(_), Value::Arr(_)) => super::natives::indices(&self, index),
            _ => Err(not_indexable(&self, index)),
        }
    }

    fn range(self, range: Range<&Self>) -> ValR<Self> {
        meter::step();
        if value::is_null(&self.v) {
            return Ok(self.null_below());
        }
        let known = self.known();
        match self.v {
            Value::Arr(items) => {
                let (from, upto) = slice_bounds(range.start, range.end, items.len())?;
                if (from, upto) == (0, items.len()) {
                    return Ok(known.same(Value::Arr(items)));
                }
                Ok(Self::array(items[from..upto].iter().map(|item| known.child(item.clone()))))
            }
            Value::TStr(text) => {
                let chars = std::str::from_utf8(&text).unwrap_or_default();
                meter::charge(chars.len() / 16);
                let (from, upto) = slice_bounds(range.start, range.end, chars.chars().count())?;
                let byte = |at| chars.char_indices().nth(at).map_or(chars.len(), |(byte, _)| byte);
                Ok(Self::paid_text(text.slice(byte(from)..byte(upto))))
            }
            v => Err(Error::str(format_args!("Cannot index {} with object", known.same(v).kind()))),
        }
    }

    fn map_values<'a, I: Iterator<Item = ValX<'a, Self>>>(self, opt: Opt, f: impl Fn(Self) -> I) -> ValX<'a, Self> {
        let known = self.known();
        let mut made = Made::default();
        match self.v {
            Value::Arr(items) => {
                let mut out = Vec::with_capacity(items.len());
                for item in unshared(items) {
                    if let Some(item) = f(known.child(item)).next() {
                        out.push(made.add(item?));
                    }
                }
                Ok(made.container(Value::Arr(Arc::new(out))))
            }
            Value::Obj(map) => {
                let mut out = Map::default();
                for (key, item) in unshared(map) {
                    if let Some(item) = f(known.child(item)).next() {
                        out.insert(key, made.add(item?));
                    }
                }
                Ok(made.container(Value::obj(out)))
            }
            v => opt.fail(known.same(v), |v| Exn::from(not_iterable(&v))),
        }
    }

    fn map_index<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        index: &Self,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        meter::step();
        if let Some((from, upto)) = slice_of(index)
            && !matches!(self.v, Value::Obj(_))
        {
            return self.map_range(Some(&from)..Some(&upto), opt, f);
        }
        let known = self.known();
        match (self.v, &index.v) {
            (Value::Null, Value::TStr(_)) => {
                // Nothing is made when there is nothing to put into it.
                match f(Self::NULL).next() {
                    Some(item) => Ok(object([(index.clone(), item?)])?),
                    None => Ok(Self::NULL),
                }
            }
            (Value::Obj(mut map), Value::TStr(_)) => {
                pay_copy(&map, map.len() * 2);
                let entries = Arc::make_mut(&mut map);
                let old = entries.get_mut(&index.v).map(std::mem::take);
                match f(old.map_or(Self::NULL, |old| known.child(old))).next() {
                    Some(item) => {
                        let item = item?;
                        let part = item.known();
                        entries.insert(index.v.clone(), item.v);
                        Ok(Self::grown(Value::Obj(map), known, [part]))
                    }
                    None => {
                        entries.shift_remove(&index.v);
                        Ok(known.same(Value::Obj(map)))
                    }
                }
            }
            (Value::Null, Value::Num(_)) => map_item(Arc::default(), Self::NULL.known(), index, f),
            (Value::Arr(items), Value::Num(_)) => map_item(items, known, index, f),
            (v, _) => opt.fail(known.same(v), |v| Exn::from(not_indexable(&v, index))),
        }
    }

    fn map_range<'a, I: Iterator<Item = ValX<'a, Self>>>(
        self,
        range: Range<&Self>,
        opt: Opt,
        f: impl Fn(Self) -> I,
    ) -> ValX<'a, Self> {
        meter::step();
        let known = self.known();
        let mut items = match self.v {
            Value::Null => Arc::default(),
            Value::Arr(items) => items,
            v => {
                let fail = |v: Self| Error::str(format_args!("Cannot update field at object index of {}", v.kind()));
                return opt.fail(known.same(v), |v| Exn::from(fail(v)));
            }
        };
        let (from, upto) = slice_bounds(range.start, range.end, items.len())?;
        let part = Self::array(items[from..upto].iter().map(|item| known.child(item.clone())));
        let new = match f(part).next() {
            Some(new) => new?,
            None => Self::array([]),
        };
        let Value::Arr(replacement) = &new.v else {
            return Err(Error::str("A slice of an array can only be assigned another array").into());
        };
        pay_copy(&items, items.len());
        meter::charge(replacement.len());
        Arc::make_mut(&mut items).splice(from..upto, replacement.iter().cloned());
        Ok(Self::joined(Value::Arr(items), known, new.known()))
    }

    fn as_bool(&self) -> bool {
        value::truthy(&self.v)
    }

    fn into_string(self) -> Self {
        match self.as_text() {
            Some(_) => self,
            None => Self::text(self.to_json()),
        }
    }
}

/// Changes one item of an array, which grows as far as needed.
fn map_item<'a, I: Iterator<Item = ValX<'a, V>>>(
    mut items: Arc<Vec<Value>>,
    known: super::val::Known,
    index: &V,
    f: impl Fn(V) -> I,
) -> ValX<'a, V> {
    let at = value::as_f64(&index.v).unwrap_or(f64::NAN);
    let Some(at) = position(at, items.len()) else {
        return Err(Error::str("Out of bounds negative array index").into());
    };
    if at as f64 > INDEX_MAX {
        return Err(Error::str("Array index too large").into());
    }
    pay_copy(&items, items.len());
    let list = Arc::make_mut(&mut items);
    let old = list.get_mut(at).map(std::mem::take);
    match f(old.map_or(V::NULL, |old| known.child(old))).next() {
        Some(item) => {
            let item = item?;
            let part = item.known();
            let missing = (at + 1).saturating_sub(list.len());
            meter::charge(missing);
            meter::build(missing * size_of::<Value>());
            list.resize(list.len() + missing, Value::Null);
            list[at] = item.v;
            let padding = V::NULL.known().times(missing);
            Ok(V::grown(Value::Arr(items), known, [part, padding]))
        }
        None => {
            if at < list.len() {
                list.remove(at);
            }
            Ok(known.same(Value::Arr(items)))
        }
    }
}

fn unshared<T: Clone>(shared: Arc<T>) -> T {
    Arc::unwrap_or_clone(shared)
}

impl jaq_std::ValT for V {
    fn into_seq<S: FromIterator<Self>>(self) -> Result<S, Self> {
        let known = self.known();
        match self.v {
            Value::Arr(items) => {
                meter::charge(items.len());
                Ok(unshared(items).into_iter().map(|item| known.child(item)).collect())
            }
            v => Err(known.same(v)),
        }
    }

    fn is_int(&self) -> bool {
        self.v.is_int()
    }

    fn as_isize(&self) -> Option<isize> {
        self.v.as_isize()
    }

    fn as_f64(&self) -> Option<f64> {
        value::as_f64(&self.v)
    }

    fn is_utf8_str(&self) -> bool {
        self.as_text().is_some()
    }

    fn as_bytes(&self) -> Option<&[u8]> {
        let text = self.as_text();
        meter::charge(text.map_or(0, |text| text.len() / 64));
        text
    }

    fn as_sub_str(&self, sub: &[u8]) -> Self {
        match &self.v {
            Value::TStr(text) => Self::paid_text(text.slice_ref(sub)),
            _ => Self::text(sub.to_vec()),
        }
    }

    fn from_utf8_bytes(bytes: impl AsRef<[u8]> + Send + 'static) -> Self {
        // Whatever a filter makes of text, a string is UTF-8.
        match std::str::from_utf8(bytes.as_ref()) {
            Ok(_) => Self::text(Bytes::from_owner(bytes)),
            Err(_) => Self::text(String::from_utf8_lossy(bytes.as_ref()).into_owned()),
        }
    }
}
