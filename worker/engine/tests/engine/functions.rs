//! `call` of functions: inline ones, those of catalogs, and files.

use serde_json::json;

use crate::driver::{World, assert_has, both_ways, compile, compile_with, problem};

#[test]
fn a_function_gets_with_as_its_input_and_gives_its_output() {
    both_ways(|kill| {
        let world = World::new(
            "
use:
  functions:
    double:
      input: { schema: { document: { required: [n] } } }
      do:
        - twice: { set: { n: '${ .n * 2 }' } }
      output: { as: .n }
do:
  - first: { call: double, with: { n: '${ .start }' }, output: { as: '{ n: . }' } }
  - second: { call: double }
  - third: { set: '${ { result: . } }' }
",
        );
        let world = world.killed(kill).run(json!({ "start": 5 }));
        assert_eq!(world.output(), json!({ "result": 20 }));
        assert_eq!(
            world.completed(),
            [
                "/use/functions/double/do/0/twice",
                "/use/functions/double",
                "/do/0/first",
                "/use/functions/double/do/0/twice",
                "/use/functions/double",
                "/do/1/second",
                "/do/2/third",
            ]
        );
    });
}

#[test]
fn a_function_reads_and_exports_the_callers_context_and_its_own_then_is_ignored() {
    both_ways(|kill| {
        let world = World::new(
            "
use:
  functions:
    count: { set: { n: '${ ($context.n // 0) + 1 }' }, export: { as: . }, then: end }
do:
  - a: { call: count, with: {} }
  - b: { call: count, with: {} }
",
        );
        let world = world.killed(kill).run(json!({}));
        assert_eq!((world.output(), world.context()), (json!({ "n": 2 }), json!({ "n": 2 })));
    });
}

#[test]
fn a_function_does_not_see_the_variables_around_its_call() {
    let found = compile(
        "
use: { functions: { peek: { set: { seen: '${ $item }' } } } }
do:
  - loop: { for: { in: '[1]' }, do: [ { see: { call: peek } } ] }
",
    )
    .unwrap_err();
    assert_eq!(found.iter().map(|found| (found.code, found.span.line)).collect::<Vec<_>>(), [("FS-EXPR-VARIABLE", 3)]);
}

