//! `use.extensions`: what runs before and after tasks.

use flagstop_engine::api::Phase;
use flagstop_schemas::StatusKind;
use serde_json::json;

use crate::driver::{World, answer, assert_has, both_ways, compile, problem};

fn extended(extension: &str, tasks: &str) -> World {
    World::new(&format!("use:\n  extensions:\n    - ext: {extension}\ndo: {tasks}"))
}

#[test]
fn lists_run_around_the_task_and_what_they_give_is_dropped() {
    both_ways(|kill| {
        let world = extended(
            "{ extend: set, before: [ { b: { set: { seen: '${ . }', task: '${ $task.name }' }, export: { as: '[.]' } } } ], after: [ { a: { set: { seen: '${ . }', out: '${ $task.output }', at: '${ $task.reference }' }, export: { as: '$context + [.]' } } } ] }",
            "[ { one: { input: { from: '.n' }, set: '${ . + 1 }', output: { as: '. * 10' } } } ]",
        );
        let world = world.killed(kill).run(json!({ "n": 1 }));
        assert_eq!(world.output(), json!(20));
        assert_eq!(
            world.context(),
            json!([{ "seen": { "n": 1 }, "task": "one" }, { "seen": 20, "out": 2, "at": "/do/0/one" }]),
            "before sees the raw input, after the transformed output, and $task is the extended task"
        );
        assert_eq!(
            world.completed(),
            ["/use/extensions/0/ext/before/0/b", "/use/extensions/0/ext/after/0/a", "/do/0/one"]
        );
    });
}

#[test]
fn exit_before_the_task_stands_for_it() {
    both_ways(|kill| {
        let world = extended(
            "{ extend: call, when: '$task.with.endpoint == \"https://mocked.example\"', before: [ { first: { set: { n: 1 } } }, { mock: { set: { n: '${ .n + 1 }' }, then: exit } }, { never: { set: { n: 9 } } } ], after: [ { a: { raise: { error: { type: 'https://example.com/e', status: 1 } } } } ] }",
            "[ { ask: { call: http, with: { method: get, endpoint: 'https://mocked.example' }, output: { as: .n }, export: { as: '\"exported\"' } } } ]",
        );
        let world = world.killed(kill).run(json!({}));
        assert_eq!((world.output(), world.context()), (json!(2), json!("exported")));
        assert!(world.requests.is_empty());
    });
}

#[test]
fn an_inner_exit_is_not_the_lists() {
    let world = extended(
        "{ extend: set, before: [ { b: { do: [ { c: { wait: PT0S, then: exit } } ] } } ] }",
        "[ { one: { set: { x: 1 } } } ]",
    );
    assert_eq!(world.run(json!({})).output(), json!({ "x": 1 }));
}

#[test]
fn an_extension_extends_tasks_of_its_type_when_its_condition_holds() {
    both_ways(|kill| {
        let counting = |extend: &str, when: &str| {
            let world = extended(
                &format!(
                    "{{ extend: {extend}, {when} before: [ {{ count: {{ set: '${{ . }}', export: {{ as: '($context // []) + [$task.name]' }} }} }} ] }}"
                ),
                "[ { s: { set: { n: 1 } } }, { d: { do: [ { w: { wait: PT1S } } ] } }, { f: { fork: { branches: [ { e: { emit: { event: { with: { type: t } } } } } ] } } }, { skipped: { if: 'false', set: { n: 2 } } } ]",
            );
            world.killed(kill).run(json!({})).context()
        };
        assert_eq!(counting("set", ""), json!(["s"]));
        assert_eq!(counting("composite", ""), json!(["d", "f"]));
        assert_eq!(counting("all", ""), json!(["s", "d", "w", "f", "e"]));
        assert_eq!(
            counting("all", "when: '$task.name == \"w\" or .n == 1 and $task.name == \"d\"',"),
            json!(["d", "w"])
        );
        assert_eq!(counting("run", ""), json!(null));
    });
}

