//! How plain data goes into a snapshot and comes out again.

use std::collections::{BTreeMap, HashMap};

use flagstop_schemas::Hash16;

use super::SnapshotError;
use super::large::{Place, Split, Store};
use crate::api::Value;

/// What can be part of a snapshot.
pub(crate) trait Stored: Sized {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError>;
}

/// Appends to a snapshot's body.
#[derive(Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
    /// The shared parts that were already written, and their number.
    written: HashMap<Place, u64>,
    /// The same in their order.
    order: Vec<Place>,
    /// Large values are taken out.
    pub(super) split: Option<Split>,
}

/// Reads a snapshot's body.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// The shared parts so far, by number.
    pub(super) shared: Vec<Value>,
    /// The large values.
    pub(super) store: Store,
}

/// What was written before a value that stands apart.
pub(super) struct Outside {
    bytes: Vec<u8>,
    written: HashMap<Place, u64>,
    order: Vec<Place>,
}

impl Writer {
    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Shared parts so far.
    pub(super) fn parts(&self) -> usize {
        self.order.len()
    }

    /// Gives a shared part its number.
    pub(super) fn remember(&mut self, place: Place) {
        self.written.insert(place, self.order.len() as u64);
        self.order.push(place);
    }

    /// Writes a reference when this part was written before.
    pub(super) fn seen(&mut self, place: Place) -> bool {
        let Some(number) = self.written.get(&place).copied() else { return false };
        self.byte(super::values::SEEN);
        self.number(number);
        true
    }

    /// Forgets what was written since.
    pub(super) fn back_to(&mut self, len: usize, parts: usize) {
        self.bytes.truncate(len);
        for place in self.order.drain(parts..) {
            self.written.remove(&place);
        }
    }

    /// What is written from here on refers to nothing before it.
    pub(super) fn begin_apart(&mut self) -> Outside {
        let (bytes, written) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.written));
        Outside { bytes, written, order: std::mem::take(&mut self.order) }
    }

    /// What was written since [`Writer::begin_apart`].
    pub(super) fn end_apart(&mut self, outside: Outside) -> Vec<u8> {
        (self.written, self.order) = (outside.written, outside.order);
        std::mem::replace(&mut self.bytes, outside.bytes)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// Seven bits a byte, the lowest first.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn list<'i, T: Stored + 'i>(&mut self, items: impl ExactSizeIterator<Item = &'i T>) {
        self.number(items.len() as u64);
        items.for_each(|item| item.write(self));
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: Vec::new(), store: Store::default() }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, SnapshotError> {
        Ok(self.raw(1)?[0])
    }

    pub(crate) fn number(&mut self) -> Result<u64, SnapshotError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(SnapshotError::corrupt("a number is too long"))
    }

    /// A count of things of at least one byte each: never more than there are bytes left.
    pub(crate) fn count(&mut self) -> Result<usize, SnapshotError> {
        let count = self.number()?;
        self.checked(count)
    }

    /// The same of a number that was read already.
    pub(super) fn checked(&self, count: u64) -> Result<usize, SnapshotError> {
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.bytes.len())
            .ok_or_else(|| SnapshotError::corrupt("a count exceeds what is there"))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], SnapshotError> {
        let len = self.count()?;
        self.raw(len)
    }

    pub(super) fn raw(&mut self, len: usize) -> Result<&'a [u8], SnapshotError> {
        let (taken, rest) =
            self.bytes.split_at_checked(len).ok_or_else(|| SnapshotError::corrupt("it ends too early"))?;
        self.bytes = rest;
        Ok(taken)
    }

    pub(crate) fn list<T: Stored>(&mut self) -> Result<Vec<T>, SnapshotError> {
        (0..self.count()?).map(|_| T::read(self)).collect()
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Everything must have been read.
    pub(crate) fn end(self) -> Result<(), SnapshotError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(SnapshotError::corrupt("it has more bytes than it should")) }
    }
}

impl Stored for u64 {
    fn write(&self, to: &mut Writer) {
        to.number(*self);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        from.number()
    }
}

impl Stored for u32 {
    fn write(&self, to: &mut Writer) {
        to.number(u64::from(*self));
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Self::try_from(from.number()?).map_err(|_| SnapshotError::corrupt("a number is too large"))
    }
}

/// Small negative numbers stay short.
impl Stored for i64 {
    fn write(&self, to: &mut Writer) {
        to.number(((self << 1) ^ (self >> 63)) as u64);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let zigzag = from.number()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }
}

impl Stored for String {
    fn write(&self, to: &mut Writer) {
        to.bytes(self.as_bytes());
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Self::from_utf8(from.bytes()?.to_vec()).map_err(|_| SnapshotError::corrupt("a text is not UTF-8"))
    }
}

impl Stored for Hash16 {
    fn write(&self, to: &mut Writer) {
        to.raw(self.0.as_bytes());
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let bytes = from.raw(16)?.try_into().expect("16 bytes were asked for");
        Ok(Self(uuid::Uuid::from_bytes(bytes)))
    }
}

/// A task type that remembers nothing.
impl Stored for () {
    fn write(&self, _: &mut Writer) {}
    fn read(_: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(())
    }
}

impl<T: Stored> Stored for Option<T> {
    fn write(&self, to: &mut Writer) {
        to.byte(u8::from(self.is_some()));
        if let Some(value) = self {
            value.write(to);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        match from.byte()? {
            0 => Ok(None),
            1 => T::read(from).map(Some),
            _ => Err(SnapshotError::corrupt("an option is neither there nor absent")),
        }
    }
}

impl<T: Stored> Stored for Vec<T> {
    fn write(&self, to: &mut Writer) {
        to.list(self.iter());
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        from.list()
    }
}

impl<A: Stored, B: Stored> Stored for (A, B) {
    fn write(&self, to: &mut Writer) {
        self.0.write(to);
        self.1.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok((A::read(from)?, B::read(from)?))
    }
}

impl<K: Stored + Ord, V: Stored> Stored for BTreeMap<K, V> {
    fn write(&self, to: &mut Writer) {
        to.number(self.len() as u64);
        for (key, value) in self {
            key.write(to);
            value.write(to);
        }
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        (0..from.count()?).map(|_| <(K, V)>::read(from)).collect()
    }
}
