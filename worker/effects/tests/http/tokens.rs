//! Tokens: how they are asked for, kept, shared, renewed and refused.

use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flagstop_effects::http::{Answer, HttpOptions, Outgoing};
use flagstop_engine::api::{
    Authentication, ClientMethod, EffectOutcome, SecurityToken, TokenEncoding, TokenEndpoint, TokenRequest,
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::script::{
    Clock, Script, answer, form, header, http, http_with, poll, request, run, status, token_request, with_token,
};

/// An identity provider that numbers its tokens, and a service that takes what `takes` says.
fn world(lifetime: Value, takes: impl Fn(&str) -> bool + Send + Sync + 'static) -> Script {
    let given = AtomicU32::new(0);
    Script::new(move |sent: &Outgoing| {
        if sent.url.starts_with("https://id.example") {
            let token = format!("t{}", given.fetch_add(1, Ordering::Relaxed) + 1);
            return Ok(answer(200, &json!({ "access_token": token, "expires_in": lifetime }).to_string()));
        }
        let bearer = header(sent, "authorization").unwrap_or_default();
        Ok(answer(if takes(bearer) { 200 } else { 401 }, "{}"))
    })
}

fn provider(reply: impl Fn(&Outgoing) -> Result<Answer, String> + Send + Sync + 'static) -> Script {
    Script::new(move |sent: &Outgoing| {
        if sent.method == "POST" && sent.url.contains("id.example") { reply(sent) } else { Ok(answer(200, "{}")) }
    })
}

#[test]
fn what_is_known_is_sent_in_place_of_anything_else_that_proves_the_same() {
    let script = Script::new(|_| Ok(answer(200, "{}")));
    let (clock, basic) = (Clock::default(), Authentication::Basic { username: "ada".into(), password: "pw".into() });
    let mut asked = request(Some(basic));
    asked.url = "https://eve:other@a.example/x?n=1".into();
    asked.headers.push(("authorization".into(), "Other".into()));
    let outcome = run(http(&clock).call(&script, &asked));
    let EffectOutcome::Http { authorization: Some(authorization), .. } = outcome else { panic!("{outcome:?}") };
    assert_eq!((&*authorization.scheme, &*authorization.parameter), ("Basic", "YWRhOnB3"));
    let sent = script.sent(0);
    assert_eq!((&*sent.url, header(&sent, "authorization")), ("https://a.example/x?n=1", Some("Basic YWRhOnB3")));
    run(http(&clock).call(&script, &request(Some(Authentication::Bearer { token: "t".into() }))));
    assert_eq!(header(&script.sent(1), "authorization"), Some("Bearer t"));
    run(http(&clock).call(&script, &request(None)));
    assert_eq!((header(&script.sent(2), "authorization"), header(&script.sent(2), "x-own")), (None, Some("1")));
}

#[test]
fn a_token_is_asked_for_once_and_kept_almost_to_its_end() {
    let (clock, script) = (Clock::default(), world(json!(100), |_| true));
    let http = http(&clock);
    let call = || {
        let outcome = run(http.call(&script, &with_token(token_request())));
        let EffectOutcome::Http { status: 200, authorization: Some(authorization), .. } = outcome else {
            panic!("{outcome:?}");
        };
        authorization.parameter
    };
    assert_eq!((call(), call()), ("t1".to_owned(), "t1".to_owned()));
    clock.forward_s(89);
    assert_eq!(call(), "t1");
    // Not in its last tenth: it must not end on its way.
    clock.forward_s(1);
    assert_eq!((call(), call()), ("t2".to_owned(), "t2".to_owned()));
    let asked = script.urls().iter().filter(|url| url.contains("id.example")).count();
    assert_eq!((asked, script.urls().len()), (2, 7));
}

#[test]
fn each_request_for_a_token_has_its_own() {
    let (clock, script) = (Clock::default(), world(json!("3600"), |_| true));
    let http = http(&clock);
    let mut others = vec![token_request(); 4];
    others[1].scopes = vec!["read".into()];
    others[2].client.secret = Some("other".into());
    others[3].subject = Some(SecurityToken { token: "s".into(), kind: "k".into() });
    for token in others.iter().chain(&others) {
        run(http.call(&script, &with_token(token.clone())));
    }
    assert_eq!(script.urls().iter().filter(|url| url.contains("id.example")).count(), 4);
}

#[test]
fn a_provider_that_tells_no_end_is_asked_again_after_a_while_or_when_the_token_says() {
    let claims = URL_SAFE_NO_PAD.encode(json!({ "exp": 1_000 }).to_string());
    for (token, kept_s) in [("opaque".to_owned(), 299), (format!("h.{claims}.s"), 969)] {
        let script = provider(move |_| Ok(answer(200, &json!({ "access_token": token }).to_string())));
        let clock = Clock::default();
        let http = http(&clock);
        run(http.call(&script, &with_token(token_request())));
        clock.forward_s(kept_s);
        run(http.call(&script, &with_token(token_request())));
        assert_eq!(script.urls().len(), 3);
        clock.forward_s(1);
        run(http.call(&script, &with_token(token_request())));
        assert_eq!(script.urls().len(), 5);
    }
}

#[test]
fn calls_at_the_same_time_share_one_request_for_a_token_and_its_failure() {
    let (clock, script) = (Clock::default(), world(json!(3600), |_| true));
    let (http, asked) = (http(&clock), with_token(token_request()));
    let outcomes = run(join_all((0..50).map(|_| http.call(&script, &asked))));
    assert!(outcomes.iter().all(|outcome| status(outcome) == 200));
    assert_eq!(script.urls().len(), 51);

    let silent = provider(|_| Err("connection refused".to_owned()));
    let http = http_with(&clock, HttpOptions::default());
    let outcomes = run(join_all((0..50).map(|_| http.call(&silent, &asked))));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, EffectOutcome::NoAnswer { .. })));
    assert_eq!(silent.urls().len(), 1);
    // Whoever comes later tries anew.
    run(http.call(&silent, &asked));
    assert_eq!(silent.urls().len(), 2);
}

