//! What is legal, but surely not meant: each such thing is a warning at its place, and its legitimate neighbours are not.

use crate::driver::{compile, definition};

/// The code of each warning, with the source under its caret.
fn warnings(rest: &str) -> Vec<(&'static str, String)> {
    let text = definition(rest);
    let plan = compile(rest).unwrap_or_else(|found| panic!("{}", found.render("flow.yaml", &text)));
    let under = |offset: u32, length: u32| text[offset as usize..(offset + length) as usize].trim_end().to_owned();
    plan.warnings().iter().map(|found| (found.code, under(found.span.offset, found.span.length))).collect()
}

/// The words under the carets of the warnings with this code.
fn words(code: &str, rest: &str) -> Vec<String> {
    warnings(rest).into_iter().filter(|(found, _)| *found == code).map(|(_, word)| word).collect()
}

fn assert_none(rests: &[&str]) {
    for rest in rests {
        assert_eq!(warnings(rest), [], "{rest}");
    }
}

#[test]
fn a_lint_is_shown_with_its_place_a_caret_and_a_way_out() {
    let rest = "do:\n  - a:\n      set: { total: .order.total }\n      then: end\n  - b: { set: { x: 1 } }\n";
    let text = definition(rest);
    let shown: flagstop_engine::Diagnostics = compile(rest).unwrap().warnings().iter().cloned().collect();
    assert_eq!(
        shown.render("flow.yaml", &text),
        "flow.yaml:4:21: warning[FS-LINT-LITERAL]: `.order.total` is a text here, not an expression\n\
         \x20   4 |       set: { total: .order.total }\n\
         \x20     |                     ^^^^^^^^^^^^\n\
         hint: write `${ .order.total }` if the value of the expression is meant, and `${ \".order.total\" }` if the text is\n\
         flow.yaml:6:5: warning[FS-LINT-UNREACHABLE]: `b` is never reached\n\
         \x20   6 |   - b: { set: { x: 1 } }\n\
         \x20     |     ^\n\
         hint: what stands before goes elsewhere, or never ends well: lead a `then` here, or remove it\n"
    );
}

#[test]
fn a_text_that_is_surely_an_expression_is_a_warning_wherever_texts_are_evaluated() {
    let literal = |rest: &str| words("FS-LINT-LITERAL", rest);
    for (rest, word) in [
        ("do: [ { a: { set: { x: .customer } } } ]", ".customer"),
        ("do: [ { a: { set: { x: { y: [ 1, '$context.x' ] } } } } ]", "'$context.x'"),
        ("do: [ { a: { set: { x: 1 }, output: { as: { y: $input } } } } ]", "$input"),
        ("do: [ { a: { set: { x: 1 }, export: { as: { y: .x } } } } ]", ".x"),
        ("do: [ { a: { set: { x: 1 }, input: { from: { y: $workflow.id } } } } ]", "$workflow.id"),
        ("input: { from: { y: .x } }\ndo: []", ".x"),
        ("do: [ { a: { emit: { event: { with: { type: t, data: { id: .id } } } } } } ]", ".id"),
        ("do: [ { a: { raise: { error: { type: 'https://a.example/e', status: 400, detail: .why } } } } ]", ".why"),
        ("do: [ { f: { for: { in: ., each: pet }, do: [ { a: { set: { x: $pet.name } } } ] } } ]", "$pet.name"),
        ("do: [ { a: { run: { shell: { command: ls, arguments: [ .folder ] } } } } ]", ".folder"),
        ("do: [ { a: { run: { workflow: { namespace: n, name: m, version: '1.0.0', input: { x: .y } } } } } ]", ".y"),
    ] {
        assert_eq!(literal(rest), [word], "{rest}");
    }
    let http = "do: [ { a: { call: http, with: { method: post, endpoint: .url, headers: { x-id: .id }, query: { q: .q }, body: .customer } } } ]";
    let mut found = literal(http);
    found.sort();
    assert_eq!(found, [".customer", ".id", ".q", ".url"]);
}

