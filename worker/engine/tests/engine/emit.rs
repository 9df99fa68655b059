//! `emit`: the author's own events.

use std::sync::Arc;

use flagstop_engine::{Event, Limits};
use flagstop_schemas::Data;
use serde_json::json;

use crate::driver::{World, assert_has, both_ways, problem, to_json};

fn parsed(event: flagstop_schemas::CloudEvent) -> Arc<Event> {
    Arc::new(Event::parse(event, &Limits::default()).unwrap())
}

#[test]
fn emit_publishes_the_authors_event_and_gives_it_as_output() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - tell:
      emit:
        event:
          with:
            source: https://example.com
            type: com.example.greeted
            subject: '${ .name }'
            tenant: acme
            data: { text: '${ \"Hello \" + .name }' }
",
        );
        let world = world.killed(kill).run(json!({ "name": "Ada" }));
        let emitted = world.emitted();
        assert_eq!(emitted.len(), 1);
        assert_eq!(
            world.output(),
            json!({
                "specversion": "1.0",
                "id": emitted[0].id,
                "source": "https://example.com",
                "type": "com.example.greeted",
                "subject": "Ada",
                "time": "2026-01-01T00:00:00Z",
                "datacontenttype": "application/json",
                "tenant": "acme",
                "data": { "text": "Hello Ada" },
            })
        );
        assert_eq!(emitted[0].data, Data::Json(r#"{"text":"Hello Ada"}"#.into()));
        assert_eq!(to_json(Event::parse(emitted[0].clone(), &Limits::default()).unwrap().value()), world.output());
        assert_eq!(world.statuses().count(), 5, "an emitted event takes no number");
    });
}

#[test]
fn an_emitted_event_without_identity_gets_one_that_a_repetition_makes_again() {
    let run = || {
        let definition = "
do:
  - tell: { emit: { event: { with: { type: t } } } }
  - again: { switch: [ { once: { when: '$workflow.input.twice and (. | has(\"first\") | not)', then: mark } }, { done: { then: end } } ] }
  - mark: { set: { first: true }, then: last }
  - last: { emit: { event: { with: { type: t, data: 1 } } } }
";
        World::new(definition).run(json!({ "twice": true })).emitted().into_iter().cloned().collect::<Vec<_>>()
    };
    let (one, two) = (run(), run());
    assert_eq!(one, two);
    assert_eq!(one[0].source, "/test/flow/1.2.3");
    assert_eq!((&one[0].data, &one[0].datacontenttype), (&Data::Absent, &None));
    assert_eq!(one.len(), 2);
    assert_ne!(one[0].id, one[1].id);
}

#[test]
fn emitted_data_goes_out_by_its_content_type_and_is_heard_as_it_was_written() {
    for (media_type, data, sent) in [
        ("application/json", r#""hi""#, Data::Json(r#""hi""#.into())),
        ("application/vnd.acme+json", "{ a: 1 }", Data::Json(r#"{"a":1}"#.into())),
        ("text/plain; charset=utf-8", "hi", Data::Binary("hi".into())),
        ("image/svg+xml", "<svg/>", Data::Binary("<svg/>".into())),
        ("image/png", "aGk=", Data::Binary("hi".into())),
    ] {
        let world = World::new(&format!(
            "do: [ {{ a: {{ emit: {{ event: {{ with: {{ type: t, datacontenttype: '{media_type}', data: {data} }} }} }} }} }} ]"
        ));
        let world = world.run(json!({}));
        assert_eq!(world.emitted()[0].data, sent, "{media_type}");
        let heard = parsed(world.emitted()[0].clone());
        assert_eq!(to_json(heard.value()), world.output(), "{media_type}: the output is the event as others see it");
        let again = World::new("do: [ { a: { listen: { to: { one: { with: { type: t } } } } } } ]");
        let written: serde_json::Value = if data.starts_with(['{', '"']) { to_json(heard.data()) } else { json!(data) };
        assert_eq!(again.hears(world.emitted()[0].clone()).run(json!({})).output(), json!([written]), "{media_type}");
    }
    let broken = World::new(
        "do: [ { a: { emit: { event: { with: { type: t, datacontenttype: image/png, data: 'no base64' } } } } } ]",
    );
    assert_has(&broken.run(json!({})).error(), &problem("expression", 400, "/do/0/a"));
}

#[test]
fn an_event_that_can_not_be_one_faults_its_task() {
    for with in [
        "{ type: t, time: '${ \"tomorrow\" }' }",
        "{ type: t, source: '${ \"white space\" }' }",
        "{ type: t, data: '${ \"x\" * 2000000 }' }",
        "{ type: '${ .missing }' }",
        "{ type: t, source: '${ 7 }' }",
        "{ type: t, extra: '${ [1] }' }",
        "{ type: '${ \"\" }' }",
    ] {
        let world = World::new(&format!("do: [ {{ a: {{ emit: {{ event: {{ with: {with} }} }} }} }} ]")).run(json!({}));
        assert_eq!(world.error()["status"], json!(400), "{with}");
        assert!(world.emitted().is_empty());
    }
}

#[test]
fn d13_an_event_that_no_broker_would_take_faults_its_task_and_says_which_limit_is_in_its_way() {
    let many: String = (0..60).map(|n| format!("x{n}: '${{ \"x\" * 900 }}', ")).collect();
    let lots: String = (0..65).map(|n| format!("x{n}: a, ")).collect();
    let long = "n".repeat(250);
    for (with, said) in [
        (
            "{ type: '${ \"t\" * 256 }' }",
            "`type` has 256 bytes, at most 255 can be published (limit `event_type_bytes_max`)",
        ),
        ("{ type: t, subject: '${ \"s\" * 1025 }' }", "(limit `event_attribute_bytes_max`)"),
        ("{ type: t, mine: '${ \"s\" * 1025 }' }", "`mine` has 1025 bytes"),
        (&format!("{{ {many} type: t }}"), "(limit `event_attributes_bytes_max`)"),
        (&format!("{{ {lots} type: t }}"), "(limit `event_extensions_max`)"),
        (&format!("{{ {long}: a, type: t }}"), "too long for a header"),
        ("{ type: t, data: '${ \"x\" * 2000000 }' }", "(limit `payload_bytes_max`)"),
    ] {
        let world = World::new(&format!("do: [ {{ a: {{ emit: {{ event: {{ with: {with} }} }} }} }} ]")).run(json!({}));
        let error = world.error();
        assert_eq!(error["status"], json!(400), "{with}");
        assert!(error.to_string().contains(said), "{error} says {said}");
        assert!(world.emitted().is_empty());
    }
    let fine = World::new(
        "do: [ { a: { emit: { event: { with: { type: '${ \"t\" * 255 }', mine: '${ \"s\" * 1024 }' } } } } } ]",
    );
    assert_eq!(fine.run(json!({})).emitted().len(), 1);
}
