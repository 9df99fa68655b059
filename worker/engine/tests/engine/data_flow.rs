//! Input, output, export, context, schemas.

use serde_json::json;

use crate::driver::{SECOND_US, START_US, World, assert_has, both_ways, event, header, problem};

#[test]
fn a_tasks_output_is_the_next_ones_input_and_the_last_ones_is_the_workflows() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - double: { set: { n: '${ .n * 2 }' } }
  - inc: { set: { n: '${ .n + 1 }' } }
output: { as: '{ result: .n }' }
",
        );
        assert_eq!(world.killed(kill).run(json!({ "n": 4 })).output(), json!({ "result": 9 }));
    });
}

#[test]
fn each_stage_sees_what_the_specification_gives_it() {
    both_ways(|kill| {
        let world = World::new(
            "
input: { from: '.order' }
do:
  - price:
      input: { from: '{ amount: .amount, raw: $task.input.amount, order: $workflow.input.order.id }' }
      set: { total: '${ .amount * 3 }', in: '${ $input }' }
      output: { as: '{ total, in, rawOutput: $task.output.total, from: $input.amount }' }
      export: { as: '{ last: $output.total, input: $input.amount, dot: .total, before: $context }' }
  - read:
      set: { context: '${ $context }', price: '${ .total }', name: '${ $task.name }', at: '${ $task.reference }' }
",
        );
        let world = world.killed(kill).run(json!({ "order": { "id": 7, "amount": 5 } }));
        assert_eq!(
            world.output(),
            json!({
                "context": { "last": 15, "input": 5, "dot": 15, "before": null },
                "price": 15,
                "name": "read",
                "at": "/do/1/read",
            })
        );
        assert_eq!(world.context()["last"], json!(15));
        let price = world.statuses().find(|event| event.output.is_some()).expect("price has completed");
        let shown: serde_json::Value = serde_json::from_str(price.output.as_ref().unwrap().get()).unwrap();
        assert_eq!(
            shown,
            json!({ "total": 15, "in": { "amount": 5, "raw": 5, "order": 7 }, "rawOutput": 15, "from": 5 })
        );
    });
}

#[test]
fn transformations_may_be_objects_with_expressions_in_them() {
    let world = World::new(
        "
input: { from: { id: '${ .a.id }', kind: fixed } }
do:
  - keep: { set: { seen: '${ . }' }, export: { as: { id: '${ .seen.id }' } } }
output: { as: { out: '${ .seen }', context: '${ $context }' } }
",
    );
    let output = world.run(json!({ "a": { "id": 1 } })).output();
    assert_eq!(output, json!({ "out": { "id": 1, "kind": "fixed" }, "context": { "id": 1 } }));
}

