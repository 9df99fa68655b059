//! `call: http`: requests, answers, errors, idempotency.

use flagstop_engine::api::{EffectOutcome, Phase, Rejected, Stimulus};
use serde_json::json;

use crate::driver::{World, answer, assert_has, both_ways, header, problem};

fn call(with: &str) -> World {
    World::new(&format!("do: [ {{ ask: {{ call: http, with: {with} }} }} ]"))
}

#[test]
fn a_request_is_made_of_its_arguments_and_the_answer_is_the_output() {
    both_ways(|kill| {
        let world = call(
            "{ method: post, endpoint: 'https://hr.example/people/{id}', headers: { X-Team: '${ .team }', X-None: '${ null }' },
               query: { tag: [ a, b ], page: 2, none: '${ null }' }, body: { name: '${ .name }' } }",
        );
        let world = world.killed(kill).answers_json(201, json!({ "ok": true }));
        let world = world.run(json!({ "id": "e 1/2", "team": "red", "name": "Ada" }));
        assert_eq!(world.output(), json!({ "ok": true }));
        let request = world.http(0);
        assert_eq!(request.method, "POST");
        assert_eq!(request.url, "https://hr.example/people/e%201%2F2?tag=a&tag=b&page=2");
        assert_eq!(request.body.as_deref(), Some(&br#"{"name":"Ada"}"#[..]));
        assert_eq!(header(request, "content-type"), Some("application/json"));
        assert_eq!(header(request, "x-team"), Some("red"));
        assert_eq!(header(request, "x-none"), None);
        assert_eq!(header(request, "idempotency-key"), Some(world.requests[0].idempotency_key.as_str()));
        assert_eq!(world.requests[0].idempotency_key, format!("{}:/do/0/ask:0", world.instance.id()));
        assert_eq!(world.requests.len(), 1);
    });
}

#[test]
fn endpoints_may_be_texts_templates_objects_or_expressions() {
    for (endpoint, url) in [
        ("'https://a.example/x'", "https://a.example/x"),
        ("{ uri: 'https://a.example/{name}?q={n}' }", "https://a.example/ada?q=3"),
        ("'${ \"https://a.example/\" + .name }'", "https://a.example/ada"),
        ("{ uri: '${ \"https://a.example/\\(.n)\" }' }", "https://a.example/3"),
        ("'https://a.example/{missing}'", "https://a.example/"),
    ] {
        let world = call(&format!("{{ method: get, endpoint: {endpoint} }}")).run(json!({ "name": "ada", "n": 3 }));
        assert_eq!(world.http(0).url, url);
        assert_eq!(world.http(0).body, None);
        assert_eq!(header(world.http(0), "content-type"), None);
        assert_eq!(world.instance.phase(), Phase::Running);
        assert_eq!(world.instance.waiting(&world.plan)[0].kind, "effect");
    }
}

#[test]
fn text_is_sent_as_it_is_and_the_authors_headers_win() {
    let world = call(
        "{ method: put, endpoint: 'https://a.example', body: '${ .text }', headers: { content-type: text/csv, idempotency-key: mine } }",
    );
    let world = world.run(json!({ "text": "a,b" }));
    assert_eq!(world.http(0).body.as_deref(), Some(&b"a,b"[..]));
    assert_eq!(
        world.http(0).headers,
        [("content-type".to_owned(), "text/csv".to_owned()), ("idempotency-key".to_owned(), "mine".to_owned())]
    );
}

#[test]
fn an_object_is_sent_as_a_form_when_the_headers_say_so() {
    for (body, sent) in
        [("{ a: 'x y&z', b: [ 1, 2 ], c: '${ null }', d: true }", "a=x+y%26z&b=1&b=2&d=true"), ("'a=1'", "a=1")]
    {
        let with = "method: post, endpoint: 'https://a.example', headers: { content-type: 'application/x-www-form-urlencoded; charset=utf-8' }";
        let world = call(&format!("{{ {with}, body: {body} }}")).run(json!({}));
        assert_eq!(world.http(0).body.as_deref(), Some(sent.as_bytes()));
    }
    let nested = "{ method: post, endpoint: 'https://a.example', headers: { content-type: application/x-www-form-urlencoded }, body: { a: { b: 1 } } }";
    assert_has(&call(nested).run(json!({})).error(), &problem("expression", 400, "/do/0/ask"));
}

#[test]
fn content_is_read_by_its_media_type() {
    for (media_type, body, wanted) in [
        ("application/json; charset=utf-8", r#"{"a":1}"#, json!({ "a": 1 })),
        ("application/problem+json", "[1]", json!([1])),
        ("text/html", "<p>", json!("<p>")),
        ("application/xml", "<a/>", json!("<a/>")),
        ("application/octet-stream", "hi", json!("aGk=")),
        ("application/json", "", json!(null)),
    ] {
        let world = call("{ method: get, endpoint: 'https://a.example' }").answers(answer(200, media_type, body));
        assert_eq!(world.run(json!({})).output(), wanted, "{media_type}");
    }
    let broken = call("{ method: get, endpoint: 'https://a.example' }").answers(answer(200, "application/json", "{"));
    assert_has(&broken.run(json!({})).error(), &problem("communication", 500, "/do/0/ask"));
}

#[test]
fn output_may_be_raw_or_the_whole_response() {
    let raw = call("{ method: get, endpoint: 'https://a.example', output: raw }").answers(answer(
        200,
        "application/json",
        "hi",
    ));
    assert_eq!(raw.run(json!({})).output(), json!("aGk="));
    both_ways(|kill| {
        let world = call(
            "{ method: get, endpoint: 'https://a.example/{id}', output: response, headers: { accept: text/plain } }",
        );
        let world = world.killed(kill).answers(answer(203, "text/plain", "hi")).run(json!({ "id": 1 }));
        assert_eq!(
            world.output(),
            json!({
                "request": { "method": "get", "uri": "https://a.example/1", "headers": { "accept": "text/plain" } },
                "statusCode": 203,
                "headers": { "content-type": "text/plain" },
                "content": "hi",
            })
        );
    });
}

#[test]
fn a_response_never_shows_the_secrets_of_its_request() {
    let world = World::new(
        "
use: { secrets: [ hr ] }
do: [ { ask: { call: http, with: { method: get, endpoint: 'https://a.example', output: response, query: { key: '${ $secrets.hr }' }, headers: { x-key: '${ $secrets.hr }' } } } } ]
",
    );
    let world = world.secret("hr", json!("s3cret")).answers_json(200, json!({})).run(json!({}));
    assert!(world.http(0).url.contains("s3cret"));
    assert!(!world.output().to_string().contains("s3cret"));
    assert!(!format!("{:?}", world.entries).contains("s3cret"));
    assert!(!String::from_utf8_lossy(&world.instance.encode()).contains("s3cret"));
}

#[test]
fn passwords_and_tokens_inside_of_a_url_are_sent_and_not_shown() {
    for (endpoint, sent, shown) in [
        ("'https://ada:s3cret@a.example/x?n=1'", "https://ada:s3cret@a.example/x?n=1", "https://a.example/x?n=1"),
        (
            "'${ \"https://a.example/bot\" + $secrets.hr + \"/send\" }'",
            "https://a.example/bots3cret/send",
            "https://a.example",
        ),
    ] {
        let ask = |status: u16| {
            let with = format!("{{ method: get, endpoint: {endpoint}, output: response }}");
            World::new(&format!("use: {{ secrets: [ hr ] }}\ndo: [ {{ ask: {{ call: http, with: {with} }} }} ]"))
                .secret("hr", json!("s3cret"))
                .answers_json(status, json!({}))
                .run(json!({}))
        };
        let (fine, failed) = (ask(200), ask(500));
        assert_eq!(fine.http(0).url, sent);
        assert_eq!(fine.output()["request"]["uri"], json!(shown));
        assert!(!failed.error().to_string().contains("s3cret"));
        assert!(!format!("{:?}{:?}", fine.entries, failed.entries).contains("s3cret"));
    }
}

#[test]
fn answers_outside_of_2xx_are_errors_with_their_status() {
    for (status, redirect, fine) in [
        (200, false, true),
        (299, false, true),
        (302, false, false),
        (302, true, true),
        (404, true, false),
        (503, false, false),
    ] {
        let world = call(&format!("{{ method: get, endpoint: 'https://a.example/x', redirect: {redirect} }}"))
            .answers_json(status, json!({ "no": 1 }));
        let world = world.run(json!({}));
        if fine {
            assert_eq!(world.output(), json!({ "no": 1 }));
        } else {
            assert_has(&world.error(), &problem("communication", status, "/do/0/ask"));
            assert_eq!(
                world.error()["detail"],
                json!(format!("GET https://a.example/x answered with status {status}"))
            );
        }
    }
}

#[test]
fn no_answer_and_no_url_are_communication_errors() {
    let refused = call("{ method: get, endpoint: 'https://a.example' }")
        .answers(EffectOutcome::NoAnswer { reason: "connection refused".into() });
    let refused = refused.run(json!({}));
    assert_has(&refused.error(), &problem("communication", 500, "/do/0/ask"));
    assert_eq!(refused.error()["detail"], json!("no answer came: connection refused"));
    for endpoint in ["'https://'", "/relative", "'ftp://a.example'", "'${ .word }'"] {
        let world = call(&format!("{{ method: get, endpoint: {endpoint} }}")).run(json!({ "word": "no url" }));
        assert_has(&world.error(), &problem("communication", 500, "/do/0/ask"));
        assert!(world.requests.is_empty());
    }
}

#[test]
fn arguments_that_can_not_be_rendered_are_expression_errors() {
    for with in [
        "{ method: '${ .o }', endpoint: 'https://a.example' }",
        "{ method: get, endpoint: '${ .o }' }",
        "{ method: get, endpoint: 'https://a.example/{o}' }",
        "{ method: get, endpoint: 'https://a.example', headers: { a: '${ .o }' } }",
        "{ method: get, endpoint: 'https://a.example', headers: { a: '${ \"x\\ny\" }' } }",
        "{ method: get, endpoint: 'https://a.example', query: { a: '${ .o }' } }",
        "{ method: get, endpoint: 'https://a.example', query: '${ 7 }' }",
    ] {
        assert_has(&call(with).run(json!({ "o": { "a": 1 } })).error(), &problem("expression", 400, "/do/0/ask"));
    }
}

#[test]
fn the_key_changes_when_an_answer_came_and_only_then() {
    let definition = "
do:
  - ask:
      try: [ { call: { call: http, with: { method: get, endpoint: 'https://a.example' } } } ]
      catch: { then: ask }
";
    both_ways(|kill| {
        let world = World::new(definition)
            .killed(kill)
            .answers(EffectOutcome::NoAnswer { reason: "reset".into() })
            .answers_json(503, json!({}))
            .answers_json(200, json!({}))
            .run(json!({}));
        assert_eq!(world.output(), json!({}));
        let runs: Vec<_> =
            world.requests.iter().map(|effect| effect.idempotency_key.rsplit(':').next().unwrap()).collect();
        assert_eq!(runs, ["0", "0", "1"]);
    });
}

#[test]
fn a_late_answer_changes_nothing_and_a_cancelled_call_is_dropped() {
    let mut world = call("{ method: get, endpoint: 'https://a.example' }");
    world.start(json!({}));
    let slot = world.requests[0].slot;
    let outcome = || answer(200, "application/json", "{}");
    assert_eq!(world.apply(Stimulus::Effect { slot: slot + 1, outcome: outcome() }), Err(Rejected::NotWaiting));
    assert_eq!(world.apply(Stimulus::Timer { slot }), Err(Rejected::NotWaiting));
    let secrets = std::collections::BTreeMap::new();
    let env = flagstop_engine::api::Env {
        now_us: world.now_us,
        seed: 0,
        secrets: &secrets,
        limits: &world.limits,
        ticks_us: || 0,
        status_changes: flagstop_engine::api::StatusChanges::Left,
    };
    let transition = flagstop_engine::apply(&world.plan, &world.instance, Stimulus::Cancel, &env).unwrap();
    assert_eq!(transition.dropped_effects, [slot]);
    world.apply(Stimulus::Cancel).unwrap();
    assert_eq!(world.apply(Stimulus::Effect { slot, outcome: outcome() }), Err(Rejected::Ended));
}
