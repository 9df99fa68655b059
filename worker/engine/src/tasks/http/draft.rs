//! A request in the making: what every call over HTTP does alike with addresses, headers and bodies.

use bytes::Bytes;
use url::Url;

use super::{CONTENT_TYPE, IDEMPOTENCY_KEY};
use crate::api::{Authentication, HttpRequest, Value};
use crate::problem::{Problem, ProblemKind};
use crate::value;

const FORM: &str = "application/x-www-form-urlencoded";

/// All of a request but its body.
pub(in crate::tasks) struct Draft {
    pub(in crate::tasks) method: String,
    pub(in crate::tasks) url: Url,
    pub(in crate::tasks) headers: Vec<(String, String)>,
}

impl Draft {
    /// A body: text is the content itself, an object is a form if the headers say so, everything else is JSON.
    pub(in crate::tasks) fn body(&mut self, body: &Value) -> Result<Bytes, Problem> {
        let given = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE));
        let is_form = given.is_some_and(|(_, media_type)| essence(media_type) == FORM);
        let (bytes, media_type): (Bytes, _) = match (value::as_str(body), body) {
            (Some(text), _) => (text.to_owned().into(), "text/plain; charset=utf-8"),
            (None, Value::Obj(_)) if is_form => (form(body)?, FORM),
            _ => (value::to_json_bytes(body).into(), "application/json"),
        };
        if given.is_none() {
            self.headers.push((CONTENT_TYPE.to_owned(), media_type.to_owned()));
        }
        Ok(bytes)
    }

    pub(in crate::tasks) fn finish(
        self,
        body: Option<Bytes>,
        idempotency_key: &str,
        authentication: Option<Authentication>,
    ) -> HttpRequest {
        let Self { method, url, mut headers } = self;
        if !headers.iter().any(|(set, _)| set.eq_ignore_ascii_case(IDEMPOTENCY_KEY)) {
            headers.push((IDEMPOTENCY_KEY.to_owned(), idempotency_key.to_owned()));
        }
        HttpRequest { method, url: url.into(), headers, body, authentication }
    }
}

/// An address that can be asked. The text may hold secrets: it is not shown.
pub(in crate::tasks) fn absolute(text: &str, summary: &str) -> Result<Url, Problem> {
    let url = Url::parse(text.trim()).ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()).ok_or_else(|| {
        let why = format!("the endpoint of {summary} is no absolute http or https URL");
        Problem::new(ProblemKind::Communication, why, "")
    })
}

pub(in crate::tasks) fn header(name: &str, text: String) -> Result<(String, String), Problem> {
    let is_fine = is_token(name) && text.chars().all(|c| c == '\t' || !c.is_control());
    let wrong = || expression(format!("`{name}` and its value can't be a header"));
    is_fine.then(|| (name.to_owned(), text)).ok_or_else(wrong)
}

/// The request as an output shows it. `may_show` says which of the author's headers are no secret.
pub(in crate::tasks) fn shown(request: &HttpRequest, uri: String, may_show: impl Fn(&str) -> bool) -> Value {
    let headers = request.headers.iter().filter(|(name, _)| {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        may_show(name) && !is(IDEMPOTENCY_KEY) && !is("authorization") && !is("cookie")
    });
    value::object([
        ("method", value::string(request.method.to_lowercase())),
        ("uri", value::string(uri)),
        ("headers", value::object(headers.map(|(name, text)| (name.as_str(), value::string(text))))),
    ])
}

/// `application/json; charset=utf-8` → `application/json`.
pub(in crate::tasks) fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// An object as a form.
pub(in crate::tasks) fn form(fields: &Value) -> Result<Bytes, Problem> {
    let rows =
        form_rows(fields).map_err(|name| expression(format!("the form's field `{name}` is an object or holds one")))?;
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(rows);
    Ok(form.finish().into())
}

/// The rows of a form or a query: null leaves a field out, an array repeats it. `Err`: the field that is an object.
pub(in crate::tasks) fn form_rows(fields: &Value) -> Result<Vec<(&str, String)>, &str> {
    let mut rows = Vec::new();
    for (name, found) in value::entries(fields) {
        let all = value::as_array(found).unwrap_or(std::slice::from_ref(found));
        for one in all.iter().filter(|one| !value::is_null(one)) {
            rows.push((name, scalar(one).ok_or(name)?));
        }
    }
    Ok(rows)
}

/// A text as it is, numbers and booleans as JSON.
pub(in crate::tasks) fn scalar(found: &Value) -> Option<String> {
    match found {
        Value::Arr(_) | Value::Obj(_) => None,
        _ => Some(value::as_str(found).map_or_else(|| value::to_json(found), str::to_owned)),
    }
}

/// A token of HTTP's grammar.
pub(in crate::tasks) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

pub(in crate::tasks) fn expression(detail: String) -> Problem {
    Problem::new(ProblemKind::Expression, detail, "")
}
