//! Digest authentication (RFC 7616, and RFC 2069's form without `qop`): answers a service's challenge.

use std::fmt::Write as _;

use flagstop_engine::api::HttpRequest;
use sha2::{Digest as _, Sha256, Sha512_256};
use url::Url;

use super::transport::Answer;

/// Who asks.
pub(super) struct Credentials<'a> {
    pub(super) username: &'a str,
    pub(super) password: &'a str,
}

/// What a service wants to be proven, and how.
#[derive(Debug)]
pub(super) struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    /// As the service wrote it.
    algorithm_name: Option<String>,
    quality: Option<Quality>,
    stale: bool,
    hides_user: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Algorithm {
    hash: Hash,
    /// `-sess`: the secret part is hashed together with both nonces.
    session: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Md5,
    Sha256,
    Sha512,
}

/// What is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quality {
    Auth,
    /// The body too.
    AuthInt,
}

type Parameters = Vec<(String, String)>;

impl Challenge {
    /// The first challenge of an answer that can be met: services name the one that they like best first.
    pub(super) fn of(answer: &Answer) -> Option<Self> {
        let headers = answer.header("www-authenticate");
        headers.flat_map(challenges).find_map(|(scheme, parameters)| {
            scheme.eq_ignore_ascii_case("digest").then(|| Self::read(&parameters)).flatten()
        })
    }

    fn read(parameters: &Parameters) -> Option<Self> {
        let get = |wanted: &str| {
            parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, text)| text.as_str())
        };
        let is_true = |name: &str| get(name).is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let quality = match get("qop") {
            None => None,
            Some(offered) => {
                let offers = |quality: &str| offered.split(',').any(|one| one.trim().eq_ignore_ascii_case(quality));
                match (offers("auth"), offers("auth-int")) {
                    (true, _) => Some(Quality::Auth),
                    (false, true) => Some(Quality::AuthInt),
                    (false, false) => return None,
                }
            }
        };
        Some(Self {
            realm: get("realm").unwrap_or_default().to_owned(),
            nonce: get("nonce")?.to_owned(),
            opaque: get("opaque").map(str::to_owned),
            algorithm: Algorithm::named(get("algorithm"))?,
            algorithm_name: get("algorithm").map(str::to_owned),
            quality,
            stale: is_true("stale"),
            hides_user: is_true("userhash"),
        })
    }

    /// The proof was right, but the challenge too old.
    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// What follows `Digest` in the header `Authorization`.
    pub(super) fn answer(&self, credentials: &Credentials<'_>, request: &HttpRequest, cnonce: &str) -> String {
        let hash = |text: &str| self.algorithm.hash.hex(text.as_bytes());
        let Credentials { username, password } = credentials;
        let (realm, nonce) = (&self.realm, &self.nonce);
        let uri = target(&request.url);
        let mut secret = hash(&format!("{username}:{realm}:{password}"));
        if self.algorithm.session {
            secret = hash(&format!("{secret}:{nonce}:{cnonce}"));
        }
        let asked = match self.quality {
            Some(Quality::AuthInt) => {
                let body = self.algorithm.hash.hex(request.body.as_deref().unwrap_or_default());
                hash(&format!("{}:{uri}:{body}", request.method))
            }
            _ => hash(&format!("{}:{uri}", request.method)),
        };
        // Each nonce is used once.
        const COUNT: &str = "00000001";
        let response = match self.quality {
            Some(quality) => hash(&format!("{secret}:{nonce}:{COUNT}:{cnonce}:{}:{asked}", quality.name())),
            None => hash(&format!("{secret}:{nonce}:{asked}")),
        };
        let mut parameter = String::new();
        let shown = if self.hides_user { hash(&format!("{username}:{realm}")) } else { (*username).to_owned() };
        let texts = [("username", &shown), ("realm", realm), ("nonce", nonce), ("uri", &uri), ("response", &response)];
        for (name, text) in texts {
            push(&mut parameter, name, &quoted(text));
        }
        if let Some(name) = &self.algorithm_name {
            push(&mut parameter, "algorithm", name);
        }
        if let Some(opaque) = &self.opaque {
            push(&mut parameter, "opaque", &quoted(opaque));
        }
        if let Some(quality) = self.quality {
            push(&mut parameter, "qop", quality.name());
            push(&mut parameter, "nc", COUNT);
        }
        if self.quality.is_some() || self.algorithm.session {
            push(&mut parameter, "cnonce", &quoted(cnonce));
        }
        if self.hides_user {
            push(&mut parameter, "userhash", "true");
        }
        parameter
    }
}

impl Algorithm {
    fn named(name: Option<&str>) -> Option<Self> {
        let name = name.unwrap_or("MD5").to_ascii_uppercase();
        let (base, session) = name.strip_suffix("-SESS").map_or((&*name, false), |base| (base, true));
        let hash = match base {
            "MD5" => Hash::Md5,
            "SHA-256" => Hash::Sha256,
            "SHA-512-256" => Hash::Sha512,
            _ => return None,
        };
        Some(Self { hash, session })
    }
}

