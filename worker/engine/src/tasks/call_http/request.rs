//! How an HTTP call's arguments become a request.

use url::Url;

use crate::api::{HttpRequest, Value};
use crate::diagnostic::Diagnostic;
use crate::expr::{self, Template};
use crate::machine::vars::Vars;
use crate::plan::compiler::{At, Compiler};
use crate::plan::keys::Keys;
use crate::problem::{Problem, ProblemKind};
use crate::source::Node;
use crate::uri_template::UriTemplate;
use crate::value;

/// The arguments that make the request.
#[derive(Debug)]
pub(super) struct Rendering {
    method: Template,
    endpoint: Endpoint,
    headers: Option<Template>,
    query: Option<Template>,
    body: Option<Template>,
    /// Method and endpoint as the author wrote them: what errors and lists show, as it holds no secrets.
    summary: String,
}

#[derive(Debug)]
enum Endpoint {
    Template(UriTemplate),
    Expression(Template),
}

const ENDPOINT: Keys = Keys { of: "`endpoint`", known: &["uri"], not_yet: &["authentication"] };
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
const CONTENT_TYPE: &str = "Content-Type";

impl Rendering {
    pub(super) fn compile(with: &Node, of: &str, compiler: &mut Compiler<'_>) -> Option<Self> {
        let method = compiler.required(with, "method", of);
        let endpoint = compiler.required(with, "endpoint", of);
        let uri = endpoint.and_then(|endpoint| match endpoint.as_map() {
            Some(_) => {
                compiler.mapping(endpoint, ENDPOINT)?;
                compiler.required(endpoint, "uri", ENDPOINT.of)
            }
            None => Some(endpoint),
        });
        let summary = format!(
            "{} {}",
            method.and_then(Node::as_str).unwrap_or_default().to_uppercase(),
            match uri.and_then(Node::as_str).unwrap_or_default().trim() {
                text if expr::holds_expression(text) => text.to_owned(),
                text => without_userinfo(text),
            }
        );
        let method = method.and_then(|method| {
            let text = compiler.text(method, "`method`")?;
            if !expr::holds_expression(text) && !is_token(text) {
                compiler.error(
                    "FS-VALUE",
                    method,
                    format!("`{text}` is no HTTP method"),
                    "write `get`, `post`, `put` …",
                );
            }
            compiler.template(method, At::Definition)
        });
        let endpoint = uri.and_then(|uri| compile_uri(uri, compiler));
        let mut mapping = |key: &str| {
            let node = with.get(key)?;
            if node.as_map().is_none() && !node.as_str().is_some_and(expr::is_expression) {
                compiler.wrong_type(node, &format!("`{key}`"), "a mapping or an expression `${ … }`");
                return None;
            }
            compiler.template(node, At::Definition)
        };
        let (headers, query) = (mapping("headers"), mapping("query"));
        let body = with.get("body").and_then(|body| compiler.template(body, At::Definition));
        Some(Self { method: method?, endpoint: endpoint?, headers, query, body, summary })
    }

    pub(super) fn summary(&self) -> &str {
        &self.summary
    }

    pub(super) fn request(
        &self,
        vars: &Vars<'_>,
        input: &Value,
        idempotency_key: &str,
    ) -> Result<HttpRequest, Problem> {
        let method = vars.eval(&self.method, input)?;
        let method = value::as_str(&method)
            .filter(|method| is_token(method))
            .ok_or_else(|| {
                expression(format!("the method must be a word like `get`, not {}", value::to_json(&method)))
            })?
            .to_uppercase();
        let mut url = self.url(vars, input)?;
        if let Some(query) = &self.query {
            append_query(&mut url, &vars.eval(query, input)?)?;
        }
        let mut headers = match &self.headers {
            Some(headers) => header_list(&vars.eval(headers, input)?)?,
            None => Vec::new(),
        };
        let body = match &self.body {
            Some(body) => Some(vars.eval(body, input)?).filter(|body| !value::is_null(body)),
            None => None,
        };
        let has =
            |headers: &[(String, String)], name: &str| headers.iter().any(|(set, _)| set.eq_ignore_ascii_case(name));
        let body = body.map(|body| match value::as_str(&body) {
            // Text is the content itself; everything else is JSON.
            Some(text) => (text.to_owned().into(), "text/plain; charset=utf-8"),
            None => (value::to_json_bytes(&body).into(), "application/json"),
        });
        if let Some((_, media_type)) = &body
            && !has(&headers, CONTENT_TYPE)
        {
            headers.push((CONTENT_TYPE.to_owned(), (*media_type).to_owned()));
        }
        if !has(&headers, IDEMPOTENCY_KEY) {
            headers.push((IDEMPOTENCY_KEY.to_owned(), idempotency_key.to_owned()));
        }
        Ok(HttpRequest { method, url: url.into(), headers, body: body.map(|(bytes, _)| bytes), authentication: None })
    }

