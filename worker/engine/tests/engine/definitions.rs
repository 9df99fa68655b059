//! What is wrong in a definition is said at once, with its place and how to mend it.

use flagstop_engine::{Limits, Plan};

use crate::driver::definition;

/// The code and line of each mistake.
fn mistakes(text: &str) -> Vec<(&'static str, u32)> {
    match Plan::compile(text.as_bytes(), &Limits::default()) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(|mistake| (mistake.code, mistake.span.line)).collect(),
    }
}

fn codes(rest: &str) -> Vec<&'static str> {
    mistakes(&definition(rest)).into_iter().map(|(code, _)| code).collect()
}

#[test]
fn all_mistakes_of_a_definition_are_reported_at_once_with_their_places() {
    let text = "\
document: { dsl: '1.0.3', namespace: no_good, name: flow, version: 1.0, ttile: x }
schedule: { every: PT1H }
timeout: { after: PT1H }
do:
  - a: { sett: { x: 1 } }
  - b: { set: { x: '${ .a | }' }, then: nowhere }
  - b: { wait: soon }
  - c: { for: { in: . }, do: [] }
  - d: { switch: [ { x: { when: '$nothing', then: e } } ] }
  - f: { call: grpc, with: {} }
  - g: { listen: { to: { any: [] } } }
  - h: { try: [ { i: { set: word } } ], catch: { retry: {}, as: context, exceptwhen: '.x' } }
  - j: { call: http, with: { method: get, endpoint: 'https://a.example/{+x}', redirect: maybe } }
  - k: { set: { x: 1 }, wait: PT1S, inputs: {} }
  - l: { raise: { error: missing } }
";
    let found = Plan::compile(text.as_bytes(), &Limits::default()).expect_err("it is full of mistakes");
    let shown = found.render("bad.yaml", text);
    let golden = include_str!("bad.golden.txt");
    if std::env::var_os("FLAGSTOP_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/bad.golden.txt"), &shown).unwrap();
    } else {
        assert!(shown == golden, "\n{shown}\nrun again with FLAGSTOP_BLESS=1 if this is better than the golden file");
    }
}

#[test]
fn what_the_specification_has_and_this_build_has_not_is_named_as_not_yet() {
    assert_eq!(codes("evaluate: { language: javascript }\ndo: [ { a: { set: { x: 1 } } } ]"), ["FS-NOT-YET"]);
}

#[test]
fn unknown_keys_are_errors_at_every_level_and_own_ones_are_not_looked_into() {
    for (rest, code) in [
        ("doo: []\ndo: []", "FS-UNKNOWN-KEY"),
        ("do: [ { a: { set: { x: 1 }, outputs: {} } } ]", "FS-UNKNOWN-KEY"),
        ("do: [ { a: { set: { x: 1 }, output: { is: . } } } ]", "FS-UNKNOWN-KEY"),
        ("do: [ { a: { emit: { event: { with: { type: t }, more: 1 } } } } ]", "FS-UNKNOWN-KEY"),
        ("do: [ { a: { listen: { to: { one: { with: { type: t }, corelate: {} } } } } } ]", "FS-UNKNOWN-KEY"),
        ("do: [ { a: { wait: { second: 1 } } } ]", "FS-UNKNOWN-KEY"),
    ] {
        assert_eq!(codes(rest), [code], "{rest}");
    }
    assert!(
        codes("x-team: hr\ndo: [ { a: { set: { x: 1 }, x-note: { any: thing }, metadata: { anything: 1 } } } ]")
            .is_empty()
    );
}

