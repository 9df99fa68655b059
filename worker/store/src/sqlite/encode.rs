//! Turns rows into two parameters: JSON text that `json_each` reads, and one blob that holds all the bytes, so that a
//! batch of any size is one statement per table with constant text. Ids are hex in the JSON (`unhex`); bytes and texts
//! are pairs of offset and length into the blob (`substr`), so that nothing is escaped and no NUL cuts a text short.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use uuid::Uuid;

/// The bytes of a batch, one after the other.
#[derive(Debug)]
pub(super) struct Heap(Vec<u8>);

/// A table's rows: a JSON array of arrays.
#[derive(Debug)]
pub(super) struct Rows(String);

impl Heap {
    /// Starts with one byte that nobody reads: of an empty blob, `substr` gives NULL.
    pub(super) fn new() -> Self {
        Self(vec![0])
    }

    /// Keeps bytes; returns their place as `substr` counts it, and their length.
    fn keep(&mut self, bytes: &[u8]) -> (usize, usize) {
        let start = self.0.len() + 1;
        self.0.extend_from_slice(bytes);
        (start, bytes.len())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl Rows {
    pub(super) fn new() -> Self {
        Self(String::new())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins the next row.
    pub(super) fn row(&mut self) -> &mut Self {
        self.0.push_str(if self.0.is_empty() { "[[" } else { "],[" });
        self
    }

    fn comma(&mut self) {
        if !self.0.ends_with('[') {
            self.0.push(',');
        }
    }

    pub(super) fn id(&mut self, id: Uuid) -> &mut Self {
        self.comma();
        write!(self.0, "\"{}\"", id.simple()).expect("writing to a String cannot fail");
        self
    }

    pub(super) fn id_or_null(&mut self, id: Option<Uuid>) -> &mut Self {
        match id {
            Some(id) => self.id(id),
            None => self.null(),
        }
    }

    pub(super) fn int(&mut self, number: impl Into<i64>) -> &mut Self {
        self.comma();
        write!(self.0, "{}", number.into()).expect("writing to a String cannot fail");
        self
    }

    pub(super) fn int_or_null(&mut self, number: Option<i64>) -> &mut Self {
        match number {
            Some(number) => self.int(number),
            None => self.null(),
        }
    }

    /// Takes two places in the row: where the bytes start in the heap, and how many they are.
    pub(super) fn bytes(&mut self, heap: &mut Heap, bytes: &[u8]) -> &mut Self {
        let (start, length) = heap.keep(bytes);
        self.comma();
        write!(self.0, "{start},{length}").expect("writing to a String cannot fail");
        self
    }

    /// Like [`Rows::bytes`]; two nulls for nothing, of which `substr` makes NULL.
    pub(super) fn text_or_null(&mut self, heap: &mut Heap, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.bytes(heap, text.as_bytes()),
            None => self.null().null(),
        }
    }

    fn null(&mut self) -> &mut Self {
        self.comma();
        self.0.push_str("null");
        self
    }

    /// The parameter.
    pub(super) fn into_json(mut self) -> String {
        self.0.push_str(if self.0.is_empty() { "[]" } else { "]]" });
        self.0
    }
}

/// A flat JSON array of ids, each once and sorted, so that the look-ups walk the index in its own order.
pub(super) fn ids(ids: impl IntoIterator<Item = Uuid>) -> String {
    let ids: BTreeSet<Uuid> = ids.into_iter().collect();
    let mut json = String::with_capacity(2 + ids.len() * 35);
    json.push('[');
    for id in ids {
        let comma = if json.len() > 1 { "," } else { "" };
        write!(json, "{comma}\"{}\"", id.simple()).expect("writing to a String cannot fail");
    }
    json.push(']');
    json
}

/// A flat JSON array of numbers.
pub(super) fn ints<T: Into<i64>>(numbers: impl IntoIterator<Item = T>) -> String {
    let mut json = String::from("[");
    for number in numbers {
        let comma = if json.len() > 1 { "," } else { "" };
        write!(json, "{comma}{}", number.into()).expect("writing to a String cannot fail");
    }
    json.push(']');
    json
}