#[test]
fn several_extensions_run_in_declared_order() {
    both_ways(|kill| {
        let one = |name: &str| {
            let add = |place: &str| {
                format!("[ {{ x: {{ wait: PT1S, export: {{ as: '($context // []) + [\"{place} {name}\"]' }} }} }} ]")
            };
            format!("    - {name}: {{ extend: set, before: {}, after: {} }}\n", add("before"), add("after"))
        };
        let world =
            World::new(&format!("use:\n  extensions:\n{}{}do: [ {{ s: {{ set: {{ n: 1 }} }} }} ]", one("a"), one("b")));
        let world = world.killed(kill).run(json!({}));
        assert_eq!(world.context(), json!(["before a", "before b", "after a", "after b"]));
        assert_eq!(world.output(), json!({ "n": 1 }));
    });
}

#[test]
fn a_fault_of_an_extension_is_the_tasks() {
    both_ways(|kill| {
        for place in ["before", "after"] {
            let world = extended(
                &format!(
                    "{{ extend: set, {place}: [ {{ bad: {{ raise: {{ error: {{ type: 'https://example.com/e', status: 1 }} }} }} }} ] }}"
                ),
                "[ { t: { try: [ { s: { set: { n: 1 } } } ], catch: { as: e, do: [ { w: { wait: PT1S, output: { as: $e.instance } } } ] } } } ]",
            );
            let world = world.killed(kill).run(json!({}));
            assert_eq!(world.output(), json!(format!("/use/extensions/0/ext/{place}/0/bad")));
            assert_eq!(world.told(StatusKind::TaskFaulted).last(), Some(&"/do/0/t/try/0/s"));
        }
    });
}

#[test]
fn a_timeout_of_the_extended_task_cuts_the_lists_after_it_too() {
    both_ways(|kill| {
        let world = extended(
            "{ extend: set, after: [ { slow: { wait: PT9S } } ] }",
            "[ { s: { set: { n: 1 }, timeout: { after: PT5S } } } ]",
        );
        assert_has(&world.killed(kill).run(json!({})).error(), &problem("timeout", 408, "/do/0/s"));
    });
}

#[test]
fn calls_of_one_extension_around_two_branches_have_their_own_keys() {
    both_ways(|kill| {
        let mut world = extended(
            "{ extend: set, before: [ { log: { call: http, with: { method: post, endpoint: 'https://log.example', body: '${ $task.name }' } } } ] }",
            "[ { f: { fork: { branches: [ { a: { set: { a: 1 } } }, { b: { set: { b: 1 } } } ] } } } ]",
        )
        .killed(kill);
        world.start(json!({}));
        assert_eq!(world.in_flight.len(), 2);
        assert_ne!(world.in_flight[0].idempotency_key, world.in_flight[1].idempotency_key);
        let world = world.answers(answer(200, "text/plain", "")).answers(answer(200, "text/plain", "")).finished();
        assert_eq!(world.output(), json!([{ "a": 1 }, { "b": 1 }]));
        assert_eq!(world.instance.phase(), Phase::Completed);
    });
}

#[test]
fn what_is_wrong_in_an_extension_is_found_at_load() {
    for (extensions, code) in [
        ("{}", "FS-WRONG-TYPE"),
        ("[ { a: {} } ]", "FS-MISSING-KEY"),
        ("[ { a: { extend: sett } } ]", "FS-VALUE"),
        ("[ { a: { extend: set, around: [] } } ]", "FS-UNKNOWN-KEY"),
        ("[ { a: { extend: set } }, { a: { extend: set } } ]", "FS-DUPLICATE-NAME"),
        ("[ { a: { extend: set, before: [ { b: { sett: 1 } } ] } } ]", "FS-TASK-TYPE"),
        ("[ { a: { extend: set, when: '.a ||' } } ]", "FS-EXPR-SYNTAX"),
    ] {
        let found = compile(&format!("use: {{ extensions: {extensions} }}\ndo: []")).expect_err(extensions);
        let codes: Vec<_> = found.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, [code], "{extensions}: {found}");
    }
}
