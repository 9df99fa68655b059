//! Authentication policies: what `authentication` and `use.authentications` may say, checked when the definition is
//! loaded. What they become for one request is in [`render`].

mod render;

use std::sync::Arc;

use super::compiler::{At, Compiler};
use super::endpoint::Uri;
use super::keys::{Keys, OWN_PREFIX};
use super::named::NamedOf;
use crate::diagnostic::{Diagnostic, Severity, suggestion};
use crate::expr::{self, Template};
use crate::source::Node;

/// A policy.
#[derive(Debug)]
pub(crate) struct Policy {
    scheme: Scheme,
    properties: Properties,
}

/// How it is proven who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Basic,
    Bearer,
    Digest,
    OAuth2,
    Oidc,
    /// Named by the reference, without any properties.
    Certificate,
}

/// Where its properties stand.
#[derive(Debug)]
enum Properties {
    Inline {
        /// All of them.
        all: Template,
        /// Those that are URI templates.
        authority: Option<Uri>,
        token_endpoint: Option<Uri>,
        issuers: Vec<Uri>,
    },
    /// A secret is the same object.
    Secret(String),
}

const POLICY: Keys = Keys {
    of: "`authentication`",
    known: &["use", "basic", "bearer", "digest", "oauth2", "oidc", "certificate"],
    not_yet: &[],
};
const NAMED: Keys = Keys {
    of: "an authentication of `use.authentications`",
    known: &["basic", "bearer", "digest", "oauth2", "oidc", "certificate"],
    not_yet: &[],
};
const PASSWORD: [&str; 2] = ["username", "password"];
const OAUTH2: Keys = Keys {
    of: "`oauth2`",
    known: &[
        "use",
        "authority",
        "endpoints",
        "grant",
        "client",
        "request",
        "issuers",
        "scopes",
        "audiences",
        "username",
        "password",
        "subject",
        "actor",
    ],
    not_yet: &[],
};
const OIDC: Keys = Keys {
    of: "`oidc`",
    known: &[
        "use",
        "authority",
        "grant",
        "client",
        "request",
        "issuers",
        "scopes",
        "audiences",
        "username",
        "password",
        "subject",
        "actor",
    ],
    not_yet: &[],
};
const ENDPOINTS: Keys = Keys { of: "`endpoints`", known: &["token", "revocation", "introspection"], not_yet: &[] };
const CLIENT: Keys = Keys { of: "`client`", known: &["id", "secret", "assertion", "authentication"], not_yet: &[] };
const REQUEST: Keys = Keys { of: "`request`", known: &["encoding"], not_yet: &[] };
const TOKEN: Keys = Keys { of: "a token", known: &["token", "type"], not_yet: &[] };

const GRANTS: [&str; 5] = [
    "authorization_code",
    "client_credentials",
    "password",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];
/// Of these the language has no property that carries what they exchange.
const GRANTS_OF_PEOPLE: [&str; 2] = ["authorization_code", "refresh_token"];
const CLIENT_METHODS: [&str; 5] =
    ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"];
const ENCODINGS: [&str; 2] = ["application/x-www-form-urlencoded", "application/json"];

impl Scheme {
    const ALL: [Self; 6] = [Self::Basic, Self::Bearer, Self::Digest, Self::OAuth2, Self::Oidc, Self::Certificate];

    const fn key(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Bearer => "bearer",
            Self::Digest => "digest",
            Self::OAuth2 => "oauth2",
            Self::Oidc => "oidc",
            Self::Certificate => "certificate",
        }
    }
}

impl Properties {
    const fn plain(all: Template) -> Self {
        Self::Inline { all, authority: None, token_endpoint: None, issuers: Vec::new() }
    }
}

impl Policy {
    /// Whether `$authorization` is known before the request is sent.
    pub(crate) fn is_known_at_once(&self) -> bool {
        matches!(self.scheme, Scheme::Basic | Scheme::Bearer)
    }
}

