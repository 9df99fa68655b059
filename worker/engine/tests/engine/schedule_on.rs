//! `schedule.on`: events that start instances, one by one or as sets.

use std::sync::Arc;

use flagstop_engine::schedule::{Fed, FeedError, NewSet, OpenSets, Sets};
use flagstop_engine::{Event, Limits, Plan};
use flagstop_schemas::{CloudEvent, Hash16};
use serde_json::{Value, json};

use crate::driver::{compile, definition, event, to_json};

fn parsed(event: CloudEvent) -> Arc<Event> {
    Arc::new(Event::parse(event, &Limits::default()).unwrap())
}

/// A store in miniature: rows by key, and the inputs of the instances that were started.
struct Rows<'p> {
    sets: &'p Sets,
    rows: std::collections::BTreeMap<Hash16, bytes::Bytes>,
    started: Vec<Value>,
}

impl<'p> Rows<'p> {
    fn of(plan: &'p Plan) -> Self {
        let sets = plan.schedule().sets().expect("its events are collected");
        Self { sets, rows: Default::default(), started: Vec::new() }
    }

    fn feed(&mut self, event: CloudEvent) -> &'static str {
        let event = parsed(event);
        let Some(key) = self.sets.key(&event) else { return "unheard" };
        let open = self.rows.get(&key).map_or_else(OpenSets::default, |bytes| OpenSets::decode(bytes).unwrap());
        match self.sets.feed(&open, &event, NewSet::Open).unwrap() {
            Fed::Ignored => "ignored",
            Fed::Heard => "heard",
            Fed::Kept(sets) => {
                self.rows.insert(key, sets.encode());
                "kept"
            }
            Fed::Complete { rest, input, .. } => {
                self.started.push(to_json(&input));
                if rest.is_empty() {
                    self.rows.remove(&key);
                } else {
                    self.rows.insert(key, rest.encode());
                }
                "complete"
            }
        }
    }
}

fn on(on: &str) -> Plan {
    let rest = format!("schedule: {{ read: data, on: {on} }}\ndo: []");
    compile(&rest).unwrap_or_else(|found| panic!("{}", found.render("flow.yaml", &definition(&rest))))
}

#[test]
fn one_and_each_of_any_start_an_instance_each() {
    let schedule = |schedule: &str| compile(&format!("schedule: {schedule}\ndo: []")).unwrap();
    let plan = schedule("{ on: { any: [ { with: { type: a } }, { with: { type: b, data: '${ .n > 1 }' } } ] } }");
    let types: Vec<_> = plan.triggers().iter().map(|filter| filter.event_type()).collect();
    assert_eq!(types, [Some("a"), Some("b")]);
    assert!(plan.triggers()[1].accepts(&parsed(event("b", "1", json!({ "n": 2 })))));
    assert!(!plan.triggers()[1].accepts(&parsed(event("b", "1", json!({ "n": 1 })))));
    let hired = parsed(event("a", "1", json!({ "id": 1 })));
    assert_eq!(to_json(&plan.trigger_input(&hired))[0]["data"], json!({ "id": 1 }));
    let read = schedule("{ on: { one: { with: { type: a } } }, read: data }");
    assert_eq!(to_json(&read.trigger_input(&hired)), json!([{ "id": 1 }]));
    let correlated =
        schedule("{ on: { one: { with: { type: a }, correlate: { k: { from: .data.id, expect: 2 } } } } }");
    assert!(!correlated.triggers()[0].accepts(&hired));
}

#[test]
fn every_event_but_commands_and_status_events_can_start_instances() {
    let plan = on("{ any: [] }");
    let accepts = |ty: &str| plan.triggers()[0].accepts(&parsed(event(ty, "1", json!(1))));
    assert_eq!((plan.triggers().len(), plan.triggers()[0].event_type()), (1, None));
    assert!(
        accepts("x") && !accepts("io.flagstop.command.start.v1") && !accepts("io.serverlessworkflow.task.started.v1")
    );
    let named = on("{ one: { with: { type: io.serverlessworkflow.workflow.faulted.v1 } } }");
    let fault = parsed(event("io.serverlessworkflow.workflow.faulted.v1", "1", json!({})));
    assert!(named.triggers()[0].accepts(&fault), "who names a status event of another system gets it");
}

