//! Large values (D19): taken out of a snapshot, named by the hash of their bytes, and stored once.
//!
//! ```text
//! snapshot: … tag LARGE · hash …
//! large value: checksum of the rest: u64 · the value as in a snapshot, shared parts counted from 0
//! ```
//! What is taken out is always the innermost: of an object with one large field only the field, so that changes beside
//! it cost little. A value that came out of such storage is known by its address: it is neither written nor hashed again
//! as long as it is the same.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use flagstop_schemas::Hash16;

use super::codec::{Reader, Stored, Writer};
use super::{SnapshotError, checksum};
use crate::api::Value;

/// A snapshot without its large values.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The snapshot.
    pub bytes: Bytes,
    /// The large values that it refers to, directly or within each other, each once.
    pub large: Vec<LargeValue>,
}

/// A value that is stored once, by its hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeValue {
    /// The hash of its bytes.
    pub hash: Hash16,
    /// Its bytes; `None`: it is stored already, because the instance was read from a snapshot that refers to it.
    pub bytes: Option<Bytes>,
}

/// Address and length of a part of a value.
pub(super) type Place = (usize, usize);

/// The large values that an instance was read with. They are held, so that their addresses stay theirs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known(Arc<KnownValues>);

#[derive(Debug, Default)]
struct KnownValues {
    by_place: HashMap<Place, KnownValue>,
    hashes: HashSet<Hash16>,
}

#[derive(Debug)]
struct KnownValue {
    _value: Value,
    hash: Hash16,
    /// The large values within it, at any depth.
    inside: Vec<Hash16>,
}

/// Takes large values out while a snapshot is written.
pub(super) struct Split {
    bytes_min: usize,
    known: Known,
    /// Those of this snapshot that were not known.
    new: HashMap<Place, Hash16>,
    found: Vec<LargeValue>,
    /// Their places among the found.
    numbers: HashMap<Hash16, usize>,
}

/// Gives large values while a snapshot is read.
#[derive(Default)]
pub(super) struct Store {
    bytes: HashMap<Hash16, Bytes>,
    read: HashMap<Hash16, Value>,
    known: HashMap<Place, KnownValue>,
    /// The values that are being read, from the outside in, with the large ones within them.
    open: Vec<(Hash16, Vec<Hash16>)>,
}

impl Split {
    pub(super) fn new(bytes_min: usize, known: Known) -> Self {
        Self { bytes_min: bytes_min.max(1), known, new: HashMap::new(), found: Vec::new(), numbers: HashMap::new() }
    }

    /// In an order of their own: in which they were met depends on what was known before.
    pub(super) fn into_found(mut self) -> Vec<LargeValue> {
        self.found.sort_unstable_by_key(|value| value.hash);
        self.found
    }

    pub(super) fn is_large(&self, bytes: usize) -> bool {
        bytes >= self.bytes_min
    }

    /// The hash of a value that was taken out before.
    pub(super) fn hash_at(&mut self, place: Place) -> Option<Hash16> {
        if let Some(hash) = self.new.get(&place) {
            return Some(*hash);
        }
        let known = self.known.0.clone();
        let value = known.by_place.get(&place)?;
        for hash in value.inside.iter().chain([&value.hash]) {
            self.find(*hash, None);
        }
        Some(value.hash)
    }

    pub(super) fn take_out(&mut self, place: Place, body: &[u8]) -> Hash16 {
        let bytes = [&checksum(&[], body).to_be_bytes(), body].concat();
        let hash = Hash16::of("flagstop/large-value", &[&bytes]);
        self.new.insert(place, hash);
        // Made anew, but nothing new.
        let is_stored = self.known.0.hashes.contains(&hash);
        self.find(hash, (!is_stored).then(|| bytes.into()));
        hash
    }

    fn find(&mut self, hash: Hash16, bytes: Option<Bytes>) {
        match self.numbers.get(&hash) {
            // The same content twice, of which one is known: it is stored.
            Some(number) if bytes.is_none() => self.found[*number].bytes = None,
            Some(_) => {}
            None => {
                self.numbers.insert(hash, self.found.len());
                self.found.push(LargeValue { hash, bytes });
            }
        }
    }
}

