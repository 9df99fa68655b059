//! jq's filters on texts, and the cells of its formats.

use super::meter;
use super::natives::text;
use super::val::{Error, V};
use crate::value::Value;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jaq_core::ValR;

fn wanted<'v>(v: &'v V, message: &'static str) -> Result<&'v str, Error> {
    text(v).map_err(|_| Error::str(message))
}

pub(super) fn starts_with(v: &V, part: &V) -> ValR<V> {
    const REFUSED: &str = "startswith() requires string inputs";
    Ok(wanted(v, REFUSED)?.starts_with(wanted(part, REFUSED)?).into())
}

pub(super) fn ends_with(v: &V, part: &V) -> ValR<V> {
    const REFUSED: &str = "endswith() requires string inputs";
    Ok(wanted(v, REFUSED)?.ends_with(wanted(part, REFUSED)?).into())
}

pub(super) fn utf8_byte_length(v: &V) -> ValR<V> {
    let refused = |_| Error::str(format_args!("{} only strings have UTF-8 byte length", v.described()));
    Ok(V::from(text(v).map_err(refused)?.len()))
}

pub(super) fn explode(v: &V) -> ValR<V> {
    let chars = wanted(v, "explode input must be a string")?.chars();
    Ok(V::array(chars.map(|c| V::int(i64::from(u32::from(c))))))
}

pub(super) fn implode(v: &V) -> ValR<V> {
    let Value::Arr(points) = &v.v else { return Err(Error::str("implode input must be an array")) };
    meter::charge(points.len());
    let mut made = String::with_capacity(points.len());
    for point in points.iter() {
        let refused = || {
            let point = v.child(point.clone()).described();
            Error::str(format_args!("{point} can't be imploded, unicode codepoint needs to be numeric"))
        };
        let number = crate::value::as_f64(point).filter(|number| !number.is_nan()).ok_or_else(refused)?;
        // The cast saturates, and what is no character is the replacement character.
        made.push(char::from_u32(number as u32).filter(|_| number >= 0.0).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    Ok(V::text(made))
}

pub(super) fn ascii_cased(v: &V, change: fn(&str) -> String) -> ValR<V> {
    Ok(V::text(change(wanted(v, "explode input must be a string")?)))
}

/// Positions of a text in a text, in bytes as jq 1.7.1 counts them.
pub(super) fn positions(whole: &str, part: &str) -> V {
    let Some(first) = part.bytes().next() else { return V::array([]) };
    let starts = whole
        .bytes()
        .enumerate()
        .filter(|(at, byte)| *byte == first && whole.as_bytes()[*at..].starts_with(part.as_bytes()));
    V::array(starts.map(|(at, _)| V::from(at)))
}

/// `string ("x")` and what is wrong with it, as an error.
pub(super) fn refuse(v: &V, what: &V) -> ValR<V> {
    Err(Error::str(format_args!("{} {}", v.described(), text(what)?)))
}

pub(super) fn escaped_html(v: &V) -> ValR<V> {
    let text = text(v)?;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&apos;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    Ok(V::text(out))
}

pub(super) fn csv_cell(v: &V) -> ValR<V> {
    cell(v, |text| format!("\"{}\"", text.replace('"', "\"\"")))
}

pub(super) fn tsv_cell(v: &V) -> ValR<V> {
    cell(v, |text| text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r"))
}

fn cell(v: &V, escaped: fn(&str) -> String) -> ValR<V> {
    match &v.v {
        Value::Null => Ok(V::word("")),
        Value::Num(_) if crate::value::as_f64(&v.v).is_some_and(f64::is_nan) => Ok(V::word("")),
        Value::Bool(_) | Value::Num(_) => Ok(V::text(v.to_json())),
        Value::TStr(_) | Value::BStr(_) => Ok(V::text(escaped(text(v)?))),
        _ => Err(Error::str(format_args!("{} is not valid in a csv row", v.described()))),
    }
}

/// Padding may be missing; what is behind it is not looked at; what is no text becomes replacement characters.
pub(super) fn decode_base64(v: &V) -> ValR<V> {
    let digits = text(v)?.split('=').next().unwrap_or_default();
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    match GeneralPurpose::new(&STANDARD, config).decode(digits) {
        Ok(bytes) => Ok(V::text(String::from_utf8_lossy(&bytes).into_owned())),
        Err(base64::DecodeError::InvalidLength(_)) => {
            Err(Error::str(format_args!("{} trailing base64 byte found", v.described())))
        }
        Err(_) => Err(Error::str(format_args!("{} is not valid base64 data", v.described()))),
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

pub(super) fn encode_base32(v: &V) -> ValR<V> {
    let mut out = String::new();
    for chunk in text(v)?.as_bytes().chunks(5) {
        let mut block = [0_u8; 5];
        block[..chunk.len()].copy_from_slice(chunk);
        let bits = block.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let used = (chunk.len() * 8).div_ceil(5);
        for at in 0..8 {
            let five = (bits >> (35 - at * 5) & 31) as usize;
            out.push(if at < used { BASE32[five] as char } else { '=' });
        }
    }
    Ok(V::text(out))
}

pub(super) fn decode_base32(v: &V) -> ValR<V> {
    let broken = || Error::str(format_args!("{} is not valid base32 data", v.described()));
    let (mut bits, mut count, mut out) = (0_u32, 0_u32, Vec::new());
    for byte in text(v)?.trim_end_matches('=').bytes() {
        let five = BASE32.iter().position(|letter| *letter == byte).ok_or_else(broken)?;
        bits = (bits << 5 | five as u32) & 0xfff;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Ok(V::text(String::from_utf8_lossy(&out).into_owned()))
}
