//! `fork`: branches side by side, their `$context`, and races.

use flagstop_engine::api::{Phase, Stimulus};
use flagstop_schemas::StatusKind;
use serde_json::json;

use crate::driver::{World, answer, assert_has, both_ways, compile, problem};

fn fork(branches: &str, more: &str) -> World {
    World::new(&format!("do:\n  - f:\n      fork:\n        branches: {branches}\n{more}"))
}

#[test]
fn all_branches_get_the_input_and_their_outputs_come_in_declared_order() {
    both_ways(|kill| {
        let world = fork(
            "[ { slow: { do: [ { rest: { wait: PT9S } }, { a: { set: '${ .n + 1 }' } } ] } }, { fast: { set: '${ .n + 2 }' } }, { skipped: { if: 'false', set: { x: 1 } } } ]",
            "  - after: { set: { got: '${ . }' } }",
        );
        let world = world.killed(kill).run(json!({ "n": 1 }));
        assert_eq!(world.output(), json!({ "got": [2, 3, { "n": 1 }] }));
        assert_eq!(
            world.completed(),
            [
                "/do/0/f/fork/branches/1/fast",
                "/do/0/f/fork/branches/0/slow/do/0/rest",
                "/do/0/f/fork/branches/0/slow/do/1/a",
                "/do/0/f/fork/branches/0/slow",
                "/do/0/f",
                "/do/1/after"
            ]
        );
    });
}

#[test]
fn a_fork_without_branches_gives_its_input() {
    assert_eq!(fork("[]", "").run(json!({ "n": 1 })).output(), json!({ "n": 1 }));
}

#[test]
fn each_branch_has_its_own_context_and_changes_are_merged_in_declared_order() {
    both_ways(|kill| {
        // The second to finish was declared first.
        let branches = "
          - late:
              do:
                - rest: { wait: PT1S }
                - sees: { set: { seen: '${ $context }' }, export: { as: '$context + { who: \"late\", late: 1 }' } }
          - early:
              do:
                - one: { set: { seen: '${ $context }' }, export: { as: '$context + { who: \"early\" } | del(.gone)' } }
                - two: { set: { seen: '${ $context }' } }
          - silent: { set: { seen: '${ $context }' } }";
        let world = World::new(&format!(
            "do:\n  - begin: {{ set: {{ x: 1 }}, export: {{ as: '{{ who: \"begin\", gone: 1, kept: 1 }}' }} }}\n  - f:\n      fork:\n        branches:{branches}\n"
        ));
        let world = world.killed(kill).run(json!({}));
        let begin = json!({ "who": "begin", "gone": 1, "kept": 1 });
        let early = json!({ "seen": { "who": "early", "kept": 1 } });
        assert_eq!(world.output(), json!([{ "seen": begin }, early, { "seen": begin }]));
        assert_eq!(world.context(), json!({ "who": "early", "kept": 1, "late": 1 }));
    });
}

#[test]
fn what_a_branch_exports_that_is_no_object_replaces_the_whole_context() {
    for (exports, wanted) in [
        (["{ a: 1 }", "{ b: 2 }"], json!({ "a": 1, "b": 2 })),
        (["{ a: 1 }", "7"], json!(7)),
        (["7", "{ b: 2 }"], json!({ "b": 2 })),
        (["{ a: 1 }", "null"], json!(null)),
    ] {
        let branch = |name: &str, as_: &str| format!("{{ {name}: {{ set: {{ x: 1 }}, export: {{ as: '{as_}' }} }} }}");
        let branches = format!("[ {}, {} ]", branch("a", exports[0]), branch("b", exports[1]));
        assert_eq!(fork(&branches, "").run(json!({})).context(), wanted, "{exports:?}");
    }
}