impl Compiler<'_> {
    /// `authentication`: a policy, or the name of one.
    pub(crate) fn authentication(&mut self, node: &Node) -> Option<Arc<Policy>> {
        // The reference writes the name as a text, too.
        let named = match node.as_str() {
            Some(_) => Some(node),
            None => {
                self.mapping(node, POLICY)?;
                node.get("use")
            }
        };
        let Some(named) = named else { return self.policy(node).map(Arc::new) };
        if let Some(other) = Scheme::ALL.iter().find_map(|scheme| node.entry(scheme.key())) {
            let message = format!("`use` and `{}` exclude each other", other.0.text);
            self.push(Diagnostic::error("FS-AUTHENTICATION", other.0.span, message).with_hint("keep one of them"));
            return None;
        }
        let entry = self.named(NamedOf::Authentications, named)?;
        self.named_authentication(entry)
    }

    /// An entry of `use.authentications`.
    pub(super) fn named_authentication(&mut self, node: &Node) -> Option<Arc<Policy>> {
        self.mapping(node, NAMED)?;
        self.policy(node).map(Arc::new)
    }

    fn policy(&mut self, node: &Node) -> Option<Policy> {
        let mut given = Scheme::ALL.iter().filter(|scheme| node.get(scheme.key()).is_some());
        let (Some(&scheme), second) = (given.next(), given.next()) else {
            // A misspelt one was already reported.
            if node.as_map().is_some_and(|entries| entries.iter().all(|(key, _)| key.text.starts_with(OWN_PREFIX))) {
                let hint = "write `basic`, `bearer`, `digest`, `oauth2` or `oidc` below it";
                self.error("FS-AUTHENTICATION", node, "the authentication does not say which it is", hint);
            }
            return None;
        };
        if let Some(second) = second {
            let message = format!("the authentication is both `{}` and `{}`", scheme.key(), second.key());
            self.error("FS-AUTHENTICATION", node, message, "keep one of them");
            return None;
        }
        let own = node.get(scheme.key())?;
        if scheme == Scheme::Certificate {
            let message = "this build cannot authenticate by certificate: a task that needs it will fault";
            let found = Diagnostic::warning("FS-NOT-RUNNABLE", own.span, message);
            self.push(found.with_hint("use another authentication, or let a proxy present the certificate"));
            return Some(Policy { scheme, properties: Properties::plain(Template::NULL) });
        }
        let of = match scheme {
            Scheme::Basic => Keys { of: "`basic`", known: &["use", "username", "password"], not_yet: &[] },
            Scheme::Digest => Keys { of: "`digest`", known: &["use", "username", "password"], not_yet: &[] },
            Scheme::Bearer => Keys { of: "`bearer`", known: &["use", "token"], not_yet: &[] },
            Scheme::OAuth2 | Scheme::Certificate => OAUTH2,
            Scheme::Oidc => OIDC,
        };
        let entries = self.mapping(own, of)?;
        if let Some(secret) = own.get("use") {
            let is_other = |key: &str| key != "use" && of.known.contains(&key);
            if let Some((key, _)) = entries.iter().find(|(key, _)| is_other(&key.text)) {
                let message = format!("`use` takes {} from a secret, `{}` as well", of.of, key.text);
                self.push(Diagnostic::error("FS-AUTHENTICATION", key.span, message).with_hint("keep one of them"));
                return None;
            }
            let properties = Properties::Secret(self.secret_name(secret)?);
            return Some(Policy { scheme, properties });
        }
        let properties = match scheme {
            Scheme::Basic | Scheme::Digest => self.texts(own, &PASSWORD, of.of),
            Scheme::Bearer => self.texts(own, &["token"], of.of),
            _ => self.token_request(own, of),
        };
        Some(Policy { scheme, properties: properties? })
    }

    fn secret_name(&mut self, node: &Node) -> Option<String> {
        let name = self.text(node, "`use`")?.to_owned();
        self.check_secret_name(&name, node.span);
        Some(name)
    }

    fn texts(&mut self, own: &Node, keys: &[&str], of: &str) -> Option<Properties> {
        let before = self.errors_so_far();
        for key in keys {
            if let Some(found) = self.required(own, key, of)
                // The reference itself has a password of digits without quotes.
                && !(*key == "password" && found.as_int().is_some())
            {
                self.text(found, &format!("`{key}`"));
            }
        }
        let all = self.template(own, At::Authentication)?;
        (self.errors_so_far() == before).then(|| Properties::plain(all))
    }

    fn errors_so_far(&self) -> usize {
        self.diagnostics.iter().filter(|found| found.severity == Severity::Error).count()
    }

    fn token_request(&mut self, own: &Node, of: Keys) -> Option<Properties> {
        let before = self.errors_so_far();
        let authority = self.required(own, "authority", of.of);
        let authority = authority.and_then(|authority| Uri::compile(authority, "`authority`", self));
        let mut token_endpoint = None;
        if let Some(endpoints) = own.get("endpoints").filter(|node| self.mapping(node, ENDPOINTS).is_some()) {
            for key in ENDPOINTS.known {
                let uri = endpoints.get(key).and_then(|uri| Uri::compile(uri, &format!("`{key}`"), self));
                if *key == "token" {
                    token_endpoint = uri;
                }
            }
        }
        if let Some(grant) = self.required(own, "grant", of.of) {
            self.grant(grant);
        }
        self.client(own);
        if let Some(request) = own.get("request").filter(|request| self.mapping(request, REQUEST).is_some())
            && let Some(encoding) = request.get("encoding")
        {
            self.one_of(encoding, "`encoding`", &ENCODINGS);
        }
        for key in ["username", "password"] {
            if let Some(text) = own.get(key) {
                self.text(text, &format!("`{key}`"));
            }
        }
        for key in ["subject", "actor"] {
            if let Some(token) = own.get(key).filter(|token| self.mapping(token, TOKEN).is_some()) {
                for key in TOKEN.known {
                    if let Some(text) = self.required(token, key, TOKEN.of) {
                        self.text(text, &format!("`{key}`"));
                    }
                }
            }
        }
        for key in ["scopes", "audiences"] {
            self.list_of_texts(own, key);
        }
        let issuers = self.list_of_texts(own, "issuers");
        let issuers = issuers.iter().filter_map(|issuer| Uri::compile(issuer, "an issuer", self)).collect();
        let all = self.template(own, At::Authentication)?;
        (self.errors_so_far() == before).then_some(Properties::Inline { all, authority, token_endpoint, issuers })
    }

    fn grant(&mut self, node: &Node) {
        let Some(grant) = self.one_of(node, "`grant`", &GRANTS) else { return };
        if GRANTS_OF_PEOPLE.contains(&grant) {
            let message = format!("nothing in the language carries what the grant `{grant}` exchanges: it will fault");
            let hint = "use `client_credentials`, `password` or the token exchange";
            self.push(Diagnostic::warning("FS-NOT-RUNNABLE", node.span, message).with_hint(hint));
        }
    }

    fn client(&mut self, own: &Node) {
        let Some(client) = own.get("client") else { return };
        if self.mapping(client, CLIENT).is_none() {
            return;
        }
        for key in ["id", "secret", "assertion"] {
            if let Some(text) = client.get(key) {
                self.text(text, &format!("`{key}`"));
            }
        }
        let method = client.get("authentication");
        let method =
            method.map_or(Some("client_secret_post"), |node| self.one_of(node, "`authentication`", &CLIENT_METHODS));
        let has = |key: &str| client.get(key).is_some();
        let needed = match method {
            Some("private_key_jwt") if !has("assertion") => "assertion",
            Some("client_secret_jwt") if !has("assertion") && !has("secret") => "secret",
            Some("none") | None => return,
            Some(_) if !has("id") => "id",
            Some(_) => return,
        };
        let message = format!("`client` needs `{needed}` for its `authentication`");
        self.push(Diagnostic::error("FS-MISSING-KEY", client.span, message).with_hint(format!("add `{needed}:`")));
    }

    /// The items of a list that must be texts.
    fn list_of_texts<'n>(&mut self, own: &'n Node, key: &str) -> Vec<&'n Node> {
        let Some(list) = own.get(key) else { return Vec::new() };
        match list.as_seq() {
            Some(items) => {
                items.iter().filter(|item| self.text(item, &format!("an item of `{key}`")).is_some()).collect()
            }
            None => {
                if !list.as_str().is_some_and(expr::is_expression) {
                    self.wrong_type(list, &format!("`{key}`"), "a list of texts");
                }
                Vec::new()
            }
        }
    }

    /// A constant text of a few.
    pub(crate) fn one_of<'n>(&mut self, node: &'n Node, what: &str, allowed: &[&str]) -> Option<&'n str> {
        let text = self.text(node, what)?;
        if !allowed.contains(&text) {
            let hint = suggestion(text, allowed.iter().copied());
            self.error("FS-VALUE", node, format!("{what} must not be `{text}`"), &hint);
            return None;
        }
        Some(text)
    }
}
