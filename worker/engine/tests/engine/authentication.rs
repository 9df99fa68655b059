//! Authentication of calls: what the request carries to the executor, `$authorization`, and what never shows.

use flagstop_engine::api::{
    Authentication, Authorization, ClientMethod, EffectOutcome, SecurityToken, Stimulus, TokenClient, TokenEncoding,
    TokenEndpoint, TokenRequest,
};
use serde_json::json;

use crate::driver::{World, answer, assert_has, both_ways, compile, problem};

fn call(authentication: &str, rest: &str) -> String {
    format!(
        "do: [ {{ ask: {{ call: http, with: {{ method: get, endpoint: {{ uri: 'https://a.example', authentication: {authentication} }} }}{rest} }} }} ]"
    )
}

fn rendered(definition: &str, input: serde_json::Value) -> Authentication {
    let world = World::new(definition).secret("hr", json!({ "username": "ada", "password": "pw" })).run(input);
    world.http(0).authentication.clone().expect("the call has an authentication")
}

fn basic(username: &str, password: &str) -> Authentication {
    Authentication::Basic { username: username.into(), password: password.into() }
}

fn bearer(token: &str) -> Authentication {
    Authentication::Bearer { token: token.into() }
}

#[test]
fn a_policy_may_be_written_inline_named_or_taken_from_a_secret() {
    let digest = Authentication::Digest { username: "ada".into(), password: "pw".into() };
    for (head, policy, wanted) in [
        ("", "{ basic: { username: ada, password: '${ .pw }' } }", basic("ada", "pw")),
        ("", "{ basic: { username: admin, password: 1234 } }", basic("admin", "1234")),
        ("", "{ digest: { username: ada, password: pw } }", digest.clone()),
        ("", "{ bearer: { token: '${ .token }' } }", bearer("t-1")),
        ("use: { secrets: [ hr ] }\n", "{ basic: { use: hr } }", basic("ada", "pw")),
        ("use: { secrets: [ hr ] }\n", "{ digest: { use: hr } }", digest),
        ("use: { secrets: [ hr ] }\n", "{ bearer: { token: '${ $secrets.hr.password }' } }", bearer("pw")),
        ("use: { authentications: { mine: { bearer: { token: '${ .token }' } } } }\n", "{ use: mine }", bearer("t-1")),
        (
            "use: { secrets: [ hr ], authentications: { mine: { basic: { use: hr } } } }\n",
            "{ use: mine }",
            basic("ada", "pw"),
        ),
    ] {
        let definition = format!("{head}{}", call(policy, ""));
        assert!(rendered(&definition, json!({ "pw": "pw", "token": "t-1" })) == wanted, "{policy}");
    }
}

#[test]
fn a_token_request_carries_all_that_the_policy_says() {
    let policy = "{ oauth2: { authority: 'https://id.example/{realm}', endpoints: { token: /auth/token, introspection: /i }, grant: password,
        client: { id: me, secret: '${ .s }', authentication: client_secret_basic }, request: { encoding: application/json },
        issuers: [ 'https://id.example/{realm}' ], scopes: [ api, '${ .scope }' ], audiences: [ a, b ], username: ada, password: pw,
        subject: { token: s-1, type: 'urn:s' }, actor: { token: a-1, type: 'urn:a' } } }";
    let token = |token: &str, kind: &str| Some(SecurityToken { token: token.into(), kind: kind.into() });
    let wanted = TokenRequest {
        endpoint: TokenEndpoint::Known("https://id.example/main/auth/token".into()),
        grant: "password".into(),
        client: TokenClient {
            id: Some("me".into()),
            secret: Some("s3".into()),
            assertion: None,
            method: ClientMethod::SecretBasic,
        },
        encoding: TokenEncoding::Json,
        issuers: vec!["https://id.example/main".into()],
        scopes: vec!["api".into(), "read".into()],
        audiences: vec!["a".into(), "b".into()],
        username: Some("ada".into()),
        password: Some("pw".into()),
        subject: token("s-1", "urn:s"),
        actor: token("a-1", "urn:a"),
    };
    let found = rendered(&call(policy, ""), json!({ "realm": "main", "s": "s3", "scope": "read" }));
    assert!(found == Authentication::Token(Box::new(wanted)));
}

