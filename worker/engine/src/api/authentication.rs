//! How a request proves who asks: rendered by the engine, carried out by the effects. Never stored, never shown.

use std::fmt;

/// How a request proves who asks. It holds secrets, so its debug form names the kind only.
#[derive(Clone, PartialEq, Eq)]
pub enum Authentication {
    /// RFC 7617.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// RFC 6750.
    Bearer {
        /// The token.
        token: String,
    },
    /// RFC 7616: answers the service's challenge.
    Digest {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// OAuth 2 and OpenID Connect: a bearer token that an identity provider gives.
    Token(Box<TokenRequest>),
}

/// What an identity provider is asked for. All of it together is a token's identity: equal requests may share a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TokenRequest {
    /// Where tokens are asked for.
    pub endpoint: TokenEndpoint,
    /// `grant_type`.
    pub grant: String,
    /// Who asks.
    pub client: TokenClient,
    /// How the request is written.
    pub encoding: TokenEncoding,
    /// Who may have issued the token; empty: anybody.
    pub issuers: Vec<String>,
    /// `scope`.
    pub scopes: Vec<String>,
    /// `audience`.
    pub audiences: Vec<String>,
    /// Of the grant `password`.
    pub username: Option<String>,
    /// Of the grant `password`.
    pub password: Option<String>,
    /// On whose behalf the request is made.
    pub subject: Option<SecurityToken>,
    /// Who acts.
    pub actor: Option<SecurityToken>,
}

/// Where tokens are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum TokenEndpoint {
    /// Here.
    Known(String),
    /// Where this document of OpenID Connect's discovery says.
    Discover(String),
}

/// Who asks for a token.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct TokenClient {
    /// `client_id`.
    pub id: Option<String>,
    /// `client_secret`.
    pub secret: Option<String>,
    /// A signed assertion, ready to be sent.
    pub assertion: Option<String>,
    /// How the client proves who it is.
    pub method: ClientMethod,
}

/// How a client proves to the identity provider who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClientMethod {
    /// Id and secret in the header `Authorization`.
    SecretBasic,
    /// Id and secret in the body.
    #[default]
    SecretPost,
    /// An assertion that is signed with the secret.
    SecretJwt,
    /// The author's own assertion.
    PrivateKeyJwt,
    /// Not at all.
    None,
}

/// How a token request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TokenEncoding {
    /// `application/x-www-form-urlencoded`.
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// A token that stands for somebody.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SecurityToken {
    /// The token.
    pub token: String,
    /// `urn:ietf:params:oauth:token-type:…`.
    pub kind: String,
}

/// The resolved authorization: the value of the header `Authorization`, in its two parts.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    /// `Basic`, `Bearer`, `Digest`.
    pub scheme: String,
    /// What follows the scheme.
    pub parameter: String,
}

impl Authentication {
    /// What the header will say, as far as it is known before anybody is asked.
    #[must_use]
    pub fn authorization(&self) -> Option<Authorization> {
        match self {
            Self::Basic { username, password } => {
                use base64::Engine;
                let credentials = format!("{username}:{password}");
                let parameter = base64::engine::general_purpose::STANDARD.encode(credentials);
                Some(Authorization { scheme: "Basic".to_owned(), parameter })
            }
            Self::Bearer { token } => Some(Authorization { scheme: "Bearer".to_owned(), parameter: token.clone() }),
            Self::Digest { .. } | Self::Token(_) => None,
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic { .. }",
            Self::Bearer { .. } => "Bearer { .. }",
            Self::Digest { .. } => "Digest { .. }",
            Self::Token(_) => "Token { .. }",
        })
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}
