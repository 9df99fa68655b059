//! `listen` to one event: filters, correlation, what is heard and how it is read.

use std::sync::Arc;

use flagstop_engine::api::{Phase, Rejected, Stimulus};
use flagstop_engine::{Event, Limits};
use flagstop_schemas::{Data, StatusKind};
use serde_json::json;

use crate::driver::{START_US, World, both_ways, compile, event};

const CHECK: &str = "
do:
  - check:
      listen:
        to:
          one:
            with: { type: com.example.check.done }
            correlate: { employee: { from: .data.employeeId, expect: '${ .id }' } }
  - report: { set: { ok: '${ .[0].ok }' } }
";

fn parsed(event: flagstop_schemas::CloudEvent) -> Arc<Event> {
    Arc::new(Event::parse(event, &Limits::default()).unwrap())
}

#[test]
fn a_listen_takes_the_event_of_its_own_employee_only() {
    both_ways(|kill| {
        let world = World::new(CHECK)
            .killed(kill)
            .hears(event("com.example.check.done", "1", json!({ "employeeId": "e-2", "ok": false })))
            .hears(event("com.example.other", "2", json!({ "employeeId": "e-1" })))
            .hears(event("com.example.check.done", "3", json!({ "employeeId": "e-1", "ok": true })));
        let world = world.run(json!({ "id": "e-1" }));
        assert_eq!(world.output(), json!({ "ok": true }));
        assert_eq!(
            world.story()[1..7],
            [
                "task.created /do/0/check",
                "task.started /do/0/check",
                "correlating /do/0/check",
                "correlated /do/0/check",
                "task.completed /do/0/check",
                "task.created /do/1/report",
            ]
        );
        let correlated = world.statuses().find(|event| event.kind == StatusKind::WorkflowCorrelationCompleted).unwrap();
        assert_eq!(correlated.correlation_keys.as_ref().unwrap().get(), r#"{"employee":"e-1"}"#);
    });
}

#[test]
fn correlation_keys_above_the_limit_stay_out_of_the_event() {
    let mut world = World::new(CHECK);
    world.limits.output_bytes_max = 20;
    let id = "e".repeat(20);
    let world = world.hears(event("com.example.check.done", "1", json!({ "employeeId": id, "ok": true })));
    let world = world.run(json!({ "id": id }));
    let correlated = world.statuses().find(|event| event.kind == StatusKind::WorkflowCorrelationCompleted).unwrap();
    assert!(correlated.correlation_keys.is_none());
}

#[test]
fn correlation_compares_values_not_text() {
    let waiting = |id: serde_json::Value| {
        let mut world = World::new(CHECK);
        world.start(json!({ "id": id }));
        world
    };
    let slots = |world: &World, id: &str| {
        let text = format!(r#"{{"employeeId":{id}}}"#);
        let mut cloud = event("com.example.check.done", "1", json!({}));
        cloud.data = Data::Json(text.into());
        world.waiting_slots(&parsed(cloud)).len()
    };
    assert_eq!(slots(&waiting(json!(3)), "3.0"), 1);
    assert_eq!(slots(&waiting(json!(3)), "\"3\""), 0);
    assert_eq!(slots(&waiting(json!({ "a": 1, "b": 2 })), r#"{"b":2,"a":1.0}"#), 1);
    assert_eq!(slots(&waiting(json!(null)), "null"), 0, "null matches nothing");
    let nobody = waiting(json!(null));
    assert!(nobody.instance.projection(&nobody.plan).bookmarks.is_empty());
    assert_eq!(nobody.instance.waiting(&nobody.plan)[0].correlate, [("employee".to_owned(), "null".to_owned())]);
}

#[test]
fn the_engine_looks_again_whether_the_event_fits() {
    let mut world = World::new(CHECK);
    world.start(json!({ "id": "e-1" }));
    let slot = world.instance.projection(&world.plan).bookmarks[0].slot;
    for wrong in [
        event("com.example.check.done", "1", json!({ "employeeId": "e-2" })),
        event("com.example.check.done", "2", json!({})),
        event("com.example.check.done", "3", json!(null)),
        event("com.example.else", "4", json!({ "employeeId": "e-1" })),
    ] {
        assert_eq!(world.try_event(slot, wrong), Err(Rejected::NotWaiting));
    }
    let right = event("com.example.check.done", "1", json!({ "employeeId": "e-1" }));
    assert_eq!(world.try_event(slot + 1, right.clone()), Err(Rejected::NotWaiting));
    assert_eq!(world.try_event(slot, right), Ok(()));
}

#[test]
fn each_event_is_heard_once() {
    let definition = "
do:
  - first: { listen: { to: { one: { with: { type: t } } } } }
  - second: { listen: { to: { one: { with: { type: t } } } } }
";
    both_ways(|kill| {
        let mut world = World::new(definition).killed(kill);
        world.start(json!({}));
        let slot = |world: &World| world.instance.projection(&world.plan).bookmarks[0].slot;
        world.try_event(slot(&world), event("t", "1", json!({ "n": 1 }))).unwrap();
        assert_eq!(world.try_event(slot(&world), event("t", "1", json!({ "n": 1 }))), Err(Rejected::Heard));
        world.try_event(slot(&world), event("t", "2", json!({ "n": 2 }))).unwrap();
        assert_eq!(world.output(), json!([{ "n": 2 }]));
    });
}

#[test]
fn an_instance_remembers_the_events_that_it_heard_last() {
    let mut world = World::new("do: [ { again: { listen: { to: { one: { with: { type: t } } } }, then: again } } ]");
    world.limits.heard_events_max = 2;
    world.start(json!({}));
    let mut hear = |id: &str| {
        let slot = world.instance.projection(&world.plan).bookmarks[0].slot;
        world.try_event(slot, event("t", id, json!(null)))
    };
    assert_eq!(
        [hear("1"), hear("2"), hear("1"), hear("3"), hear("2")],
        [Ok(()), Ok(()), Err(Rejected::Heard), Ok(()), Err(Rejected::Heard)]
    );
    assert_eq!(hear("1"), Ok(()), "the oldest is forgotten");
}

#[test]
fn read_decides_how_the_event_is_shown_and_the_output_is_always_an_array() {
    for (read, wanted) in [
        ("", json!([{ "n": 1 }])),
        ("read: data,", json!([{ "n": 1 }])),
        ("read: raw,", json!([r#"{"n":1}"#])),
        (
            "read: envelope,",
            json!([{
                "specversion": "1.0", "id": "1", "source": "/test", "type": "t", "subject": "s",
                "datacontenttype": "application/json", "tenant": "acme", "data": { "n": 1 },
            }]),
        ),
    ] {
        let mut cloud = event("t", "1", json!({ "n": 1 }));
        cloud.subject = Some("s".into());
        cloud.extensions.insert("tenant".into(), json!("acme"));
        let world = World::new(&format!(
            "do: [ {{ a: {{ listen: {{ {read} to: {{ one: {{ with: {{ type: t }} }} }} }} }} }} ]"
        ));
        assert_eq!(world.hears(cloud).run(json!({})).output(), wanted, "{read}");
    }
}

#[test]
fn data_that_is_no_json_comes_as_text_or_base64() {
    for (media_type, wanted) in
        [("text/plain", json!(["hi"])), ("application/xml", json!(["hi"])), ("image/png", json!(["aGk="]))]
    {
        let mut cloud = event("t", "1", json!(null));
        cloud.datacontenttype = Some(media_type.into());
        cloud.data = Data::Binary("hi".into());
        let world = World::new("do: [ { a: { listen: { to: { one: { with: { type: t } } } } } } ]");
        assert_eq!(world.hears(cloud).run(json!({})).output(), wanted, "{media_type}");
    }
}

#[test]
fn filters_are_exact_and_expressions_see_the_attribute() {
    let fits = |with: &str, cloud: flagstop_schemas::CloudEvent| {
        let plan = compile(&format!("do: [ {{ a: {{ listen: {{ to: {{ one: {{ with: {with} }} }} }} }} }} ]")).unwrap();
        let cloud = parsed(cloud);
        let accepts = plan.waits()[0].accepts(&cloud);
        assert_eq!(plan.waits()[0].keys(&cloud).len(), usize::from(accepts), "what a filter refuses has no key");
        accepts
    };
    let hot = || event("com.example.temperature", "1", json!({ "t": 39, "unit": "C" }));
    assert!(fits("{ type: com.example.temperature }", hot()));
    assert!(!fits("{ type: com.example }", hot()));
    assert!(!fits("{ type: 'com.*' }", hot()));
    assert!(fits("{ type: com.example.temperature, source: /test }", hot()));
    assert!(!fits("{ type: com.example.temperature, source: /other }", hot()));
    assert!(!fits("{ type: com.example.temperature, subject: s }", hot()));
    assert!(fits("{ type: '${ startswith(\"com.example.\") }' }", hot()));
    assert!(fits("{ data: '${ .t > 38 }' }", hot()));
    assert!(!fits("{ data: '${ .t > 40 }' }", hot()));
    assert!(!fits("{ data: '${ .t | keys }' }", hot()));
    assert!(fits("{ data: { unit: C, t: 39.0 } }", hot()));
    assert!(!fits("{ data: { unit: C } }", hot()));
}

#[test]
fn a_filter_that_reads_the_instance_is_decided_by_the_instance() {
    let world =
        World::new("do: [ { a: { listen: { to: { one: { with: { type: t, data: '${ .n > $input.min }' } } } } } } ]");
    assert!(world.plan.waits()[0].accepts(&parsed(event("t", "1", json!({ "n": 0 })))));
    let world = world.hears(event("t", "1", json!({ "n": 5 }))).hears(event("t", "2", json!({ "n": 15 })));
    assert_eq!(world.run(json!({ "min": 10 })).output(), json!([{ "n": 15 }]));
}

#[test]
fn the_same_filter_has_the_same_identity_in_any_definition() {
    let id = |definition: &str| compile(definition).unwrap().waits()[0].id();
    let one = id("do: [ { a: { listen: { to: { one: { with: { type: t, source: s } } } } } } ]");
    assert_eq!(
        one,
        id("do: [ { x: { set: { n: 1 } } }, { b: { listen: { to: { one: { with: { source: s, type: t } } } } } } ]")
    );
    assert_ne!(one, id("do: [ { a: { listen: { to: { one: { with: { type: t } } } } } } ]"));
    let plan = compile("do: [ { a: { listen: { to: { one: { with: { type: t } } } } } }, { b: { listen: { to: { one: { with: { data: '${ . }' } } } } } } ]").unwrap();
    assert_eq!(plan.waits()[0].event_type(), Some("t"));
    assert_eq!(plan.waits()[1].event_type(), None);
}

#[test]
fn a_correlation_without_expect_is_bound_by_the_first_event_that_has_a_value() {
    both_ways(|kill| {
        let world = World::new(
            "do: [ { a: { listen: { to: { one: { with: { type: t }, correlate: { order: { from: .data.order } } } } } } } ]",
        );
        let world =
            world.killed(kill).hears(event("t", "1", json!({ "x": 1 }))).hears(event("t", "2", json!({ "order": 7 })));
        let world = world.run(json!({}));
        assert_eq!(world.output(), json!([{ "order": 7 }]));
        let correlated = world.statuses().find(|event| event.kind == StatusKind::WorkflowCorrelationCompleted).unwrap();
        assert_eq!(correlated.correlation_keys.as_ref().unwrap().get(), r#"{"order":7}"#);
    });
}

#[test]
fn expect_may_be_a_constant() {
    let world = World::new(
        "do: [ { a: { listen: { to: { one: { with: { type: t }, correlate: { k: { from: .subject, expect: a-b } } } } } } } ]",
    );
    let mut right = event("t", "2", json!(2));
    right.subject = Some("a-b".into());
    assert_eq!(world.hears(event("t", "1", json!(1))).hears(right).run(json!({})).output(), json!([2]));
}

#[test]
fn only_a_listen_that_knows_its_key_hears_what_came_before_the_instance() {
    let since = |listen: &str| {
        let mut world = World::new(&format!(
            "do: [ {{ a: {{ wait: PT1S }} }}, {{ b: {{ listen: {{ to: {{ one: {listen} }} }} }} }} ]"
        ));
        world.start(json!({ "id": 1 }));
        world.go_on();
        world.instance.projection(&world.plan).bookmarks[0].since_us
    };
    assert_eq!(since("{ with: { type: t }, correlate: { k: { from: .data.id, expect: '${ .id }' } } }"), None);
    assert_eq!(since("{ with: { type: t }, correlate: { k: { from: .data.id } } }"), Some(START_US));
    assert_eq!(since("{ with: { type: t } }"), Some(START_US));
}

#[test]
fn what_an_instance_waits_for_can_be_told() {
    let mut world = World::new(CHECK);
    world.start(json!({ "id": "e-1" }));
    assert_eq!(world.instance.phase(), Phase::Waiting);
    let reasons = world.instance.waiting(&world.plan);
    assert_eq!(reasons.len(), 1);
    assert_eq!(
        (reasons[0].task.as_str(), reasons[0].kind, reasons[0].what.as_str()),
        ("/do/0/check", "event", "com.example.check.done")
    );
    assert_eq!(reasons[0].correlate, [("employee".to_owned(), "\"e-1\"".to_owned())]);
    assert_eq!((reasons[0].since_us, reasons[0].until_us), (START_US, None));
}

#[test]
fn what_is_awaited_is_fixed_when_the_listen_begins() {
    let mut world = World::new(CHECK);
    world.start(json!({ "id": "e-1" }));
    let before = world.instance.projection(&world.plan);
    world.now_us += 1_000_000;
    assert_eq!(world.apply(Stimulus::Timer { slot: before.bookmarks[0].slot }), Err(Rejected::NotWaiting));
    assert_eq!(world.instance.projection(&world.plan), before);
}

#[test]
fn why_an_event_is_not_the_awaited_one_can_be_told() {
    let mut world = World::new(
        "do: [ { a: { timeout: { after: PT1H }, listen: { to: { any: [ \
         { with: { type: t, source: /right, data: '${ .n > 1 }' } }, \
         { with: { type: u }, correlate: { key: { from: .data.person.id, expect: '${ .id }' } } } ] } } } } ]",
    );
    world.start(json!({ "id": "e-1" }));
    let waiting = world.instance.waiting(&world.plan);
    assert_eq!(waiting[0].what, "t, u");
    assert_eq!(waiting[0].until_us, Some(START_US + 3_600_000_000), "its timeout ends the wait");
    let differences = |ty: &str, data: serde_json::Value| {
        let event = Event::parse(event(ty, "1", data), &Limits::default()).unwrap();
        let found = world.instance.differences(&world.plan, "/do/0/a", &event).unwrap();
        found.into_iter().map(|d| (d.name, d.awaited, d.found)).collect::<Vec<_>>()
    };
    let is = |name: &str, awaited: Option<&str>, found: &str| {
        (name.to_owned(), awaited.map(str::to_owned), found.to_owned())
    };
    // It is compared with the filter that it fits best; the key need not stand under its own name.
    assert_eq!(differences("u", json!({ "person": { "id": "e-2" } })), [is("key", Some("\"e-1\""), "\"e-2\"")]);
    assert_eq!(differences("u", json!({})), [is("key", Some("\"e-1\""), "null")]);
    assert_eq!(differences("u", json!({ "person": { "id": "e-1" } })), []);
    let source = event("t", "1", json!({})).source;
    let source = is("source", Some("\"/right\""), &format!("\"{source}\""));
    assert_eq!(differences("t", json!({ "n": 1 })), [source.clone(), is("data", None, "{\"n\":1}")]);
    assert_eq!(differences("t", json!({ "n": 2 })), [source]);
    let event = Event::parse(event("t", "1", json!({})), &Limits::default()).unwrap();
    assert!(world.instance.differences(&world.plan, "/do/1/b", &event).is_none(), "nothing listens there");
}