#[test]
fn what_no_event_can_have_is_a_mistake_in_emit_and_in_filters() {
    let mistaken = "{ Type: t, foo_bar: 1, type: 5, ratio: 0.5, tags: [ a ], specversion: '0.3', subject: '${ .| }' }";
    let wanted =
        ["FS-VALUE", "FS-VALUE", "FS-WRONG-TYPE", "FS-WRONG-TYPE", "FS-WRONG-TYPE", "FS-VALUE", "FS-EXPR-SYNTAX"];
    assert_eq!(codes(&format!("do: [ {{ a: {{ emit: {{ event: {{ with: {mistaken} }} }} }} }} ]")), wanted);
    assert_eq!(codes(&format!("do: [ {{ a: {{ listen: {{ to: {{ one: {{ with: {mistaken} }} }} }} }} }} ]")), wanted);
    assert_eq!(codes(&format!("schedule: {{ read: data, on: {{ one: {{ with: {mistaken} }} }} }}\ndo: []")), wanted);
    for with in [
        "{ type: '' }",
        "{ type:  }",
        "{ type: t, id: '' }",
        "{ type: t, source: '' }",
        "{ type: t, source: white space }",
        "{ type: t, time: tomorrow }",
        "{ type: t, dataschema: a b }",
    ] {
        for task in [
            format!("emit: {{ event: {{ with: {with} }} }}"),
            format!("listen: {{ to: {{ one: {{ with: {with} }} }} }}"),
        ] {
            let found = codes(&format!("do: [ {{ a: {{ {task} }} }} ]"));
            assert!(found.len() == 1 && ["FS-VALUE", "FS-WRONG-TYPE"].contains(&found[0]), "{task}: {found:?}");
        }
    }
    let fine = "{ type: t, subject: , count: 3.0, flag: true, specversion: '1.0', data: [ 0.5 ] }";
    assert!(codes(&format!("do: [ {{ a: {{ emit: {{ event: {{ with: {fine} }} }} }} }} ]")).is_empty());
}

#[test]
fn what_could_never_be_is_a_mistake_before_it_runs() {
    let http = |more: &str| format!("call: http, with: {{ method: get, endpoint: 'https://h.example', {more} }}");
    let raise = |error: &str| format!("raise: {{ error: {{ type: 'https://h.example/e', status: 400, {error} }} }}");
    let catch = |with: &str| format!("try: [], catch: {{ errors: {{ with: {with} }} }}");
    for (task, code) in [
        (http("headers: { a: [ 1 ] }"), "FS-WRONG-TYPE"),
        (http("headers: { a: { b: 1 } }"), "FS-WRONG-TYPE"),
        (http("query: { a: { b: 1 } }"), "FS-WRONG-TYPE"),
        (http("query: { a: [ [ 1 ] ] }"), "FS-WRONG-TYPE"),
        ("call: http, with: { method: get, endpoint: '' }".into(), "FS-URI-TEMPLATE"),
        ("call: http, with: { method: get, endpoint: .url | tostring }".into(), "FS-URI-TEMPLATE"),
        (catch("{}"), "FS-VALUE"),
        (catch("{ x-own: 1 }"), "FS-VALUE"),
        (raise("instance: here"), "FS-VALUE"),
        ("raise: { error: { type: '', status: 400 } }".into(), "FS-VALUE"),
        ("raise: { error: { type: not found, status: 400 } }".into(), "FS-VALUE"),
        ("wait: { hours: '${ .h }', minutes: [ 1 ] }".into(), "FS-DURATION"),
        ("wait: { hours: '${ .h }', minutes: 1.5 }".into(), "FS-DURATION"),
        ("wait: { hours: '${ .h }', minutes: '5' }".into(), "FS-DURATION"),
    ] {
        assert_eq!(codes(&format!("do: [ {{ a: {{ {task} }} }} ]")), [code], "{task}");
    }
    for task in [
        http("headers: { a: 1, b: true, c: , x-d: '${ [ 1 ] }' }, query: { a: [ 1, b ], c: }"),
        catch("{ status: 400.0, x-own: 1 }"),
        raise("instance: /do/0/a"),
        "wait: { hours: '${ .h }', minutes: 1.0 }".into(),
    ] {
        assert!(codes(&format!("do: [ {{ a: {{ {task} }} }} ]")).is_empty(), "{task}");
    }
}

