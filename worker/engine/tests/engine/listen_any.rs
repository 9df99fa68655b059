//! `listen` to any: until the first event, a condition, or other events; and to every event.

use flagstop_engine::api::Rejected;
use serde_json::json;

use crate::driver::{SECOND_US, START_US, World, assert_has, both_ways, event, problem};

#[test]
fn without_until_the_first_event_of_any_filter_is_enough() {
    let definition = "do: [ { a: { listen: { to: { any: [ { with: { type: x, data: '${ .n > 3 }' } }, { with: { type: y } } ] } } } } ]";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        assert_eq!(world.instance.waiting(&world.plan)[0].what, "x, y");
        assert!(!world.hear(event("x", "1", json!({ "n": 1 }))));
        assert!(world.hear(event("y", "2", json!(null))));
        assert_eq!(world.output(), json!([null]));
    });
}

#[test]
fn a_condition_sees_the_array_so_far_as_read_gives_it() {
    for (read, until) in [
        ("", "( . | length ) > 2"),
        ("read: data,", "'${ (map(.n) | add) >= 6 }'"),
        ("read: envelope,", "'(map(.data.n) | add) >= $input.enough'"),
        ("read: raw,", "'(.[-1] | fromjson | .n) == 3'"),
    ] {
        both_ways(|kill| {
            let mut world = World::new(&format!(
                "do: [ {{ a: {{ listen: {{ {read} to: {{ any: [ {{ with: {{ type: x }} }}, {{ with: {{ type: y }} }} ], until: {until} }} }}, output: {{ as: length }} }} }} ]"
            ))
            .killed(kill);
            world.start(json!({ "enough": 6 }));
            assert!(world.hear(event("x", "1", json!({ "n": 1 }))));
            assert!(world.hear(event("x", "2", json!({ "n": 2 }))));
            assert!(world.hear(event("y", "3", json!({ "n": 3 }))));
            assert!(!world.hear(event("y", "4", json!({ "n": 4 }))));
            assert_eq!(world.output(), json!(3), "{read} {until}");
            assert_eq!(world.story().iter().filter(|line| line.starts_with("correlat")).count(), 2);
        });
    }
}

#[test]
fn a_condition_that_fails_faults_the_task() {
    let mut world = World::new("do: [ { a: { listen: { to: { any: [], until: '.[0] > error(\"no\")' } } } } ]");
    world.start(json!({}));
    assert!(world.hear(event("x", "1", json!(1))));
    assert_has(&world.error(), &problem("expression", 400, "/do/0/a"));
}

#[test]
fn events_of_until_end_it_and_are_not_in_the_output() {
    for (until, last) in [
        ("{ one: { with: { type: stop } } }", vec!["stop"]),
        ("{ any: [ { with: { type: halt } }, { with: { type: stop } } ] }", vec!["stop"]),
        ("{ all: [ { with: { type: halt } }, { with: { type: stop } } ] }", vec!["stop", "halt"]),
    ] {
        for any in ["[ { with: { type: x } } ]", "[]"] {
            both_ways(|kill| {
                let definition = format!("do: [ {{ a: {{ listen: {{ to: {{ any: {any}, until: {until} }} }} }} }} ]");
                let mut world = World::new(&definition).killed(kill);
                world.start(json!({}));
                assert!(world.hear(event("x", "1", json!(1))) && world.hear(event("x", "2", json!(2))));
                for (number, ty) in last.iter().enumerate() {
                    assert!(world.hear(event(ty, &format!("last-{number}"), json!("no output"))), "{ty}");
                    if number == 0 && last.len() > 1 {
                        assert!(world.hear(event("x", "3", json!(3))), "not yet at its end");
                    }
                }
                let wanted = if last.len() > 1 { json!([1, 2, 3]) } else { json!([1, 2]) };
                assert_eq!(world.output(), wanted, "{any} {until}");
            });
        }
    }
}

#[test]
fn the_key_that_the_first_event_binds_holds_for_further_events_and_for_until() {
    let definition = "
do:
  - a:
      listen:
        to:
          any: [ { with: { type: x }, correlate: { k: { from: .data.k } } } ]
          until: { one: { with: { type: stop }, correlate: { k: { from: .data.key } } } }
";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        assert!(world.hear(event("x", "1", json!({ "k": "a" }))));
        assert!(!world.hear(event("x", "2", json!({ "k": "b" }))));
        assert!(!world.hear(event("stop", "3", json!({ "key": "b" }))));
        assert!(world.hear(event("x", "4", json!({ "k": "a" }))));
        assert!(world.hear(event("stop", "5", json!({ "key": "a" }))));
        assert_eq!(world.output(), json!([{ "k": "a" }, { "k": "a" }]));
    });
}

#[test]
fn any_of_nothing_hears_every_event_after_it_opened_but_no_commands_and_no_status_events() {
    both_ways(|kill| {
        let definition = "do: [ { w: { wait: PT1S } }, { a: { listen: { to: { any: [] } } } } ]";
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        world.go_on();
        let bookmarks = world.instance.projection(&world.plan).bookmarks;
        assert_eq!(bookmarks.len(), 1);
        assert_eq!(bookmarks[0].since_us, Some(START_US + SECOND_US + 1), "after that moment, not in it");
        assert_eq!(world.instance.waiting(&world.plan)[0].what, "any event");
        for ty in [
            "io.flagstop.command.cancel.v1",
            "io.flagstop.command.accepted.v1",
            "io.serverlessworkflow.task.created.v1",
            "io.serverlessworkflow.workflow.completed.v1",
            "io.serverlessworkflow.workflow.status-changed.v1",
        ] {
            assert!(!world.hear(event(ty, ty, json!({}))), "{ty}");
            assert_eq!(world.try_event(bookmarks[0].slot, event(ty, ty, json!({}))), Err(Rejected::NotWaiting));
        }
        assert!(world.hear(event("io.serverlessworkflow.samples.events.trigger.v1", "1", json!(7))));
        assert_eq!(world.output(), json!([7]));
    });
}

#[test]
fn all_waits_for_every_event_share_one_key() {
    let key = |definition: &str| {
        let mut world = World::new(definition);
        world.start(json!({}));
        world.instance.projection(&world.plan).bookmarks[0].key
    };
    assert_eq!(
        key("do: [ { a: { listen: { to: { any: [] } } } } ]"),
        key("do: [ { b: { listen: { read: raw, to: { any: [], until: '${ false }' } } } } ]")
    );
}

#[test]
fn an_instance_hears_what_it_emitted_itself() {
    let definition = "
do:
  - both:
      fork:
        branches:
          - l: { listen: { to: { one: { with: { type: mine } } } } }
          - e: { emit: { event: { with: { type: mine, data: 1 } } } }
";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        world.go_on();
        let own = world.emitted()[0].clone();
        assert!(world.hear(own));
        assert_eq!(world.output()[0], json!([1]));
    });
}

#[test]
fn what_one_listen_collects_is_bounded() {
    let definition = "do: [ { a: { listen: { to: { any: [], until: 'length > 100' } } } } ]";
    let text = crate::driver::definition(definition);
    let limits = flagstop_engine::Limits { collected_events_max: 2, ..flagstop_engine::Limits::default() };
    let mut world = World::new(definition);
    world.plan = flagstop_engine::Plan::compile(text.as_bytes(), &limits).unwrap();
    world.start(json!({}));
    for id in ["1", "2", "3"] {
        assert!(world.hear(event("x", id, json!(1))));
    }
    assert_has(&world.error(), &problem("runtime", 500, "/do/0/a"));
    assert!(world.error()["detail"].as_str().unwrap().contains("collected_events_max"));
}