#[test]
fn an_error_in_a_function_is_the_callers_whatever_stands_between() {
    let rest = "
use:
  functions:
    outer: { do: [ { inner: { call: inner, with: {} } } ] }
    inner: { do: [ { fail: { raise: { error: { type: https://example.com/e, status: 418, title: t } } } } ] }
do:
  - caller: { call: outer, with: {} }
";
    both_ways(|kill| {
        let world = World::new(rest).killed(kill).run(json!({}));
        assert_eq!(
            world.error(),
            json!({ "type": "https://example.com/e", "status": 418, "title": "t", "instance": "/do/0/caller" })
        );
    });
    both_ways(|kill| {
        let world = World::new(
            "use: { functions: { f: { input: { schema: { document: { required: [n] } } }, set: { x: 1 } } } }\ndo: [ { a: { call: f, with: {} } } ]",
        );
        assert_has(&world.killed(kill).run(json!({})).error(), &problem("validation", 400, "/do/0/a"));
    });
}

#[test]
fn functions_may_call_themselves_but_not_without_end() {
    let factorial = "
use:
  functions:
    factorial:
      do:
        - done: { if: '.n <= 1', set: { product: 1, n: 1 }, then: exit }
        - less: { call: factorial, with: { n: '${ .n - 1 }' } }
        - more: { set: { product: '${ .product * (.n + 1) }', n: '${ .n + 1 }' } }
do:
  - f: { call: factorial, with: { n: 10 } }
";
    both_ways(|kill| {
        let world = World::new(factorial).killed(kill).run(json!({}));
        assert_eq!(world.output(), json!({ "product": 3_628_800, "n": 10 }));
    });
    let endless = "use: { functions: { f: { call: g }, g: { call: f } } }\ndo: [ { a: { call: f } } ]";
    let world = World::new(endless).run(json!({}));
    assert_has(&world.error(), &problem("runtime", 500, "/do/0/a"));
    assert!(world.error()["detail"].as_str().unwrap().contains("function_depth_max"));
}

#[test]
fn two_calls_of_one_function_never_share_an_idempotency_key() {
    let rest = "
use: { functions: { ask: { call: http, with: { method: get, endpoint: 'https://h.example/' } } } }
do:
  - a: { call: ask }
  - b: { for: { in: '[1, 2]' }, do: [ { c: { call: ask } } ] }
";
    both_ways(|kill| {
        let world = World::new(rest).killed(kill);
        let world = world.answers_json(200, json!({})).answers_json(200, json!({})).answers_json(200, json!({}));
        let world = world.run(json!({}));
        let keys: std::collections::BTreeSet<_> =
            world.requests.iter().map(|effect| effect.idempotency_key.clone()).collect();
        assert_eq!(keys.len(), 3, "{keys:?}");
    });
}

const CATALOGUED: &str = "
use:
  catalogs:
    shared: { endpoint: { uri: catalog } }
do:
  - a: { call: 'greet:1.0.0@shared', with: { name: Ada } }
  - b: { call: 'shout:2.1.0', with: { text: '${ .greeting }' } }
  - c: { call: 'https://github.com/example/functions/blob/main/count/function.yaml', with: { text: '${ .text }' } }
";

#[test]
fn functions_of_catalogs_and_files_are_fetched_and_run_like_all_others() {
    let greet = "catalog/functions/greet/1.0.0/function.yaml";
    let shout = "catalog:functions/shout/2.1.0/function.yaml";
    let count = "https://raw.githubusercontent.com/example/functions/refs/heads/main/count/function.yaml";
    let plan = compile_with(CATALOGUED, &[]).unwrap();
    let missing: Vec<_> = plan.missing().iter().map(|missing| missing.url.as_str()).collect();
    assert_eq!(missing, [greet, shout, count]);
    let documents = [
        (
            greet,
            "input: { schema: { resource: { endpoint: in.json } } }\nset: { greeting: '${ \"Hello, \" + .name }' }",
        ),
        (shout, "do: [ { up: { set: { text: '${ .text | ascii_upcase }' } } } ]"),
        (count, r#"{ "set": { "text": "${ .text }", "length": "${ .text | length }" } }"#),
    ];
    let plan = compile_with(CATALOGUED, &documents).unwrap();
    let missing: Vec<_> = plan.missing().iter().map(|missing| missing.url.as_str()).collect();
    assert_eq!(missing, ["catalog/functions/greet/1.0.0/in.json"]);
    let documents = [documents.as_slice(), &[("catalog/functions/greet/1.0.0/in.json", "required: [name]")]].concat();
    both_ways(|kill| {
        let world = World::with_documents(CATALOGUED, &documents).killed(kill).run(json!({}));
        assert_eq!(world.output(), json!({ "text": "HELLO, ADA", "length": 10 }));
        assert!(world.completed().contains(&"/use/functions/shout:2.1.0/do/0/up"), "{:?}", world.completed());
    });
}

#[test]
fn a_function_that_was_not_fetched_faults_its_caller_and_names_where_it_lies() {
    both_ways(|kill| {
        let world = World::new(CATALOGUED).killed(kill).run(json!({}));
        assert_has(&world.error(), &problem("configuration", 400, "/do/0/a"));
        assert!(world.error()["detail"].as_str().unwrap().contains("catalog/functions/greet/1.0.0/function.yaml"));
    });
}

#[test]
fn a_mistake_in_a_fetched_function_is_shown_at_its_call() {
    let found = compile_with(
        "do:\n  - a:\n      call: f.yaml\n",
        &[("f.yaml", "sett: { x: 1 }\n"), ("unused.yaml", "broken: [")],
    )
    .unwrap_err();
    let found: Vec<_> = found.iter().collect();
    assert_eq!((found.len(), found[0].code, found[0].span.line), (1, "FS-TASK-TYPE", 4));
    assert!(found[0].message.contains("in `f.yaml`, line 1"), "{found:?}");
}

#[test]
fn a_name_that_nothing_has_is_told_with_the_nearest_one() {
    for (call, hint) in [
        ("greeet", "did you mean `greet`?"),
        ("htpp", "did you mean `http`?"),
        ("nothing-like-it", "use: { functions: { nothing-like-it"),
        ("greet:1.0.0@share", "did you mean `shared`?"),
        ("greet@shared", "name:version@catalog"),
        ("../greet:1", "name:version@catalog"),
    ] {
        let rest = format!(
            "use: {{ functions: {{ greet: {{ set: {{ x: 1 }} }} }}, catalogs: {{ shared: {{ endpoint: c }} }} }}\ndo: [ {{ a: {{ call: '{call}' }} }} ]"
        );
        let Err(found) = compile(&rest) else {
            assert_eq!(call, "../greet:1", "a path is taken as one");
            continue;
        };
        let found: Vec<_> = found.iter().collect();
        assert_eq!((found.len(), found[0].code), (1, "FS-UNKNOWN-NAME"), "{found:?}");
        assert!(found[0].hint.as_ref().unwrap().contains(hint), "{found:?}");
    }
}

#[test]
fn what_nobody_calls_is_checked_and_what_nobody_uses_is_told() {
    let found = compile("use: { functions: { f: { sett: 1 } } }\ndo: []").unwrap_err();
    assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), ["FS-TASK-TYPE"]);
    let plan = compile(
        "
use:
  secrets: [s, t]
  functions: { f: { call: g }, g: { set: { x: 1 } }, h: { set: { x: 1 } } }
  catalogs: { c: { endpoint: c } }
  errors: { e: { type: https://example.com/e, status: 400 } }
  retries: { r: {} }
  timeouts: { o: { after: PT1S } }
  authentications: { a: { bearer: { token: '${ $secrets.s }' } } }
do: [ { x: { call: f } } ]
",
    )
    .unwrap();
    let unused: Vec<_> = plan.warnings().iter().filter(|found| found.code == "FS-UNUSED").collect();
    let named: Vec<_> = unused.iter().map(|found| found.message.split('`').nth(1).unwrap()).collect();
    assert_eq!(named, ["t", "h", "c", "e", "r", "o", "a"]);
}
