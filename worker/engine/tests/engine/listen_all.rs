//! `listen` to all: one event for each filter, and the keys that the first event binds.

use flagstop_engine::api::{Phase, Rejected, Stimulus};
use flagstop_schemas::StatusKind;
use serde_json::json;

use crate::driver::{START_US, World, both_ways, event};

const ROOM: &str = "
do:
  - read:
      listen:
        to:
          all:
            - with: { type: temperature }
              correlate: { room: { from: .data.room } }
            - with: { type: humidity }
              correlate: { room: { from: .data.room } }
";

#[test]
fn each_filter_gets_one_event_in_whatever_order_they_come() {
    let definition = "do: [ { a: { listen: { to: { all: [ { with: { type: x } }, { with: { type: y } } ] } } } } ]";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        assert!(world.hear(event("y", "1", json!(1))));
        assert!(!world.hear(event("y", "2", json!(2))), "its filter has had its event: this one stays parked");
        assert_eq!(world.instance.projection(&world.plan).bookmarks.len(), 1);
        assert_eq!(world.instance.waiting(&world.plan)[0].what, "x");
        assert!(world.hear(event("x", "3", json!(3))));
        assert_eq!(world.output(), json!([1, 3]));
        assert_eq!(
            world.story()[1..6],
            [
                "task.created /do/0/a",
                "task.started /do/0/a",
                "correlating /do/0/a",
                "correlated /do/0/a",
                "task.completed /do/0/a"
            ]
        );
    });
}

#[test]
fn an_event_that_fits_several_filters_satisfies_the_first_open_one() {
    let definition = "do: [ { a: { listen: { to: { all: [ { with: { source: /test } }, { with: { type: x } }, { with: { type: x } } ] } } } } ]";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        let open = |world: &World| world.instance.projection(&world.plan).bookmarks.len();
        assert!(world.hear(event("x", "1", json!(1))));
        assert_eq!(open(&world), 2, "the first filter is satisfied, the two for `x` are not");
        assert!(!world.hear(event("y", "2", json!(2))));
        assert!(world.hear(event("x", "3", json!(3))) && world.hear(event("x", "4", json!(4))));
        assert_eq!(world.output(), json!([1, 3, 4]));
    });
}

