use super::*;
use crate::value;

fn good(text: &str) -> Node {
    read(text.as_bytes(), &Limits::default()).unwrap_or_else(|found| panic!("{}", found.render("f", text)))
}

fn bad(bytes: &[u8]) -> Vec<(&'static str, u32, u32)> {
    let found = read(bytes, &Limits::default()).expect_err("this text must be refused");
    found.iter().map(|d| (d.code, d.span.line, d.span.column)).collect()
}

#[test]
fn scalars_follow_the_core_schema() {
    let node = good(
        "[~, null, true, False, on, yes, 12, -7, 0x1F, 0o17, 1.5, 1e3, .5, '12', \"true\", 1.0.0, 012, 1_000, 0b1, ' x ', 1e]",
    );
    assert_eq!(
        value::to_json(&value::from_node(&node)),
        r#"[null,null,true,false,"on","yes",12,-7,31,15,1.5,1000,0.5,"12","true","1.0.0",12,"1_000","0b1"," x ","1e"]"#
    );
    assert_eq!(good("9223372036854775807").value, NodeValue::Int(i64::MAX));
    assert_eq!(good("").value, NodeValue::Null);
    assert_eq!(good("!!str 12").value, NodeValue::Str("12".into()));
}

#[test]
fn keys_are_text_whatever_they_look_like() {
    let node = good("on: 1\n1: 2\ntrue: 3\nnull: 4\n'a b': 5\n");
    let keys: Vec<&str> = node.as_map().unwrap().iter().map(|(key, _)| &*key.text).collect();
    assert_eq!(keys, ["on", "1", "true", "null", "a b"]);
    assert_eq!(node.get("on").and_then(Node::as_int), Some(1));
}