#[test]
fn texts_and_places_that_are_always_expressions_are_no_such_warning() {
    assert_none(&[
        "do: [ { a: { set: { x: '${ .customer }', y: .gitignore, z: ./run, suffix: .tar.gz, host: .example.com, n: '$5' } } } ]",
        "do: [ { a: { if: .ok, input: { from: .x }, set: { y: 1 }, output: { as: .y }, export: { as: .y } } } ]",
        "do: [ { f: { for: { in: .items }, while: .more, do: [ { a: { set: { x: '${ $item.name }' } } } ] } } ]",
        "do: [ { s: { switch: [ { one: { when: .ok, then: end } } ] } } ]",
        "input: { schema: { document: { const: .customer } } }\ndo: [ { a: { set: { x: 1 }, metadata: { note: .customer } } } ]",
        "do: [ { a: { run: { script: { language: js, code: .customer } } } } ]",
        "do: [ { a: { run: { shell: { command: .customer } } } } ]",
    ]);
}

#[test]
fn a_task_that_no_way_leads_to_is_a_warning_at_its_name() {
    let dead = |list: &str| words("FS-LINT-UNREACHABLE", &format!("do: {list}"));
    let set = "set: { x: 1 }";
    for directive in ["end", "exit", "c"] {
        let list = format!("[ {{ a: {{ {set}, then: {directive} }} }}, {{ b: {{ {set} }} }}, {{ c: {{ {set} }} }} ]");
        assert_eq!(dead(&list), ["b"], "{directive}");
    }
    let raise = "raise: { error: { type: 'https://a.example/e', status: 400 } }";
    assert_eq!(dead(&format!("[ {{ a: {{ {raise} }} }}, {{ b: {{ {set} }} }} ]")), ["b"]);
    let switch = "switch: [ { one: { when: .x, then: c } }, { other: { then: end } } ]";
    assert_eq!(dead(&format!("[ {{ a: {{ {switch} }} }}, {{ b: {{ {set} }} }}, {{ c: {{ {set} }} }} ]")), ["b"]);
    // What only a task that is never reached leads to is none either.
    let island = format!(
        "[ {{ a: {{ {set}, then: d }} }}, {{ b: {{ {set}, then: c }} }}, {{ c: {{ {set}, then: b }} }}, {{ d: {{ {set} }} }} ]"
    );
    assert_eq!(dead(&island), ["b"], "neighbours are one warning");
    for inner in [
        format!("do: [ {{ i: {{ {set}, then: end }} }} ]"),
        format!("do: [ {{ i: {{ {raise} }} }} ]"),
        format!("fork: {{ branches: [ {{ i: {{ {raise} }} }}, {{ j: {{ {set} }} }} ] }}"),
        format!("fork: {{ compete: true, branches: [ {{ i: {{ {set}, then: end }} }} ] }}"),
        format!("try: [ {{ i: {{ {raise} }} }} ], catch: {{ do: [ {{ j: {{ {set}, then: end }} }} ] }}"),
        format!("try: [ {{ i: {{ {raise} }} }} ], catch: {{ then: c }}"),
        "listen: { to: { any: [], until: 'false' } }".to_owned(),
        format!("try: [ {{ i: {{ {raise} }} }} ], catch: {{ retry: {{ delay: PT1S }} }}"),
    ] {
        let list = format!("[ {{ a: {{ {inner} }} }}, {{ b: {{ {set}, then: end }} }}, {{ c: {{ {set} }} }} ]");
        assert_eq!(dead(&list), ["b"], "{inner}");
    }
    assert_eq!(
        words(
            "FS-LINT-UNREACHABLE",
            &format!(
                "use: {{ functions: {{ f: {{ do: [ {{ a: {{ {raise} }} }}, {{ b: {{ {set} }} }} ] }} }} }}\ndo: [ {{ a: {{ call: f }} }} ]"
            )
        ),
        ["b"],
        "bodies of functions too"
    );
}

