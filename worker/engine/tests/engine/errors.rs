//! `raise` and `try`.

use serde_json::json;

use crate::driver::{World, assert_has, both_ways, problem};

#[test]
fn what_is_wrong_in_an_error_is_found_at_load_raised_or_not() {
    for (error, code) in [
        ("{ type: 'https://a.example/e', status: 400, detail: '${ .a | }' }", "FS-EXPR-SYNTAX"),
        ("{ type: 'https://a.example/e', status: 400, detail: '${ $nobody }' }", "FS-EXPR-VARIABLE"),
        ("{ type: 'https://a.example/e', status: 400, title: 'a ${ .b }' }", "FS-EXPR-MIXED"),
        ("{ type: 'https://a.example/e', status: '${ $secrets.k }' }", "FS-SECRET-UNLISTED"),
        ("{ type: 'https://a.example/e', status: soon }", "FS-WRONG-TYPE"),
        ("{ status: 400 }", "FS-MISSING-KEY"),
    ] {
        let raised = "do: [ { a: { raise: { error: bad } } } ]";
        for list in ["do: []", raised] {
            let rest = format!("use: {{ errors: {{ bad: {error} }} }}\n{list}");
            let found = crate::driver::compile(&rest).expect_err(&rest);
            let places: Vec<_> = found.sorted().iter().map(|it| (it.code, it.span.line)).collect();
            assert_eq!(places, [(code, 2)], "{rest}");
        }
    }
}

#[test]
fn raise_faults_with_the_authors_error_at_the_raising_task() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - check:
      raise:
        error:
          type: https://example.com/errors/out-of-stock
          status: 409
          title: '${ \"No \" + .item }'
          detail: None left
          instance: /somewhere/else
",
        );
        let world = world.killed(kill).run(json!({ "item": "shoes" }));
        assert_eq!(
            world.error(),
            json!({
                "type": "https://example.com/errors/out-of-stock",
                "status": 409,
                "title": "No shoes",
                "detail": "None left",
                "instance": "/do/0/check",
            })
        );
        assert_eq!(
            world.story(),
            ["started", "task.created /do/0/check", "task.started /do/0/check", "task.faulted /do/0/check", "faulted"]
        );
        let faulted = world.statuses().last().unwrap();
        let told: serde_json::Value = serde_json::from_str(faulted.error.as_ref().unwrap().get()).unwrap();
        assert_eq!(told, world.error());
    });
}

#[test]
fn an_error_of_any_size_fits_into_its_events_and_the_instance_keeps_it_whole() {
    let error = "{ type: https://example.com/e, status: 400, title: '${ .text }', detail: '${ .text + .text }' }";
    let world = World::new(&format!("do: [ {{ a: {{ raise: {{ error: {error} }} }} }} ]"));
    let text = "ä".repeat(world.limits.output_bytes_max);
    let world = world.run(json!({ "text": text }));
    for event in world.statuses().filter(|event| event.error.is_some()) {
        let told: serde_json::Value = serde_json::from_str(event.error.as_ref().unwrap().get()).unwrap();
        assert!(told.to_string().len() < world.limits.output_bytes_max);
        assert!(["title", "detail"].map(|key| told[key].as_str().unwrap()).iter().all(|told| told.ends_with("ä…")));
        assert_eq!(told["instance"], "/do/0/a");
    }
    assert_eq!(world.error()["title"], text);
}

#[test]
fn a_named_error_is_raised_from_the_definitions_own() {
    let world = World::new(
        "
use: { errors: { gone: { type: 'https://example.com/gone', status: 410, details: 'was here' } } }
do: [ { a: { raise: { error: gone } } } ]
",
    );
    assert_has(
        &world.run(json!({})).error(),
        &json!({ "type": "https://example.com/gone", "status": 410, "detail": "was here" }),
    );
}

/// A task that raises, caught by what the case gives as `catch`.
fn caught(catch: &str) -> World {
    World::new(&format!(
        "
do:
  - attempt:
      try:
        - inner: {{ do: [ {{ fail: {{ raise: {{ error: {{ type: 'https://serverlessworkflow.io/spec/1.0.0/errors/communication', status: 503, title: Down }} }} }} }} ] }}
      catch: {catch}
  - after: {{ set: {{ after: '${{ . }}' }} }}
"
    ))
    .run(json!({ "in": 1 }))
}