#[test]
fn when_the_one_that_asks_is_dropped_the_next_one_asks() {
    let (clock, script) = (Clock::default(), world(json!(3600), |_| true));
    let (http, asked) = (http(&clock), with_token(token_request()));
    let mut first = Box::pin(http.call(&script, &asked));
    let mut second = Box::pin(http.call(&script, &asked));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    assert_eq!(script.urls().len(), 1);
    drop(first);
    assert_eq!(status(&run(second)), 200);
    assert_eq!(script.urls().len(), 3);
}

#[test]
fn a_kept_token_that_the_service_refuses_is_replaced_once() {
    let (clock, script) = (Clock::default(), world(json!(3600), |bearer| bearer != "Bearer t2"));
    let http = http(&clock);
    let call = |http: &_, script: &_| {
        status(&run(flagstop_effects::http::Http::call(http, script, &with_token(token_request()))))
    };
    assert_eq!(call(&http, &script), 200);
    // Revoked: `t1` is refused from here on, and so is every later one.
    let strict = world(json!(3600), |bearer| bearer == "Bearer t9");
    let outcome = call(&http, &strict);
    assert_eq!((outcome, strict.urls().len()), (401, 3), "kept, fresh, once more");
    // A token that was fresh already is no reason to ask again at once.
    let fresh = world(json!(0), |_| false);
    assert_eq!((call(&http, &fresh), fresh.urls().len()), (401, 3));
}

