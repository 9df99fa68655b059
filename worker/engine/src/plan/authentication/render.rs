//! What a policy becomes for one request. The properties of a definition and those of a secret are read alike.

use std::collections::BTreeMap;

use super::{CLIENT_METHODS, ENCODINGS, GRANTS, GRANTS_OF_PEOPLE, Policy, Properties, Scheme};
use crate::api::{
    Authentication, ClientMethod, SecurityToken, TokenClient, TokenEncoding, TokenEndpoint, TokenRequest, Value,
};
use crate::expr::Template;
use crate::limits::Limits;
use crate::machine::vars::{Vars, no_secret};
use crate::problem::{Problem, ProblemKind};
use crate::value;

const DISCOVERY: &str = "/.well-known/openid-configuration";
const TOKEN_PATH: &str = "/oauth2/token";

/// Where the values of a policy come from.
struct Source<'a> {
    eval: &'a dyn Fn(&Template) -> Result<Value, Problem>,
    secret: &'a dyn Fn(&str) -> Result<Value, Problem>,
    input: &'a Value,
}

impl Policy {
    /// For a request of a task. No error shows what a property is.
    pub(crate) fn render(&self, vars: &Vars<'_>, input: &Value) -> Result<Authentication, Problem> {
        let (eval, secret) = (|template: &Template| vars.eval(template, input), |name: &str| vars.secret(name));
        self.render_from(&Source { eval: &eval, secret: &secret, input })
    }

    /// For a request that is made when the definition is deployed: there is no instance, only secrets.
    pub(crate) fn render_at_deploy(
        &self,
        secrets: &BTreeMap<String, Value>,
        limits: &Limits,
    ) -> Result<Authentication, Problem> {
        let secret = |name: &str| secrets.get(name).cloned().ok_or_else(|| no_secret(name));
        let eval = |template: &Template| {
            let mut readable = Ok(Value::Null);
            template.each_expression(&mut |expression| {
                for name in &expression.secrets().names {
                    readable = readable.clone().and_then(|_| secret(name));
                }
            });
            readable?;
            let vars = |name: &str| -> Result<Value, Problem> {
                Ok(match name {
                    "secrets" | "secret" => value::object(secrets.iter().map(|(name, it)| (name.as_str(), it.clone()))),
                    _ => Value::Null,
                })
            };
            template.eval(&Value::Null, &vars, limits).map_err(|error| error.into_problem(""))
        };
        self.render_from(&Source { eval: &eval, secret: &secret, input: &Value::Null })
    }

    fn render_from(&self, source: &Source<'_>) -> Result<Authentication, Problem> {
        let (of, from) = match &self.properties {
            Properties::Inline { all, .. } => {
                ((source.eval)(all)?, format!("the {} authentication", self.scheme.key()))
            }
            Properties::Secret(name) => ((source.secret)(name)?, format!("the secret `{name}`")),
        };
        let read = Read { of: &of, from: &from };
        Ok(match self.scheme {
            Scheme::Basic => {
                Authentication::Basic { username: read.needed("username")?, password: read.needed("password")? }
            }
            Scheme::Digest => {
                Authentication::Digest { username: read.needed("username")?, password: read.needed("password")? }
            }
            Scheme::Bearer => {
                let token = match value::as_str(&of) {
                    // A secret may be nothing but the token.
                    Some(token) => token.to_owned(),
                    None => read.needed("token")?,
                };
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(configuration(format!("the token of {from} can't stand in a header")));
                }
                Authentication::Bearer { token }
            }
            Scheme::OAuth2 | Scheme::Oidc => Authentication::Token(Box::new(self.token_request(&read, source)?)),
            Scheme::Certificate => {
                return Err(configuration("this build cannot authenticate by certificate".to_owned()));
            }
        })
    }

    fn token_request(&self, read: &Read<'_>, source: &Source<'_>) -> Result<TokenRequest, Problem> {
        let endpoints = read.inner("endpoints")?;
        let (mut authority, mut path) = (None, None);
        let mut issuers = read.list("issuers")?;
        if let Properties::Inline { authority: uri, token_endpoint, issuers: uris, .. } = &self.properties {
            authority = uri.as_ref().map(|uri| uri.render_by(source.eval, source.input)).transpose()?;
            path = token_endpoint.as_ref().map(|uri| uri.render_by(source.eval, source.input)).transpose()?;
            if !uris.is_empty() {
                issuers = uris.iter().map(|uri| uri.render_by(source.eval, source.input)).collect::<Result<_, _>>()?;
            }
        }
        let authority = match authority {
            Some(authority) => authority,
            None => read.needed("authority")?,
        };
        let path = match (path, &endpoints) {
            (Some(path), _) => Some(path),
            (None, Some(endpoints)) => endpoints.text("token")?,
            (None, None) => None,
        };
        let grant = read.needed("grant")?;
        if !GRANTS.contains(&grant.as_str()) {
            return Err(configuration(format!("the `grant` of {} is none of {}", read.from, GRANTS.join(", "))));
        }
        if GRANTS_OF_PEOPLE.contains(&grant.as_str()) {
            return Err(configuration(format!("nothing carries what the grant `{grant}` exchanges")));
        }
        let encoding = match read.inner("request")?.map(|request| request.text("encoding")).transpose()?.flatten() {
            None => TokenEncoding::default(),
            Some(text) if text == ENCODINGS[0] => TokenEncoding::Form,
            Some(text) if text == ENCODINGS[1] => TokenEncoding::Json,
            Some(_) => return Err(configuration(format!("the `encoding` of {} is unknown", read.from))),
        };
        Ok(TokenRequest {
            endpoint: self.endpoint(&authority, path.as_deref()),
            grant,
            client: read.inner("client")?.map(|client| client.client()).transpose()?.unwrap_or_default(),
            encoding,
            issuers,
            scopes: read.list("scopes")?,
            audiences: read.list("audiences")?,
            username: read.text("username")?,
            password: read.text("password")?,
            subject: read.inner("subject")?.map(|token| token.token()).transpose()?,
            actor: read.inner("actor")?.map(|token| token.token()).transpose()?,
        })
    }

    /// OpenID Connect asks the authority where tokens are given; so does OAuth 2 when the authority is such a document.
    fn endpoint(&self, authority: &str, path: Option<&str>) -> TokenEndpoint {
        let authority = authority.trim().trim_end_matches('/');
        match (self.scheme, path) {
            (Scheme::Oidc, _) | (_, None) if authority.contains("/.well-known/") => {
                TokenEndpoint::Discover(authority.to_owned())
            }
            (Scheme::Oidc, _) => TokenEndpoint::Discover(format!("{authority}{DISCOVERY}")),
            // One that is written out whole needs no authority.
            (_, Some(url)) if url.contains("://") => TokenEndpoint::Known(url.to_owned()),
            (_, path) => {
                let path = path.unwrap_or(TOKEN_PATH).trim_start_matches('/');
                TokenEndpoint::Known(format!("{authority}/{path}"))
            }
        }
    }
}

