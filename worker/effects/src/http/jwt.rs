//! As much of JSON Web Tokens as a client needs: what a token says of itself, and an assertion signed with a secret.
//!
//! A token is read, never trusted: whoever gave it was asked over the network, and the service verifies it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// How long an assertion may be used, in seconds: it is sent at once.
const ASSERTION_S: i64 = 300;

/// The claims of a token, if it is one of JSON.
pub(super) fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let bytes = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object)
}

/// RFC 7523: a client's assertion of who it is, for `audience`.
pub(super) fn assertion(client_id: &str, secret: &str, audience: &str, now_us: i64, id: &str) -> String {
    let now_s = now_us.div_euclid(1_000_000);
    let header = json!({ "alg": "HS256", "typ": "JWT" });
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": audience, "jti": id, "iat": now_s, "exp": now_s + ASSERTION_S,
    });
    let encoded = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let text = format!("{}.{}", encoded(&header), encoded(&claims));
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}