#[test]
fn tokens_are_asked_for_where_the_authority_is_or_says() {
    let client = "grant: client_credentials, client: { id: me, secret: s }";
    for (policy, endpoint) in [
        (
            "oauth2: { authority: 'https://id.example/r'",
            TokenEndpoint::Known("https://id.example/r/oauth2/token".into()),
        ),
        (
            "oauth2: { authority: 'https://id.example/r/', endpoints: { token: t }",
            TokenEndpoint::Known("https://id.example/r/t".into()),
        ),
        (
            "oauth2: { authority: 'https://id.example', endpoints: { token: 'https://other.example/t' }",
            TokenEndpoint::Known("https://other.example/t".into()),
        ),
        (
            "oauth2: { authority: 'https://id.example/.well-known/openid-configuration'",
            TokenEndpoint::Discover("https://id.example/.well-known/openid-configuration".into()),
        ),
        (
            "oidc: { authority: 'https://id.example/r'",
            TokenEndpoint::Discover("https://id.example/r/.well-known/openid-configuration".into()),
        ),
        (
            "oidc: { authority: 'https://id.example/r/.well-known/openid-configuration'",
            TokenEndpoint::Discover("https://id.example/r/.well-known/openid-configuration".into()),
        ),
    ] {
        let Authentication::Token(request) = rendered(&call(&format!("{{ {policy}, {client} }} }}"), ""), json!({}))
        else {
            panic!("{policy} wants a token");
        };
        assert_eq!(request.endpoint, endpoint, "{policy}");
        assert_eq!((request.client.method, request.encoding), (ClientMethod::SecretPost, TokenEncoding::Form));
    }
}

#[test]
fn a_secret_may_be_a_whole_policy_and_is_checked_when_it_is_read() {
    let run = |scheme: &str, secret: serde_json::Value| {
        let definition = format!("use: {{ secrets: [ it ] }}\n{}", call(&format!("{{ {scheme}: {{ use: it }} }}"), ""));
        World::new(&definition).secret("it", secret).run(json!({}))
    };
    let fine = json!({ "authority": "https://id.example", "grant": "client_credentials", "client": { "id": "me", "secret": "s" } });
    for scheme in ["oauth2", "oidc"] {
        let world = run(scheme, fine.clone());
        assert!(
            matches!(&world.http(0).authentication, Some(Authentication::Token(request)) if request.grant == "client_credentials")
        );
    }
    assert!(run("bearer", json!("t-1")).http(0).authentication == Some(bearer("t-1")));
    let no_authority = json!({ "grant": "client_credentials" });
    let bad_grant = json!({ "authority": "https://id.example", "grant": "s3cret" });
    let bad_client =
        json!({ "authority": "https://id.example", "grant": "password", "client": { "secret": "s3cret" } });
    for (scheme, secret, missing) in [
        ("basic", json!({ "username": "ada", "pass": "s3cret" }), "the secret `it` has no `password`"),
        ("basic", json!("s3cret"), "the secret `it` has no `username`"),
        ("digest", json!({ "username": ["s3cret"], "password": "pw" }), "`username` of the secret `it` must be a text"),
        ("bearer", json!({ "token": "s3cret\n" }), "can't stand in a header"),
        ("oauth2", no_authority, "the secret `it` has no `authority`"),
        ("oidc", bad_grant, "the `grant` of the secret `it` is none of"),
        ("oauth2", bad_client, "the client of the secret `it` has no `id`"),
    ] {
        let error = run(scheme, secret).error();
        assert_has(&error, &problem("configuration", 400, "/do/0/ask"));
        let detail = error["detail"].as_str().unwrap();
        assert!(detail.contains(missing) && !detail.contains("s3cret"), "{detail}");
    }
    let denied =
        World::new(&format!("use: {{ secrets: [ it ] }}\n{}", call("{ basic: { use: it } }", ""))).run(json!({}));
    assert_has(&denied.error(), &problem("authorization", 403, "/do/0/ask"));
}

#[test]
fn authorization_is_known_to_the_request_and_to_what_comes_after_the_answer() {
    both_ways(|kill| {
        let definition = "
do:
  - ask:
      call: http
      with:
        method: get
        output: response
        endpoint: { uri: 'https://a.example', authentication: { basic: { username: ada, password: pw } } }
        headers: { x-scheme: '${ $authorization.scheme }', x-parameter: '${ $authorization.parameter }' }
      output: { as: '{ said: $authorization, headers: .request.headers }' }
      export: { as: '$authorization.scheme' }
  - next: { set: { none: '${ $authorization }' }, output: { as: '$input + .' } }
";
        let world = World::new(definition).killed(kill).answers_json(200, json!({})).run(json!({}));
        let headers = &world.http(0).headers;
        assert!(headers.contains(&("x-scheme".into(), "Basic".into())));
        assert!(headers.contains(&("x-parameter".into(), "YWRhOnB3".into())));
        // A header that holds it is a secret like any other.
        let said = json!({ "scheme": "Basic", "parameter": "YWRhOnB3" });
        assert_eq!(world.output(), json!({ "said": said, "headers": {}, "none": null }));
        assert_eq!(world.context(), json!("Basic"));
    });
}

