//! Filters of jq that are written in Rust: those that jaq has only for its own value type, and those that it lacks.

use super::library::Jq;
use super::val::{Error, V};
use super::walk::compare;
use super::{meter, order, regex, texts};
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
        ("isnan", v(0), |cv| once(Ok(value::as_f64(&cv.1.v).is_some_and(f64::is_nan).into()))),
        ("isinfinite", v(0), |cv| once(Ok(value::as_f64(&cv.1.v).is_some_and(f64::is_infinite).into()))),
        ("isnormal", v(0), |cv| once(Ok(value::as_f64(&cv.1.v).is_some_and(f64::is_normal).into()))),
        ("tonumber", v(0), |cv| once(to_number(cv.1))),
        ("ltrimstr", v(1), |cv| with(cv, |text, prefix| trimmed(text, prefix, |t, p| t.strip_prefix(p)))),
        ("rtrimstr", v(1), |cv| with(cv, |text, suffix| trimmed(text, suffix, |t, s| t.strip_suffix(s)))),
        ("startswith", v(1), |cv| with(cv, texts::starts_with)),
        ("endswith", v(1), |cv| with(cv, texts::ends_with)),
        ("utf8bytelength", v(0), |cv| once(texts::utf8_byte_length(&cv.1))),
        ("explode", v(0), |cv| once(texts::explode(&cv.1))),
        ("implode", v(0), |cv| once(texts::implode(&cv.1))),
        ("ascii_downcase", v(0), |cv| once(texts::ascii_cased(&cv.1, str::to_ascii_lowercase))),
        ("ascii_upcase", v(0), |cv| once(texts::ascii_cased(&cv.1, str::to_ascii_uppercase))),
        ("escape_html", v(0), |cv| once(texts::escaped_html(&cv.1))),
        ("escape_csv", v(0), |cv| once(texts::csv_cell(&cv.1))),
        ("escape_tsv", v(0), |cv| once(texts::tsv_cell(&cv.1))),
        ("decode_base64", v(0), |cv| once(texts::decode_base64(&cv.1))),
        ("encode_base32", v(0), |cv| once(texts::encode_base32(&cv.1))),
        ("decode_base32", v(0), |cv| once(texts::decode_base32(&cv.1))),
        ("_refuse", v(1), |cv| with(cv, texts::refuse)),
        ("_match", v(1), |cv| with(cv, regex::matches)),
        ("sort", v(0), |cv| once(order::sort(&cv.1))),
        ("reverse", v(0), |cv| once(order::reverse(&cv.1))),
        ("min", v(0), |cv| once(order::min_by(&cv.1, &cv.1))),
        ("max", v(0), |cv| once(order::max_by(&cv.1, &cv.1))),
        ("_sort_by", v(1), |cv| with(cv, order::sort_by)),
        ("_group_by", v(1), |cv| with(cv, order::group_by)),
        ("_min_by", v(1), |cv| with(cv, order::min_by)),
        ("_max_by", v(1), |cv| with(cv, order::max_by)),
    ]
}

/// Those of one input and one result, for expressions that run without the interpreter.
pub(super) fn unary(name: &str) -> Option<fn(&V) -> ValR<V>> {
    Some(match name {
        "length" => length,
        "tostring" => |v| Ok(jaq_core::ValT::into_string(v.clone())),
        "tojson" => |v| Ok(V::text(v.to_json())),
        "fromjson" => from_json,
        "tonumber" => |v| to_number(v.clone()),
        "type" => |v| Ok(V::word(v.kind())),
        "not" => |v| Ok((!value::truthy(&v.v)).into()),
        "true" => |_| Ok(true.into()),
        "false" => |_| Ok(false.into()),
        "null" => |_| Ok(V::NULL),
        "ascii_downcase" => |v| texts::ascii_cased(v, str::to_ascii_lowercase),
        "ascii_upcase" => |v| texts::ascii_cased(v, str::to_ascii_uppercase),
        "sort" => order::sort,
        "reverse" => order::reverse,
        _ => return None,
    })
}

/// Those with one argument besides.
pub(super) fn binary(name: &str) -> Option<fn(&V, &V) -> ValR<V>> {
    Some(match name {
        "has" => has,
        "contains" => contains,
        "startswith" => texts::starts_with,
        "endswith" => texts::ends_with,
        "ltrimstr" => |v, part| trimmed(v, part, |text, part| text.strip_prefix(part)),
        "rtrimstr" => |v, part| trimmed(v, part, |text, part| text.strip_suffix(part)),
        _ => return None,
    })
}

