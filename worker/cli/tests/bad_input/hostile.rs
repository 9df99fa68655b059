//! What nobody writes by mistake: texts that are none, without an end or without a floor. Each gets an error that names the limit
//! or the place; none ends the program otherwise.

use std::path::Path;

use super::support::Folder;

/// As deep as no stack of a recursive reader is.
const DEEP: usize = 10_000;
const HUGE_BYTES: usize = 50 << 20;
const EVENT: &str = r#""specversion":"1.0","id":"1","source":"/s","type":"go""#;

fn definition(rest: &str) -> String {
    format!("document: {{ dsl: '1.0.3', namespace: test, name: hostile, version: '1.0.0' }}\n{rest}\n")
}

fn put(folder: &Folder, name: &str, bytes: impl AsRef<[u8]>) -> String {
    std::fs::write(Path::new(&folder.file(name)), bytes).unwrap();
    name.to_owned()
}

fn laughs() -> String {
    let mut text = String::from("a0: &a0 [ha, ha, ha, ha, ha, ha, ha, ha, ha, ha]\n");
    for i in 1..30 {
        let before = format!("*a{}", i - 1);
        text += &format!("a{i}: &a{i} [{}]\n", [before.as_str(); 10].join(", "));
    }
    text
}

#[test]
fn definitions_that_are_none_are_refused_at_the_place_or_with_the_limit() {
    let folder = Folder::new();
    let utf16: Vec<u8> = "document:".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let nested = |open: &str, close: &str| definition(&format!("do: {}{}", open.repeat(DEEP), close.repeat(DEEP)));
    let in_json = |open: &str, close: &str| format!("{{\"document\": {}1{}}}", open.repeat(DEEP), close.repeat(DEEP));
    let cases: [(&str, Vec<u8>, &[&str]); 12] = [
        ("broken.yaml", [definition("do:").as_bytes(), b"  - \xc3\x28"].concat(), &["broken.yaml:3:5", "FS-YAML-UTF8"]),
        ("utf16.yaml", [b"\xff\xfe".as_slice(), &utf16].concat(), &["utf16.yaml:1:1", "FS-YAML-UTF8", "UTF-16"]),
        ("zeros.yaml", vec![0; 4_096], &["zeros.yaml:1:", "FS-"]),
        ("empty.yaml", Vec::new(), &["empty.yaml:1:1", "FS-WRONG-TYPE"]),
        ("laughs.yaml", laughs().into_bytes(), &["laughs.yaml:", "FS-YAML-NODES", "100000 nodes"]),
        ("deep.yaml", nested("[", "]").into_bytes(), &["deep.yaml:2:", "FS-YAML-DEPTH", "64 levels"]),
        ("dashes.yaml", nested("\n  - ", "").into_bytes(), &["dashes.yaml:", "FS-"]),
        ("steps.yaml", steps().into_bytes(), &["steps.yaml:", "FS-YAML-DEPTH", "64 levels"]),
        ("deep.json", in_json("{\"a\":", "}").into_bytes(), &["deep.json:1:", "FS-YAML-DEPTH", "64 levels"]),
        ("open.json", "[".repeat(DEEP).into_bytes(), &["open.json:1:", "FS-YAML-DEPTH"]),
        (
            "huge.yaml",
            definition(&format!("x-a: {}", "a".repeat(HUGE_BYTES))).into_bytes(),
            &["FS-YAML-SIZE", "1048576"],
        ),
        ("circle.yaml", b"a: &a { b: *a }".to_vec(), &["circle.yaml:1:", "FS-YAML-ALIAS"]),
    ];
    for (name, bytes, says) in cases {
        let file = put(&folder, name, bytes);
        let told = folder.flagstop(&["validate", &file]).exits(2).says(says);
        assert!(told.stderr.contains("hint:"), "{name} says nothing of how to mend it:\n{}", told.stderr);
        folder.flagstop(&["run", &file]).exits(2).says(says);
    }
    let store = folder.store();
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    folder
        .flagstop(&["deploy", "--store", &store, "laughs.yaml", "deep.json"])
        .exits(2)
        .says(&["nothing was deployed"]);
}