#[test]
fn what_an_identity_provider_gave_is_seen_after_the_answer_and_enters_nothing_by_itself() {
    let policy =
        "{ oauth2: { authority: 'https://id.example', grant: client_credentials, client: { id: me, secret: s } } }";
    let given = || EffectOutcome::Http {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: "{}".into(),
        authorization: Some(Authorization { scheme: "Bearer".into(), parameter: "t0ken".into() }),
    };
    both_ways(|kill| {
        let world = World::new(&call(policy, ", output: { as: '$authorization.parameter | length' }"));
        let world = world.killed(kill).answers(given()).run(json!({}));
        assert_eq!(world.output(), json!(5));
        assert!(!format!("{:?}", world.entries).contains("t0ken"));
    });
    let world = World::new(&call(policy, "")).answers(given()).run(json!({}));
    assert!(!String::from_utf8_lossy(&world.instance.encode()).contains("t0ken"));
    let shown = format!("{:?}", world.requests);
    assert!(!shown.contains("secret: ") && !format!("{:?}", given()).contains("t0ken"), "{shown}");
}

#[test]
fn an_answer_that_came_while_the_instance_was_held_keeps_no_token() {
    both_ways(|kill| {
        let policy =
            "{ oidc: { authority: 'https://id.example', grant: client_credentials, client: { id: me, secret: s } } }";
        let mut world = World::new(&call(policy, ", output: { as: '{ known: $authorization }' }")).killed(kill);
        world.start(json!({}));
        world.apply(Stimulus::Suspend).unwrap();
        let authorization = Some(Authorization { scheme: "Bearer".into(), parameter: "t0ken".into() });
        let outcome = EffectOutcome::Http { status: 204, headers: Vec::new(), body: "".into(), authorization };
        world.apply(Stimulus::Effect { slot: world.requests[0].slot, outcome }).unwrap();
        assert!(!String::from_utf8_lossy(&world.instance.encode()).contains("t0ken"));
        world.apply(Stimulus::Continue).unwrap();
        assert_eq!(world.output(), json!({ "known": null }));
    });
}

#[test]
fn a_policy_that_is_used_inside_of_a_loop_sees_its_variables_and_an_unused_one_is_checked_too() {
    let text = "
use: { authentications: { mine: { bearer: { token: '${ $key }' } } } }
do: [ { each: { for: { each: key, in: '.keys' }, do: [ { ask: { call: http, with: { method: get, endpoint: { uri: 'https://a.example', authentication: { use: mine } } } } } ] } } ]
";
    let world = World::new(text).run(json!({ "keys": ["k1"] }));
    assert!(world.http(0).authentication == Some(bearer("k1")));
    let unused = compile("use: { authentications: { mine: { bearer: {} } } }\ndo: []").expect_err("a token is missing");
    assert_eq!(unused.iter().filter(|found| found.code == "FS-MISSING-KEY").count(), 1);
}

#[test]
fn a_refused_token_is_an_authentication_error_and_no_answer_of_the_provider_one_of_communication() {
    let policy = "{ bearer: { token: t } }";
    let refused = World::new(&call(policy, "")).answers(EffectOutcome::NotAuthenticated { reason: "refused".into() });
    let refused = refused.run(json!({}));
    assert_has(&refused.error(), &problem("authentication", 401, "/do/0/ask"));
    assert_eq!(refused.error()["detail"], json!("refused"));
    let silent = World::new(&call(policy, "")).answers(EffectOutcome::NoAnswer { reason: "reset".into() });
    assert_has(&silent.run(json!({})).error(), &problem("communication", 500, "/do/0/ask"));
    // The service itself says that it does not know the caller: its own answer.
    let unknown = World::new(&call(policy, "")).answers(answer(401, "text/plain", "who?")).run(json!({}));
    assert_has(&unknown.error(), &problem("communication", 401, "/do/0/ask"));
}

#[test]
fn what_this_build_can_not_do_is_a_warning_and_faults_when_it_runs() {
    for (policy, detail) in [
        ("{ certificate: {} }", "this build cannot authenticate by certificate"),
        (
            "{ oauth2: { authority: 'https://id.example', grant: authorization_code, client: { id: me } } }",
            "nothing carries what the grant `authorization_code` exchanges",
        ),
    ] {
        let world = World::new(&call(policy, ""));
        assert_eq!(world.plan.warnings()[0].code, "FS-NOT-RUNNABLE");
        let world = world.run(json!({}));
        assert_has(&world.error(), &problem("configuration", 400, "/do/0/ask"));
        assert_eq!(world.error()["detail"], json!(detail));
    }
}