#[test]
fn an_expression_inside_a_longer_text_is_a_mistake_in_strict_mode_wherever_it_stands() {
    for rest in [
        "do: [ { a: { set: { x: 'a ${ .b }' } } } ]",
        "do: [ { a: { set: '${ .a } ${ .b }' } } ]",
        "do: [ { a: { wait: 'PT${ .n }S' } } ]",
        "do: [ { a: { call: http, with: { method: get, endpoint: 'https://a.example/${ .b }' } } } ]",
        "do: [ { a: { raise: { error: { type: 'x/${ .b }', status: 1 } } } } ]",
        "do: [ { a: { emit: { event: { with: { type: t, subject: 'a ${ .b }' } } } } } ]",
        "do: [ { a: { listen: { to: { one: { with: { type: t, subject: 'a ${ .b }' } } } } } } ]",
        "do: [ { a: { listen: { to: { one: { with: { type: t }, correlate: { k: { from: .id, expect: 'a ${ .b }' } } } } } } } ]",
    ] {
        assert_eq!(codes(rest), ["FS-EXPR-MIXED"], "{rest}");
        assert!(codes(&format!("evaluate: {{ mode: loose }}\n{rest}")).is_empty(), "{rest}");
    }
    assert_eq!(
        codes("do: [ { a: { try: [], catch: { errors: { with: { title: 'a ${ .b }' } } } } } ]"),
        ["FS-VALUE"],
        "errors are compared with constants, in any mode"
    );
}

#[test]
fn a_mistake_points_at_the_word_that_is_wrong_and_hides_no_other() {
    let words = |rest: &str| -> Vec<String> {
        let text = definition(rest);
        let found = Plan::compile(text.as_bytes(), &Limits::default()).expect_err(rest);
        let word = |offset: u32, length: u32| text[offset as usize..(offset + length) as usize].trim_end().to_owned();
        found.iter().map(|mistake| word(mistake.span.offset, mistake.span.length)).collect()
    };
    for (rest, wanted) in [
        ("do: [ { a: { then: end, sett: { x: 1 } } } ]", &["sett"][..]),
        ("do: [ { a: { with: {}, cal: http } } ]", &["cal"]),
        ("do: [ { a: { set: { x: 1 }, wait: PT1S } } ]", &["wait"]),
        ("do: [ { a: { then: end } } ]", &["a"]),
        ("do: [ { a: { set: { x: 1, y: [ '${ $secrets.k }' ] } } } ]", &["'${ $secrets.k }'"]),
        (
            "do: [ { a: { raise: { error: { type: 5, status: low, title: '${ | }', datail: x } } } } ]",
            &["5", "low", "'${ | }'", "datail"],
        ),
        (
            "do: [ { a: { call: http, with: { method: g t, endpoint: http://h, output: all, redirect: 1 } } } ]",
            &["g t", "all", "1"],
        ),
        (
            "do: [ { a: { listen: { read: it, to: { one: { with: { Type: t, Data: 1 }, correlate: { b: { from: '.|' }, c: { from: '.|' } } } } } } } ]",
            &["it", "Type", "Data", "'.|'", "'.|'"],
        ),
        (
            "do: [ { a: { try: [], catch: { as: '1', when: '.|', do: [ { b: { wait: x } } ] } } } ]",
            &["'1'", "'.|'", "x"],
        ),
        ("do: [ { a: { raise: { error: '${ .e }' } } } ]", &["'${ .e }'"]),
        ("schedule: { read: data }\ndo: []", &["data"]),
    ] {
        assert_eq!(words(rest), wanted, "{rest}");
    }
}

#[test]
fn names_and_directives_are_checked() {
    for (rest, code) in [
        ("do: [ { a: { set: { x: 1 } } }, { a: { set: { x: 1 } } } ]", "FS-DUPLICATE-NAME"),
        ("do: [ { a: { set: { x: 1 }, then: b } } ]", "FS-UNKNOWN-TASK"),
        ("do: [ { a: { do: [ { b: { set: { x: 1 }, then: c } } ] } }, { c: { set: { x: 1 } } } ]", "FS-UNKNOWN-TASK"),
        ("do: [ { a: { try: [], catch: { then: nowhere } } } ]", "FS-UNKNOWN-TASK"),
        ("do: [ { a: { raise: { error: { type: x } } } } ]", "FS-MISSING-KEY"),
        ("do: [ { a: { set: {} } } ]", "FS-VALUE"),
        ("do: [ { a: { set: word } } ]", "FS-VALUE"),
        ("do: [ { a: { call: htpp, with: {} } } ]", "FS-UNKNOWN-NAME"),
        ("do: [ { a: { wait: P1M } } ]", "FS-DURATION"),
        ("do: [ { a: {} } ]", "FS-TASK-TYPE"),
        ("do: [ a ]", "FS-WRONG-TYPE"),
        ("do: [ { a: { try: [], catch: { errors: { with: { status: '500' } } } } } ]", "FS-WRONG-TYPE"),
    ] {
        assert_eq!(codes(rest), [code], "{rest}");
    }
}

