//! Writing values as JSON text, for wires, stores and people; and the canonical form for keys.

use super::{Num, Value, whole};

/// The value as JSON text: no spaces, keys in their order, deterministic.
pub fn to_json(value: &Value) -> String {
    // Only UTF-8 is written, see `write_text`.
    String::from_utf8(to_json_bytes(value)).expect("write_json writes UTF-8 only")
}

/// The value as JSON bytes.
pub fn to_json_bytes(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write_json(value, &mut out);
    out
}

/// Appends the value as JSON.
pub fn write_json(value: &Value, out: &mut Vec<u8>) {
    write_value(value, KeyOrder::Kept, out);
}

/// The value as bytes that are the same for equal values: sorted keys, `3` for `3.0`. For hashes and correlation keys.
pub fn canonical(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    write_value(value, KeyOrder::Sorted, &mut out);
    out
}

#[derive(Clone, Copy)]
enum KeyOrder {
    Kept,
    Sorted,
}

fn write_value(value: &Value, order: KeyOrder, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Num(number) => write_number(number, out),
        Value::TStr(text) | Value::BStr(text) => write_text(text, out),
        Value::Arr(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(item, order, out);
            }
            out.push(b']');
        }
        Value::Obj(map) => {
            out.push(b'{');
            let mut entries: Vec<(&Value, &Value)> = map.iter().collect();
            if let KeyOrder::Sorted = order {
                entries.sort_by(|a, b| a.0.cmp(b.0));
            }
            for (i, (key, item)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(key, order, out);
                out.push(b':');
                write_value(item, order, out);
            }
            out.push(b'}');
        }
    }
}

pub(crate) fn write_number(number: &Num, out: &mut Vec<u8>) {
    use std::io::Write;
    // Writing to a vector cannot fail.
    let _ = match number {
        Num::Int(integer) => write!(out, "{integer}"),
        Num::BigInt(integer) => write!(out, "{integer}"),
        Num::Float(float) => match whole(*float) {
            Some(integer) => write!(out, "{integer}"),
            None if float.is_finite() => write!(out, "{number}"),
            // Never in a value that obeys the module's rule; a reader must not break all the same.
            None => write!(out, "null"),
        },
        Num::Dec(text) => match text.parse::<f64>() {
            Ok(float) => return write_number(&Num::Float(float), out),
            Err(_) => write!(out, "null"),
        },
    };
}

/// Writes a string with its quotes; broken UTF-8 becomes the replacement character.
pub(crate) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        write_escaped(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.push(b'"');
}

fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut clean = 0;
    for (i, byte) in text.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0..0x20 | 0x7f => &[b'\\', b'u', b'0', b'0', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]],
            _ => continue,
        };
        out.extend_from_slice(&text[clean..i]);
        out.extend_from_slice(escape);
        clean = i + 1;
    }
    out.extend_from_slice(&text[clean..]);
}