#[test]
fn all_collects_one_event_for_each_filter_and_the_oldest_set_that_lacks_it_gets_it() {
    let plan = on("{ all: [ { with: { type: a } }, { with: { type: b } } ] }");
    assert!(plan.triggers().is_empty());
    let mut rows = Rows::of(&plan);
    assert_eq!(rows.feed(event("a", "1", json!("a1"))), "kept");
    assert_eq!(rows.feed(event("a", "1", json!("a1"))), "heard");
    assert_eq!(rows.feed(event("a", "2", json!("a2"))), "kept");
    assert_eq!(rows.feed(event("b", "3", json!("b1"))), "complete");
    assert_eq!(rows.feed(event("c", "4", json!("c"))), "unheard");
    assert_eq!(rows.feed(event("b", "5", json!("b2"))), "complete");
    assert_eq!(rows.feed(event("b", "6", json!("b3"))), "kept");
    assert_eq!(rows.feed(event("a", "7", json!("a3"))), "complete");
    assert_eq!(rows.started, [json!(["a1", "b1"]), json!(["a2", "b2"]), json!(["b3", "a3"])]);
    assert!(rows.rows.is_empty());
}

#[test]
fn sets_are_kept_apart_by_the_keys_of_their_events() {
    let plan = on(
        "{ all: [ { with: { type: a }, correlate: { order: { from: .data.o } } }, { with: { type: b }, correlate: { order: { from: .subject } } } ] }",
    );
    let mut rows = Rows::of(&plan);
    let b = |id: &str, order: &str| {
        let mut cloud = event("b", id, json!(id));
        cloud.subject = Some(order.into());
        cloud
    };
    assert_eq!(rows.feed(event("a", "1", json!({ "o": "x" }))), "kept");
    assert_eq!(rows.feed(b("2", "y")), "kept");
    assert_eq!(rows.feed(event("a", "3", json!({}))), "unheard", "without a key it belongs to no set");
    assert_eq!(rows.rows.len(), 2);
    assert_eq!(rows.feed(event("a", "4", json!({ "o": "y" }))), "complete");
    assert_eq!(rows.feed(b("5", "x")), "complete");
    assert_eq!(rows.started, [json!(["2", { "o": "y" }]), json!([{ "o": "x" }, "5"])]);
}

#[test]
fn a_key_that_only_some_filters_have_is_bound_within_the_set() {
    let plan = on(
        "{ all: [ { with: { type: a }, correlate: { o: { from: .data.o } } }, { with: { type: b } }, { with: { type: c }, correlate: { o: { from: .data.o }, k: { from: .data.k, expect: 1 } } } ] }",
    );
    let mut rows = Rows::of(&plan);
    assert_eq!(rows.feed(event("a", "1", json!({ "o": 1 }))), "kept");
    assert_eq!(rows.feed(event("c", "2", json!({ "o": 2, "k": 1 }))), "kept");
    assert_eq!(rows.feed(event("c", "3", json!({ "o": 1, "k": 2 }))), "unheard");
    assert_eq!(rows.feed(event("b", "4", json!("b"))), "kept");
    assert_eq!(rows.feed(event("c", "5", json!({ "o": 1, "k": 1 }))), "complete");
    assert_eq!(rows.started, [json!([{ "o": 1 }, "b", { "o": 1, "k": 1 }])]);
}

