//! Tokens of identity providers: OAuth 2 (RFC 6749, 8693, 7523) and OpenID Connect's discovery.

use flagstop_engine::api::{Authorization, ClientMethod, TokenClient, TokenEncoding, TokenEndpoint, TokenRequest};
use serde_json::{Map, Value};
use url::Url;
use url::form_urlencoded::{self, byte_serialize};

use super::shared::{Origin, Shared};
use super::transport::{Answer, Outgoing};
use super::{AUTHORIZATION, Call, Failure, jwt};

/// The tokens and discovery documents that are known.
pub(super) struct Tokens {
    given: Shared<TokenRequest, Token>,
    discovered: Shared<String, Provider>,
}

#[derive(Clone)]
struct Token {
    text: String,
    /// It is not used from here on.
    until_us: i64,
}

/// What a discovery document says.
#[derive(Clone)]
struct Provider {
    token_endpoint: String,
    issuer: Option<String>,
    until_us: i64,
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Tokens {
    pub(super) fn new(max: usize) -> Self {
        Self { given: Shared::new(max), discovered: Shared::new(max) }
    }
}

impl Call<'_> {
    /// A token that is not `refused`, the one that the service did not take.
    pub(super) async fn token(
        &self,
        request: &TokenRequest,
        refused: Option<&str>,
    ) -> Result<(Authorization, Origin), Failure> {
        let now_us = self.http.now_us();
        let is_good = |token: &Token| token.until_us > now_us && refused != Some(token.text.as_str());
        let (token, origin) = self.http.tokens.given.get(request, is_good, || self.ask(request)).await?;
        Ok((Authorization { scheme: "Bearer".to_owned(), parameter: token.text }, origin))
    }

    async fn ask(&self, request: &TokenRequest) -> Result<Token, Failure> {
        let (endpoint, issuer) = match &request.endpoint {
            TokenEndpoint::Known(url) => (url.clone(), None),
            TokenEndpoint::Discover(url) => {
                let now_us = self.http.now_us();
                let is_good = |provider: &Provider| provider.until_us > now_us;
                let (provider, _) = self.http.tokens.discovered.get(url, is_good, || self.discover(url)).await?;
                (provider.token_endpoint, provider.issuer)
            }
        };
        let answer = self.provider_answers(&endpoint, self.render(request, &endpoint)).await?;
        self.read(request, &endpoint, issuer, &answer)
    }

    async fn discover(&self, url: &str) -> Result<Provider, Failure> {
        let headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        let outgoing = Outgoing { method: "GET".to_owned(), url: url.to_owned(), headers, body: None };
        let answer = self.provider_answers(url, outgoing).await?;
        let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |key: &str| document.get(key).and_then(Value::as_str).map(str::to_owned);
        let Some(token_endpoint) = text("token_endpoint") else {
            let why = format!("the identity provider {} names no `token_endpoint`", place(url));
            return Err(Failure::NoAnswer(why));
        };
        let until_us = self.http.now_us().saturating_add(self.http.options.discovery_us);
        Ok(Provider { token_endpoint, issuer: text("issuer"), until_us })
    }

    /// Its answer, if it is a good one. Whatever it says may hold secrets: only its code is passed on.
    async fn provider_answers(&self, url: &str, outgoing: Outgoing) -> Result<Answer, Failure> {
        let sent = self.transport.send(outgoing).await;
        let answer = sent.map_err(|why| Failure::NoAnswer(format!("the identity provider {}: {why}", place(url))))?;
        match answer.status {
            200..300 => Ok(answer),
            status @ (429 | 500..) => {
                Err(Failure::NoAnswer(format!("the identity provider {} answered with status {status}", place(url))))
            }
            status => {
                let code = error_code(&answer).map(|code| format!(" ({code})")).unwrap_or_default();
                let why = format!("the identity provider {} refused with status {status}{code}", place(url));
                Err(Failure::Refused(why))
            }
        }
    }