impl Hash {
    fn hex(self, bytes: &[u8]) -> String {
        let digest = match self {
            Self::Md5 => md5::Md5::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha512 => Sha512_256::digest(bytes).to_vec(),
        };
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl Quality {
    const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// What stands in the request line.
fn target(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return String::new() };
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

fn push(to: &mut String, name: &str, text: &str) {
    let comma = if to.is_empty() { "" } else { ", " };
    // Writing to a string can't fail.
    let _ = write!(to, "{comma}{name}={text}");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The challenges of one header: `Basic realm="x", Digest realm="y", nonce="z"`.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    for item in items(header) {
        let (name, text) = match item.split_once('=') {
            Some((name, text)) => (name.trim(), Some(text.trim())),
            None => (item.trim(), None),
        };
        // `Digest realm="y"` begins a challenge: a scheme and its first parameter.
        let name = match name.rsplit_once(char::is_whitespace) {
            Some((scheme, name)) => {
                found.push((scheme.trim().to_owned(), Vec::new()));
                name
            }
            None if text.is_none() => {
                found.push((name.to_owned(), Vec::new()));
                continue;
            }
            None => name,
        };
        if let (Some((_, parameters)), Some(text)) = (found.last_mut(), text) {
            parameters.push((name.to_owned(), unquoted(text)));
        }
    }
    found
}

/// What stands between commas, those inside of quotes aside.
fn items(header: &str) -> impl Iterator<Item = &str> {
    let (mut in_quotes, mut escaped) = (false, false);
    header
        .split(move |c| {
            match c {
                _ if escaped => escaped = false,
                '\\' if in_quotes => escaped = true,
                '"' => in_quotes = !in_quotes,
                _ => {}
            }
            c == ',' && !in_quotes
        })
        .filter(|item| !item.trim().is_empty())
}

fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.to_owned() };
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(challenge: &str) -> Answer {
        let headers = vec![("www-authenticate".to_owned(), challenge.to_owned())];
        Answer { status: 401, headers, body: Default::default() }
    }

    fn request(url: &str) -> HttpRequest {
        let (headers, body, authentication) = (Vec::new(), None, None);
        HttpRequest { method: "GET".into(), url: url.into(), headers, body, authentication }
    }

    /// The examples of RFC 7616, 3.9.1, and RFC 2617, 3.5.
    #[test]
    fn the_answers_are_those_of_the_standard() {
        let mufasa = Credentials { username: "Mufasa", password: "Circle of Life" };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, response) in [
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ] {
            let challenge = format!(
                "Basic realm=\"a, b\", Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let challenge = Challenge::of(&answer(&challenge)).unwrap();
            let said = challenge.answer(&mufasa, &request("http://www.example.org/dir/index.html"), cnonce);
            assert!(said.contains(&format!("response=\"{response}\"")), "{said}");
            assert!(said.contains("uri=\"/dir/index.html\"") && said.contains("qop=auth, nc=00000001"), "{said}");
            assert!(said.contains("opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""), "{said}");
        }
    }

    #[test]
    fn a_challenge_that_can_not_be_met_is_passed_over() {
        for none in [
            "Basic realm=\"x\"",
            "Digest realm=\"x\"",
            "Digest nonce=\"n\", algorithm=TOKEN",
            "Digest nonce=\"n\", qop=\"other\"",
            "Bearer",
            "",
        ] {
            assert!(Challenge::of(&answer(none)).is_none(), "{none}");
        }
        let second = "Digest nonce=\"a\", algorithm=X, Digest realm=\"say \\\"hi\\\", you\", nonce=\"b\", stale=TRUE";
        let second = Challenge::of(&answer(second)).unwrap();
        assert_eq!((&*second.nonce, &*second.realm, second.is_stale()), ("b", "say \"hi\", you", true));
    }

    #[test]
    fn old_services_and_sessions_and_hidden_users_are_answered() {
        let ada = Credentials { username: "ada", password: "pw" };
        let said = |challenge: &str| {
            Challenge::of(&answer(challenge)).unwrap().answer(&ada, &request("https://a.example/x?n=1"), "c")
        };
        let old = said("Digest realm=\"r\", nonce=\"n\"");
        assert!(!old.contains("qop") && !old.contains("cnonce") && old.contains("uri=\"/x?n=1\""), "{old}");
        let session = said("Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess, qop=auth");
        assert!(session.contains("algorithm=MD5-sess") && session.contains("cnonce=\"c\""), "{session}");
        assert_ne!(session, said("Digest realm=\"r\", nonce=\"n\", algorithm=MD5, qop=auth"));
        let hidden = said("Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=auth, userhash=true");
        assert!(!hidden.contains("ada") && hidden.contains("userhash=true"), "{hidden}");
    }
}