#[test]
fn a_caught_error_without_a_handler_is_swallowed_and_the_input_goes_on() {
    let world = caught("{}");
    assert_eq!(world.output(), json!({ "after": { "in": 1 } }));
    assert_eq!(
        world.story()[1..],
        [
            "task.created /do/0/attempt",
            "task.started /do/0/attempt",
            "task.created /do/0/attempt/try/0/inner",
            "task.started /do/0/attempt/try/0/inner",
            "task.created /do/0/attempt/try/0/inner/do/0/fail",
            "task.started /do/0/attempt/try/0/inner/do/0/fail",
            "task.faulted /do/0/attempt/try/0/inner/do/0/fail",
            "task.faulted /do/0/attempt/try/0/inner",
            "task.completed /do/0/attempt",
            "task.created /do/1/after",
            "task.started /do/1/after",
            "task.completed /do/1/after",
            "completed",
        ]
    );
}

#[test]
fn the_handler_sees_the_error_under_its_name_and_the_try_tasks_input() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - attempt:
      input: { from: '{ made: .in }' }
      try: [ { fail: { set: { x: '${ error(\"no\") }' } } } ]
      catch:
        as: err
        do:
          - handle: { do: [ { deep: { set: { status: '${ $err.status }', at: '${ $err.instance }', input: '${ . }' } } } ] }
",
        );
        let world = world.killed(kill).run(json!({ "in": 1 }));
        assert_eq!(world.output(), json!({ "status": 400, "at": "/do/0/attempt/try/0/fail", "input": { "made": 1 } }));
        assert!(world.completed().contains(&"/do/0/attempt/catch/do/0/handle/do/0/deep"));
    });
}

#[test]
fn errors_are_chosen_by_their_fields_and_conditions() {
    for (catch, is_caught) in [
        ("{ errors: { with: { status: 503 } } }", true),
        ("{ errors: { with: { status: 500 } } }", false),
        ("{ errors: { with: { type: 'https://serverlessworkflow.io/dsl/errors/types/communication' } } }", true),
        (
            "{ errors: { with: { type: 'https://open-workflow-specification.org/spec/1.0.0/errors/communication', status: 503 } } }",
            true,
        ),
        ("{ errors: { with: { type: 'https://serverlessworkflow.io/spec/1.0.0/errors/timeout' } } }", false),
        ("{ errors: { with: { instance: /do/0/attempt/try/0/inner/do/0/fail } } }", true),
        ("{ errors: { with: { title: Down } }, when: '.status >= 500' }", true),
        ("{ when: '$error.status < 500' }", false),
        ("{ as: e, when: '$e.status == 503', exceptWhen: '$error.title == \"Down\"' }", false),
        ("{ exceptWhen: '${ .status == 404 }' }", true),
    ] {
        let world = caught(catch);
        if is_caught {
            assert_eq!(world.output(), json!({ "after": { "in": 1 } }), "{catch}");
        } else {
            assert_has(&world.error(), &problem("communication", 503, "/do/0/attempt/try/0/inner/do/0/fail"));
            assert!(world.story().contains(&"task.faulted /do/0/attempt".to_owned()), "{catch}");
        }
    }
}

#[test]
fn a_condition_that_fails_and_an_error_in_the_handler_fault_the_try_task() {
    assert_has(&caught("{ when: '.status | keys' }").error(), &problem("expression", 400, "/do/0/attempt"));
    let handler = "{ do: [ { worse: { raise: { error: { type: 'https://example.com/worse', status: 500 } } } } ] }";
    assert_has(
        &caught(handler).error(),
        &json!({ "type": "https://example.com/worse", "instance": "/do/0/attempt/catch/do/0/worse" }),
    );
}

#[test]
fn catch_then_decides_where_the_error_path_goes() {
    let definition = |fails: bool| {
        format!(
            "
do:
  - attempt:
      try: [ {{ a: {{ if: '{fails}', raise: {{ error: {{ type: 'https://example.com/e', status: 500 }} }} }} }} ]
      catch: {{ do: [ {{ note: {{ set: {{ handled: true }} }} }} ], then: rescue }}
      then: end
  - skipped: {{ set: {{ wrong: true }} }}
  - rescue: {{ set: {{ rescued: '${{ .handled }}' }} }}
"
        )
    };
    assert_eq!(World::new(&definition(true)).run(json!({})).output(), json!({ "rescued": true }));
    assert_eq!(World::new(&definition(false)).run(json!({ "n": 1 })).output(), json!({ "n": 1 }));
}

#[test]
fn an_error_passes_through_a_try_that_does_not_want_it_to_one_that_does() {
    let world = World::new(
        "
do:
  - outer:
      try:
        - inner:
            try: [ { fail: { raise: { error: { type: 'https://example.com/e', status: 418 } } } } ]
            catch: { errors: { with: { status: 404 } } }
      catch: { as: e, do: [ { got: { set: { status: '${ $e.status }', at: '${ $e.instance }' } } } ] }
",
    );
    assert_eq!(world.run(json!({})).output(), json!({ "status": 418, "at": "/do/0/outer/try/0/inner/try/0/fail" }));
}

