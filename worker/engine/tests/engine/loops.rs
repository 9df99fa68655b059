//! `for`: items, rounds, `while`, and what tells rounds apart.

use flagstop_engine::api::EffectOutcome;
use serde_json::json;

use crate::driver::{World, answer, assert_has, both_ways, compile, problem};

#[test]
fn each_round_gets_the_output_of_the_one_before_and_the_last_is_the_tasks() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - sum:
      for: { each: n, at: i, in: .numbers }
      do:
        - add: { set: { numbers: '${ .numbers }', total: '${ (.total // 0) + $n * 10 + $i }' } }
        - keep: { set: '${ . }' }
      output: { as: .total }
",
        );
        assert_eq!(world.killed(kill).run(json!({ "numbers": [1, 2, 3] })).output(), json!(63));
    });
}

#[test]
fn without_a_round_the_input_is_the_output() {
    for (items, wanted) in [("[]", json!({ "in": 1 })), ("null", json!({ "in": 1 })), ("empty", json!({ "in": 1 }))] {
        let world = World::new(&format!(
            "do: [ {{ a: {{ for: {{ in: '{items}' }}, do: [ {{ b: {{ set: {{ x: 1 }} }} }} ] }} }} ]"
        ));
        assert_eq!(world.run(json!({ "in": 1 })).output(), wanted, "{items}");
    }
    let world =
        World::new("do: [ { a: { for: { in: .in }, do: [ { b: { set: { x: 1 } } } ] } } ]").run(json!({ "in": 1 }));
    assert_has(&world.error(), &problem("expression", 400, "/do/0/a"));
    assert!(world.error()["detail"].as_str().unwrap().contains("array, not number"));
}

#[test]
fn the_variables_have_default_names_and_items_may_be_written_out() {
    let world = World::new(
        "do: [ { a: { for: { in: [ { n: 1 }, { n: '${ .x }' }, 3 ] }, do: [ { b: { set: { all: '${ (.all // []) + [[$index, $item]] }', x: '${ .x }' } } } ] } } ]",
    );
    assert_eq!(world.run(json!({ "x": 2 })).output()["all"], json!([[0, { "n": 1 }], [1, { "n": 2 }], [2, 3]]));
}

#[test]
fn while_is_asked_before_each_round_with_the_variables_bound() {
    both_ways(|kill| {
        let world = World::new(
            "do: [ { a: { for: { in: '[5, 6, 7, 8]' }, while: '$item < 8 and $index < 3 and (. | length) < 2', do: [ { b: { set: '${ . + [$item] }' } } ] } } ]",
        );
        assert_eq!(world.killed(kill).run(json!([])).output(), json!([5, 6]));
        let never =
            World::new("do: [ { a: { for: { in: '[1]' }, while: 'false', do: [ { b: { set: { x: 1 } } } ] } } ]");
        assert_eq!(never.killed(kill).run(json!("in")).output(), json!("in"));
    });
}

#[test]
fn exit_ends_a_round_and_end_the_instance() {
    both_ways(|kill| {
        let rounds = |then: &str| {
            World::new(&format!(
                "
do:
  - loop:
      for: {{ in: '[1, 2, 3]' }}
      do:
        - first: {{ set: '${{ . + [$item] }}' }}
        - choose: {{ switch: [ {{ two: {{ when: '$item == 2', then: {then} }} }} ] }}
        - last: {{ set: '${{ . + [0] }}' }}
  - after: {{ set: {{ all: '${{ . }}' }} }}
"
            ))
            .killed(kill)
            .run(json!([]))
        };
        assert_eq!(rounds("exit").output(), json!({ "all": [1, 0, 2, 3, 0] }));
        assert_eq!(rounds("end").output(), json!([1, 0, 2]));
    });
}

#[test]
fn loops_in_loops_see_their_own_and_the_outer_variables() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - outer:
      for: { each: a, at: i, in: '[10, 20]' }
      do:
        - inner:
            for: { each: b, at: j, in: '[1, 2]' }
            do: [ { add: { set: '${ . + [[$a + $b, $i, $j]] }' } } ]
",
        );
        let world = world.killed(kill).run(json!([]));
        assert_eq!(world.output(), json!([[11, 0, 0], [12, 0, 1], [21, 1, 0], [22, 1, 1]]));
        let added = world.statuses().filter(|event| event.task.as_deref() == Some("/do/0/outer/do/0/inner/do/0/add"));
        let rounds: Vec<_> = added.map(|event| event.attributes[0].1.clone()).step_by(3).collect();
        assert_eq!(rounds, ["0.0", "0.1", "1.0", "1.1"]);
    });
}