#[test]
fn mistakes_in_policies_are_found_when_the_definition_is_loaded() {
    let oauth2 =
        |rest: &str| format!("{{ oauth2: {{ authority: 'https://id.example', grant: client_credentials, {rest} }} }}");
    let method = |method: &str| oauth2(&format!("client: {{ id: me, authentication: {method} }}"));
    for (policy, code) in [
        ("{}".to_owned(), "FS-AUTHENTICATION"),
        ("{ basic: { username: a, password: b }, bearer: { token: t } }".into(), "FS-AUTHENTICATION"),
        ("{ use: mine, bearer: { token: t } }".into(), "FS-AUTHENTICATION"),
        ("{ basic: { use: hr, username: a } }".into(), "FS-AUTHENTICATION"),
        ("{ basik: { username: a, password: b } }".into(), "FS-UNKNOWN-KEY"),
        ("{ basic: { username: a } }".into(), "FS-MISSING-KEY"),
        ("{ basic: { username: a, password: b, realm: c } }".into(), "FS-UNKNOWN-KEY"),
        ("{ basic: { username: 7, password: b } }".into(), "FS-WRONG-TYPE"),
        ("{ bearer: {} }".into(), "FS-MISSING-KEY"),
        ("{ bearer: { token: '${ $authorization.parameter }' } }".into(), "FS-EXPR-VARIABLE"),
        ("{ use: other }".into(), "FS-UNKNOWN-NAME"),
        ("{ basic: { use: other } }".into(), "FS-SECRET-UNLISTED"),
        ("{ oauth2: { grant: password } }".into(), "FS-MISSING-KEY"),
        ("{ oauth2: { authority: 'https://id.example' } }".into(), "FS-MISSING-KEY"),
        ("{ oauth2: { authority: 'https://id.example', grant: pasword } }".into(), "FS-VALUE"),
        ("{ oidc: { authority: 'https://id.example', grant: password, endpoints: {} } }".into(), "FS-UNKNOWN-KEY"),
        ("{ oauth2: { authority: 'https://id.example/{?x}', grant: password } }".into(), "FS-URI-TEMPLATE"),
        (oauth2("scopes: api"), "FS-WRONG-TYPE"),
        (oauth2("audiences: [ 7 ]"), "FS-WRONG-TYPE"),
        (oauth2("issuers: [ {} ]"), "FS-WRONG-TYPE"),
        (oauth2("request: { encoding: text/plain }"), "FS-VALUE"),
        (oauth2("subject: { token: t }"), "FS-MISSING-KEY"),
        (oauth2("client: { id: me, ident: x }"), "FS-UNKNOWN-KEY"),
        (oauth2("client: { secret: s }"), "FS-MISSING-KEY"),
        (method("private_key_jwt"), "FS-MISSING-KEY"),
        (method("client_secret_jwt"), "FS-MISSING-KEY"),
        (method("magic"), "FS-VALUE"),
    ] {
        let head = "use: { secrets: [ hr ], authentications: { mine: { basic: { use: hr } } } }\n";
        let found = compile(&format!("{head}{}", call(&policy, ""))).expect_err(&policy);
        let codes: Vec<_> = found.iter().map(|found| found.code).collect();
        assert_eq!(codes, [code], "{policy}");
    }
    let circle =
        compile(&format!("use: {{ authentications: {{ mine: {{ use: mine }} }} }}\n{}", call("{ use: mine }", "")));
    assert_eq!(circle.expect_err("a named policy names no other").iter().next().unwrap().code, "FS-UNKNOWN-KEY");
}

#[test]
fn a_token_that_is_not_known_yet_can_not_stand_in_the_request() {
    for policy in [
        "{ digest: { username: a, password: b } }",
        "{ oidc: { authority: 'https://id.example', grant: client_credentials, client: { id: me } } }",
    ] {
        let with = "method: post, headers: { a: '${ $authorization.scheme }' }, body: { b: '${ $authorization }' }";
        let text = format!(
            "do: [ {{ ask: {{ call: http, with: {{ {with}, endpoint: {{ uri: 'https://a.example', authentication: {policy} }} }} }} }} ]"
        );
        let found = compile(&text).expect_err("the token is not known");
        assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), ["FS-AUTHORIZATION"; 2]);
    }
}