#[test]
fn forks_in_forks_merge_outwards() {
    both_ways(|kill| {
        let inner = "{ fork: { branches: [ { x: { set: { x: 1 }, export: { as: '$context + { x: 1 }' } } }, { y: { set: { y: 1 }, export: { as: '$context + { y: 1 }' } } } ] } }";
        let branches = format!(
            "[ {{ outer: {{ do: [ {{ inner: {inner} }}, {{ sees: {{ set: '${{ $context }}' }} }} ] }} }}, {{ other: {{ set: '${{ $context }}' }} }} ]"
        );
        let world = fork(&branches, "").killed(kill).run(json!({}));
        assert_eq!(world.output(), json!([{ "x": 1, "y": 1 }, null]));
        assert_eq!(world.context(), json!({ "x": 1, "y": 1 }));
    });
}

#[test]
fn a_fault_cancels_the_other_branches() {
    both_ways(|kill| {
        let mut world = fork(
            "[ { calls: { call: http, with: { method: get, endpoint: 'https://a.example' } } }, { waits: { do: [ { rest: { wait: PT9S } } ] } }, { fails: { do: [ { short: { wait: PT1S } }, { bad: { raise: { error: { type: 'https://example.com/e', status: 400 } } } } ] } } ]",
            "",
        )
        .killed(kill);
        world.start(json!({}));
        assert_eq!(world.in_flight.len(), 1);
        world.fire();
        assert_has(
            &world.error(),
            &json!({ "type": "https://example.com/e", "instance": "/do/0/f/fork/branches/2/fails/do/1/bad" }),
        );
        assert_eq!(
            world.told(StatusKind::TaskCancelled),
            [
                "/do/0/f/fork/branches/1/waits/do/0/rest",
                "/do/0/f/fork/branches/1/waits",
                "/do/0/f/fork/branches/0/calls"
            ]
        );
        assert!(world.in_flight.is_empty(), "the call is no longer wanted");
    });
}

#[test]
fn exit_ends_its_branch_and_end_the_instance_with_all_branches() {
    both_ways(|kill| {
        let branches = |then: &str| {
            format!(
                "[ {{ a: {{ switch: [ {{ any: {{ then: {then} }} }} ] }} }}, {{ b: {{ do: [ {{ c: {{ wait: PT1S }} }}, {{ d: {{ set: {{ d: 1 }} }} }} ] }} }} ]"
            )
        };
        let after = "  - after: { set: { got: '${ . }' } }";
        let world = fork(&branches("exit"), after).killed(kill).run(json!({ "in": 1 }));
        assert_eq!(world.output(), json!({ "got": [{ "in": 1 }, { "d": 1 }] }));
        let world = fork(&branches("end"), after).killed(kill).run(json!({ "in": 1 }));
        assert_eq!(world.output(), json!({ "in": 1 }));
        assert_eq!(world.told(StatusKind::TaskCancelled), ["/do/0/f"], "the other branch had not begun");
    });
}

fn race(branches: &str) -> World {
    World::new(&format!("do: [ {{ f: {{ fork: {{ compete: true, branches: {branches} }} }} }} ]"))
}

#[test]
fn the_first_to_complete_wins_a_race_and_only_its_exports_count() {
    both_ways(|kill| {
        let branch = |name: &str, seconds: u32| {
            format!(
                "{{ {name}: {{ do: [ {{ mark: {{ set: {{ x: 1 }}, export: {{ as: '$context + {{ {name}: 1 }}' }} }} }}, {{ rest: {{ wait: PT{seconds}S }} }}, {{ out: {{ set: {{ {name}: 1 }} }} }} ] }} }}"
            )
        };
        let world = race(&format!("[ {}, {}, {} ]", branch("a", 3), branch("b", 2), branch("c", 9)));
        let world = world.killed(kill).run(json!({}));
        assert_eq!(world.output(), json!({ "b": 1 }));
        assert_eq!(world.context(), json!({ "b": 1 }));
        assert_eq!(world.told(StatusKind::TaskCancelled).len(), 4, "two branches, each inside of its wait");
    });
}

