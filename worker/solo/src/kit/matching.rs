//! Which request a rule fits, and how a request is shown.

use flagstop_engine::api::{ProcessKind, ProcessRequest, Value};
use flagstop_engine::{Limits, program_options, value};
use url::Url;

use super::model::{HttpRule, ProcessRule, RequestPattern};

/// A URL in which `{name}` stands for one path segment, or a part of one.
#[derive(Debug)]
pub(super) struct UrlPattern {
    origin: String,
    /// What stands between the wildcards of each segment.
    segments: Vec<Vec<String>>,
}

/// A request that was sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// Upper case.
    pub(super) method: String,
    /// Without query and fragment.
    pub(super) url: String,
    /// Names in lower case; a header that is repeated has an array.
    pub(super) headers: Vec<(String, Value)>,
    /// A parameter that is repeated has an array.
    pub(super) query: Vec<(String, Value)>,
    /// JSON as a value, other text as a string; none: null.
    pub(super) body: Option<Value>,
}

impl UrlPattern {
    pub(super) fn new(url: &str) -> Self {
        let (origin, path) = split(url);
        let segments =
            path.split('/').map(|segment| literals(segment).into_iter().map(|text| decoded(&text)).collect());
        Self { origin, segments: segments.collect() }
    }

    fn fits(&self, url: &str) -> bool {
        let (origin, path) = split(url);
        let found: Vec<String> = path.split('/').map(decoded).collect();
        origin == self.origin
            && found.len() == self.segments.len()
            && self.segments.iter().zip(&found).all(|(literals, found)| fits_segment(literals, found))
    }
}

/// Scheme, host and port as the engine writes them, and the path, which is never empty.
fn split(url: &str) -> (String, &str) {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = url.split_once("://") else { return (String::new(), url) };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let origin = Url::parse(&format!("{scheme}://{host}/")).map(|url| url.origin().ascii_serialization());
    (origin.unwrap_or_else(|_| format!("{scheme}://{host}").to_ascii_lowercase()), path)
}

/// What stands around the wildcards of a segment: one text more than there are wildcards.
fn literals(segment: &str) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut rest = segment;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else { break };
        if let Some(last) = texts.last_mut() {
            last.push_str(&rest[..open]);
        }
        texts.push(String::new());
        rest = &rest[open + close + 1..];
    }
    if let Some(last) = texts.last_mut() {
        last.push_str(rest);
    }
    texts
}

fn fits_segment(literals: &[String], found: &str) -> bool {
    let [first, between @ .., last] = literals else { return literals.first().is_some_and(|only| only == found) };
    let Some(mut rest) = found.strip_prefix(first.as_str()) else { return false };
    for literal in between {
        // A wildcard takes at least one character.
        let Some(start) = rest.char_indices().nth(1).map(|(at, _)| at) else { return false };
        let Some(at) = rest[start..].find(literal.as_str()) else { return false };
        rest = &rest[start + at + literal.len()..];
    }
    rest.len() > last.len() && rest.ends_with(last.as_str())
}

fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [byte, tail @ ..] = rest {
        let pair = tail.first_chunk::<2>().filter(|_| *byte == b'%');
        let code =
            pair.and_then(|pair| std::str::from_utf8(pair).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = &tail[if code.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Sent {
    pub(super) fn new(
        method: &str,
        url: &str,
        headers: &[(String, String)],
        body: Option<&[u8]>,
        limits: &Limits,
    ) -> Self {
        let mut plain = url.split(['?', '#']).next().unwrap_or_default().to_owned();
        let mut query = Vec::new();
        if let Ok(mut parsed) = Url::parse(url) {
            for (name, text) in parsed.query_pairs() {
                add(&mut query, name.into_owned(), text.into_owned());
            }
            parsed.set_query(None);
            parsed.set_fragment(None);
            plain = parsed.into();
        }
        let mut named = Vec::new();
        for (name, text) in headers {
            add(&mut named, name.to_ascii_lowercase(), text.clone());
        }
        let body = body.filter(|bytes| !bytes.is_empty()).map(|bytes| {
            value::parse_json(bytes, limits).unwrap_or_else(|_| value::string(String::from_utf8_lossy(bytes)))
        });
        Self { method: method.to_ascii_uppercase(), url: plain, headers: named, query, body }
    }

    /// As `requests` and `$result` show it.
    pub(super) fn to_value(&self) -> Value {
        value::object([
            ("method", value::string(self.method.as_str())),
            ("url", value::string(self.url.as_str())),
            ("headers", value::object(self.headers.iter().cloned())),
            ("query", value::object(self.query.iter().cloned())),
            ("body", self.body.clone().unwrap_or(Value::Null)),
        ])
    }
}

fn add(to: &mut Vec<(String, Value)>, name: String, text: String) {
    match to.iter_mut().find(|(known, _)| *known == name) {
        Some((_, known)) => {
            let mut items = value::as_array(known).map_or_else(|| vec![known.clone()], <[Value]>::to_vec);
            items.push(value::string(text));
            *known = value::array(items);
        }
        None => to.push((name, value::string(text))),
    }
}

impl HttpRule {
    pub(super) fn fits(&self, sent: &Sent) -> bool {
        self.method.as_ref().is_none_or(|method| *method == sent.method)
            && self.url.as_ref().is_none_or(|url| url.fits(&sent.url))
            && named_fit(&self.headers, &sent.headers)
            && named_fit(&self.query, &sent.query)
            && self.body.as_ref().is_none_or(|body| value::equal(body, sent.body.as_ref().unwrap_or(&Value::Null)))
    }
}

impl RequestPattern {
    /// Here a URL is taken as it stands, braces too.
    pub(super) fn fits(&self, sent: &Sent) -> bool {
        self.method.as_ref().is_none_or(|method| *method == sent.method)
            && self.url.as_ref().is_none_or(|url| same_url(url, &sent.url))
            && named_fit(&self.headers, &sent.headers)
            && named_fit(&self.query, &sent.query)
            && self.body.as_ref().is_none_or(|body| value::equal(body, sent.body.as_ref().unwrap_or(&Value::Null)))
    }
}

fn same_url(wanted: &str, found: &str) -> bool {
    let ((wanted, wanted_path), (found, found_path)) = (split(wanted), split(found));
    wanted == found && decoded(wanted_path) == decoded(found_path)
}

fn named_fit(wanted: &[(String, Value)], found: &[(String, Value)]) -> bool {
    wanted.iter().all(|(name, wanted)| {
        found.iter().find(|(known, _)| known == name).is_some_and(|(_, found)| same_text(wanted, found))
    })
}

/// Headers and parameters are texts, whatever YAML makes of `1` and `true`.
fn same_text(wanted: &Value, found: &Value) -> bool {
    match (wanted, found) {
        (Value::Arr(wanted), Value::Arr(found)) => {
            wanted.len() == found.len()
                && wanted.iter().zip(found.iter()).all(|(wanted, found)| same_text(wanted, found))
        }
        (Value::Arr(wanted), found) => matches!(wanted.as_slice(), [only] if same_text(only, found)),
        (Value::Num(_) | Value::Bool(_), found) => value::as_str(found) == Some(&value::to_json(wanted)),
        (wanted, found) => value::equal(wanted, found),
    }
}

impl ProcessRule {
    pub(super) fn fits(&self, request: &ProcessRequest, limits: &Limits) -> bool {
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| Some(wanted) == found);
        let wanted_language = self.language.as_deref().map(language_word);
        let (kind, command, code, language) = match &request.kind {
            ProcessKind::Shell => ("shell", Some(request.code.as_str()), None, None),
            ProcessKind::Script { language } => ("script", None, Some(request.code.as_str()), Some(language.as_str())),
        };
        let environment: Vec<(String, Value)> =
            request.environment.iter().map(|(name, text)| (name.clone(), value::string(text.as_str()))).collect();
        is(&self.kind, Some(kind))
            && is(&self.command, command)
            && is(&self.code, code)
            && wanted_language.is_none_or(|wanted| Some(wanted) == language.map(language_word))
            && is(&self.image, None)
            && self.arguments.as_ref().is_none_or(|wanted| same_arguments(wanted, &request.arguments))
            && self.stdin.as_ref().is_none_or(|wanted| same_input(wanted, request.stdin.as_deref(), limits))
            && named_fit(&self.environment, &environment)
    }
}

/// The specification has two words for the same language.
fn language_word(language: &str) -> &str {
    if language == "javascript" { "js" } else { language }
}

/// A mapping stands for the options that the engine makes of it, in any order.
fn same_arguments(wanted: &Value, found: &[String]) -> bool {
    if let Value::Obj(_) = wanted {
        let (mut wanted, mut found) = (program_options(wanted), found.to_vec());
        wanted.sort();
        found.sort();
        return wanted == found;
    }
    same_text(wanted, &value::array(found.iter().map(|text| value::string(text.as_str()))))
}

/// As text, or as JSON where the author wrote a value.
fn same_input(wanted: &Value, found: Option<&str>, limits: &Limits) -> bool {
    let Some(found) = found else { return value::is_null(wanted) };
    value::as_str(wanted) == Some(found)
        || value::parse_json(found.as_bytes(), limits).is_ok_and(|found| value::equal(wanted, &found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, url: &str) -> bool {
        UrlPattern::new(pattern).fits(url)
    }

    #[test]
    fn a_name_in_braces_is_one_segment_that_is_not_empty() {
        assert!(fits("https://hr.example/api/{id}", "https://hr.example/api/e-1"));
        assert!(fits("https://hr.example/api/{id}/x", "https://hr.example/api/e%2F1/x"));
        assert!(fits("https://hr.example/api/{id}.json", "https://hr.example/api/e-1.json"));
        for url in [
            "https://hr.example/api/",
            "https://hr.example/api",
            "https://hr.example/api/a/b",
            "http://hr.example/api/e-1",
        ] {
            assert!(!fits("https://hr.example/api/{id}", url), "{url}");
        }
    }

    #[test]
    fn urls_are_compared_as_the_engine_writes_them() {
        assert!(fits("HTTPS://HR.example:443", "https://hr.example/"));
        assert!(fits("https://hr.example/a b", "https://hr.example/a%20b"));
        assert!(!fits("https://hr.example/A", "https://hr.example/a"));
        assert!(same_url("https://hr.example/%7Bid%7D", "https://hr.example/{id}"));
    }

    #[test]
    fn headers_and_parameters_are_texts_and_a_repeated_one_is_an_array() {
        let headers = [("X-Page".to_owned(), "7".to_owned())];
        let sent = Sent::new("get", "https://h.example/a?tag=x&tag=y&n=1#f", &headers, None, &Limits::default());
        assert_eq!((sent.method.as_str(), sent.url.as_str()), ("GET", "https://h.example/a"));
        let tags = value::array(["x", "y"].map(value::string));
        assert!(named_fit(&[("tag".to_owned(), tags), ("n".to_owned(), value::int(1))], &sent.query));
        assert!(named_fit(&[("x-page".to_owned(), value::int(7))], &sent.headers));
        assert!(!named_fit(&[("tag".to_owned(), value::string("x"))], &sent.query));
    }
}