#[test]
fn the_identity_of_a_definition_is_checked() {
    let document = |document: &str| {
        mistakes(&format!("document: {document}\ndo: []")).into_iter().map(|(code, _)| code).collect::<Vec<_>>()
    };
    assert!(document("{ dsl: '1.0.0', namespace: a, name: b, version: '0.1.0-rc.1' }").is_empty());
    assert_eq!(document("{ dsl: '0.9.0', namespace: a, name: b, version: '0.1.0' }"), ["FS-DSL-VERSION"]);
    assert_eq!(document("{ dsl: '1.0.3', namespace: a b, name: b, version: '0.1.0' }"), ["FS-NAME"]);
    assert_eq!(document("{ dsl: '1.0.3', namespace: a, name: b, version: '1' }"), ["FS-NAME"]);
    assert_eq!(document("{ dsl: '1.0.3', namespace: a, name: b }"), ["FS-MISSING-KEY"]);
    assert_eq!(mistakes("do: []").len(), 1);
    let plan = Plan::compile(definition("do: []").as_bytes(), &Limits::default()).unwrap();
    assert_eq!((plan.reference().namespace.as_str(), plan.reference().version.to_string().as_str()), ("test", "1.2.3"));
}

#[test]
fn what_works_but_is_slow_is_a_warning() {
    let text =
        definition("do: [ { a: { listen: { to: { one: { with: { type: t, data: '${ .n > $input.n }' } } } } } } ]");
    let plan = Plan::compile(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(plan.warnings().iter().map(|warning| warning.code).collect::<Vec<_>>(), ["FS-SLOW-FILTER"]);
}

#[test]
fn a_constant_that_looks_like_an_expression_is_a_warning() {
    let warnings = |expect: &str| {
        let listen = format!("{{ with: {{ type: t }}, correlate: {{ k: {{ from: .id, expect: {expect} }} }} }}");
        let text = definition(&format!("do: [ {{ a: {{ listen: {{ to: {{ one: {listen} }} }} }} }} ]"));
        let plan = Plan::compile(text.as_bytes(), &Limits::default()).unwrap();
        plan.warnings().iter().map(|warning| warning.code).collect::<Vec<_>>()
    };
    assert_eq!((warnings(".id"), warnings("$context.id")), (vec!["FS-CONSTANT-EXPECT"], vec!["FS-CONSTANT-EXPECT"]));
    assert!(warnings("'${ .id }'").is_empty() && warnings("a.id").is_empty() && warnings("'.5'").is_empty());
}

#[test]
fn a_definition_that_is_no_mapping_or_no_yaml_is_refused_with_a_place() {
    for text in ["", "[]", "a: [", "a: &a [ *a ]", "\u{0}", "do: *x"] {
        let found = Plan::compile(text.as_bytes(), &Limits::default()).expect_err(text);
        assert!(found.has_errors() && found.iter().all(|mistake| mistake.code.starts_with("FS-")), "{text}");
    }
    let deep = format!("do: {}", "[".repeat(10_000));
    assert!(Plan::compile(deep.as_bytes(), &Limits::default()).is_err());
}

#[test]
fn a_secret_that_is_used_must_be_listed() {
    assert!(!codes("do: [ { a: { set: { x: '${ $secrets.hr }' } } } ]").is_empty());
    assert!(codes("use: { secrets: [ hr ] }\ndo: [ { a: { set: { x: '${ $secrets.hr }' } } } ]").is_empty());
}

#[test]
fn a_variable_is_known_only_where_it_is_given() {
    let handler = "do: [ { a: { try: [], catch: { as: e, do: [ { b: { set: { x: '${ $e }' } } } ] } } } ]";
    assert!(codes(handler).is_empty());
    for rest in [
        "do: [ { a: { try: [ { b: { set: { x: '${ $e }' } } } ], catch: { as: e } } } ]",
        "do: [ { a: { try: [], catch: { as: e }, output: { as: '$e' } } } ]",
        "do: [ { a: { set: { x: '${ $output }' } } } ]",
        "do: [ { a: { if: '$input.x', set: { x: 1 } } } ]",
    ] {
        assert_eq!(codes(rest).len(), 1, "{rest}");
    }
}