#[test]
fn a_client_proves_who_it_is_in_the_way_that_was_chosen() {
    let sent = |token: TokenRequest| {
        let script = provider(|_| Ok(answer(200, r#"{"access_token":"t"}"#)));
        run(http(&Clock::default()).call(&script, &with_token(token)));
        script.sent(0)
    };
    let with = |method: ClientMethod| {
        let mut token = token_request();
        token.client.method = method;
        token
    };
    let post = sent(with(ClientMethod::SecretPost));
    let wanted = [("client_id", "me"), ("client_secret", "s3cret"), ("grant_type", "client_credentials")];
    assert_eq!(form(&post).iter().map(|(k, v)| (&**k, &**v)).collect::<Vec<_>>(), wanted);
    assert_eq!(header(&post, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!((&*post.method, header(&post, "authorization")), ("POST", None));

    let mut basic = with(ClientMethod::SecretBasic);
    basic.client.id = Some("a:b".into());
    let basic = sent(basic);
    assert_eq!(header(&basic, "authorization"), Some("Basic YSUzQWI6czNjcmV0"), "`a%3Ab:s3cret`");
    assert_eq!(form(&basic).len(), 1);

    let assertion = form(&sent(with(ClientMethod::SecretJwt)))["client_assertion"].clone();
    let parts: Vec<&str> = assertion.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!("me"), &json!("me"), &json!("https://id.example/token"))
    );
    assert_eq!(claims["exp"], json!(300));
    use hmac::{Hmac, KeyInit, Mac};
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"s3cret").unwrap();
    mac.update(format!("{}.{}", parts[0], parts[1]).as_bytes());
    mac.verify_slice(&URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).expect("the assertion is signed with the secret");

    let mut private = with(ClientMethod::PrivateKeyJwt);
    private.client.assertion = Some("a.b.c".into());
    let private = form(&sent(private));
    assert_eq!(private["client_assertion"], "a.b.c");
    assert_eq!(private["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert!(!private.contains_key("client_secret"));
    assert_eq!(form(&sent(with(ClientMethod::None))).get("client_secret"), None);
}

#[test]
fn everything_else_that_was_written_is_asked_for_too_as_form_or_json() {
    let token = TokenRequest {
        grant: "urn:ietf:params:oauth:grant-type:token-exchange".into(),
        scopes: vec!["a".into(), "b".into()],
        audiences: vec!["x".into(), "y".into()],
        username: Some("ada".into()),
        password: Some("pw".into()),
        subject: Some(SecurityToken { token: "s".into(), kind: "urn:s".into() }),
        actor: Some(SecurityToken { token: "a".into(), kind: "urn:a".into() }),
        ..token_request()
    };
    let sent = |encoding| {
        let script = provider(|_| Ok(answer(200, r#"{"access_token":"t","token_type":"N_A"}"#)));
        run(http(&Clock::default()).call(&script, &with_token(TokenRequest { encoding, ..token.clone() })));
        script.sent(0)
    };
    let as_form = String::from_utf8(sent(TokenEncoding::Form).body.unwrap().to_vec()).unwrap();
    assert_eq!(
        as_form,
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&client_id=me&client_secret=s3cret&scope=a+b\
         &username=ada&password=pw&subject_token=s&subject_token_type=urn%3As&actor_token=a&actor_token_type=urn%3Aa\
         &audience=x&audience=y"
    );
    let as_json = sent(TokenEncoding::Json);
    assert_eq!(header(&as_json, "content-type"), Some("application/json"));
    let as_json: Value = serde_json::from_slice(&as_json.body.unwrap()).unwrap();
    assert_eq!(
        (&as_json["scope"], &as_json["audience"], &as_json["actor_token"]),
        (&json!("a b"), &json!(["x", "y"]), &json!("a"))
    );
}

#[test]
fn openid_connect_asks_the_authority_where_tokens_are_given_and_remembers_it() {
    let script = Script::new(|sent: &Outgoing| match &*sent.url {
        "https://id.example/.well-known/openid-configuration" => {
            Ok(answer(200, r#"{"issuer":"https://id.example","token_endpoint":"https://id.example/there"}"#))
        }
        "https://id.example/there" => Ok(answer(200, r#"{"access_token":"t","expires_in":60}"#)),
        _ => Ok(answer(200, "{}")),
    });
    let clock = Clock::default();
    let http = http(&clock);
    let discover = "https://id.example/.well-known/openid-configuration";
    let token = TokenRequest { endpoint: TokenEndpoint::Discover(discover.into()), ..token_request() };
    // An opaque token says nothing of its issuer, but the document does.
    let token = TokenRequest { issuers: vec!["https://id.example".into()], ..token };
    assert_eq!(status(&run(http.call(&script, &with_token(token.clone())))), 200);
    clock.forward_s(60);
    assert_eq!(status(&run(http.call(&script, &with_token(token)))), 200);
    let service = "https://a.example/x?n=1";
    assert_eq!(script.urls(), [discover, "https://id.example/there", service, "https://id.example/there", service]);

    let nothing = Script::new(|_| Ok(answer(200, "<html>")));
    let token = TokenRequest { endpoint: TokenEndpoint::Discover(discover.into()), ..token_request() };
    let outcome = run(http_with(&clock, HttpOptions::default()).call(&nothing, &with_token(token)));
    let EffectOutcome::NoAnswer { reason } = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason, "the identity provider https://id.example names no `token_endpoint`");
}

#[test]
fn a_refusal_is_told_without_secrets_and_no_answer_as_no_answer() {
    let outcome = |status: u16, body: &'static str| {
        let script = provider(move |_| Ok(answer(status, body)));
        let mut token = token_request();
        token.endpoint = TokenEndpoint::Known("https://ada:s3cret@id.example/token?key=s3cret".into());
        run(http(&Clock::default()).call(&script, &with_token(token)))
    };
    for (status, body, reason) in [
        (
            400,
            r#"{"error":"invalid_client","error_description":"s3cret is wrong"}"#,
            "refused with status 400 (invalid_client)",
        ),
        (401, "s3cret", "refused with status 401"),
        (403, r#"{"error":"S3cret!"}"#, "refused with status 403"),
        (302, "", "refused with status 302"),
        (200, "{}", "gave no `access_token`"),
        (200, "no json", "gave no `access_token`"),
        (200, r#"{"access_token":"s3cret\n"}"#, "gave a token that can't stand in a header"),
        (200, r#"{"access_token":"s3cret","token_type":"DPoP"}"#, "gave a token that is no bearer token"),
    ] {
        let outcome = outcome(status, body);
        let EffectOutcome::NotAuthenticated { reason: found } = outcome else { panic!("{outcome:?}") };
        assert_eq!(found, format!("the identity provider https://id.example {reason}"));
    }
    for status in [429, 500, 503] {
        let outcome = outcome(status, r#"{"error":"s3cret"}"#);
        let EffectOutcome::NoAnswer { reason } = outcome else { panic!("{outcome:?}") };
        assert_eq!(reason, format!("the identity provider https://id.example answered with status {status}"));
    }
}

#[test]
fn only_listed_issuers_are_taken() {
    let jwt = |claims: Value| format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let given = |answer_body: Value| {
        let script = provider(move |_| Ok(answer(200, &answer_body.to_string())));
        let token = TokenRequest { issuers: vec!["https://a".into(), "https://b".into()], ..token_request() };
        run(http(&Clock::default()).call(&script, &with_token(token)))
    };
    let good = jwt(json!({ "iss": "https://b" }));
    let bad = jwt(json!({ "iss": "https://c" }));
    for (body, fine) in [
        (json!({ "access_token": good }), true),
        (json!({ "access_token": bad }), false),
        (json!({ "access_token": bad, "id_token": good }), false),
        (json!({ "access_token": "opaque", "id_token": good }), true),
        (json!({ "access_token": "opaque" }), false),
        (json!({ "access_token": jwt(json!({ "sub": "x" })) }), false),
    ] {
        assert_eq!(matches!(given(body.clone()), EffectOutcome::Http { status: 200, .. }), fine, "{body}");
    }
}

#[test]
fn the_tokens_that_are_kept_are_bounded() {
    let (clock, script) = (Clock::default(), world(json!(3600), |_| true));
    let http = http_with(&clock, HttpOptions { tokens_max: 2, ..HttpOptions::default() });
    let call = |scope: &str| {
        let before = script.urls().len();
        let token = TokenRequest { scopes: vec![scope.into()], ..token_request() };
        run(http.call(&script, &with_token(token)));
        // With a token that is kept, there is one request only.
        script.urls().len() - before
    };
    assert_eq!([call("a"), call("b"), call("a"), call("b")], [2, 2, 1, 1]);
    // The one that was used longest ago makes room.
    assert_eq!([call("a"), call("c"), call("a"), call("b")], [1, 2, 1, 2]);
}