#[test]
fn in_the_same_instant_the_first_declared_wins() {
    both_ways(|kill| {
        for budget in [1, 3, 10_000] {
            let world = race(
                "[ { a: { do: [ { one: { set: { x: 1 } } }, { two: { set: { a: 1 } } } ] } }, { b: { set: { b: 1 } } } ]",
            );
            let mut world = world.killed(kill);
            world.limits.steps_per_apply_max = budget;
            assert_eq!(world.run(json!({})).output(), json!({ "a": 1 }), "budget {budget}");
            let mut world =
                race("[ { a: { wait: PT5S } }, { b: { do: [ { c: { wait: PT5S, output: { as: '\"b\"' } } } ] } } ]")
                    .killed(kill);
            world.limits.steps_per_apply_max = budget;
            assert_eq!(world.run(json!("in")).output(), json!("in"), "budget {budget}");
        }
    });
}

#[test]
fn a_race_faults_only_when_all_have_faulted_with_the_last_error() {
    both_ways(|kill| {
        let call = |name: &str| {
            format!("{{ {name}: {{ call: http, with: {{ method: get, endpoint: 'https://{name}.example' }} }} }}")
        };
        let mut world = race(&format!("[ {}, {} ]", call("a"), call("b"))).killed(kill);
        world.start(json!({}));
        world.answer_at("/do/0/f/fork/branches/1/b", answer(500, "text/plain", ""));
        assert_eq!(world.instance.phase(), Phase::Running);
        world.answer_at("/do/0/f/fork/branches/0/a", answer(502, "text/plain", ""));
        assert_has(&world.error(), &problem("communication", 502, "/do/0/f/fork/branches/0/a"));
        assert_eq!(
            world.told(StatusKind::TaskFaulted),
            ["/do/0/f/fork/branches/1/b", "/do/0/f/fork/branches/0/a", "/do/0/f"]
        );
    });
}

#[test]
fn a_race_that_still_may_be_won_goes_on_after_a_fault() {
    both_ways(|kill| {
        let world = race(
            "[ { a: { raise: { error: { type: 'https://example.com/e', status: 1 } } } }, { b: { wait: PT1S } } ]",
        );
        let world = world.killed(kill).run(json!({ "in": 1 }));
        assert_eq!(world.output(), json!({ "in": 1 }));
    });
}

#[test]
fn branches_cannot_go_on_with_each_other() {
    for task in ["set: { x: 1 }, then: b", "switch: [ { x: { then: b } } ]"] {
        let branches = format!("[ {{ a: {{ {task} }} }}, {{ b: {{ set: {{ x: 1 }} }} }} ]");
        let found = compile(&format!("do: [ {{ f: {{ fork: {{ branches: {branches} }} }} }} ]"))
            .expect_err("no such directive");
        let codes: Vec<_> = found.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, ["FS-UNKNOWN-TASK"]);
    }
}

#[test]
fn a_thousand_branches_come_to_their_end_one_by_one() {
    let branches: Vec<String> = (0..1_000).map(|n| format!("- b{n}: {{ do: [ {{ w: {{ wait: {{ seconds: {} }} }} }} ], output: {{ as: '{n}' }}, export: {{ as: '$context + {{ k{n}: 1 }}' }} }}", 1_000 - n)).collect();
    let mut world = World::new(&format!(
        "do:\n  - f:\n      fork:\n        branches:\n          {}",
        branches.join("\n          ")
    ));
    world.start(json!({}));
    while world.instance.phase() == Phase::Waiting {
        world.fire_quickly();
    }
    assert_eq!(world.output(), json!((0..1_000).collect::<Vec<_>>()));
    assert_eq!(world.context().as_object().unwrap().len(), 1_000);
    let keys: Vec<_> = world.context().as_object().unwrap().keys().take(2).cloned().collect();
    assert_eq!(keys, ["k0", "k1"], "in declared order");
}

#[test]
fn cancelling_reaches_into_branches() {
    both_ways(|kill| {
        let mut world = fork("[ { a: { wait: PT1S } }, { b: { do: [ { c: { wait: PT2S } } ] } } ]", "").killed(kill);
        world.start(json!({}));
        world.apply(Stimulus::Cancel).unwrap();
        assert_eq!(world.instance.phase(), Phase::Cancelled);
        assert_eq!(world.told(StatusKind::TaskCancelled).len(), 4);
    });
}