    fn render(&self, request: &TokenRequest, endpoint: &str) -> Outgoing {
        let mut headers = vec![("Accept".to_owned(), "application/json".to_owned())];
        let mut fields = vec![("grant_type", request.grant.clone())];
        let TokenClient { id, secret, assertion, method } = &request.client;
        let mut field = |name: &'static str, text: &Option<String>| {
            fields.extend(text.clone().map(|text| (name, text)));
        };
        let assertion = match (method, assertion) {
            (ClientMethod::SecretJwt, None) => {
                let (id, secret) = (id.as_deref().unwrap_or_default(), secret.as_deref().unwrap_or_default());
                Some(jwt::assertion(id, secret, endpoint, self.http.now_us(), &self.http.nonce()))
            }
            (ClientMethod::SecretJwt | ClientMethod::PrivateKeyJwt, given) => given.clone(),
            _ => None,
        };
        match method {
            ClientMethod::SecretBasic => {
                use base64::Engine;
                let encoded = |text: &Option<String>| -> String {
                    byte_serialize(text.as_deref().unwrap_or_default().as_bytes()).collect()
                };
                let credentials = format!("{}:{}", encoded(id), encoded(secret));
                let parameter = base64::engine::general_purpose::STANDARD.encode(credentials);
                headers.push((AUTHORIZATION.to_owned(), format!("Basic {parameter}")));
            }
            ClientMethod::SecretPost => {
                field("client_id", id);
                field("client_secret", secret);
            }
            ClientMethod::SecretJwt | ClientMethod::PrivateKeyJwt => {
                field("client_id", id);
                field("client_assertion_type", &Some(JWT_BEARER.to_owned()));
                field("client_assertion", &assertion);
            }
            ClientMethod::None => field("client_id", id),
        }
        if !request.scopes.is_empty() {
            field("scope", &Some(request.scopes.join(" ")));
        }
        field("username", &request.username);
        field("password", &request.password);
        for (token, names) in [
            (&request.subject, ["subject_token", "subject_token_type"]),
            (&request.actor, ["actor_token", "actor_token_type"]),
        ] {
            if let Some(token) = token {
                field(names[0], &Some(token.token.clone()));
                field(names[1], &Some(token.kind.clone()));
            }
        }
        let (body, media_type) = match request.encoding {
            TokenEncoding::Form => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(fields);
                form.extend_pairs(request.audiences.iter().map(|audience| ("audience", audience)));
                (form.finish(), "application/x-www-form-urlencoded")
            }
            TokenEncoding::Json => {
                let mut object: Map<String, Value> =
                    fields.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
                match &request.audiences[..] {
                    [] => None,
                    [one] => object.insert("audience".to_owned(), one.as_str().into()),
                    several => object.insert("audience".to_owned(), several.into()),
                };
                (Value::Object(object).to_string(), "application/json")
            }
        };
        headers.push(("Content-Type".to_owned(), media_type.to_owned()));
        Outgoing { method: "POST".to_owned(), url: endpoint.to_owned(), headers, body: Some(body.into()) }
    }

    fn read(
        &self,
        request: &TokenRequest,
        endpoint: &str,
        issuer: Option<String>,
        answer: &Answer,
    ) -> Result<Token, Failure> {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let refuse = |what: String| Failure::Refused(format!("the identity provider {} {what}", place(endpoint)));
        let Some(token) = said.get("access_token").and_then(Value::as_str) else {
            return Err(refuse("gave no `access_token`".to_owned()));
        };
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) || token.is_empty() {
            return Err(refuse("gave a token that can't stand in a header".to_owned()));
        }
        let kind = said.get("token_type").and_then(Value::as_str).unwrap_or("Bearer");
        // RFC 8693 has `N_A` for tokens that are no access tokens.
        if !["bearer", "n_a"].contains(&kind.to_ascii_lowercase().as_str()) {
            return Err(refuse("gave a token that is no bearer token".to_owned()));
        }
        let claims = jwt::claims(token);
        if !request.issuers.is_empty() {
            let id_token = || jwt::claims(said.get("id_token")?.as_str()?);
            let claimed = |claims: Value| claims.get("iss")?.as_str().map(str::to_owned);
            match claims.clone().and_then(claimed).or_else(|| id_token().and_then(claimed)).or(issuer) {
                Some(issuer) if request.issuers.contains(&issuer) => {}
                Some(_) => return Err(refuse("gave a token of an issuer that `issuers` does not list".to_owned())),
                None => return Err(refuse("gave a token that names no issuer, but `issuers` wants one".to_owned())),
            }
        }
        Ok(Token { text: token.to_owned(), until_us: self.until_us(&said, claims.as_ref()) })
    }

    /// From when on a token is not used any more.
    fn until_us(&self, said: &Value, claims: Option<&Value>) -> i64 {
        let (now_us, options) = (self.http.now_us(), &self.http.options);
        let seconds = |found: &Value| match found {
            Value::String(text) => text.parse().ok(),
            found => found.as_f64(),
        };
        let life_us = said.get("expires_in").and_then(seconds).map(|life_s| life_s * 1e6).or_else(|| {
            let end_s = claims?.get("exp").and_then(seconds)?;
            Some(end_s * 1e6 - now_us as f64)
        });
        let usable_us = match life_us {
            Some(life_us) => {
                let life_us = life_us.max(0.0) as i64;
                life_us - options.token_margin_us.min(life_us / 10)
            }
            None => options.token_unknown_us,
        };
        now_us.saturating_add(usable_us)
    }
}

/// RFC 6749's code of an error, if it is a plain word: nothing else of what a provider says is shown.
fn error_code(answer: &Answer) -> Option<String> {
    const CHARS_MAX: usize = 60;
    let said: Value = serde_json::from_slice(&answer.body).ok()?;
    let code = said.get("error")?.as_str()?;
    let is_word = code.chars().all(|c| c.is_ascii_lowercase() || c == '_') && code.len() <= CHARS_MAX;
    is_word.then(|| code.to_owned())
}

/// Who was asked, without what may hold secrets.
fn place(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "at no absolute URL".to_owned(), |url| url.origin().ascii_serialization())
}