#[test]
fn json_is_read_as_it_is() {
    let text = r#"{"a": [1, 2.5, "x\n\u00e9\/", true, null], "b": {"c": {}}}"#;
    assert_eq!(value::to_json(&value::from_node(&good(text))), r#"{"a":[1,2.5,"x\né/",true,null],"b":{"c":{}}}"#);
}

#[test]
fn block_texts_keep_their_lines() {
    let node = good("a: |\n  one\n    two\nb: >-\n  three\n  four\n");
    assert_eq!(node.get("a").and_then(Node::as_str), Some("one\n  two\n"));
    assert_eq!(node.get("b").and_then(Node::as_str), Some("three four"));
}

#[test]
fn every_node_knows_its_place() {
    let text = "ä: 1\ndo:\n  - größe: { call: http }\n    x: y\n";
    let node = good(text);
    let (key, list) = node.entry("do").unwrap();
    assert_eq!((key.span.line, key.span.column), (2, 1));
    let (key, task) = list.as_seq().unwrap()[0].entry("größe").unwrap();
    assert_eq!((key.span.line, key.span.column), (3, 5));
    let at = |span: Span| &text[span.offset as usize..(span.offset + span.length) as usize];
    assert_eq!(at(key.span), "größe");
    assert_eq!(at(task.span), "{ call: http }");
    assert_eq!(at(task.get("call").unwrap().span), "http");
    assert_eq!((task.get("call").unwrap().span.line, task.get("call").unwrap().span.column), (3, 20));
}

#[test]
fn a_byte_order_mark_is_skipped() {
    let node = good("\u{feff}a: 1\n");
    assert_eq!(node.get("a").and_then(Node::as_int), Some(1));
    assert_eq!(node.entry("a").unwrap().0.span.offset, 3);
}

#[test]
fn aliases_repeat_their_anchor_within_the_limit() {
    let node = good("a: &x {k: 1}\nb: *x\nc: [*x, *x]\n");
    assert_eq!(value::to_json(&value::from_node(&node)), r#"{"a":{"k":1},"b":{"k":1},"c":[{"k":1},{"k":1}]}"#);
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for i in 1..30 {
        let previous = format!("*a{}", i - 1);
        laughs.push_str(&format!("a{i}: &a{i} [{}]\n", [previous.as_str(); 10].join(", ")));
    }
    assert_eq!(bad(laughs.as_bytes())[0].0, "FS-YAML-NODES");
    assert_eq!(bad(b"a: &a [*a]")[0].0, "FS-YAML-ALIAS");
    assert_eq!(bad(b"a: *nowhere")[0].0, "FS-YAML-SYNTAX");
}

#[test]
fn aliases_cannot_exceed_the_depth() {
    let mut text = String::from("a0: &a0 [x]\n");
    for i in 1..70 {
        text.push_str(&format!("a{i}: &a{i} [*a{}]\n", i - 1));
    }
    assert_eq!(bad(text.as_bytes())[0].0, "FS-YAML-DEPTH");
}

#[test]
fn duplicate_and_merge_keys_are_refused_all_at_once() {
    assert_eq!(bad(b"a: 1\nb:\n  c: 1\n  c: 2\na: 3\n"), [("FS-YAML-DUPLICATE", 4, 3), ("FS-YAML-DUPLICATE", 5, 1)]);
    assert_eq!(bad(b"a: &x {k: 1}\nb:\n  <<: *x\n"), [("FS-YAML-MERGE", 3, 3)]);
    assert!(good("'<<': 1").get("<<").is_some());
    assert_eq!(bad(b"a: .inf\nb: .nan\nc: 1e999\n").len(), 3);
    assert_eq!(bad(b"a: !secret x\n"), [("FS-YAML-TAG", 1, 4)]);
    assert_eq!(bad(b"a: 1\n---\nb: 2\n")[0].0, "FS-YAML-DOCUMENTS");
    assert_eq!(bad(b"? [a]\n: 1\n")[0].0, "FS-YAML-KEY");
}

#[test]
fn broken_text_is_refused_with_its_place() {
    assert_eq!(bad(b"a: 1\nb: \xff\n"), [("FS-YAML-UTF8", 2, 4)]);
    assert_eq!(bad(b"\xff\xfea\0")[0].0, "FS-YAML-UTF8");
    for (text, line) in
        [("a:\n\t- b\n", 2), ("a: [1, 2\n", 2), ("a: \"x\n", 2), ("a: b: c\n", 1), ("a: 1\n b: 2\n", 2), ("a: @x", 1)]
    {
        let found = bad(text.as_bytes());
        assert_eq!(found[0].0, "FS-YAML-SYNTAX", "{text:?}");
        assert!(found[0].1 <= line, "{text:?} {found:?}");
        let shown = read(text.as_bytes(), &Limits::default()).unwrap_err().render("f.yaml", text);
        assert!(shown.contains("hint: "), "{shown}");
    }
    let bare = "a: { x: ${ .y } }";
    let shown = read(bare.as_bytes(), &Limits::default()).unwrap_err().render("f.yaml", bare);
    assert!(shown.contains("put expressions in quotes"), "{shown}");
}

#[test]
fn deep_and_huge_texts_end_with_a_message_and_never_with_an_abort() {
    let limits = Limits { definition_bytes_max: 100 << 20, ..Limits::default() };
    let code = |text: String| read(text.as_bytes(), &limits).unwrap_err().iter().next().unwrap().code;
    assert_eq!(code("[".repeat(10_000)), "FS-YAML-DEPTH");
    assert_eq!(code("{a: ".repeat(10_000)), "FS-YAML-DEPTH");
    assert_eq!(code("- ".repeat(10_000)), "FS-YAML-DEPTH");
    let stairs: String = (0..3_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    assert_eq!(code(stairs), "FS-YAML-DEPTH");
    assert_eq!(code("? ".repeat(10_000)), "FS-YAML-KEY");
    let long = format!("a: {}\n", "x".repeat(50 << 20));
    assert_eq!(read(long.as_bytes(), &limits).unwrap().get("a").and_then(Node::as_str).map(str::len), Some(50 << 20));
    assert_eq!(bad(long.as_bytes())[0].0, "FS-YAML-SIZE");
    assert_eq!(code("- 1\n".repeat(200_000)), "FS-YAML-NODES");
}

#[test]
fn any_mutation_of_a_definition_is_read_or_refused() {
    let text = "document: &d\n  dsl: '1.0.3'\n  name: \"a\\n\"\ndo:\n  - a: {set: {x: [1, *d]}}\n  - b: |\n      ${ .x }\n# c\n? x\n: y\n";
    let alphabet: Vec<char> = "\t\n -:?[]{},&*!|>'\"%@`#~<=ä\u{feff}\u{0}\\".chars().collect();
    // A fixed generator: what fails once fails always.
    let mut seed = 0x5eed_u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for _ in 0..20_000 {
        let mut chars: Vec<char> = text.chars().collect();
        for _ in 0..=random(4) {
            let at = random(chars.len());
            match random(3) {
                0 => chars[at] = alphabet[random(alphabet.len())],
                1 => chars.insert(at, alphabet[random(alphabet.len())]),
                _ => chars.truncate(at.max(1)),
            }
        }
        let mutated: String = chars.into_iter().collect();
        if let Err(found) = read(mutated.as_bytes(), &Limits::default()) {
            assert!(!found.is_empty() && !found.iter().any(|d| d.message == "this text cannot be read"), "{mutated:?}");
        }
    }
}
