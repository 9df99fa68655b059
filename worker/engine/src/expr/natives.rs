//! Filters of jq that are written in Rust: those that jaq has only for its own value type, and those that it lacks.

use super::library::Jq;
use super::meter;
use super::val::{Error, V};
use super::walk::compare;
use crate::limits::Limits;
use crate::value::{self, Value};
use jaq_core::box_iter::box_once;
use jaq_core::native::{Filter, v};
use jaq_core::{Cv, Exn, RunPtr, ValR, ValXs};

/// Names, parameters and functions.
pub(super) fn all() -> Vec<Filter<RunPtr<Jq>>> {
    vec![
        ("tojson", v(0), |cv| once(Ok(V::text(cv.1.to_json())))),
        ("fromjson", v(0), |cv| once(from_json(&cv.1))),
        ("length", v(0), |cv| once(length(&cv.1))),
        ("has", v(1), |cv| with(cv, has)),
        ("contains", v(1), |cv| with(cv, contains)),
        ("indices", v(1), |cv| with(cv, indices)),
        ("bsearch", v(1), |cv| with(cv, bsearch)),
        ("delpaths", v(1), |cv| with(cv, delpaths)),
        ("type", v(0), |cv| once(Ok(V::word(cv.1.kind())))),
        ("nan", v(0), |_| once(Ok(V::float(f64::NAN)))),
        ("infinite", v(0), |_| once(Ok(V::float(f64::INFINITY)))),
        ("isnan", v(0), |cv| once(float(&cv.1).map(|number| number.is_nan().into()))),
        ("isinfinite", v(0), |cv| once(float(&cv.1).map(|number| number.is_infinite().into()))),
        ("isnormal", v(0), |cv| once(float(&cv.1).map(|number| number.is_normal().into()))),
        ("tonumber", v(0), |cv| once(to_number(cv.1))),
        ("ltrimstr", v(1), |cv| with(cv, |text, prefix| trimmed(text, prefix, |t, p| t.strip_prefix(p)))),
        ("rtrimstr", v(1), |cv| with(cv, |text, suffix| trimmed(text, suffix, |t, s| t.strip_suffix(s)))),
        ("_pay_regex", v(1), |cv| with(cv, pay_regex)),
        ("escape_html", v(0), |cv| once(text(&cv.1).map(|text| V::text(escaped_html(text))))),
        ("escape_csv", v(0), |cv| once(csv_cell(&cv.1))),
        ("escape_tsv", v(0), |cv| once(tsv_cell(&cv.1))),
        ("encode_base32", v(0), |cv| once(text(&cv.1).map(|text| V::text(base32(text.as_bytes()))))),
        ("decode_base32", v(0), |cv| once(decode_base32(&cv.1))),
    ]
}

fn once<'a>(result: ValR<V>) -> ValXs<'a, V> {
    box_once(result.map_err(Exn::from))
}

fn with<'a>(mut cv: Cv<'a, Jq>, f: fn(&V, &V) -> ValR<V>) -> ValXs<'a, V> {
    let argument = cv.0.pop_var();
    once(f(&cv.1, &argument))
}

fn text(v: &V) -> Result<&str, Error> {
    let text = v.as_text().and_then(|text| std::str::from_utf8(text).ok());
    meter::charge(text.map_or(0, |text| text.len() / 16));
    text.ok_or_else(|| Error::str(format_args!("{} is not a string", v.described())))
}

fn float(v: &V) -> Result<f64, Error> {
    value::as_f64(&v.v).ok_or_else(|| Error::str(format_args!("{} number required", v.described())))
}

fn from_json(v: &V) -> ValR<V> {
    let text = text(v)?;
    // As deep as any JSON that comes in; the size is paid for.
    let limits = Limits { payload_bytes_max: usize::MAX, ..Limits::default() };
    meter::build(text.len().saturating_mul(2));
    match value::parse_json(text.as_bytes(), &limits) {
        Ok(value) => Ok(V::incoming(value, limits.json_depth_max)),
        Err(_) if text.trim() == "nan" => Ok(V::float(f64::NAN)),
        Err(why) => Err(Error::str(format_args!("{why} (while parsing '{}')", V::text(text.to_owned())))),
    }
}

fn length(v: &V) -> ValR<V> {
    Ok(match &v.v {
        Value::Null => V::int(0),
        Value::Bool(_) => return Err(Error::str(format_args!("{} has no length", v.described()))),
        Value::Num(_) if value::as_f64(&v.v).is_some_and(|number| number < 0.0) => return -v.clone(),
        Value::Num(_) => v.clone(),
        Value::TStr(_) | Value::BStr(_) => V::from(text(v)?.chars().count()),
        Value::Arr(items) => V::from(items.len()),
        Value::Obj(map) => V::from(map.len()),
    })
}