#[test]
fn a_task_that_some_way_leads_to_is_no_such_warning() {
    let set = "set: { x: 1 }";
    let raise = "raise: { error: { type: 'https://a.example/e', status: 400 } }";
    let b = format!("{{ b: {{ {set} }} }}");
    for first in [
        format!("{{ a: {{ if: .x, {set}, then: end }} }}"),
        format!("{{ a: {{ if: .x, {raise} }} }}"),
        "{ a: { switch: [ { one: { when: .x, then: end } } ] } }".to_owned(),
        "{ a: { switch: [ { one: { when: .x, then: end } }, { other: { then: continue } } ] } }".to_owned(),
        format!("{{ a: {{ do: [ {{ i: {{ {set}, then: exit }} }} ] }} }}"),
        "{ a: { do: [] } }".to_owned(),
        "{ a: { listen: { to: { any: [], until: .done } } } }".to_owned(),
        "{ a: { try: [ { i: { listen: { to: { any: [], until: 'false' } }, timeout: { after: PT1H } } } ], catch: {} } }".to_owned(),
        format!("{{ a: {{ for: {{ in: . }}, do: [ {{ i: {{ {raise} }} }} ] }} }}"),
        format!("{{ a: {{ try: [ {{ i: {{ {raise} }} }} ], catch: {{}} }} }}"),
        format!("{{ a: {{ try: [ {{ i: {{ {raise} }} }} ], catch: {{ do: [ {{ j: {{ {set} }} }} ] }} }} }}"),
        format!("{{ a: {{ try: [ {{ i: {{ {set} }} }} ], catch: {{ then: end }} }} }}"),
        format!("{{ a: {{ fork: {{ branches: [ {{ i: {{ {set}, then: exit }} }}, {{ j: {{ if: .x, {raise} }} }} ] }} }} }}"),
        format!("{{ a: {{ fork: {{ compete: true, branches: [ {{ i: {{ {raise} }} }}, {{ j: {{ {set} }} }} ] }} }} }}"),
        format!("{{ a: {{ {set}, then: c }} }}, {{ d: {{ {set}, then: end }} }}, {{ c: {{ {set}, then: d }} }}, {{ e: {{ {set} }} }}, {{ f: {{ {set} }} }}")
            .replace("then: end }", "then: e }"),
    ] {
        let rest = format!("do: [ {first}, {b} ]");
        assert_eq!(words("FS-LINT-UNREACHABLE", &rest), Vec::<String>::new(), "{rest}");
    }
    let extended = format!(
        "use: {{ extensions: [ {{ x: {{ extend: raise, before: [ {{ skip: {{ {set}, then: exit }} }} ] }} }} ] }}\ndo: [ {{ a: {{ {raise} }} }}, {b} ]"
    );
    assert_none(&[&extended]);
}

#[test]
fn retries_one_right_after_the_other_are_a_warning() {
    let delay = |retry: &str| {
        let rest = format!("do: [ {{ a: {{ try: [], catch: {{ retry: {retry} }} }} }} ]");
        words("FS-LINT-RETRY-DELAY", &rest)
    };
    assert_eq!(delay("{}"), ["{}"]);
    assert_eq!(delay("{ limit: { attempt: { count: 2 } } }").len(), 1);
    assert_eq!(delay("{ limit: { duration: PT1M } }").len(), 1);
    assert_eq!(delay("{ delay: PT0S }"), ["PT0S"]);
    assert_eq!(delay("{ delay: { seconds: 0 }, backoff: { exponential: {} } }"), ["{ seconds: 0 }"]);
    let named = "use: { retries: { r: { when: .x } } }\ndo: [ { a: { try: [], catch: { retry: r } } }, { b: { try: [], catch: { retry: r } } } ]";
    assert_eq!(words("FS-LINT-RETRY-DELAY", named), ["{ when: .x }"], "once, where it stands");

    for retry in [
        "{ delay: PT1S }",
        "{ delay: '${ .pause }' }",
        "{ delay: { milliseconds: 50 }, limit: { attempt: { count: 5 } } }",
        "{ jitter: { from: PT0S, to: PT1S } }",
        "{ limit: { attempt: { count: 1 } } }",
        "{ limit: { attempt: { count: 0 } } }",
    ] {
        assert_eq!(delay(retry), Vec::<String>::new(), "{retry}");
    }
}

#[test]
fn a_condition_that_never_changes_is_a_warning() {
    let constant = |rest: &str| words("FS-LINT-CONSTANT", rest);
    assert_eq!(constant("do: [ { a: { if: '${ true }', set: { x: 1 } } } ]"), ["'${ true }'"]);
    assert_eq!(constant("do: [ { s: { switch: [ { c: { when: '\"yes\"', then: end } } ] } } ]"), ["'\"yes\"'"]);
    assert_eq!(constant("do: [ { f: { for: { in: . }, while: 'true', do: [] } } ]"), ["'true'"]);
    assert_eq!(constant("do: [ { t: { try: [], catch: { when: 'false', do: [] } } } ]"), ["'false'"]);
    assert_none(&[
        "do: [ { a: { if: '.x == true', set: { x: 1 } } } ]",
        "do: [ { a: { listen: { to: { any: [], until: 'false' } } } } ]",
    ]);
}
