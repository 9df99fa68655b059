//! The real transport against real servers on loopback.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{any, get, post};
use flagstop_effects::http::{Client, ClientOptions, Hosts, Http, HttpOptions};
use flagstop_engine::api::{Authentication, EffectOutcome, HttpRequest, TokenEndpoint, TokenRequest};
use sha2::{Digest, Sha256};

use crate::script::{status, token_request};

/// Serves until the test ends; gives the address.
async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

fn client(hosts: Hosts) -> Client {
    let (timeout_ms, response_bytes_max) = (5_000, 1_000);
    Client::new(ClientOptions { timeout_ms, response_bytes_max, hosts }).unwrap()
}

fn http() -> Http {
    Http::new(Arc::new(|| 0), HttpOptions { seed: 7, ..HttpOptions::default() })
}

fn request(url: String, authentication: Option<Authentication>) -> HttpRequest {
    let headers = vec![("X-Own".to_owned(), "grün".to_owned())];
    HttpRequest { method: "PUT".into(), url, headers, body: Some("hello".into()), authentication }
}

async fn call(url: String, authentication: Option<Authentication>) -> EffectOutcome {
    http().call(&client(Hosts::default()), &request(url, authentication)).await
}

fn reason(outcome: EffectOutcome) -> String {
    match outcome {
        EffectOutcome::NoAnswer { reason } => reason,
        other => panic!("there was an answer: {other:?}"),
    }
}

#[tokio::test]
async fn a_request_arrives_as_it_was_made_and_the_answer_comes_back_whole() {
    let echo = |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| async move {
        let own = String::from_utf8_lossy(headers["x-own"].as_bytes()).into_owned();
        let said = format!("{method} {uri} {own} {}", String::from_utf8_lossy(&body));
        (StatusCode::MULTI_STATUS, [("X-Back", "1")], said)
    };
    let base = serve(Router::new().fallback(any(echo))).await;
    let outcome = call(format!("{base}/a/b?c=%20d"), None).await;
    let EffectOutcome::Http { status, headers, body, authorization: None } = outcome else { panic!("{outcome:?}") };
    assert_eq!((status, &*body), (207, "PUT /a/b?c=%20d grün hello".as_bytes()));
    assert!(headers.contains(&("x-back".to_owned(), "1".to_owned())));
}

#[tokio::test]
async fn redirects_are_answers_and_limits_hold() {
    let router = Router::new()
        .route("/there", any(|| async { (StatusCode::FOUND, [("location", "/large")]) }))
        .route("/large", any(|| async { "x".repeat(1_001) }))
        .route("/fits", any(|| async { "x".repeat(1_000) }))
        .route("/never", any(|| async { std::future::pending::<()>().await }));
    let base = serve(router).await;
    assert_eq!(status(&call(format!("{base}/there"), None).await), 302);
    assert_eq!(status(&call(format!("{base}/fits"), None).await), 200);
    assert!(reason(call(format!("{base}/large"), None).await).contains("larger than 1000 bytes"));
    let (timeout_ms, response_bytes_max, hosts) = (50, 1_000, Hosts::default());
    let hasty = Client::new(ClientOptions { timeout_ms, response_bytes_max, hosts }).unwrap();
    let outcome = http().call(&hasty, &request(format!("{base}/never?key=s3cret"), None)).await;
    let why = reason(outcome);
    assert!(why.contains("timed out") && !why.contains("s3cret"), "{why}");
}

#[tokio::test]
async fn hosts_that_are_not_allowed_are_not_asked() {
    let base = serve(Router::new().fallback(any(|| async { "hi" }))).await;
    let by_name = base.replace("127.0.0.1", "localhost");
    let denied = |rule: &str| client(Hosts::new(&[], &[rule.to_owned()]).unwrap());
    for (client, url, fine) in [
        (denied("127.0.0.0/8"), &base, false),
        (denied("127.0.0.0/8"), &by_name, false),
        (denied("localhost"), &by_name, false),
        (denied("localhost"), &base, true),
        (client(Hosts::new(&["*.example".to_owned()], &[]).unwrap()), &base, false),
    ] {
        match http().call(&client, &request(url.clone(), None)).await {
            EffectOutcome::Http { .. } => assert!(fine, "{url}"),
            outcome => assert!(reason(outcome).contains("is not allowed by this worker's configuration") && !fine),
        }
    }
    let metadata = call("http://169.254.169.254/latest/meta-data".to_owned(), None).await;
    assert!(reason(metadata).contains("169.254.169.254 is not allowed"));
    let mapped = call("http://[::ffff:169.254.169.254]/".to_owned(), None).await;
    assert!(reason(mapped).contains("is not allowed"));
}

#[tokio::test]
async fn nobody_there_is_no_answer() {
    let refused = reason(call("http://127.0.0.1:1/".to_owned(), None).await);
    assert!(refused.contains("refused"), "{refused}");
    assert!(!reason(call("http://no-such-host.invalid/?key=s3cret".to_owned(), None).await).contains("s3cret"));
    assert!(reason(call("ftp://a.example/".to_owned(), None).await).contains("scheme"));
}

