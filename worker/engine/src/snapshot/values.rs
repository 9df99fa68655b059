//! Values in a snapshot: each shared array, object and long string once, then by its number.
//!
//! Sharing is seen by address, which is safe here because all values live in the instance while it is written.

use std::sync::Arc;

use bytes::Bytes;
use jaq_json::{Map, Num};

use super::SnapshotError;
use super::codec::{Reader, Stored, Writer};
use super::large::{self, place_of};
use crate::api::Value;

mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const DECIMAL: u8 = 5;
    pub(super) const TEXT: u8 = 6;
    pub(super) const BYTES: u8 = 7;
    pub(super) const ARRAY: u8 = 8;
    pub(super) const OBJECT: u8 = 9;
}

/// A part that was written before, by its number.
pub(super) const SEEN: u8 = 10;
/// A large value that is stored apart, by its hash.
pub(super) const LARGE: u8 = 11;

/// Below this a string costs less than the look into the table. Fixed by the format.
const SHARED_TEXT_BYTES_MIN: usize = 32;

impl Stored for Value {
    fn write(&self, to: &mut Writer) {
        match self {
            Value::Null => to.byte(tag::NULL),
            Value::Bool(false) => to.byte(tag::FALSE),
            Value::Bool(true) => to.byte(tag::TRUE),
            Value::Num(Num::Int(int)) => {
                to.byte(tag::INT);
                (*int as i64).write(to);
            }
            Value::Num(Num::Float(float)) => {
                to.byte(tag::FLOAT);
                to.raw(&float.to_be_bytes());
            }
            Value::Num(other) => {
                to.byte(tag::DECIMAL);
                to.bytes(other.to_string().as_bytes());
            }
            Value::TStr(text) | Value::BStr(text) if text.len() < SHARED_TEXT_BYTES_MIN => write_content(self, to),
            shared => to.shared(place_of(shared), |to| write_content(shared, to)),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(match from.byte()? {
            tag::NULL => Value::Null,
            tag::FALSE => Value::Bool(false),
            tag::TRUE => Value::Bool(true),
            tag::INT => {
                let int = i64::read(from)?;
                Value::Num(Num::from_integral(int))
            }
            tag::FLOAT => {
                let bytes = from.raw(8)?.try_into().expect("8 bytes were asked for");
                Value::Num(Num::Float(f64::from_be_bytes(bytes)))
            }
            tag::DECIMAL => {
                let text = String::read(from)?;
                Value::Num(Num::from_str_radix(&text, 10).unwrap_or_else(|| Num::from_dec_str(&text)))
            }
            tag::TEXT => read_text(from, Value::utf8_str)?,
            tag::BYTES => read_text(from, Value::byte_str)?,
            tag::ARRAY => {
                let place = reserve(from);
                let value = Value::Arr(Arc::new(from.list()?));
                from.shared[place] = value.clone();
                value
            }
            tag::OBJECT => {
                let place = reserve(from);
                let count = from.count()?;
                let mut entries = Map::with_capacity_and_hasher(count, Default::default());
                for _ in 0..count {
                    let (key, value) = <(Value, Value)>::read(from)?;
                    entries.insert(key, value);
                }
                let value = Value::obj(entries);
                from.shared[place] = value.clone();
                value
            }
            LARGE => return large::read_large(from),
            SEEN => {
                let number = from.number()?;
                let shared = usize::try_from(number).ok().and_then(|number| from.shared.get(number));
                shared.cloned().ok_or_else(|| SnapshotError::corrupt("a value refers to one that is not there"))?
            }
            _ => return Err(SnapshotError::corrupt("a value is of an unknown kind")),
        })
    }
}

/// Takes the next number for a part whose content is still to be read, in the order in which the writer gave them.
fn reserve(from: &mut Reader<'_>) -> usize {
    from.shared.push(Value::Null);
    from.shared.len() - 1
}

/// Writes what can be shared: a text, an array or an object.
pub(super) fn write_content(value: &Value, to: &mut Writer) {
    match value {
        Value::TStr(text) => {
            to.byte(tag::TEXT);
            to.bytes(text);
        }
        Value::BStr(text) => {
            to.byte(tag::BYTES);
            to.bytes(text);
        }
        Value::Arr(items) => {
            to.byte(tag::ARRAY);
            to.list(items.iter());
        }
        Value::Obj(entries) => {
            to.byte(tag::OBJECT);
            to.number(entries.len() as u64);
            for (key, value) in entries.iter() {
                key.write(to);
                value.write(to);
            }
        }
        Value::Null | Value::Bool(_) | Value::Num(_) => value.write(to),
    }
}

fn read_text(from: &mut Reader<'_>, make: fn(Bytes) -> Value) -> Result<Value, SnapshotError> {
    let bytes = from.bytes()?;
    if std::str::from_utf8(bytes).is_err() && !matches!(make(Bytes::new()), Value::BStr(_)) {
        return Err(SnapshotError::corrupt("a text is not UTF-8"));
    }
    let value = make(Bytes::copy_from_slice(bytes));
    if let Value::TStr(text) | Value::BStr(text) = &value
        && text.len() >= SHARED_TEXT_BYTES_MIN
    {
        from.shared.push(value.clone());
    }
    Ok(value)
}
