//! Where two values differ: the first places, not the whole.

use flagstop_engine::api::Value;
use flagstop_engine::value;

/// Places that are shown of one expectation.
const PLACES_MAX: usize = 5;

/// One place.
#[derive(Debug, Clone)]
pub struct Difference {
    /// JSON pointer into the value; empty: the whole of it.
    pub path: String,
    /// What should be there; `None`: nothing.
    pub expected: Option<Value>,
    /// What is there; `None`: nothing.
    pub actual: Option<Value>,
}

/// How much of an object is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// What is expected; more may be there, at every depth.
    Subset,
}

/// The first places where `actual` is not what is expected.
pub(super) fn differences(expected: &Value, actual: &Value, extent: Extent) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(String::new(), Some(expected), Some(actual), extent, &mut found);
    found
}

/// Whether `actual` has all that is expected, at every depth.
pub(super) fn is_subset(expected: &Value, actual: &Value) -> bool {
    differences(expected, actual, Extent::Subset).is_empty()
}

fn compare(
    path: String,
    expected: Option<&Value>,
    actual: Option<&Value>,
    extent: Extent,
    found: &mut Vec<Difference>,
) {
    if found.len() >= PLACES_MAX {
        return;
    }
    match (expected, actual) {
        (Some(wanted), Some(have)) if value::equal(wanted, have) => {}
        (Some(wanted @ Value::Obj(_)), Some(have @ Value::Obj(_))) => {
            for (key, item) in value::entries(wanted) {
                compare(below(&path, key), Some(item), value::get(have, key), extent, found);
            }
            if extent == Extent::Whole {
                for (key, item) in value::entries(have).filter(|(key, _)| value::get(wanted, key).is_none()) {
                    compare(below(&path, key), None, Some(item), extent, found);
                }
            }
        }
        (Some(Value::Arr(wanted)), Some(Value::Arr(have))) => {
            for at in 0..wanted.len().max(have.len()) {
                compare(below(&path, &at.to_string()), wanted.get(at), have.get(at), extent, found);
            }
        }
        (None, None) => {}
        (expected, actual) => {
            found.push(Difference { path, expected: expected.cloned(), actual: actual.cloned() });
        }
    }
}

fn below(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flagstop_engine::Limits;

    fn json(text: &str) -> Value {
        value::parse_json(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn the_places_are_named_and_equal_numbers_are_equal() {
        let (wanted, have) =
            (json(r#"{"a":3,"b":[1,{"c":2}],"d":1}"#), json(r#"{"d":1.0,"b":[1,{"c":5},7],"a":3.0,"e":0}"#));
        let places: Vec<String> = differences(&wanted, &have, Extent::Whole).into_iter().map(|d| d.path).collect();
        assert_eq!(places, ["/b/1/c", "/b/2", "/e"]);
    }

    #[test]
    fn a_subset_may_lack_keys_at_every_depth_but_no_items() {
        assert!(is_subset(&json(r#"{"a":{"b":1}}"#), &json(r#"{"a":{"b":1,"c":2},"d":3}"#)));
        assert!(!is_subset(&json(r#"{"a":[1]}"#), &json(r#"{"a":[1,2]}"#)));
    }
}
