//! Order, directives, `if`, `do`, `switch`, and the status events that tell of them.

use flagstop_engine::api::{Phase, Rejected, Stimulus};
use serde_json::json;

use crate::driver::{World, both_ways};

#[test]
fn a_task_is_announced_before_and_after_and_inside_of_the_one_around_it() {
    both_ways(|kill| {
        let world = World::new("do: [ { outer: { do: [ { inner: { set: { x: 1 } } } ] } } ]");
        let world = world.killed(kill).run(json!({}));
        assert_eq!(
            world.story(),
            [
                "started",
                "task.created /do/0/outer",
                "task.started /do/0/outer",
                "task.created /do/0/outer/do/0/inner",
                "task.started /do/0/outer/do/0/inner",
                "task.completed /do/0/outer/do/0/inner",
                "task.completed /do/0/outer",
                "completed",
            ]
        );
        let started = world.statuses().next().unwrap();
        assert_eq!(started.attributes, [("causationid", json!("cause-1")), ("causationsource", json!("/cause"))]);
    });
}

#[test]
fn directives_jump_to_a_named_task_or_on() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - red: { set: { colours: '${ .colours + [\"red\"] }' }, then: green }
  - blue: { set: { colours: '${ .colours + [\"blue\"] }' }, then: end }
  - green: { set: { colours: '${ .colours + [\"green\"] }' }, then: blue }
",
        );
        let world = world.killed(kill).run(json!({}));
        assert_eq!(world.output(), json!({ "colours": ["red", "green", "blue"] }));
        assert_eq!(world.completed(), ["/do/0/red", "/do/2/green", "/do/1/blue"]);
    });
}

#[test]
fn exit_leaves_its_own_list_only() {
    let world = World::new(
        "
do:
  - outer:
      do:
        - first: { set: { x: 1 }, then: exit }
        - never: { set: { x: 2 } }
      output: { as: '{ y: .x }' }
  - after: { set: { z: '${ .y }' } }
",
    );
    assert_eq!(world.run(json!({})).output(), json!({ "z": 1 }));
    let root = World::new("do: [ { a: { set: { x: 1 }, then: exit } }, { b: { set: { x: 2 } } } ]");
    assert_eq!(root.run(json!({})).output(), json!({ "x": 1 }));
}

#[test]
fn end_ends_the_instance_from_inside_without_the_open_tasks_own_transformations() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - outer:
      do:
        - middle:
            do: [ { stop: { set: { x: 1 }, output: { as: '{ out: .x }' }, then: end } } ]
            output: { as: '\"lost\"' }
        - never: { set: { x: 2 } }
output: { as: '{ final: .out }' }
",
        );
        let world = world.killed(kill).run(json!({}));
        assert_eq!(world.output(), json!({ "final": 1 }));
        assert_eq!(
            world.story()[7..],
            [
                "task.completed /do/0/outer/do/0/middle/do/0/stop",
                "task.cancelled /do/0/outer/do/0/middle",
                "task.cancelled /do/0/outer",
                "completed",
            ]
        );
    });
}

#[test]
fn a_skipped_task_passes_its_raw_input_on_and_leaves_no_trace() {
    let world = World::new(
        "
do:
  - skipped: { if: '.go', input: { from: '\"other\"' }, set: { x: 1 }, then: end }
  - next: { set: { got: '${ . }' } }
",
    );
    let world = world.run(json!({ "go": false }));
    assert_eq!(world.output(), json!({ "got": { "go": false } }));
    assert_eq!(world.completed(), ["/do/1/next"]);
    assert!(!world.story().iter().any(|line| line.contains("skipped")));
}

#[test]
fn if_is_true_for_everything_but_null_and_false() {
    for (input, runs) in
        [(json!(0), true), (json!(""), true), (json!(null), false), (json!(false), false), (json!({}), true)]
    {
        let world = World::new("do: [ { a: { if: '${ .v }', set: { ran: true } } } ]").run(json!({ "v": input }));
        assert_eq!(!world.completed().is_empty(), runs, "{input}");
    }
}