impl Store {
    pub(super) fn new(bytes: HashMap<Hash16, Bytes>) -> Self {
        Self { bytes, ..Self::default() }
    }

    pub(super) fn into_known(self) -> Known {
        let hashes = self.read.into_keys().collect();
        Known(Arc::new(KnownValues { by_place: self.known, hashes }))
    }
}

/// Reads the value of a hash, once.
pub(super) fn read_large(from: &mut Reader<'_>) -> Result<Value, SnapshotError> {
    let hash = Hash16::read(from)?;
    if let Some(value) = from.store.read.get(&hash).cloned() {
        let inside = from.store.known.get(&place_of(&value)).map(|known| known.inside.clone()).unwrap_or_default();
        note(&mut from.store, hash, inside);
        return Ok(value);
    }
    let bytes = from.store.bytes.get(&hash).cloned();
    let bytes = bytes.ok_or_else(|| SnapshotError::corrupt("a large value is missing"))?;
    if from.store.open.iter().any(|(open, _)| *open == hash) {
        return Err(SnapshotError::corrupt("a large value holds itself"));
    }
    let mut store = std::mem::take(&mut from.store);
    store.open.push((hash, Vec::new()));
    let (sum, body) = bytes.split_first_chunk::<8>().ok_or_else(|| SnapshotError::corrupt("a large value is empty"))?;
    if checksum(&[], body) != u64::from_be_bytes(*sum) {
        return Err(SnapshotError::corrupt("the checksum of a large value does not fit"));
    }
    let mut inner = Reader::new(body);
    inner.store = store;
    let value = Value::read(&mut inner);
    from.store = std::mem::take(&mut inner.store);
    let value = value?;
    inner.end()?;
    let (_, inside) = from.store.open.pop().unwrap_or((hash, Vec::new()));
    from.store.read.insert(hash, value.clone());
    note(&mut from.store, hash, inside.clone());
    from.store.known.insert(place_of(&value), KnownValue { _value: value.clone(), hash, inside });
    Ok(value)
}

/// The value around now has these within it.
fn note(store: &mut Store, hash: Hash16, inside: Vec<Hash16>) {
    if let Some((_, around)) = store.open.last_mut() {
        for hash in inside.into_iter().chain([hash]) {
            if !around.contains(&hash) {
                around.push(hash);
            }
        }
    }
}

/// What tells it from every other value that lives now.
pub(super) fn place_of(value: &Value) -> Place {
    match value {
        Value::Arr(items) => (Arc::as_ptr(items).addr(), items.len()),
        Value::Obj(entries) => (Arc::as_ptr(entries).addr(), entries.len()),
        Value::TStr(text) | Value::BStr(text) => (text.as_ptr().addr(), text.len()),
        _ => (0, 0),
    }
}

impl Writer {
    /// Writes a shared part: once, or apart when it is large.
    pub(super) fn shared(&mut self, place: Place, write: impl Fn(&mut Self)) {
        self.shared_or_apart(place, Split::is_large, write);
    }

    /// Writes a part that never changes: apart, whatever its size, so that it is stored once.
    pub(super) fn piece(&mut self, piece: &Value) {
        self.shared_or_apart(place_of(piece), |_, _| true, |to| super::values::write_content(piece, to));
    }

    fn shared_or_apart(&mut self, place: Place, is_apart: fn(&Split, usize) -> bool, write: impl Fn(&mut Self)) {
        if let Some(hash) = self.split.as_mut().and_then(|split| split.hash_at(place)) {
            self.large(hash);
            return;
        }
        if self.seen(place) {
            return;
        }
        let (start, parts) = (self.len(), self.parts());
        self.remember(place);
        write(self);
        let len = self.len() - start;
        if !self.split.as_ref().is_some_and(|split| is_apart(split, len)) {
            return;
        }
        // It must stand for itself: nothing in it may refer to what lies outside.
        self.back_to(start, parts);
        let outside = self.begin_apart();
        self.remember(place);
        write(self);
        let bytes = self.end_apart(outside);
        if let Some(split) = &mut self.split {
            let hash = split.take_out(place, &bytes);
            self.large(hash);
        }
    }

    fn large(&mut self, hash: Hash16) {
        self.byte(super::values::LARGE);
        hash.write(self);
    }
}
