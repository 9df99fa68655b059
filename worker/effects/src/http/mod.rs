//! Carries out an HTTP effect: proves who asks, sends, and gives what came back.
//!
//! ```text
//! HttpRequest ─► Http: basic · bearer · digest · token ─► HttpTransport ─► service, identity provider
//!                       └ tokens: kept, shared, asked for once
//! ```
//! Here are no timers, no tasks of their own and no wall clock, so that a test can run it all in virtual time; a call that
//! is dropped halfway leaves nothing behind.

mod client;
mod digest;
mod hosts;
mod jwt;
mod shared;
mod token;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flagstop_engine::api::{Authentication, Authorization, EffectOutcome, HttpRequest, TokenRequest};
use sha2::{Digest as _, Sha256};

pub use client::{Client, ClientError, ClientOptions};
pub use hosts::{HostRuleError, Hosts};
pub use transport::{Answer, HttpTransport, Outgoing};

use shared::Origin;
use token::Tokens;

/// Tells the time in microseconds since 1970-01-01 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the executor may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpOptions {
    /// Tokens that are kept; above it the one that was used longest ago goes.
    pub tokens_max: usize,
    /// A token is not used any more this long before its end, and never for more than nine tenths of its life.
    pub token_margin_us: i64,
    /// How long a token is kept whose end nobody told.
    pub token_unknown_us: i64,
    /// How long a document of OpenID Connect's discovery is kept.
    pub discovery_us: i64,
    /// Makes nonces differ between processes; the same seed makes the same nonces.
    pub seed: u64,
}

/// The executor of HTTP effects.
pub struct Http {
    clock: Clock,
    options: HttpOptions,
    tokens: Tokens,
    nonces: AtomicU64,
}

/// Why a request could not be authorised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The identity provider refused.
    Refused(String),
    /// It gave no answer that could be used.
    NoAnswer(String),
}

/// One call: what everything below it needs.
pub(crate) struct Call<'a> {
    pub(crate) http: &'a Http,
    pub(crate) transport: &'a dyn HttpTransport,
}

const AUTHORIZATION: &str = "Authorization";

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            tokens_max: 1_000,
            token_margin_us: 30_000_000,
            token_unknown_us: 300_000_000,
            discovery_us: 3_600_000_000,
            seed: 0,
        }
    }
}

impl Http {
    /// An executor without any tokens.
    #[must_use]
    pub fn new(clock: Clock, options: HttpOptions) -> Self {
        Self { clock, options, tokens: Tokens::new(options.tokens_max), nonces: AtomicU64::new(0) }
    }

    /// Sends a request by `transport`, after whatever must be asked for first.
    pub async fn call(&self, transport: &dyn HttpTransport, request: &HttpRequest) -> EffectOutcome {
        let call = Call { http: self, transport };
        let result = match &request.authentication {
            None => call.send(request, None).await.map(|answer| (answer, None)),
            Some(Authentication::Digest { username, password }) => {
                call.send_digest(request, &digest::Credentials { username, password }).await
            }
            Some(Authentication::Token(token)) => call.send_token(request, token).await,
            Some(known) => {
                let authorization = known.authorization();
                call.send(request, authorization.as_ref()).await.map(|answer| (answer, authorization))
            }
        };
        match result {
            Ok((Answer { status, headers, body }, authorization)) => {
                EffectOutcome::Http { status, headers, body, authorization }
            }
            Err(Failure::Refused(reason)) => EffectOutcome::NotAuthenticated { reason },
            Err(Failure::NoAnswer(reason)) => EffectOutcome::NoAnswer { reason },
        }
    }

    pub(crate) fn now_us(&self) -> i64 {
        (self.clock)()
    }

    /// 128 bits that nobody else has used, in hexadecimal.
    pub(crate) fn nonce(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.options.seed.to_be_bytes());
        hash.update(self.nonces.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

type Sent = Result<(Answer, Option<Authorization>), Failure>;

impl Call<'_> {
    async fn send(&self, request: &HttpRequest, authorization: Option<&Authorization>) -> Result<Answer, Failure> {
        self.transport.send(outgoing(request, authorization)).await.map_err(Failure::NoAnswer)
    }

    async fn send_digest(&self, request: &HttpRequest, credentials: &digest::Credentials<'_>) -> Sent {
        let mut answer = self.transport.send(without_credentials(request)).await.map_err(Failure::NoAnswer)?;
        let mut authorization = None;
        // A challenge that has become stale meanwhile is answered once more.
        for round in 0..2 {
            let challenge = (answer.status == 401).then(|| digest::Challenge::of(&answer)).flatten();
            let Some(challenge) = challenge.filter(|challenge| round == 0 || challenge.is_stale()) else { break };
            let parameter = challenge.answer(credentials, request, &self.http.nonce());
            let made = Authorization { scheme: "Digest".to_owned(), parameter };
            answer = self.send(request, Some(&made)).await?;
            authorization = Some(made);
        }
        Ok((answer, authorization))
    }

    async fn send_token(&self, request: &HttpRequest, token: &TokenRequest) -> Sent {
        let (mut bearer, origin) = self.token(token, None).await?;
        let mut answer = self.send(request, Some(&bearer)).await?;
        if answer.status == 401 && origin == Origin::Kept {
            // It may have been revoked: one fresh token, one more try.
            (bearer, _) = self.token(token, Some(&bearer.parameter)).await?;
            answer = self.send(request, Some(&bearer)).await?;
        }
        Ok((answer, Some(bearer)))
    }
}

fn outgoing(request: &HttpRequest, authorization: Option<&Authorization>) -> Outgoing {
    let HttpRequest { method, url, headers, body, .. } = request.clone();
    let plain = Outgoing { method, url, headers, body };
    let Some(Authorization { scheme, parameter }) = authorization else { return plain };
    let mut outgoing = stripped(plain);
    outgoing.headers.push((AUTHORIZATION.to_owned(), format!("{scheme} {parameter}")));
    outgoing
}

/// The first request of a challenge and response says nothing yet of who asks.
fn without_credentials(request: &HttpRequest) -> Outgoing {
    stripped(outgoing(request, None))
}

/// What proves the same in another way must not stand beside it.
fn stripped(mut outgoing: Outgoing) -> Outgoing {
    outgoing.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(AUTHORIZATION));
    if let Ok(mut url) = url::Url::parse(&outgoing.url)
        && (!url.username().is_empty() || url.password().is_some())
    {
        // Fails only where there is no host, and then there are no credentials either.
        let _ = (url.set_username(""), url.set_password(None));
        outgoing.url = url.into();
    }
    outgoing
}