/// A mapping in a mapping, each a line and a column further.
fn steps() -> String {
    (0..DEEP / 10).map(|level| format!("{}a:\n", " ".repeat(level))).collect()
}

#[test]
fn schemas_without_a_floor_are_refused_and_those_that_follow_the_data_end_with_it() {
    let folder = Folder::new();
    let with = |schema: &str| {
        definition(&format!("input: {{ schema: {{ document: {schema} }} }}\ndo: [ {{ a: {{ set: {{ b: 1 }} }} }} ]"))
    };
    for schema in [
        "{ $ref: '#' }",
        "{ allOf: [ { $ref: '#' } ] }",
        "{ $ref: '#/$defs/a', $defs: { a: { not: { $ref: '#/$defs/a' } } } }",
    ] {
        put(&folder, "circle.yaml", with(schema));
        folder.flagstop(&["validate", "circle.yaml"]).exits(2).says(&[
            "circle.yaml:2:",
            "FS-SCHEMA-REFERENCE",
            "hint:",
        ]);
    }
    put(&folder, "tree.yaml", with("{ type: object, additionalProperties: { $ref: '#' } }"));
    let tree = |depth: usize, leaf: &str| format!("{}{leaf}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    folder.flagstop(&["run", "tree.yaml", "--input", &tree(100, "{}")]).exits(0);
    folder.flagstop(&["run", "tree.yaml", "--input", &tree(100, "5")]).exits(1).says(&["/input/schema"]);
    folder
        .flagstop(&["run", "tree.yaml", "--input", &tree(1_000, "{}")])
        .exits(2)
        .says(&["FS-JSON-DEPTH", "127 levels"]);
}

#[test]
fn expressions_without_an_end_fault_with_the_limit() {
    let folder = Folder::new();
    for (program, says) in [
        ("def f: f; f", "FS-EXPR-"),
        ("def f: [f]; f", "FS-EXPR-"),
        ("[range(1e9)]", "FS-EXPR-STEPS"),
        ("[limit(1e12; repeat(1))]", "FS-EXPR-STEPS"),
        ("last(range(1e15))", "FS-EXPR-STEPS"),
        ("reduce range(1e6) as $i (0; [.])", "FS-EXPR-DEPTH"),
        ("\"a\" * 1e9", "FS-EXPR-BYTES"),
        ("[.] | until(false; . + .)", "FS-EXPR-"),
    ] {
        put(&folder, "flow.yaml", definition(&format!("do: [ {{ a: {{ set: '${{ {program} }}' }} }} ]")));
        folder.flagstop(&["validate", "flow.yaml"]).exits(0);
        folder.flagstop(&["run", "flow.yaml"]).exits(1).says(&[says, "`expression_", "/do/0/a"]);
    }
    let deep = format!("{}1{}", "[".repeat(DEEP), "]".repeat(DEEP));
    put(&folder, "flow.yaml", definition(&format!("do: [ {{ a: {{ set: '${{ {deep} }}' }} }} ]")));
    folder.flagstop(&["validate", "flow.yaml"]).exits(2).says(&["flow.yaml:2:", "FS-EXPR-SIZE"]);
}

#[test]
fn inputs_and_secrets_that_are_none_are_refused_at_the_place_or_with_the_limit() {
    let folder = Folder::new();
    put(&folder, "flow.yaml", definition("do: [ { a: { set: '${ . }' } } ]"));
    let deep = format!("{}1{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let huge = format!("\"{}\"", "a".repeat(HUGE_BYTES));
    let cases: [(&str, &[u8], &[&str]); 9] = [
        ("broken.json", b"{\n \"a\": \"\xc3\x28\" }", &["broken.json:2:", "FS-JSON-INVALID"]),
        ("cut.json", b"{ \"a\": [1, 2", &["cut.json:1:", "FS-JSON-INVALID"]),
        ("two.json", b"1 2", &["two.json:1:3", "FS-JSON-INVALID"]),
        ("empty.json", b"", &["empty.json:1:1", "FS-JSON-INVALID"]),
        ("half.json", b"\"\\ud800\"", &["half.json:1:", "FS-JSON-INVALID"]),
        ("infinite.json", b"[1e999]", &["infinite.json:1:", "FS-JSON-INVALID"]),
        ("deep.json", deep.as_bytes(), &["deep.json", "FS-JSON-DEPTH", "127 levels"]),
        ("huge.json", huge.as_bytes(), &["huge.json", "FS-JSON-SIZE", "1048576"]),
        ("deep.yaml", deep.as_bytes(), &["deep.yaml:1:", "FS-YAML-DEPTH", "64 levels"]),
    ];
    for (name, bytes, says) in cases {
        let file = format!("@{}", put(&folder, name, bytes));
        let told = folder.flagstop(&["run", "flow.yaml", "--input", &file]).exits(2).says(says);
        assert_eq!(told.stdout, "");
    }
    for name in ["deep.yaml", "broken.json"] {
        folder.flagstop(&["run", "flow.yaml", "--secrets", name]).exits(2).says(&[name, "error[FS-"]);
    }
}

#[test]
fn events_that_are_none_are_refused_with_their_line() {
    let folder = Folder::new();
    put(&folder, "flow.yaml", definition("do: [ { a: { listen: { to: { one: { with: { type: go } } } } } } ]"));
    let good = format!("{{{EVENT},\"data\":1}}\n");
    let with = |rest: &str| format!("{good}{{{EVENT},{rest}}}").into_bytes();
    let deep = format!("\"data\":{}1{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let huge = format!("\"data\":\"{}\"", "a".repeat(2 << 20));
    let cases: [(&str, Vec<u8>, &[&str]); 8] = [
        ("broken.jsonl", [good.as_bytes(), b"{\"id\": \"\xff\"}"].concat(), &["broken.jsonl:2:", "UTF-8"]),
        ("text.jsonl", format!("{good}hello").into_bytes(), &["text.jsonl:2:", "FS-EVENT"]),
        ("list.jsonl", format!("{good}[1]").into_bytes(), &["list.jsonl:2:", "FS-EVENT"]),
        ("deep.jsonl", with(&deep), &["deep.jsonl:2:", "FS-EVENT"]),
        ("huge.jsonl", with(&huge), &["huge.jsonl:2:", "1048576"]),
        ("both.jsonl", with("\"data\":1,\"data_base64\":\"AA==\""), &["both.jsonl:2:", "FS-EVENT"]),
        ("base64.jsonl", with("\"data_base64\":\"not base64!\""), &["base64.jsonl:2:", "FS-EVENT", "base64"]),
        ("name.jsonl", with("\"Not-A-Name\":1"), &["name.jsonl:2:", "FS-EVENT"]),
    ];
    for (name, bytes, says) in cases {
        let file = put(&folder, name, bytes);
        folder.flagstop(&["run", "flow.yaml", "--events", &file]).exits(2).says(says);
        // Nothing is sent, so that nobody need be there to take it.
        let publish = ["publish", "--bus", "amqp://127.0.0.1:1", "--file", &file];
        folder.flagstop(&publish).exits(2).says(says);
    }
    let data = format!("@{}", put(&folder, "data.json", &deep["\"data\":".len()..]));
    for data in [data.as_str(), "{", "nul", "\"\\ud800\""] {
        let publish = ["publish", "--bus", "amqp://127.0.0.1:1", "--type", "go", "--data", data];
        folder.flagstop(&publish).exits(2).says(&["error[FS-EVENT-DATA]"]);
    }
    for (flag, more) in [("type", ["--id", "1"]), ("source", ["--type", "go"]), ("id", ["--type", "go"])] {
        let named = format!("--{flag}=");
        let publish = ["publish", "--bus", "amqp://127.0.0.1:1", &named, more[0], more[1]];
        folder.flagstop(&publish).exits(2).says(&["error[FS-EVENT-ATTRIBUTE]", flag]);
    }
}