fn once<'a>(result: ValR<V>) -> ValXs<'a, V> {
    box_once(result.map_err(Exn::from))
}

fn with<'a>(mut cv: Cv<'a, Jq>, f: fn(&V, &V) -> ValR<V>) -> ValXs<'a, V> {
    let argument = cv.0.pop_var();
    once(f(&cv.1, &argument))
}

pub(super) fn text(v: &V) -> Result<&str, Error> {
    let text = v.as_text().and_then(|text| std::str::from_utf8(text).ok());
    meter::charge(text.map_or(0, |text| text.len() / 16));
    text.ok_or_else(|| Error::str(format_args!("{} is not a string", v.described())))
}

fn from_json(v: &V) -> ValR<V> {
    let Ok(text) = text(v) else {
        return Err(Error::str(format_args!("{} only strings can be parsed", v.described())));
    };
    // As deep as any JSON that comes in; the size is paid for.
    let limits = Limits { payload_bytes_max: usize::MAX, ..Limits::default() };
    meter::build(text.len().saturating_mul(2));
    match value::parse_json(text.as_bytes(), &limits) {
        Ok(value) => Ok(V::incoming(value, limits.json_depth_max)),
        Err(_) if text.trim() == "nan" => Ok(V::float(f64::NAN)),
        Err(why) => Err(Error::str(format_args!("{why} (while parsing '{}')", excerpt(text)))),
    }
}

/// The beginning of a text, for messages.
fn excerpt(text: &str) -> &str {
    const CHARS_MAX: usize = 60;
    text.char_indices().nth(CHARS_MAX).map_or(text, |(end, _)| &text[..end])
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
        (Value::TStr(_), Value::TStr(_)) => Ok(texts::positions(text(whole)?, text(part)?)),
        (Value::Arr(_), Value::Arr(part)) if part.is_empty() => Ok(V::array([])),
        (Value::Arr(items), Value::Arr(part)) => {
            let same = |window: &[Value]| window.iter().zip(part.iter()).all(|(a, b)| compare(a, b).is_eq());
            let found = items.windows(part.len()).enumerate().filter(|(_, window)| same(window));
            Ok(V::array(found.map(|(at, _)| V::from(at))))
        }
        (Value::Arr(items), part) => {
            let found = items.iter().enumerate().filter(|(_, item)| compare(item, part).is_eq());
            Ok(V::array(found.map(|(at, _)| V::from(at))))
        }
        _ => jaq_core::ValT::index(whole.clone(), part),
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
        let Value::Arr(path) = path else {
            let kind = paths.child(path.clone()).kind();
            return Err(Error::str(format_args!("Path must be specified as array, not {kind}")));
        };
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
        (Value::Obj(_), _) => return Err(Error::str(format_args!("Cannot delete {} field of object", key.kind()))),
        (Value::Arr(_), _) => return Err(Error::str(format_args!("Cannot delete {} element of array", key.kind()))),
        _ => return Err(Error::str(format_args!("Cannot delete fields from {}", v.kind()))),
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

/// As jq's parser says it, which stops behind the first word.
fn no_number(text: &str) -> Error {
    let shown = excerpt(text);
    let start = text.len() - text.trim_start().len();
    match text[start..].find(char::is_whitespace) {
        Some(end) => {
            let column = start + end + 1;
            Error::str(format_args!("Invalid numeric literal at line 1, column {column} (while parsing '{shown}')"))
        }
        None => {
            let column = text.len();
            Error::str(format_args!(
                "Invalid numeric literal at EOF at line 1, column {column} (while parsing '{shown}')"
            ))
        }
    }
}

fn to_number(v: V) -> ValR<V> {
    match &v.v {
        Value::Num(_) => Ok(v),
        Value::TStr(_) => {
            let whole = text(&v)?;
            let trimmed = whole.trim();
            let digits = trimmed.strip_prefix('+').unwrap_or(trimmed);
            match (trimmed, digits.parse::<f64>()) {
                ("nan", _) => Ok(V::float(f64::NAN)),
                ("Infinity", _) => Ok(V::float(f64::INFINITY)),
                ("-Infinity", _) => Ok(V::float(f64::NEG_INFINITY)),
                ("", _) => Err(Error::str(format_args!("Expected JSON value (while parsing '{whole}')"))),
                (_, Ok(_)) if digits.bytes().all(|b| b.is_ascii_digit() || b".-+eE".contains(&b)) => {
                    jaq_core::ValT::from_num(digits)
                }
                _ => Err(no_number(whole)),
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