/// The properties of a policy.
struct Read<'v> {
    of: &'v Value,
    /// Where they stand, for errors.
    from: &'v str,
}

impl<'v> Read<'v> {
    fn get(&self, key: &str) -> Option<&'v Value> {
        value::get(self.of, key).filter(|found| !value::is_null(found))
    }

    fn text(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(number @ Value::Num(_)) => Ok(Some(value::to_json(number))),
            Some(found) => match value::as_str(found) {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(self.wrong(key, "a text")),
            },
        }
    }

    fn needed(&self, key: &str) -> Result<String, Problem> {
        self.text(key)?.ok_or_else(|| configuration(format!("{} has no `{key}`", self.from)))
    }

    fn list(&self, key: &str) -> Result<Vec<String>, Problem> {
        let Some(found) = self.get(key) else { return Ok(Vec::new()) };
        let items = value::as_array(found).ok_or_else(|| self.wrong(key, "a list of texts"))?;
        let texts = items.iter().map(|item| value::as_str(item).map(str::to_owned));
        texts.collect::<Option<_>>().ok_or_else(|| self.wrong(key, "a list of texts"))
    }

    fn inner(&self, key: &str) -> Result<Option<Self>, Problem> {
        match self.get(key) {
            None => Ok(None),
            Some(of @ Value::Obj(_)) => Ok(Some(Self { of, from: self.from })),
            Some(_) => Err(self.wrong(key, "an object")),
        }
    }

    fn client(&self) -> Result<TokenClient, Problem> {
        let method = match self.text("authentication")? {
            None => ClientMethod::default(),
            Some(method) => match CLIENT_METHODS.iter().position(|known| *known == method) {
                Some(0) => ClientMethod::SecretBasic,
                Some(1) => ClientMethod::SecretPost,
                Some(2) => ClientMethod::SecretJwt,
                Some(3) => ClientMethod::PrivateKeyJwt,
                Some(_) => ClientMethod::None,
                None => {
                    let methods = CLIENT_METHODS.join(", ");
                    return Err(configuration(format!(
                        "the client's authentication of {} is none of {methods}",
                        self.from
                    )));
                }
            },
        };
        let (id, secret, assertion) = (self.text("id")?, self.text("secret")?, self.text("assertion")?);
        let needed = match method {
            ClientMethod::PrivateKeyJwt if assertion.is_none() => Some("assertion"),
            ClientMethod::SecretJwt if assertion.is_none() && secret.is_none() => Some("secret"),
            ClientMethod::None => None,
            _ => id.is_none().then_some("id"),
        };
        match needed {
            Some(needed) => Err(configuration(format!("the client of {} has no `{needed}`", self.from))),
            None => Ok(TokenClient { id, secret, assertion, method }),
        }
    }

    fn token(&self) -> Result<SecurityToken, Problem> {
        Ok(SecurityToken { token: self.needed("token")?, kind: self.needed("type")? })
    }

    fn wrong(&self, key: &str, wanted: &str) -> Problem {
        configuration(format!("`{key}` of {} must be {wanted}", self.from))
    }
}

fn configuration(why: String) -> Problem {
    Problem::new(ProblemKind::Configuration, why, "")
}