/// What the server of the digest test has seen: the nonce counter and the `Authorization` headers.
type Seen = Arc<Mutex<Vec<Option<String>>>>;

/// Verifies as RFC 7616 tells a server to; the first nonce becomes stale.
async fn digest_server(State(seen): State<Seen>, asked: Request) -> axum::response::Response {
    let given = asked.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let nonce = seen.lock().unwrap().len();
    seen.lock().unwrap().push(given.clone());
    let challenge = |stale: bool| {
        let challenge = format!(
            "Digest realm=\"r\", nonce=\"n{nonce}\", algorithm=SHA-256, qop=\"auth-int,auth\", opaque=\"o\", stale={stale}"
        );
        (StatusCode::UNAUTHORIZED, [("WWW-Authenticate", challenge)]).into_response()
    };
    let Some(given) = given else { return challenge(false) };
    let part = |name: &str| {
        let text = given.split(&format!(" {name}=")).nth(1).unwrap();
        text.split(',').next().unwrap().trim_matches('"').to_owned()
    };
    let hex = |text: String| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (secret, request) = (hex("ada:r:pw".to_owned()), hex(format!("{}:{}", asked.method(), asked.uri())));
    let (nonce, count, cnonce) = (part("nonce"), part("nc"), part("cnonce"));
    let wanted = hex(format!("{secret}:{nonce}:{count}:{cnonce}:auth:{request}"));
    match (part("response") == wanted, nonce == "n0") {
        (false, _) => challenge(false),
        (true, true) => challenge(true),
        (true, false) => "welcome".into_response(),
    }
}

#[tokio::test]
async fn a_digest_challenge_is_answered_and_once_more_when_it_has_become_stale() {
    let seen = Seen::default();
    let base = serve(Router::new().fallback(any(digest_server)).with_state(seen.clone())).await;
    let digest = |password: &str| Authentication::Digest { username: "ada".into(), password: password.into() };
    let outcome = call(format!("{base}/x?q=1"), Some(digest("pw"))).await;
    let EffectOutcome::Http { status: 200, authorization: Some(authorization), .. } = outcome else {
        panic!("{outcome:?}");
    };
    let headers = seen.lock().unwrap().clone();
    assert_eq!((headers.len(), &headers[0]), (3, &None));
    assert_eq!(headers[2], Some(format!("{} {}", authorization.scheme, authorization.parameter)));
    assert!(!authorization.parameter.contains("pw") && authorization.scheme == "Digest");
    assert_eq!(status(&call(format!("{base}/x"), Some(digest("wrong"))).await), 401);
    assert_eq!(seen.lock().unwrap().len(), 5, "a wrong password is tried once");
}

#[tokio::test]
async fn oauth2_and_openid_connect_get_their_token_from_a_provider() {
    async fn give(headers: HeaderMap, body: String) -> axum::response::Response {
        let is_form = headers["content-type"] == "application/x-www-form-urlencoded";
        match is_form && body.contains("client_secret=s3cret") {
            true => {
                ([("content-type", "application/json")], r#"{"access_token":"t-1","expires_in":60}"#).into_response()
            }
            false => (StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client"}"#).into_response(),
        }
    }
    let service = |headers: HeaderMap| async move {
        let fine = headers.get("authorization").is_some_and(|value| value == "Bearer t-1");
        if fine { StatusCode::OK } else { StatusCode::UNAUTHORIZED }
    };
    let document = |headers: HeaderMap| async move {
        let host = headers["host"].to_str().unwrap().to_owned();
        format!(r#"{{"issuer":"http://{host}","token_endpoint":"http://{host}/token"}}"#)
    };
    let router = Router::new()
        .route("/token", post(give))
        .route("/service", any(service))
        .route("/.well-known/openid-configuration", get(document));
    let base = serve(router).await;
    let token = |endpoint| Authentication::Token(Box::new(TokenRequest { endpoint, ..token_request() }));
    let known = TokenEndpoint::Known(format!("{base}/token"));
    let discovered = TokenEndpoint::Discover(format!("{base}/.well-known/openid-configuration"));
    for endpoint in [known.clone(), discovered] {
        assert_eq!(status(&call(format!("{base}/service"), Some(token(endpoint))).await), 200);
    }
    let mut wrong = TokenRequest { endpoint: known, ..token_request() };
    wrong.client.secret = Some("wr0ng".into());
    let outcome = call(format!("{base}/service"), Some(Authentication::Token(Box::new(wrong)))).await;
    let EffectOutcome::NotAuthenticated { reason } = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason, format!("the identity provider {base} refused with status 401 (invalid_client)"));
    let nobody = token(TokenEndpoint::Known("http://127.0.0.1:1/token".into()));
    assert!(matches!(call(format!("{base}/service"), Some(nobody)).await, EffectOutcome::NoAnswer { .. }));
}