#[test]
fn numbers_keep_their_value_from_the_text_to_the_output() {
    both_ways(|kill| {
        let world = World::new(
            "do: [ { a: { set: { in: '${ . }', max: 18446744073709551615, min: -9223372036854775808, whole: 3.0, exp: 1e3, half: '${ .three / 2 }', one: '${ .three / 3 }' } } } ]",
        );
        let input: serde_json::Value =
            serde_json::from_str(r#"{"big":18446744073709551615,"exact":9007199254740993,"three":3.0,"f":0.1}"#)
                .unwrap();
        assert_eq!(
            world.killed(kill).run(input).output().to_string(),
            r#"{"exp":1000,"half":1.5,"in":{"big":18446744073709551615,"exact":9007199254740993,"f":0.1,"three":3},"max":18446744073709551615,"min":-9223372036854775808,"one":1,"whole":3}"#
        );
    });
    let infinite = World::new("do: [ { a: { set: { n: '${ .n * 1e308 }' } } } ]").run(json!({ "n": 1e308 }));
    assert_has(&infinite.error(), &problem("expression", 400, "/do/0/a"));
}

#[test]
fn an_expression_inside_data_stays_data() {
    let world =
        World::new("do: [ { keep: { set: { copy: '${ .text }' } } }, { same: { set: { again: '${ .copy }' } } } ]");
    assert_eq!(world.run(json!({ "text": "${ .secret }" })).output(), json!({ "again": "${ .secret }" }));
}

#[test]
fn in_loose_mode_texts_may_hold_expressions_everywhere() {
    both_ways(|kill| {
        let world = World::new(
            "
evaluate: { mode: loose }
do:
  - greet: { set: { text: 'Hi ${ .name }${ .none }, ${ .list }!', whole: '${ .list }', id: '${ .id }' } }
  - rest: { wait: 'PT${ .id }S', output: { as: { kept: '${ .id }', text: '<${ .text }>' } } }
  - ask: { call: http, with: { method: get, endpoint: 'https://a.example/${ .kept }/x', headers: { x-a: 'n=${ .kept }' } } }
  - hear:
      listen:
        to: { one: { with: { type: t, subject: 'for ${ $input.kept }' }, correlate: { k: { from: .data, expect: 'k-${ .kept }' } } } }
",
        );
        let told = |id: &str, subject: &str, data: &str| {
            let mut cloud = event("t", id, json!(data));
            cloud.subject = Some(subject.into());
            cloud
        };
        let world = world
            .killed(kill)
            .answers_json(200, json!({ "kept": 7 }))
            .hears(told("1", "for 8", "k-7"))
            .hears(told("2", "for 7", "k-8"))
            .hears(told("3", "for 7", "k-7"));
        let world = world.run(json!({ "id": 7, "name": "Ada", "list": [1] }));
        assert_eq!(world.output(), json!(["k-7"]));
        assert_eq!(world.now_us, START_US + 7 * SECOND_US);
        assert_eq!(world.http(0).url, "https://a.example/7/x");
        assert_eq!(header(world.http(0), "x-a"), Some("n=7"));
        let greeted = world.statuses().find_map(|event| event.output.as_ref()).unwrap();
        assert_eq!(greeted.get(), r#"{"text":"Hi Ada, [1]!","whole":[1],"id":7}"#);
    });
}

#[test]
fn the_workflows_input_schema_faults_the_instance_and_never_refuses_the_message() {
    both_ways(|kill| {
        let world = World::new(
            "
input: { schema: { format: json, document: { type: object, required: [ id ], properties: { id: { type: integer } } } } }
do: [ { a: { set: { ok: true } } } ]
",
        );
        let world = world.killed(kill).run(json!({ "id": "seven" }));
        assert_has(&world.error(), &problem("validation", 400, "/input/schema"));
        assert_eq!(world.story(), ["started", "faulted"]);
    });
}

#[test]
fn a_schema_that_does_not_hold_faults_at_its_stage() {
    let schema = "schema: { document: { type: object, required: [ x ] } }";
    for (definition, instance) in [
        (format!("do: [ {{ a: {{ input: {{ {schema} }}, set: {{ x: 1 }} }} }} ]"), "/do/0/a"),
        (format!("do: [ {{ a: {{ set: {{ y: 1 }}, output: {{ {schema} }} }} }} ]"), "/do/0/a"),
        (format!("do: [ {{ a: {{ set: {{ y: 1 }}, export: {{ as: '.', {schema} }} }} }} ]"), "/do/0/a"),
        (format!("do: [ {{ a: {{ set: {{ y: 1 }} }} }} ]\noutput: {{ {schema} }}"), "/output/schema"),
    ] {
        assert_has(&World::new(&definition).run(json!({})).error(), &problem("validation", 400, instance));
    }
}

#[test]
fn the_input_schema_sees_the_raw_input_and_the_output_schema_the_transformed_output() {
    let world = World::new(
        "
do:
  - a:
      input: { schema: { document: { required: [ raw ] } }, from: '{ made: .raw }' }
      set: { x: '${ .made }' }
      output: { as: '{ y: .x }', schema: { document: { required: [ y ] } } }
",
    );
    assert_eq!(world.run(json!({ "raw": 1 })).output(), json!({ "y": 1 }));
}

#[test]
fn an_expression_that_fails_faults_its_task_or_its_place_in_the_workflow() {
    for (definition, instance) in [
        ("do: [ { a: { set: { x: '${ error(\"no\") }' } } } ]", "/do/0/a"),
        ("do: [ { a: { if: '.n + {}', set: { x: 1 } } } ]", "/do/0/a"),
        ("do: [ { a: { set: { x: 1 }, output: { as: '.x | keys' } } } ]", "/do/0/a"),
        ("do: [ { a: { set: { x: '${ 1, 2 }' } } } ]", "/do/0/a"),
        ("input: { from: '.n | keys' }\ndo: [ { a: { set: { x: 1 } } } ]", "/input/from"),
        ("do: [ { a: { set: { x: 1 } } } ]\noutput: { as: '.x | keys' }", "/output/as"),
    ] {
        assert_has(&World::new(definition).run(json!({ "n": 1 })).error(), &problem("expression", 400, instance));
    }
}

#[test]
fn the_workflow_descriptor_tells_who_runs() {
    let world = World::new(
        "do: [ { a: { set: { id: '${ $workflow.id }', version: '${ $workflow.definition.document.version }', at: '${ $workflow.startedAt.iso8601 }', s: '${ $workflow.startedAt.epoch.seconds }', runtime: '${ $runtime.name }' } } } ]",
    );
    let world = world.run(json!(null));
    assert_eq!(
        world.output(),
        json!({
            "id": world.instance.id().to_string(),
            "version": "1.2.3",
            "at": "2026-01-01T00:00:00Z",
            "s": 1_767_225_600,
            "runtime": "flagstop",
        })
    );
}

#[test]
fn secrets_are_there_by_name_and_one_that_the_store_lacks_is_refused() {
    let definition = "
use: { secrets: [ hr ] }
do: [ { a: { set: { token: '${ $secrets.hr.token }' } } } ]
";
    let world = World::new(definition).secret("hr", json!({ "token": "t" })).secret("other", json!("hidden"));
    assert_eq!(world.run(json!({})).output(), json!({ "token": "t" }));
    assert_has(&World::new(definition).run(json!({})).error(), &problem("authorization", 403, "/do/0/a"));
}

#[test]
fn the_business_key_comes_from_the_transformed_input() {
    let key = |expression: &str, input: serde_json::Value| {
        let text = format!(
            "document: {{ dsl: '1.0.3', namespace: test, name: flow, version: '1.0.0', metadata: {{ flagstop: {{ businessKey: '{expression}' }} }} }}\ninput: {{ from: .employee }}\ndo: [ {{ a: {{ set: {{ x: 1 }} }} }} ]"
        );
        let mut world = World::new("do: []");
        world.plan = flagstop_engine::Plan::compile(text.as_bytes(), &world.limits).unwrap();
        world.instance = flagstop_engine::Instance::new(world.instance.id(), &world.plan);
        let world = world.run(json!({ "employee": input }));
        assert_eq!(world.output(), json!({ "x": 1 }), "a key that can't be one never harms the instance");
        world.instance.business_key().map(str::to_owned)
    };
    assert_eq!(key(".id", json!({ "id": "e-1" })).as_deref(), Some("e-1"));
    assert_eq!(key("${ .id }", json!({ "id": 17.0 })).as_deref(), Some("17"));
    assert_eq!(key(".id", json!({ "id": null })), None);
    assert_eq!(key(".id", json!({ "id": ["a"] })), None);
    assert_eq!(key(".id", json!({ "id": "x".repeat(257) })), None);
    assert_eq!(key(".id | keys", json!({ "id": 1 })), None);
}

#[test]
fn data_can_not_grow_without_end_from_task_to_task() {
    for grow in ["{ d: '${ . }' }", "{ a: '${ . }', b: '${ . }' }", "{ a: [ '${ . }', '${ . }' ] }"] {
        let world = World::new(&format!("do: [ {{ grow: {{ set: {grow}, then: grow }} }} ]"));
        assert_has(&world.run(json!({})).error(), &problem("expression", 400, "/do/0/grow"));
    }
}

#[test]
fn outputs_above_the_limit_stay_out_of_events_and_their_size_is_told() {
    let mut world = World::new("do: [ { a: { set: { text: '${ .text }' } } } ]");
    world.limits.output_bytes_max = 20;
    let world = world.run(json!({ "text": "0123456789" }));
    let completed: Vec<_> =
        world.statuses().filter(|event| event.task.is_some()).filter(|e| !e.attributes.is_empty()).collect();
    assert_eq!(completed.len(), 1);
    assert!(completed[0].output.is_none());
    assert_eq!(completed[0].attributes, [("outputbytes", json!(21))]);
    assert_eq!(world.output(), json!({ "text": "0123456789" }));
}
