//! A transport that answers from a script and keeps what was sent, and a clock that a test moves.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use flagstop_effects::http::{Answer, Http, HttpOptions, HttpTransport, Outgoing};
use flagstop_engine::api::{
    Authentication, EffectOutcome, HttpRequest, TokenClient, TokenEncoding, TokenEndpoint, TokenRequest,
};

pub type Reply = dyn Fn(&Outgoing) -> Result<Answer, String> + Send + Sync;

/// Answers each request after having been polled once more, so that calls overlap.
pub struct Script {
    reply: Box<Reply>,
    pub sent: Mutex<Vec<Outgoing>>,
}

#[async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: Outgoing) -> Result<Answer, String> {
        self.sent.lock().unwrap().push(request.clone());
        let mut polled = false;
        std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        (self.reply)(&request)
    }
}

impl Script {
    pub fn new(reply: impl Fn(&Outgoing) -> Result<Answer, String> + Send + Sync + 'static) -> Self {
        Self { reply: Box::new(reply), sent: Mutex::default() }
    }

    /// The URLs asked for, in order.
    pub fn urls(&self) -> Vec<String> {
        self.sent.lock().unwrap().iter().map(|sent| sent.url.clone()).collect()
    }

    pub fn sent(&self, index: usize) -> Outgoing {
        self.sent.lock().unwrap()[index].clone()
    }
}

pub fn answer(status: u16, body: &str) -> Answer {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Answer { status, headers, body: body.to_owned().into() }
}

pub fn header<'s>(sent: &'s Outgoing, name: &str) -> Option<&'s str> {
    let mut all = sent.headers.iter().filter(|(set, _)| set.eq_ignore_ascii_case(name));
    let first = all.next().map(|(_, value)| value.as_str());
    assert!(all.next().is_none(), "`{name}` is sent twice");
    first
}

pub fn form(sent: &Outgoing) -> BTreeMap<String, String> {
    let body = sent.body.clone().unwrap_or_default();
    url::form_urlencoded::parse(&body).map(|(name, text)| (name.into(), text.into())).collect()
}

/// A clock in microseconds.
#[derive(Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn forward_s(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

pub fn http(clock: &Clock) -> Http {
    http_with(clock, HttpOptions::default())
}

pub fn http_with(clock: &Clock, options: HttpOptions) -> Http {
    let clock = clock.clone();
    Http::new(Arc::new(move || clock.0.load(Ordering::Relaxed)), options)
}

pub fn request(authentication: Option<Authentication>) -> HttpRequest {
    HttpRequest {
        method: "POST".into(),
        url: "https://a.example/x?n=1".into(),
        headers: vec![("X-Own".into(), "1".into())],
        body: Some("hello".into()),
        authentication,
    }
}

pub fn token_request() -> TokenRequest {
    TokenRequest {
        endpoint: TokenEndpoint::Known("https://id.example/token".into()),
        grant: "client_credentials".into(),
        client: TokenClient { id: Some("me".into()), secret: Some("s3cret".into()), ..TokenClient::default() },
        encoding: TokenEncoding::Form,
        issuers: Vec::new(),
        scopes: Vec::new(),
        audiences: Vec::new(),
        username: None,
        password: None,
        subject: None,
        actor: None,
    }
}

pub fn with_token(token: TokenRequest) -> HttpRequest {
    request(Some(Authentication::Token(Box::new(token))))
}

pub fn status(outcome: &EffectOutcome) -> u16 {
    match outcome {
        EffectOutcome::Http { status, .. } => *status,
        other => panic!("no answer: {other:?}"),
    }
}

/// Runs a future to its end with no runtime around it: nothing here may need one.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return output;
        }
    }
    panic!("it does not come to its end");
}

pub fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