    fn url(&self, vars: &Vars<'_>, input: &Value) -> Result<Url, Problem> {
        let text = match &self.endpoint {
            Endpoint::Template(template) => template.expand(input).map_err(|why| expression(why.to_string()))?,
            Endpoint::Expression(template) => {
                let uri = vars.eval(template, input)?;
                let text = value::as_str(&uri);
                text.ok_or_else(|| {
                    expression(format!("the endpoint must be a string, not {}", value::type_name(&uri)))
                })?
                .to_owned()
            }
        };
        // The text may hold secrets: it is not shown.
        Url::parse(text.trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| {
                let why = format!("the endpoint of {} is no absolute http or https URL", self.summary);
                Problem::new(ProblemKind::Communication, why, "")
            })
    }

    /// The request as an output shows it: without what may hold secrets, and without what the engine added.
    pub(super) fn shown(&self, request: &HttpRequest) -> Value {
        let hides = |template: &Option<Template>| template.as_ref().is_some_and(Template::uses_secrets);
        let mut uri = without_userinfo(&request.url);
        if hides(&self.query) {
            uri.truncate(uri.find('?').unwrap_or(uri.len()));
        }
        if matches!(&self.endpoint, Endpoint::Expression(template) if template.uses_secrets()) {
            // Tokens also stand in paths: only whom was asked is told.
            uri = Url::parse(&uri).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        }
        let secret_headers = hides(&self.headers);
        let headers = request.headers.iter().filter(|(name, _)| {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            is(CONTENT_TYPE) || !(secret_headers || is(IDEMPOTENCY_KEY) || is("authorization") || is("cookie"))
        });
        value::object([
            ("method", value::string(request.method.to_lowercase())),
            ("uri", value::string(uri)),
            ("headers", value::object(headers.map(|(name, text)| (name.as_str(), value::string(text))))),
        ])
    }
}

/// `https://user:password@host/x` → `https://host/x`.
fn without_userinfo(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => uri.to_owned(),
    }
}

fn compile_uri(uri: &Node, compiler: &mut Compiler<'_>) -> Option<Endpoint> {
    let text = compiler.text(uri, "an endpoint")?;
    if expr::holds_expression(text) {
        // In strict mode a longer text is a mistake, which the template's own check reports.
        return compiler.template(uri, At::Definition).map(Endpoint::Expression);
    }
    match UriTemplate::parse(text.trim()) {
        Ok(template) => Some(Endpoint::Template(template)),
        Err(why) => {
            let hint = "simple names only, such as https://example.com/pets/{petId}";
            compiler.push(Diagnostic::error("FS-URI-TEMPLATE", uri.span, why.to_string()).with_hint(hint));
            None
        }
    }
}

/// Null leaves a parameter out, an array repeats it.
fn append_query(url: &mut Url, query: &Value) -> Result<(), Problem> {
    let parameters = mapping(query, "the query")?;
    for (name, wanted) in parameters {
        let all = value::as_array(wanted).unwrap_or(std::slice::from_ref(wanted));
        for one in all.iter().filter(|one| !value::is_null(one)) {
            let text = scalar(one)
                .ok_or_else(|| expression(format!("the query parameter `{name}` is {}", value::type_name(one))))?;
            url.query_pairs_mut().append_pair(name, &text);
        }
    }
    Ok(())
}

fn header_list(headers: &Value) -> Result<Vec<(String, String)>, Problem> {
    mapping(headers, "the headers")?
        .filter(|(_, wanted)| !value::is_null(wanted))
        .map(|(name, wanted)| {
            let text = scalar(wanted)
                .ok_or_else(|| expression(format!("the header `{name}` is {}", value::type_name(wanted))))?;
            let is_fine = is_token(name) && text.chars().all(|c| c == '\t' || !c.is_control());
            is_fine
                .then(|| (name.to_owned(), text))
                .ok_or_else(|| expression(format!("`{name}` and its value can't be a header")))
        })
        .collect()
}

fn mapping<'v>(found: &'v Value, what: &str) -> Result<impl Iterator<Item = (&'v str, &'v Value)> + use<'v>, Problem> {
    match found {
        Value::Obj(_) | Value::Null => Ok(value::entries(found)),
        _ => Err(expression(format!("{what} must be an object, not {}", value::type_name(found)))),
    }
}

fn scalar(found: &Value) -> Option<String> {
    match found {
        Value::Arr(_) | Value::Obj(_) => None,
        _ => Some(value::as_str(found).map_or_else(|| value::to_json(found), str::to_owned)),
    }
}

/// A token of HTTP's grammar.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn expression(detail: String) -> Problem {
    Problem::new(ProblemKind::Expression, detail, "")
}