#[test]
fn the_first_event_binds_the_key_for_the_other_filters() {
    both_ways(|kill| {
        let mut world = World::new(ROOM).killed(kill);
        world.start(json!({}));
        let before = world.instance.projection(&world.plan).bookmarks;
        assert!(before.iter().all(|bookmark| bookmark.since_us == Some(START_US)));
        assert!(world.hear(event("temperature", "1", json!({ "room": 5, "t": 21 }))));
        let after = world.instance.projection(&world.plan).bookmarks;
        assert_eq!((after.len(), after[0].since_us), (1, None));
        assert!(!before.iter().any(|bookmark| bookmark.key == after[0].key), "the bookmark moved to the bound key");
        assert!(!world.hear(event("humidity", "2", json!({ "room": 6, "h": 40 }))), "another room");
        assert_eq!(
            world.try_event(after[0].slot, event("humidity", "3", json!({ "room": 6 }))),
            Err(Rejected::NotWaiting)
        );
        assert!(!world.hear(event("humidity", "4", json!({ "h": 40 }))), "no room");
        assert_eq!(world.instance.waiting(&world.plan)[0].correlate, [("room".to_owned(), "5".to_owned())]);
        assert!(world.hear(event("humidity", "5", json!({ "room": 5.0, "h": 40 }))));
        assert_eq!(world.output(), json!([{ "room": 5, "t": 21 }, { "room": 5, "h": 40 }]));
        let correlated: Vec<_> =
            world.statuses().filter(|event| event.kind == StatusKind::WorkflowCorrelationCompleted).collect();
        assert_eq!(correlated.len(), 1);
        assert_eq!(correlated[0].correlation_keys.as_ref().unwrap().get(), r#"{"room":5}"#);
    });
}

#[test]
fn keys_are_bound_by_name_and_only_for_the_run_of_the_listen() {
    let definition = "
do:
  - read:
      listen:
        to:
          all:
            - { with: { type: a }, correlate: { order: { from: .data.order }, floor: { from: .data.floor } } }
            - { with: { type: b }, correlate: { order: { from: .subject } } }
            - { with: { type: c }, correlate: { order: { from: .data.o }, site: { from: .data.site, expect: '${ .site }' } } }
  - again: { switch: [ { more: { when: '$context == null', then: mark } }, { done: { then: end } } ] }
  - mark: { set: { site: s }, export: { as: 'true' }, then: read }
";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({ "site": "s" }));
        for round in ["o-1", "o-2"] {
            let mut with_subject = |id: &str, subject: &str| {
                let mut cloud = event("b", &format!("{round}-{id}"), json!(id));
                cloud.subject = Some(subject.into());
                world.hear(cloud)
            };
            assert!(with_subject("1", round), "what comes first binds the key, in either round");
            assert!(!with_subject("2", round));
            assert!(!world.hear(event("c", &format!("{round}-3"), json!({ "o": "other", "site": "s" }))));
            assert!(!world.hear(event("c", &format!("{round}-4"), json!({ "o": round, "site": "t" }))));
            assert!(world.hear(event("c", &format!("{round}-5"), json!({ "o": round, "site": "s" }))));
            assert!(!world.hear(event("a", &format!("{round}-6"), json!({ "order": "other", "floor": 1 }))));
            assert!(!world.hear(event("a", &format!("{round}-7"), json!({ "order": round }))), "it has no floor");
            assert!(world.hear(event("a", &format!("{round}-8"), json!({ "order": round, "floor": 1 }))));
        }
        assert_eq!(world.instance.phase(), Phase::Completed);
        let keys: Vec<_> =
            world.statuses().filter_map(|event| event.correlation_keys.as_ref()).map(|it| it.get()).collect();
        assert_eq!(keys, [r#"{"order":"o-1","floor":1,"site":"s"}"#, r#"{"order":"o-2","floor":1,"site":"s"}"#]);
    });
}

#[test]
fn all_of_one_is_one_and_all_of_none_waits_for_nothing() {
    both_ways(|kill| {
        let one = World::new("do: [ { a: { listen: { to: { all: [ { with: { type: t } } ] } } } } ]").killed(kill);
        assert_eq!(one.hears(event("t", "1", json!(1))).run(json!({})).output(), json!([1]));
        let none = World::new("do: [ { a: { listen: { to: { all: [] } } } } ]").killed(kill).run(json!({}));
        assert_eq!(none.output(), json!([]));
        assert_eq!(none.story()[3..5], ["correlating /do/0/a", "correlated /do/0/a"]);
    });
}

#[test]
fn what_was_consumed_stays_consumed_when_the_listen_begins_anew() {
    let definition = "
do:
  - again:
      try:
        - both: { listen: { to: { all: [ { with: { type: x } }, { with: { type: y } } ] } }, output: { as: 'if .[0] == 1 then error(\"no\") else . end' } }
      catch: { then: again }
";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        assert!(world.hear(event("x", "1", json!(1))) && world.hear(event("y", "2", json!(2))));
        assert!(!world.hear(event("x", "1", json!(1))), "it was heard in the first run");
        assert!(world.hear(event("x", "3", json!(3))) && world.hear(event("y", "4", json!(4))));
        assert_eq!(world.output(), json!([3, 4]));
    });
}

#[test]
fn what_was_consumed_stays_consumed_when_the_listen_is_cut_and_retried() {
    let definition = "
do:
  - patient:
      try:
        - both:
            listen: { to: { all: [ { with: { type: x } }, { with: { type: y } } ] } }
            timeout: { after: PT1M }
      catch: { errors: { with: { status: 408 } }, retry: { delay: PT1S, limit: { attempt: { count: 3 } } } }
";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        assert!(world.hear(event("x", "1", json!(1))));
        let cut = world.instance.projection(&world.plan).timers[0].clone();
        world.now_us = cut.due_us;
        world.apply(Stimulus::Timer { slot: cut.slot }).unwrap();
        assert!(
            world.instance.projection(&world.plan).bookmarks.is_empty(),
            "until the retry begins it listens to nothing"
        );
        let retry = world.instance.projection(&world.plan).timers[0].clone();
        world.now_us = retry.due_us;
        world.apply(Stimulus::Timer { slot: retry.slot }).unwrap();
        let bookmarks = world.instance.projection(&world.plan).bookmarks;
        assert_eq!(bookmarks.iter().map(|bookmark| bookmark.since_us).collect::<Vec<_>>(), [Some(START_US); 2]);
        assert!(!world.hear(event("x", "1", json!(1))), "the first attempt has consumed it");
        assert!(world.hear(event("y", "2", json!(2))) && world.hear(event("x", "3", json!(3))));
        assert_eq!(world.output(), json!([2, 3]));
        let story = world.story();
        let count = |what: &str| story.iter().filter(|line| line.starts_with(what)).count();
        assert_eq!((count("correlating"), count("correlated")), (2, 1));
    });
}
