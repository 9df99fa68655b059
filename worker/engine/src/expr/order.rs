//! jq's sorting, grouping and choosing of the least or greatest.

use super::meter;
use super::val::{Error, V};
use super::walk::compare;
use crate::value::Value;
use jaq_core::ValR;
use std::cmp::Ordering;

fn items(v: &V, refused: impl FnOnce() -> Error) -> Result<&[Value], Error> {
    match &v.v {
        Value::Arr(items) => {
            meter::charge(items.len());
            Ok(items)
        }
        _ => Err(refused()),
    }
}

pub(super) fn sort(v: &V) -> ValR<V> {
    let refused = || Error::str(format_args!("{} cannot be sorted, as it is not an array", v.described()));
    let mut sorted: Vec<&Value> = items(v, refused)?.iter().collect();
    sorted.sort_by(|a, b| compare(a, b));
    Ok(V::array(sorted.into_iter().map(|item| v.child(item.clone()))))
}

/// Items, their keys, and positions in the order of the keys.
type Ordered<'v> = (&'v [Value], &'v [Value], Vec<usize>);

fn order<'v>(v: &'v V, keys: &'v V) -> Result<Ordered<'v>, Error> {
    let refused = || {
        let (v, keys) = (v.described(), keys.described());
        Error::str(format_args!("{v} and {keys} cannot be sorted, as they are not both arrays"))
    };
    let (all, keys) = (items(v, refused)?, items(keys, refused)?);
    let mut order: Vec<usize> = (0..all.len().min(keys.len())).collect();
    order.sort_by(|a, b| compare(&keys[*a], &keys[*b]));
    Ok((all, keys, order))
}

pub(super) fn sort_by(v: &V, keys: &V) -> ValR<V> {
    let (all, _, order) = order(v, keys)?;
    Ok(V::array(order.into_iter().map(|at| v.child(all[at].clone()))))
}

pub(super) fn group_by(v: &V, keys: &V) -> ValR<V> {
    let (all, keys, order) = order(v, keys)?;
    let groups = order.chunk_by(|a, b| compare(&keys[*a], &keys[*b]).is_eq());
    Ok(V::array(groups.map(|group| V::array(group.iter().map(|at| v.child(all[*at].clone()))))))
}

/// The first of the least.
pub(super) fn min_by(v: &V, keys: &V) -> ValR<V> {
    chosen(v, keys, Ordering::is_lt)
}

/// The last of the greatest.
pub(super) fn max_by(v: &V, keys: &V) -> ValR<V> {
    chosen(v, keys, Ordering::is_ge)
}

fn chosen(v: &V, keys: &V, is_better: fn(Ordering) -> bool) -> ValR<V> {
    let refused = || {
        let (v, keys) = (v.described(), keys.described());
        Error::str(format_args!("{v} and {keys} cannot be iterated over"))
    };
    let (all, keys) = (items(v, refused)?, items(keys, refused)?);
    let mut best = 0;
    for at in 1..all.len().min(keys.len()) {
        if is_better(compare(&keys[at], &keys[best])) {
            best = at;
        }
    }
    Ok(all.get(best).map_or(V::NULL, |item| v.child(item.clone())))
}

pub(super) fn reverse(v: &V) -> ValR<V> {
    match &v.v {
        Value::Arr(items) => Ok(V::array(items.iter().rev().map(|item| v.child(item.clone())))),
        Value::Null => Ok(V::array([])),
        Value::TStr(text) if text.is_empty() => Ok(V::array([])),
        _ => Err(Error::str(format_args!("Cannot index {} with number", v.kind()))),
    }
}