fn has(v: &V, key: &V) -> ValR<V> {
    match (&v.v, &key.v) {
        (Value::Obj(map), Value::TStr(_)) => Ok(map.contains_key(&key.v).into()),
        (Value::Arr(items), Value::Num(_)) => {
            let at = value::as_f64(&key.v).unwrap_or(-1.0);
            Ok((at >= 0.0 && at < items.len() as f64).into())
        }
        _ => Err(Error::str(format_args!("Cannot check whether {} has a {} key", v.kind(), key.kind()))),
    }
}

fn contains(a: &V, b: &V) -> ValR<V> {
    if a.kind() == b.kind() {
        Ok(holds(&a.v, &b.v).into())
    } else {
        let (a, b) = (a.described(), b.described());
        Err(Error::str(format_args!("{a} and {b} cannot have their containment checked")))
    }
}

fn holds(a: &Value, b: &Value) -> bool {
    meter::step();
    match (a, b) {
        (Value::Obj(a), Value::Obj(b)) => b.iter().all(|(key, b)| a.get(key).is_some_and(|a| holds(a, b))),
        (Value::Arr(a), Value::Arr(b)) => b.iter().all(|b| a.iter().any(|a| holds(a, b))),
        (Value::TStr(_), Value::TStr(_)) => {
            let (a, b) = (value::as_str(a).unwrap_or_default(), value::as_str(b).unwrap_or_default());
            meter::charge((a.len() + b.len()) / 16);
            a.contains(b)
        }
        (a, b) => compare(a, b).is_eq(),
    }
}

/// Where `part` stands in `whole`.
pub(super) fn indices(whole: &V, part: &V) -> ValR<V> {
    match (&whole.v, &part.v) {
        (Value::Null, _) => Ok(V::NULL),
        (Value::TStr(_), Value::TStr(_)) => {
            let (whole, part) = (text(whole)?, text(part)?);
            if part.is_empty() {
                return Ok(V::NULL);
            }
            let positions = whole.char_indices().enumerate();
            let found = positions.filter(|(_, (byte, _))| whole.as_bytes()[*byte..].starts_with(part.as_bytes()));
            Ok(V::array(found.map(|(at, _)| V::from(at))))
        }
        (Value::Arr(_), Value::Arr(part)) if part.is_empty() => Ok(V::NULL),
        (Value::Arr(items), Value::Arr(part)) => {
            let same = |window: &[Value]| window.iter().zip(part.iter()).all(|(a, b)| compare(a, b).is_eq());
            let found = items.windows(part.len()).enumerate().filter(|(_, window)| same(window));
            Ok(V::array(found.map(|(at, _)| V::from(at))))
        }
        (Value::Arr(items), part) => {
            let found = items.iter().enumerate().filter(|(_, item)| compare(item, part).is_eq());
            Ok(V::array(found.map(|(at, _)| V::from(at))))
        }
        _ => Err(Error::str(format_args!("Cannot determine indices of {} in {}", part.kind(), whole.kind()))),
    }
}

fn bsearch(v: &V, wanted: &V) -> ValR<V> {
    match &v.v {
        Value::Arr(items) => Ok(match items.binary_search_by(|item| compare(item, &wanted.v)) {
            Ok(at) => V::from(at),
            Err(at) => V::int(-1 - i64::try_from(at).unwrap_or(i64::MAX - 1)),
        }),
        _ => Err(Error::str(format_args!("{} cannot be searched from", v.described()))),
    }
}

/// Deletes all paths, the last first, so that positions stay right.
fn delpaths(v: &V, paths: &V) -> ValR<V> {
    let Value::Arr(list) = &paths.v else { return Err(Error::str("Paths must be specified as an array")) };
    let mut list: Vec<&Value> = list.iter().collect();
    list.sort_by(|a, b| compare(a, b));
    let mut whole = v.clone();
    for path in list.into_iter().rev() {
        let Value::Arr(path) = path else { return Err(Error::str("Path must be specified as an array")) };
        let path: Vec<V> = path.iter().map(|key| paths.child(key.clone())).collect();
        whole = delete(whole, &path)?;
    }
    Ok(whole)
}

