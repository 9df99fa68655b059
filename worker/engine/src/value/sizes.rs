//! Sizes of values, remembered for the large ones: data that is handed on from task to task is measured once, not at
//! every task.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::json::{write_number, write_text};
use super::{Map, Num, Value};

/// How large a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    /// Its length as JSON text.
    pub(crate) json_bytes: usize,
    /// Levels of nesting: 0 for a scalar, 1 for an array of scalars.
    pub(crate) depth: usize,
}

/// The sizes of the large values that were measured last. Its copies remember together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sizes(Arc<Mutex<VecDeque<(Value, Size)>>>);

/// So many values are remembered: those that were asked for last. Each is kept alive meanwhile.
const REMEMBERED_MAX: usize = 8;
/// Measuring a smaller one again costs less than looking it up.
const REMEMBERED_BYTES_MIN: usize = 4 << 10;

impl Sizes {
    /// Nothing large has been measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// The size of a value. The walk is as deep as the value, which is put together of values within the limit on nesting.
    pub(crate) fn measure(&self, value: &Value) -> Size {
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        measure(value, &mut remembered)
    }
}

fn measure(value: &Value, remembered: &mut VecDeque<(Value, Size)>) -> Size {
    let json_bytes = match value {
        Value::Null => 4,
        Value::Bool(truth) => 5 - usize::from(*truth),
        Value::Num(number) => number_bytes(number),
        Value::TStr(text) | Value::BStr(text) => text_bytes(text),
        Value::Arr(items) => return container(value, items.len(), items.iter().map(|item| (0, item)), remembered),
        Value::Obj(map) => return container(value, map.len(), properties(map), remembered),
    };
    Size { json_bytes, depth: 0 }
}

/// Each value with the bytes of its name and the colon.
fn properties(map: &Map) -> impl Iterator<Item = (usize, &Value)> {
    map.iter().map(|(key, item)| match key {
        Value::TStr(text) | Value::BStr(text) => (text_bytes(text) + 1, item),
        _ => (1, item),
    })
}

fn container<'a>(
    value: &Value,
    count: usize,
    children: impl Iterator<Item = (usize, &'a Value)>,
    remembered: &mut VecDeque<(Value, Size)>,
) -> Size {
    if let Some(place) = remembered.iter().position(|(known, _)| is_same(known, value)) {
        let known = remembered.remove(place).expect("the position was just found");
        let size = known.1;
        remembered.push_front(known);
        return size;
    }
    // Brackets, and a comma between each two.
    let mut size = Size { json_bytes: 2 + count.saturating_sub(1), depth: 0 };
    for (name_bytes, child) in children {
        let child = measure(child, remembered);
        size.json_bytes += name_bytes + child.json_bytes;
        size.depth = size.depth.max(child.depth);
    }
    size.depth += 1;
    if size.json_bytes >= REMEMBERED_BYTES_MIN {
        remembered.truncate(REMEMBERED_MAX - 1);
        remembered.push_front((value.clone(), size));
    }
    size
}

/// The same place in memory: what is kept alive here can't have become something else.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Arr(a), Value::Arr(b)) => Arc::ptr_eq(a, b),
        (Value::Obj(a), Value::Obj(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

fn number_bytes(number: &Num) -> usize {
    match number {
        Num::Int(integer) => {
            let digits = integer.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1;
            digits + usize::from(*integer < 0)
        }
        other => {
            let mut text = Vec::with_capacity(24);
            write_number(other, &mut text);
            text.len()
        }
    }
}

fn text_bytes(text: &[u8]) -> usize {
    let is_plain = |byte: &u8| matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\');
    if text.iter().all(is_plain) {
        return text.len() + 2;
    }
    let mut written = Vec::with_capacity(text.len() + 16);
    write_text(text, &mut written);
    written.len()
}

#[cfg(test)]
mod tests {
    use super::super::{array, int, object, parse_json, string, to_json};
    use super::*;

    #[test]
    fn a_size_is_the_length_of_the_text_and_the_levels_of_nesting() {
        let sizes = Sizes::default();
        for (text, depth) in [
            ("null", 0),
            ("true", 0),
            ("false", 0),
            ("0", 0),
            ("-9", 0),
            ("10", 0),
            ("1.5", 0),
            ("18446744073709551615", 0),
            (r#""a\"\\\nü""#, 0),
            ("[]", 1),
            ("{}", 1),
            (r#"[1,[2,{"a":[]}],{"b":null,"c":"d"}]"#, 4),
        ] {
            let value = parse_json(text.as_bytes(), &crate::Limits::default()).unwrap();
            assert_eq!(sizes.measure(&value), Size { json_bytes: to_json(&value).len(), depth }, "{text}");
        }
        assert!(sizes.is_empty(), "small values are not remembered");
    }

    #[test]
    fn what_is_large_is_remembered_whatever_it_is_put_into() {
        let sizes = Sizes::default();
        let list = array((0..10_000).map(int));
        let length = to_json(&list).len();
        assert_eq!(sizes.measure(&list), Size { json_bytes: length, depth: 1 });
        for n in 0..100 {
            let holder = object([("n", int(n)), ("list", list.clone())]);
            assert_eq!(sizes.measure(&holder), Size { json_bytes: to_json(&holder).len(), depth: 2 });
        }
        assert!(
            sizes.0.lock().unwrap().iter().any(|(known, _)| is_same(known, &list)),
            "it is asked for again and again"
        );
        assert!(sizes.0.lock().unwrap().len() <= REMEMBERED_MAX);
        let other = array((0..10_000).map(|_| string("x")));
        assert_eq!(sizes.measure(&other).json_bytes, to_json(&other).len(), "another value is another");
    }
}
