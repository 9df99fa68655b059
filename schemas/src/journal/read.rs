//! The reading half of the journal's codec. Checks every length against what is there: a damaged row is an error, never
//! a panic or a huge allocation.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use bytes::Bytes;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTE_NAMES_MAX, DATA_ABSENT, DATA_BINARY, DATA_JSON, ENTRY_ANSWER, ENTRY_EMITTED,
    ENTRY_LATE, ENTRY_STATUS, FORMAT, FORMAT_FIRST, JournalError, VALUE_JSON, VALUE_TEXT,
};
use crate::{CloudEvent, Data, Entry, Header, InstanceId, JsonText, LateResult, StatusEvent, StatusKind};

type Read<T> = Result<T, JournalError>;

/// The row and how far it has been read.
struct Reader<'a> {
    row: &'a [u8],
    at: usize,
}

pub(super) fn row(row: &[u8]) -> Read<(Header, Vec<Entry>)> {
    let mut reader = Reader { row, at: 0 };
    match reader.byte()? {
        FORMAT_FIRST..=FORMAT => {}
        other => return Err(JournalError::Format(other)),
    }
    let header = reader.header()?;
    // Collected without a capacity: a damaged count must not reserve memory for entries that are not there.
    let entries = (0..reader.count()?).map(|_| reader.entry()).collect::<Read<Vec<Entry>>>()?;
    if reader.at == row.len() { Ok((header, entries)) } else { Err(reader.damaged("bytes are left over")) }
}

impl<'a> Reader<'a> {
    fn header(&mut self) -> Read<Header> {
        Ok(Header {
            namespace: self.text()?.to_owned(),
            name: self.text()?.to_owned(),
            version: self.text()?.to_owned(),
            instance: InstanceId(Uuid::from_bytes(self.array()?)),
            business_key: self.optional()?.map(str::to_owned),
        })
    }

    fn entry(&mut self) -> Read<Entry> {
        match self.byte()? {
            ENTRY_STATUS => self.status().map(Entry::Status),
            ENTRY_EMITTED => self.emitted().map(Box::new).map(Entry::Emitted),
            ENTRY_ANSWER => self.emitted().map(Box::new).map(Entry::Answer),
            ENTRY_LATE => {
                Ok(Entry::Late(LateResult { task: self.text()?.to_owned(), result: self.text()?.to_owned() }))
            }
            _ => Err(self.damaged("no such kind of entry")),
        }
    }

    fn status(&mut self) -> Read<StatusEvent> {
        let number = self.byte()?;
        let kind = StatusKind::every().find(|kind| *kind as u8 == number);
        Ok(StatusEvent {
            kind: kind.ok_or_else(|| self.damaged("no such type of status event"))?,
            sequence: self.number()?,
            at_us: i64::from_be_bytes(self.array()?),
            task: self.optional()?.map(str::to_owned),
            output: self.raw()?,
            error: self.raw()?,
            correlation_keys: self.raw()?,
            attributes: self.attributes(|reader| {
                let name = reader.text()?;
                lasting(name).ok_or_else(|| reader.damaged("no name of an attribute"))
            })?,
        })
    }

    fn emitted(&mut self) -> Read<CloudEvent> {
        let mut required = || self.text().map(str::to_owned);
        let (id, source, ty) = (required()?, required()?, required()?);
        let mut optional = || self.optional().map(|text| text.map(str::to_owned));
        let (subject, time, datacontenttype, dataschema) = (optional()?, optional()?, optional()?, optional()?);
        let extensions: BTreeMap<_, _> =
            self.attributes(|reader| reader.text().map(str::to_owned))?.into_iter().collect();
        let data = match self.byte()? {
            DATA_ABSENT => Data::Absent,
            DATA_JSON => Data::Json(Bytes::copy_from_slice(self.block()?)),
            DATA_BINARY => Data::Binary(Bytes::copy_from_slice(self.block()?)),
            _ => return Err(self.damaged("no such kind of data")),
        };
        Ok(CloudEvent { id, source, ty, subject, time, datacontenttype, dataschema, extensions, data })
    }

    fn attributes<N>(&mut self, name: impl Fn(&mut Self) -> Read<N>) -> Read<Vec<(N, Value)>> {
        (0..self.count()?).map(|_| Ok((name(self)?, self.attribute()?))).collect()
    }

    fn attribute(&mut self) -> Read<Value> {
        match self.byte()? {
            VALUE_TEXT => Ok(self.text()?.into()),
            VALUE_JSON => {
                let text = self.text()?;
                serde_json::from_str(text).map_err(|_| self.damaged("an attribute's value is not JSON"))
            }
            _ => Err(self.damaged("no such kind of value")),
        }
    }

    fn raw(&mut self) -> Read<Option<JsonText>> {
        let Some(text) = self.optional()? else { return Ok(None) };
        match serde_json::from_str::<&RawValue>(text) {
            Ok(_) => Ok(Some(JsonText::written(text.to_owned()))),
            Err(_) => Err(self.damaged("a payload is not JSON")),
        }
    }

    fn optional(&mut self) -> Read<Option<&'a str>> {
        match self.byte()? {
            0 => Ok(None),
            1 => self.text().map(Some),
            _ => Err(self.damaged("neither there nor missing")),
        }
    }

    fn text(&mut self) -> Read<&'a str> {
        std::str::from_utf8(self.block()?).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    fn block(&mut self) -> Read<&'a [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    /// A length or a number of things: each takes a byte at least, so more than is left can't be true.
    fn count(&mut self) -> Read<usize> {
        let count = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        if count <= self.row.len() - self.at { Ok(count) } else { Err(self.damaged("the row ends too early")) }
    }

    fn number(&mut self) -> Read<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged("a number is too large"))
    }

    fn byte(&mut self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("take gives as many as it is asked for"))
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let end = self.at.checked_add(length);
        let taken =
            end.and_then(|end| self.row.get(self.at..end)).ok_or_else(|| self.damaged("the row ends too early"))?;
        self.at += length;
        Ok(taken)
    }

    fn damaged(&self, why: &'static str) -> JournalError {
        JournalError::Damaged { at: self.at, why }
    }
}

/// The name as one that lasts: a status event's own attributes are few and fixed, but a newer build, whose rows this
/// one must publish too (PROTOCOL D16), may know more of them. So names are learned, and kept for good, up to a limit
/// that only damaged rows can reach.
fn lasting(name: &str) -> Option<&'static str> {
    static LEARNED: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.len() > ATTRIBUTE_NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return None;
    }
    let find = |names: &[&'static str]| names.iter().copied().find(|known| *known == name);
    if let Some(known) = find(&LEARNED.read().unwrap_or_else(PoisonError::into_inner)) {
        return Some(known);
    }
    let mut names = LEARNED.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = find(&names) {
        return Some(known);
    }
    if names.len() >= ATTRIBUTE_NAMES_MAX {
        return None;
    }
    let lasting: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.push(lasting);
    Some(lasting)
}