/// Recursion is bounded by the depth of the value, since it ends at null; each level takes a step.
fn delete(v: V, path: &[V]) -> ValR<V> {
    use jaq_core::ValT;
    meter::step();
    let Some((key, rest)) = path.split_first() else { return Ok(V::NULL) };
    if value::is_null(&v.v) {
        return Ok(v);
    }
    let present = match (&v.v, &key.v) {
        (Value::Obj(_), Value::TStr(_)) => has(&v, key)?.as_bool(),
        (Value::Arr(_), Value::Num(_) | Value::Obj(_)) => true,
        _ => return Err(Error::str(format_args!("Cannot delete field at {} index of {}", key.kind(), v.kind()))),
    };
    if !present {
        return Ok(v);
    }
    let before = |item: V| if rest.is_empty() { None } else { Some(delete(item, rest).map_err(Exn::from)) };
    if let (Value::Arr(items), Value::Num(_)) = (&v.v, &key.v)
        && !value::as_f64(&key.v).is_some_and(|at| at < items.len() as f64 && at >= -(items.len() as f64))
    {
        return Ok(v);
    }
    let changed = v.map_index(key, jaq_core::path::Opt::Essential, |item| before(item).into_iter());
    // Only `delete` itself runs inside, which gives errors and no control flow.
    changed.map_err(|exception| exception.get_err().unwrap_or_else(|_| Error::str("delpaths failed")))
}

fn to_number(v: V) -> ValR<V> {
    match &v.v {
        Value::Num(_) => Ok(v),
        Value::TStr(_) => {
            let text = text(&v)?.trim();
            let plain = !text.starts_with('+') && text.bytes().all(|b| b.is_ascii_digit() || b".-+eE".contains(&b));
            match text.parse::<f64>() {
                Ok(_) if plain => jaq_core::ValT::from_num(text),
                _ => Err(Error::str(format_args!("Cannot use {} as a number", v.described()))),
            }
        }
        _ => Err(Error::str(format_args!("{} cannot be parsed as a number", v.described()))),
    }
}

/// What does not fit stays as it is, as in jq.
fn trimmed(v: &V, part: &V, strip: for<'t> fn(&'t str, &str) -> Option<&'t str>) -> ValR<V> {
    let (Ok(whole), Ok(part)) = (text(v), text(part)) else { return Ok(v.clone()) };
    Ok(strip(whole, part).map_or_else(|| v.clone(), |rest| V::text(rest.to_owned())))
}

/// The engine for regular expressions takes time by the length of the text and the size of the compiled expression, and
/// counts no steps: they are paid for here.
fn pay_regex(v: &V, regex: &V) -> ValR<V> {
    /// What the engine allows is about this many states.
    const STATES_MAX: usize = 200_000;
    /// So many states are passed in the time of one step.
    const STATES_PER_STEP: usize = 8;
    let regex = text(regex)?;
    // Repetitions like `{100}` multiply what they stand behind.
    let repeated = |count: usize, part: &str| {
        let digits = part.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
        count.saturating_mul(digits.max().unwrap_or(1).max(1)).min(STATES_MAX)
    };
    let states = regex.split('{').skip(1).fold(regex.len() + 1, repeated);
    meter::charge(states.saturating_mul(text(v)?.len() + 1) / STATES_PER_STEP);
    Ok(V::NULL)
}

fn escaped_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

fn csv_cell(v: &V) -> ValR<V> {
    match &v.v {
        Value::Null => Ok(V::word("")),
        Value::Bool(_) | Value::Num(_) => Ok(V::text(v.to_json())),
        Value::TStr(_) => Ok(V::text(format!("\"{}\"", text(v)?.replace('"', "\"\"")))),
        _ => Err(Error::str(format_args!("{} is not valid in a csv row", v.described()))),
    }
}

fn tsv_cell(v: &V) -> ValR<V> {
    match &v.v {
        Value::Null => Ok(V::word("")),
        Value::Bool(_) | Value::Num(_) => Ok(V::text(v.to_json())),
        Value::TStr(_) => {
            let escaped = text(v)?.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r");
            Ok(V::text(escaped))
        }
        _ => Err(Error::str(format_args!("{} is not valid in a tsv row", v.described()))),
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.chunks(5) {
        let mut block = [0_u8; 5];
        block[..chunk.len()].copy_from_slice(chunk);
        let bits = block.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let used = (chunk.len() * 8).div_ceil(5);
        for at in 0..8 {
            let five = (bits >> (35 - at * 5) & 31) as usize;
            out.push(if at < used { BASE32[five] as char } else { '=' });
        }
    }
    out
}

fn decode_base32(v: &V) -> ValR<V> {
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
