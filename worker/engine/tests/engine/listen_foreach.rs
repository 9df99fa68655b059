//! `listen` with `foreach`: tasks for each event, one after the other.

use flagstop_engine::api::Phase;
use flagstop_engine::{Limits, Plan};
use serde_json::json;

use crate::driver::{World, answer, assert_has, both_ways, compile, definition, event, problem};

const CALLS: &str = "
do:
  - chat:
      listen:
        to: { any: [ { with: { type: message } } ], until: { one: { with: { type: bye } } } }
      foreach:
        item: message
        at: number
        do:
          - post: { call: http, with: { method: post, endpoint: 'https://chat.example', body: { text: '${ $message.text }', number: '${ $number }' } } }
        output: { as: '{ answer: .ok, to: $message.text, number: $number }' }
        export: { as: '($context // []) + [ $output.answer ]' }
";

fn say(id: u32) -> flagstop_schemas::CloudEvent {
    event("message", &format!("m-{id}"), json!({ "text": format!("hello {id}") }))
}

#[test]
fn events_that_come_while_one_is_worked_on_wait_in_their_order() {
    both_ways(|kill| {
        let mut world = World::new(CALLS).killed(kill);
        world.start(json!({}));
        assert!(world.hear(say(0)));
        assert_eq!(world.instance.phase(), Phase::Running);
        assert!(world.hear(say(1)) && world.hear(say(2)), "they are consumed at once");
        assert_eq!(world.requests.len(), 1, "and worked on one at a time");
        assert!(world.hear(event("bye", "b", json!(null))));
        assert!(!world.hear(say(3)), "it listens no more");
        assert_eq!(world.story().last().unwrap(), "correlated /do/0/chat");
        for ok in ["a", "b", "c"] {
            world = world.answers(answer(200, "application/json", &format!(r#"{{"ok":"{ok}"}}"#)));
        }
        world.go_on();
        assert_eq!(
            world.output(),
            json!([
                { "answer": "a", "to": "hello 0", "number": 0 },
                { "answer": "b", "to": "hello 1", "number": 1 },
                { "answer": "c", "to": "hello 2", "number": 2 },
            ])
        );
        assert_eq!(world.context(), json!(["a", "b", "c"]));
        assert_eq!(world.http(2).body.as_deref(), Some(&br#"{"text":"hello 2","number":2}"#[..]));
        assert_eq!(
            world.completed(),
            [
                "/do/0/chat/foreach/do/0/post",
                "/do/0/chat/foreach/do/0/post",
                "/do/0/chat/foreach/do/0/post",
                "/do/0/chat"
            ]
        );
    });
}

#[test]
fn the_tasks_get_the_event_and_names_have_defaults() {
    let definition = "
do:
  - a:
      listen: { read: envelope, to: { all: [ { with: { type: x } }, { with: { type: y } } ] } }
      foreach:
        do:
          - seen: { set: { same: '${ . == $item }', type: '${ .type }', index: '${ $index }', input: '${ $input.type }' } }
      output: { as: '{ items: . }' }
";
    both_ways(|kill| {
        let world = World::new(definition).killed(kill);
        let world = world.hears(event("y", "1", json!(1))).hears(event("x", "2", json!(2))).run(json!({}));
        assert_eq!(
            world.output(),
            json!({ "items": [
                { "same": true, "type": "y", "index": 0, "input": "y" },
                { "same": true, "type": "x", "index": 1, "input": "x" },
            ] })
        );
    });
}

#[test]
fn without_tasks_the_event_is_its_own_result() {
    both_ways(|kill| {
        for (foreach, wanted) in [
            ("{}", json!([{ "n": 1 }, { "n": 2 }])),
            ("{ do: [] }", json!([{ "n": 1 }, { "n": 2 }])),
            ("{ output: { as: '.n + $index' } }", json!([1, 3])),
            ("{ item: e, output: { as: { n: '${ $e.n }' } } }", json!([{ "n": 1 }, { "n": 2 }])),
        ] {
            let world = World::new(&format!(
                "do: [ {{ a: {{ listen: {{ to: {{ any: [], until: length == 2 }} }}, foreach: {foreach} }} }} ]"
            ));
            let world = world.killed(kill).hears(event("t", "1", json!({ "n": 1 })));
            let world = world.hears(event("t", "2", json!({ "n": 2 }))).run(json!({}));
            assert_eq!(world.output(), wanted, "{foreach}");
        }
    });
}

#[test]
fn until_sees_the_events_not_the_results_and_may_look_at_what_an_item_exported() {
    let events = "do: [ { a: { listen: { to: { any: [], until: '.[-1].last' } }, foreach: { output: { as: .n } } } } ]";
    let context = "do: [ { a: { listen: { to: { any: [], until: '$context.sum >= 3' } }, foreach: { output: { as: .n }, export: { as: '{ sum: ($context.sum + .) }' } } } } ]";
    for definition in [events, context] {
        both_ways(|kill| {
            let mut world = World::new(definition).killed(kill);
            world.start(json!({}));
            assert!(world.hear(event("t", "1", json!({ "n": 1 }))));
            assert!(world.hear(event("t", "2", json!({ "n": 2, "last": true }))));
            assert!(!world.hear(event("t", "3", json!({ "n": 3 }))));
            assert_eq!(world.output(), json!([1, 2]), "{definition}");
            assert_eq!(world.story().iter().filter(|line| line.starts_with("correlated")).count(), 1);
        });
    }
}

#[test]
fn an_item_that_faults_faults_the_listen_and_what_waits_behind_it_is_gone() {
    both_ways(|kill| {
        let mut world = World::new(CALLS).killed(kill).answers(answer(500, "text/plain", "no"));
        world.start(json!({}));
        assert!(world.hear(say(0)) && world.hear(say(1)));
        world.go_on();
        assert_has(&world.error(), &problem("communication", 500, "/do/0/chat/foreach/do/0/post"));
        assert_eq!(world.requests.len(), 1);
    });
}

#[test]
fn exit_leaves_the_item_and_end_the_workflow() {
    let definition = "
do:
  - a:
      listen: { to: { any: [], until: length == 3 } }
      foreach:
        do:
          - which: { switch: [ { out: { when: . == 1, then: exit } }, { over: { when: . == 3, then: end } } ] }
          - more: { set: { n: '${ . }' } }
  - never: { set: { reached: true } }
";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        for n in 1..=3 {
            assert!(world.hear(event("t", &n.to_string(), json!(n))));
        }
        assert_eq!(world.output(), json!(3));
    });
}

#[test]
fn results_and_exports_obey_their_schemas() {
    for part in [
        "output: { schema: { document: { type: string } } }",
        "export: { as: ., schema: { document: { type: string } } }",
    ] {
        let mut world = World::new(&format!(
            "do: [ {{ a: {{ listen: {{ to: {{ any: [], until: length == 2 }} }}, foreach: {{ {part} }} }} }} ]"
        ));
        world.start(json!({}));
        assert!(world.hear(event("t", "1", json!("fine"))));
        assert!(world.hear(event("t", "2", json!(2))));
        assert_has(&world.error(), &problem("validation", 400, "/do/0/a"));
    }
}

#[test]
fn a_full_queue_leaves_events_parked_until_it_has_room() {
    let limits = Limits { listen_queue_max: 2, ..Limits::default() };
    both_ways(|kill| {
        let mut world = World::new(CALLS).killed(kill);
        world.plan = Plan::compile(definition(CALLS).as_bytes(), &limits).unwrap();
        world.start(json!({}));
        assert!(world.hear(say(0)) && world.hear(say(1)) && world.hear(say(2)));
        assert!(!world.hear(say(3)), "one is worked on, two wait");
        assert!(world.instance.projection(&world.plan).bookmarks.is_empty());
        assert!(world.instance.waiting(&world.plan).iter().all(|reason| reason.kind != "event"));
        world = world.answers_json(200, json!({ "ok": 0 }));
        world.go_on();
        assert!(world.hear(say(3)));
    });
}

#[test]
fn a_listen_that_never_ends_keeps_nothing_of_what_it_has_done() {
    let definition = "do: [ { a: { listen: { to: { any: [], until: '${ false }' } }, foreach: { do: [ { b: { emit: { event: { with: { type: seen, data: '${ $index }' } } } } } ] } } } ]";
    let mut world = World::new(definition);
    world.start(json!({}));
    let mut bytes = Vec::new();
    for n in 0..20 {
        assert!(world.hear(event("t", &n.to_string(), json!({ "text": "x".repeat(1_000) }))));
        bytes.push(world.instance.encode().len());
    }
    assert_eq!(world.emitted().len(), 20);
    assert_eq!(world.emitted()[19].data, flagstop_schemas::Data::Json("19".into()));
    assert!(bytes[19] < bytes[0] + 1_000, "{bytes:?}: only the identities of heard events are added");
}

#[test]
fn variables_of_a_foreach_are_checked() {
    for (foreach, code) in [
        ("{ item: input }", "FS-VALUE"),
        ("{ at: '1st' }", "FS-VALUE"),
        ("{ item: x, at: x }", "FS-VALUE"),
        ("{ items: x }", "FS-UNKNOWN-KEY"),
        ("{ output: { from: . } }", "FS-UNKNOWN-KEY"),
        ("{ output: { as: $other } }", "FS-EXPR-VARIABLE"),
        ("{ do: { a: 1 } }", "FS-WRONG-TYPE"),
        ("{ do: [ { b: { set: '${ $event }' } } ] }", "FS-EXPR-VARIABLE"),
    ] {
        let found = compile(&format!("do: [ {{ a: {{ listen: {{ to: {{ any: [] }} }}, foreach: {foreach} }} }} ]"))
            .expect_err(foreach);
        assert_eq!(found.iter().map(|it| it.code).collect::<Vec<_>>(), [code], "{foreach}");
    }
    let outside = "do: [ { a: { listen: { to: { any: [] } }, foreach: {}, output: { as: $item } } } ]";
    assert!(compile(outside).is_err(), "outside of the foreach there is no item");
}