#[test]
fn a_catch_inside_of_a_loop_sees_the_item() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - loop:
      for: { in: '[1, 2]' }
      do:
        - attempt:
            try: [ { bad: { set: { x: '${ error(\"no \\($item)\") }' } } } ]
            catch: { as: e, do: [ { note: { set: '${ . + [$item, $e.status] }' } } ] }
",
        );
        assert_eq!(world.killed(kill).run(json!([])).output(), json!([1, 400, 2, 400]));
    });
}

#[test]
fn what_is_wrong_in_a_loop_is_found_at_load() {
    for (task, code) in [
        ("{ for: {}, do: [] }", "FS-MISSING-KEY"),
        ("{ for: { in: .x } }", "FS-MISSING-KEY"),
        ("{ for: { in: 5 }, do: [] }", "FS-WRONG-TYPE"),
        ("{ for: { in: .x, each: context }, do: [] }", "FS-VALUE"),
        ("{ for: { in: .x, each: a, at: a }, do: [] }", "FS-VALUE"),
        ("{ for: { in: .x, of: 1 }, do: [] }", "FS-UNKNOWN-KEY"),
        ("{ for: { in: '$item' }, do: [] }", "FS-EXPR-VARIABLE"),
        ("{ for: { in: .x }, while: '$item > $n', do: [] }", "FS-EXPR-VARIABLE"),
    ] {
        let found = compile(&format!("do: [ {{ a: {task} }} ]")).expect_err(task);
        let codes: Vec<_> = found.iter().map(|diagnostic| diagnostic.code).collect();
        assert_eq!(codes, [code], "{task}: {found}");
    }
}

const CALLS: &str = "
do:
  - loop:
      for: { each: n, in: '[7, 8]' }
      do:
        - attempt:
            try: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example/{n}', query: { n: '${ $n }' } } } } ]
            catch: { retry: { delay: PT1S } }
";

/// The part of the keys after the pointer.
fn runs(world: &World) -> Vec<String> {
    world.requests.iter().map(|effect| effect.idempotency_key.rsplit_once(':').unwrap().1.to_owned()).collect()
}

#[test]
fn a_key_stays_until_an_answer_came_and_no_two_rounds_share_one() {
    both_ways(|kill| {
        let lost = || EffectOutcome::NoAnswer { reason: "lost".into() };
        let fine = || answer(200, "application/json", "{}");
        let world =
            World::new(CALLS).killed(kill).answers(lost()).answers(answer(503, "text/plain", "")).answers(fine());
        let world = world.answers(fine()).run(json!({}));
        assert_eq!(world.output(), json!({}));
        assert_eq!(runs(&world), ["0.0", "0.0", "0.1", "1.0"]);
        let keys: Vec<_> = world.requests.iter().map(|effect| effect.idempotency_key.as_str()).collect();
        assert!(keys[0].starts_with(&format!("{}:/do/0/loop/do/0/attempt/try/0/ask:", world.instance.id())));
    });
}

#[test]
fn a_loop_that_runs_again_has_new_keys() {
    both_ways(|kill| {
        let mut world = World::new(
            "
do:
  - loop: { for: { in: '[1, 2]' }, do: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ] }
  - again: { switch: [ { more: { when: '$context == null', then: mark } }, { done: { then: end } } ] }
  - mark: { set: { x: 1 }, export: { as: 'true' }, then: loop }
",
        )
        .killed(kill);
        for _ in 0..4 {
            world = world.answers_json(200, json!({}));
        }
        assert_eq!(runs(&world.run(json!({}))), ["0.0", "1.0", "0.1", "1.1"]);
    });
}

#[test]
fn many_rounds_with_calls_make_the_snapshot_no_larger() {
    let mut world = World::new(
        "do: [ { a: { for: { in: '[range(40)]' }, do: [ { b: { for: { in: '[range(40)]' }, do: [ { c: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ] } } ] } } ]",
    );
    world.start(json!({}));
    let mut sizes = Vec::new();
    for _ in 0..1_600 {
        sizes.push(world.instance.encode().len());
        world.answer_at("/do/0/a/do/0/b/do/0/c", answer(200, "application/json", "{}"));
    }
    assert_eq!(world.output(), json!({}));
    let growth = sizes.iter().max().unwrap() - sizes[0];
    assert!(growth < 64, "{growth} bytes more after 1,600 calls");
}