#[test]
fn exit_in_a_try_list_or_handler_completes_the_try_task() {
    let world = World::new(
        "
do:
  - one: { try: [ { a: { set: { x: 1 }, then: exit } }, { b: { set: { x: 2 } } } ], catch: {} }
  - two:
      try: [ { fail: { raise: { error: { type: 'https://example.com/e', status: 500 } } } } ]
      catch: { do: [ { c: { set: { y: '${ .x }' }, then: exit } }, { d: { set: { y: 9 } } } ] }
",
    );
    assert_eq!(world.run(json!({})).output(), json!({ "y": 1 }));
}

#[test]
fn what_the_failed_list_exported_stays() {
    let world = World::new(
        "
do:
  - attempt:
      try: [ { keep: { set: { x: 1 }, export: { as: . } } }, { fail: { set: { y: '${ error }' } } } ]
      catch: {}
",
    );
    assert_eq!(world.run(json!({})).context(), json!({ "x": 1 }));
}

#[test]
fn nested_handlers_each_see_their_own_error_and_what_they_raise_goes_outwards() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - outer:
      try:
        - first: { raise: { error: { type: 'https://example.com/a', status: 1 } } }
      catch:
        do:
          - again:
              try: [ { second: { raise: { error: { type: '${ $error.type + \"/b\" }', status: 2 } } } } ]
              catch:
                do:
                  - rest: { wait: PT1H }
                  - inner: { set: { inner: '${ $error.type }' } }
          - both: { set: { inner: '${ .inner }', outer: '${ $error.type }' } }
          - rethrow:
              try: [ { third: { raise: { error: { type: '${ $error.type }', status: 3 } } } } ]
              catch: { errors: { with: { status: 4 } } }
",
        );
        let world = world.killed(kill).run(json!({}));
        assert_has(
            &world.error(),
            &json!({ "type": "https://example.com/a", "status": 3, "instance": "/do/0/outer/catch/do/2/rethrow/try/0/third" }),
        );
        let both = world.statuses().filter_map(|event| event.output.as_ref()).last().unwrap();
        assert_eq!(both.get(), r#"{"inner":"https://example.com/a/b","outer":"https://example.com/a"}"#);
    });
}

#[test]
fn a_try_task_does_not_catch_what_its_own_output_does_but_the_one_around_it_does() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - outer:
      try:
        - inner: { try: [ { a: { set: { x: 1 }, export: { as: . } } } ], catch: {}, output: { as: 'error(\"late\")' }, export: { as: '\"never\"' } }
      catch: { do: [ { seen: { set: { at: '${ $error.instance }', why: '${ $error.detail }', context: '${ $context }' } } } ] }
",
        );
        assert_eq!(
            world.killed(kill).run(json!({})).output(),
            json!({ "at": "/do/0/outer/try/0/inner", "why": "late", "context": { "x": 1 } })
        );
    });
}

#[test]
fn directives_of_a_handler_count_in_the_list_of_its_try_task() {
    for (catch, wanted) in [
        ("{ then: continue }", json!({ "seen": ["next", "after"] })),
        ("{ then: exit }", json!({ "seen": ["after"] })),
        ("{ then: end }", json!({})),
        ("{ then: last }", json!({ "seen": ["last", "after"] })),
        (
            "{ do: [ { h: { set: { seen: [ h ] }, then: exit } } ], then: last }",
            json!({ "seen": ["h", "last", "after"] }),
        ),
        ("{ do: [ { h: { set: { seen: [ h ] }, then: end } } ], then: last }", json!({ "seen": ["h"] })),
    ] {
        both_ways(|kill| {
            let world = World::new(&format!(
                "
do:
  - list:
      do:
        - attempt: {{ try: [ {{ a: {{ set: '${{ error }}' }} }} ], catch: {catch}, then: end }}
        - next: {{ set: {{ seen: '${{ .seen + [ $task.name ] }}' }}, then: exit }}
        - last: {{ set: {{ seen: '${{ .seen + [ $task.name ] }}' }} }}
  - after: {{ set: {{ seen: '${{ .seen + [ $task.name ] }}' }} }}
"
            ));
            assert_eq!(world.killed(kill).run(json!({})).output(), wanted, "{catch}");
        });
    }
}

#[test]
fn an_errors_place_is_a_json_pointer_whatever_tasks_are_named() {
    let world = World::new(
        "do: [ { 'ä/b': { do: [ { '~ 0': { do: [ { '': { raise: { error: { type: x, status: 1 } } } } ] } } ] } } ]",
    );
    assert_eq!(world.run(json!({})).error()["instance"], json!("/do/0/ä~1b/do/0/~0 0/do/0/"));
}