#[test]
fn switch_takes_the_first_case_that_fits_else_the_default_else_its_own_then() {
    let definition = |default: &str| {
        format!(
            "
do:
  - choose:
      switch:
        {default}
        - big: {{ when: '.n > 10', then: big }}
        - positive: {{ when: '.n > 0', then: small }}
      then: end
  - big: {{ set: {{ size: big }}, then: end }}
  - small: {{ set: {{ size: small }}, then: end }}
  - odd: {{ set: {{ size: odd }} }}
"
        )
    };
    let with_default = definition("- other: { then: odd }");
    for (n, size) in [(11, "big"), (1, "small"), (-1, "odd")] {
        assert_eq!(World::new(&with_default).run(json!({ "n": n })).output(), json!({ "size": size }));
    }
    assert_eq!(World::new(&definition("")).run(json!({ "n": -1 })).output(), json!({ "n": -1 }));
}

#[test]
fn an_empty_list_gives_its_input() {
    assert_eq!(World::new("do: []").run(json!({ "a": 1 })).output(), json!({ "a": 1 }));
    let nested = World::new("do: [ { a: { input: { from: .a }, do: [] } } ]");
    assert_eq!(nested.run(json!({ "a": 1 })).output(), json!(1));
}

#[test]
fn a_loop_by_directives_is_cut_by_the_budget_and_goes_on_where_it_was() {
    both_ways(|kill| {
        let mut world = World::new(
            "
do:
  - count: { set: { n: '${ .n + 1 }' } }
  - again: { switch: [ { more: { when: '.n < 50', then: count } }, { done: { then: exit } } ] }
",
        )
        .killed(kill);
        world.limits.steps_per_apply_max = 7;
        world.start(json!({ "n": 0 }));
        assert_eq!(world.instance.phase(), Phase::Running, "the budget cut it");
        assert_eq!(world.apply(Stimulus::Timer { slot: 1 }), Err(Rejected::NotWaiting));
        world.go_on();
        assert_eq!(world.output(), json!({ "n": 50 }));
        assert_eq!(world.completed().len(), 100);
        assert_eq!(world.apply(Stimulus::Proceed), Err(Rejected::Ended));
    });
}

#[test]
fn a_transition_is_also_cut_when_it_tells_too_much() {
    let mut world = World::new("do: [ { a: { set: { x: 1 } } }, { b: { set: { x: 2 } } }, { c: { set: { x: 3 } } } ]");
    world.limits.events_per_apply_max = 1;
    world.start(json!({}));
    assert!(world.entries.len() < 8, "cut between tasks");
    world.go_on();
    assert_eq!(world.output(), json!({ "x": 3 }));
}

#[test]
fn cancel_ends_all_that_is_open_from_the_inside_out() {
    both_ways(|kill| {
        let mut world = World::new("do: [ { outer: { do: [ { rest: { wait: PT1H } } ] } } ]").killed(kill);
        world.start(json!({}));
        world.apply(Stimulus::Cancel).unwrap();
        assert_eq!(world.instance.phase(), Phase::Cancelled);
        assert_eq!(
            world.story()[5..],
            ["task.cancelled /do/0/outer/do/0/rest", "task.cancelled /do/0/outer", "cancelled"]
        );
        assert_eq!(world.apply(Stimulus::Cancel), Err(Rejected::Ended));
    });
}

#[test]
fn an_instance_that_has_not_started_can_be_cancelled_and_hears_nothing() {
    let mut world = World::new("do: []");
    assert_eq!(world.apply(Stimulus::Timer { slot: 65_536 }), Err(Rejected::NotWaiting));
    assert!(matches!(world.apply(Stimulus::Proceed), Err(Rejected::Illegal(_))));
    world.apply(Stimulus::Cancel).unwrap();
    assert_eq!(world.story(), ["cancelled"]);
}

#[test]
fn a_definition_as_deep_as_the_reader_allows_runs() {
    let depth = 14;
    let mut list = "[ { leaf: { set: { x: 1 } } } ]".to_owned();
    for level in 0..depth {
        list = format!("[ {{ l{level}: {{ do: {list} }} }} ]");
    }
    let world = World::new(&format!("do: {list}")).run(json!({}));
    assert_eq!(world.output(), json!({ "x": 1 }));
    assert_eq!(world.completed().len(), depth + 1);
}
