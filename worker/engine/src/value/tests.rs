use super::*;
use crate::limits::Limits;

fn parse(text: &str) -> Value {
    parse_json(text.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn json_is_written_as_it_was_read_with_numbers_normalised() {
    for (text, written) in [
        (r#"{"b":1,"a":[true,null,"x\ny"]}"#, r#"{"b":1,"a":[true,null,"x\ny"]}"#),
        ("3.0", "3"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ("0.1", "0.1"),
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("18446744073709551615", "18446744073709551615"),
        ("9007199254740991.0", "9007199254740991"),
        (r#""é\u0000\u001f\"\\""#, r#""é\u0000\u001f\"\\""#),
    ] {
        assert_eq!(to_json(&parse(text)), written, "{text}");
        assert_eq!(parse(&to_json(&parse(text))), parse(text), "{text}");
    }
}

#[test]
fn values_are_equal_as_json_and_then_have_one_canonical_form() {
    let one = parse(r#"{"a":[1,3.0],"b":{"x":1,"y":2}}"#);
    let other = parse(r#"{"b":{"y":2.0,"x":1},"a":[1.0,3]}"#);
    assert!(equal(&one, &other));
    assert_eq!(canonical(&one), canonical(&other));
    assert_eq!(canonical(&one), br#"{"a":[1,3],"b":{"x":1,"y":2}}"#);
    assert!(!equal(&parse("3"), &parse("\"3\"")));
    assert!(!equal(&parse("null"), &parse("false")));
}

#[test]
fn deep_big_and_broken_json_is_an_error_and_never_an_abort() {
    let limits = Limits::default();
    let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(parse_json(deep(limits.json_depth_max).as_bytes(), &limits).is_ok());
    for text in [deep(limits.json_depth_max + 1), deep(10_000), "[".repeat(500_000), "{\"a\":".repeat(10_000)] {
        let error = parse_json(text.as_bytes(), &limits).unwrap_err();
        assert_eq!(error, ValueError::Depth { max: limits.json_depth_max });
    }
    let narrow = Limits { json_depth_max: 2, ..Limits::default() };
    assert!(parse_json(b"[[1]]", &narrow).is_ok());
    assert_eq!(parse_json(b"[[[1]]]", &narrow), Err(ValueError::Depth { max: 2 }));
    assert!(matches!(parse_json(&vec![b' '; 2 << 20], &limits), Err(ValueError::Size { .. })));
    for broken in [&b"{"[..], b"", b"nul", b"\"\xff\"", b"1 2", b"{\"a\":1,}", b"1e999", b"NaN"] {
        assert!(matches!(parse_json(broken, &limits), Err(ValueError::Syntax(_))), "{broken:?}");
    }
}

#[test]
fn serde_values_go_both_ways_unchanged() {
    let text = r#"{"a":[1,2.5,"x",null,false,18446744073709551615,-7]}"#;
    let value = parse(text);
    assert_eq!(to_json(&from_serde(&to_serde(&value))), text);
}

#[test]
fn helpers_read_and_build_objects() {
    let value = with(object([("a", int(1))]), "b", array([string("x"), bool(true)]));
    assert_eq!(to_json(&value), r#"{"a":1,"b":["x",true]}"#);
    assert_eq!(get(&value, "a").and_then(as_i64), Some(1));
    assert_eq!(get(&value, "c"), None);
    assert_eq!(entries(&value).map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    let size = size_bytes(&value);
    assert!((20..40).contains(&size), "{size}");
}