#[test]
fn until_ends_a_set_by_a_condition_or_by_other_events() {
    let counted = on("{ any: [ { with: { type: a } }, { with: { type: b } } ], until: length == 2 }");
    let mut rows = Rows::of(&counted);
    assert_eq!(rows.feed(event("a", "1", json!(1))), "kept");
    assert_eq!(rows.feed(event("b", "2", json!(2))), "complete");
    assert_eq!(rows.started, [json!([1, 2])]);
    let stopped = on(
        "{ any: [ { with: { type: a }, correlate: { k: { from: .data.k } } } ], until: { all: [ { with: { type: s }, correlate: { k: { from: .data.k } } }, { with: { type: t }, correlate: { k: { from: .data.k } } } ] } }",
    );
    let mut rows = Rows::of(&stopped);
    let of = |ty: &str, id: &str, k: u8| event(ty, id, json!({ "k": k }));
    assert_eq!(rows.feed(of("s", "0", 1)), "ignored", "what ends a set opens none");
    assert_eq!(rows.feed(of("a", "1", 1)), "kept");
    assert_eq!(rows.feed(of("a", "2", 2)), "kept");
    assert_eq!(rows.feed(of("s", "3", 1)), "kept");
    assert_eq!(rows.feed(of("a", "4", 1)), "kept");
    assert_eq!(rows.feed(of("t", "5", 2)), "kept");
    assert_eq!(rows.feed(of("t", "6", 1)), "complete");
    assert_eq!(rows.started, [json!([{ "k": 1 }, { "k": 1 }])]);
}

#[test]
fn an_older_version_goes_on_with_the_sets_that_it_opened_and_opens_none() {
    let plan = on("{ all: [ { with: { type: a } }, { with: { type: b } } ] }");
    let sets = plan.schedule().sets().unwrap();
    let (a, b) = (parsed(event("a", "1", json!(1))), parsed(event("b", "2", json!(2))));
    assert!(matches!(sets.feed(&OpenSets::default(), &a, NewSet::Refuse), Ok(Fed::Ignored)));
    let Ok(Fed::Kept(open)) = sets.feed(&OpenSets::default(), &a, NewSet::Open) else { panic!("it opens a set") };
    assert!(matches!(sets.feed(&open, &b, NewSet::Refuse), Ok(Fed::Complete { .. })));
    let newer = definition(
        "schedule: { read: raw, on: { all: [ { with: { type: a } }, { with: { type: b } }, { with: { type: c } } ] } }\ndo: []",
    );
    let newer = Plan::compile(newer.replace("1.2.3", "2.0.0").as_bytes(), &Limits::default()).unwrap();
    assert_eq!(newer.schedule().sets().unwrap().key(&a), sets.key(&a), "their rows have the same key");
}

#[test]
fn what_can_not_be_kept_is_an_error_and_changes_nothing() {
    let sets = |limits: Limits, on: &str| {
        let text = definition(&format!("schedule: {{ read: data, on: {on} }}\ndo: []"));
        Plan::compile(text.as_bytes(), &limits).unwrap()
    };
    let full = sets(
        Limits { open_sets_max: 1, ..Limits::default() },
        "{ all: [ { with: { type: a } }, { with: { type: b } } ] }",
    );
    let full = full.schedule().sets().unwrap();
    let a = |id: &str| parsed(event("a", id, json!(1)));
    let Ok(Fed::Kept(open)) = full.feed(&OpenSets::default(), &a("1"), NewSet::Open) else { panic!("one is allowed") };
    assert!(
        matches!(full.feed(&open, &a("2"), NewSet::Open), Err(FeedError::Full(why)) if why.contains("open_sets_max"))
    );
    assert_eq!(open.len(), 1);
    let failing = sets(Limits::default(), "{ any: [], until: '.[0] | error(\"no\")' }");
    let failed = failing.schedule().sets().unwrap().feed(&OpenSets::default(), &a("1"), NewSet::Open);
    assert!(matches!(failed, Err(FeedError::Until(_))));
}

#[test]
fn open_sets_that_are_damaged_or_newer_are_seen() {
    let plan = on("{ all: [ { with: { type: a } }, { with: { type: b } } ] }");
    let Ok(Fed::Kept(open)) =
        plan.schedule().sets().unwrap().feed(&OpenSets::default(), &parsed(event("a", "1", json!(1))), NewSet::Open)
    else {
        panic!("it opens a set")
    };
    let bytes = open.encode();
    assert_eq!(OpenSets::decode(&bytes).unwrap().encode(), bytes);
    for index in 0..bytes.len() {
        let mut damaged = bytes.to_vec();
        damaged[index] ^= 1;
        assert!(OpenSets::decode(&damaged).is_err());
    }
}
