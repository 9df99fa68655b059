//! How an HTTP call's arguments become a request.

use std::sync::Arc;

use crate::api::{Authentication, HttpRequest, Value};
use crate::expr::{self, Template};
use crate::machine::vars::Vars;
use crate::plan::authentication::Policy;
use crate::plan::compiler::{At, Compiler};
use crate::plan::endpoint::{Endpoint, is_secret, without_userinfo};
use crate::problem::Problem;
use crate::source::Node;
use crate::tasks::http::{self, CONTENT_TYPE, Draft, expression, is_token, scalar};
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

impl Rendering {
    pub(super) fn compile(with: &Node, of: &str, compiler: &mut Compiler<'_>) -> Option<Self> {
        let method_node = compiler.required(with, "method", of);
        let endpoint = compiler.required(with, "endpoint", of);
        let endpoint = endpoint.and_then(|endpoint| Endpoint::compile(endpoint, compiler));
        let method = method_node.and_then(|method| {
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
        let mut mapping = |key: &str, fits: fn(&Node) -> bool, wanted: &str| {
            let node = with.get(key)?;
            match node.as_map() {
                Some(entries) => {
                    for (name, item) in entries.iter().filter(|(_, item)| !fits(item)) {
                        compiler.wrong_type(item, &format!("`{}` of `{key}`", name.text), wanted);
                    }
                }
                None if node.as_str().is_some_and(expr::is_expression) => {}
                None => {
                    compiler.wrong_type(node, &format!("`{key}`"), "a mapping or an expression `${ … }`");
                    return None;
                }
            }
            compiler.template(node, At::Definition)
        };
        let headers = mapping("headers", is_scalar, "a text, a number or a boolean");
        let query = mapping("query", is_scalar_or_list, "a text, a number, a boolean or a list of them");
        let body = with.get("body").and_then(|body| compiler.template(body, At::Definition));
        let (method, endpoint) = (method?, endpoint?);
        let verb = method_node.and_then(Node::as_str).unwrap_or_default().to_uppercase();
        let summary = format!("{verb} {}", endpoint.summary);
        let rendering = Self { method, endpoint, headers, query, body, summary };
        rendering.check_authorization(with, compiler).then_some(rendering)
    }

    fn check_authorization(&self, with: &Node, compiler: &mut Compiler<'_>) -> bool {
        let templates = [
            ("method", Some(&self.method)),
            ("endpoint", self.endpoint.uri.expression()),
            ("headers", self.headers.as_ref()),
            ("query", self.query.as_ref()),
            ("body", self.body.as_ref()),
        ];
        let mut fine = true;
        for (key, template) in templates {
            if let (Some(template), Some(node)) = (template, with.get(key)) {
                fine &= http::check_authorization(self.authentication(), template, node, compiler);
            }
        }
        fine
    }

    pub(super) fn summary(&self) -> &str {
        &self.summary
    }

    pub(super) fn authentication(&self) -> Option<&Policy> {
        self.endpoint.authentication.as_ref().map(Arc::as_ref)
    }

    pub(super) fn request(
        &self,
        vars: &Vars<'_>,
        input: &Value,
        idempotency_key: &str,
    ) -> Result<HttpRequest, Problem> {
        let authentication = self.authentication().map(|policy| policy.render(vars, input)).transpose()?;
        let known = authentication.as_ref().and_then(Authentication::authorization);
        let vars = &vars.authorized(known.as_ref());
        let method = vars.eval(&self.method, input)?;
        let method = value::as_str(&method)
            .filter(|method| is_token(method))
            .ok_or_else(|| {
                expression(format!("the method must be a word like `get`, not {}", value::to_json(&method)))
            })?
            .to_uppercase();
        let mut url = http::absolute(&self.endpoint.uri.render(vars, input)?, &self.summary)?;
        if let Some(query) = &self.query {
            let query = vars.eval(query, input)?;
            let rows = http::form_rows(object(&query, "the query")?)
                .map_err(|name| expression(format!("the query parameter `{name}` is an object or holds one")))?;
            if !rows.is_empty() {
                url.query_pairs_mut().extend_pairs(rows);
            }
        }
        let headers = match &self.headers {
            Some(headers) => header_list(&vars.eval(headers, input)?)?,
            None => Vec::new(),
        };
        let body = match &self.body {
            Some(body) => Some(vars.eval(body, input)?).filter(|body| !value::is_null(body)),
            None => None,
        };
        let mut draft = Draft { method, url, headers };
        let body = body.map(|body| draft.body(&body)).transpose()?;
        Ok(draft.finish(body, idempotency_key, authentication))
    }

    /// The request as an output shows it: without what may hold secrets, and without what the engine added.
    pub(super) fn shown(&self, request: &HttpRequest) -> Value {
        let hides = |template: &Option<Template>| template.as_ref().is_some_and(is_secret);
        let mut uri = without_userinfo(&request.url);
        if hides(&self.query) {
            uri.truncate(uri.find('?').unwrap_or(uri.len()));
        }
        if self.endpoint.uri.is_secret() {
            // Tokens also stand in paths: only whom was asked is told.
            uri = url::Url::parse(&uri).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        }
        let secret_headers = hides(&self.headers);
        http::shown(request, uri, |name| !secret_headers || name.eq_ignore_ascii_case(CONTENT_TYPE))
    }
}

/// What one line can hold; null leaves it out.
fn is_scalar(node: &Node) -> bool {
    node.as_map().is_none() && node.as_seq().is_none()
}

fn is_scalar_or_list(node: &Node) -> bool {
    node.as_seq().map_or_else(|| is_scalar(node), |items| items.iter().all(is_scalar))
}

fn header_list(headers: &Value) -> Result<Vec<(String, String)>, Problem> {
    value::entries(object(headers, "the headers")?)
        .filter(|(_, wanted)| !value::is_null(wanted))
        .map(|(name, wanted)| {
            let text = scalar(wanted)
                .ok_or_else(|| expression(format!("the header `{name}` is {}", value::type_name(wanted))))?;
            http::header(name, text)
        })
        .collect()
}

fn object<'v>(found: &'v Value, what: &str) -> Result<&'v Value, Problem> {
    match found {
        Value::Obj(_) | Value::Null => Ok(found),
        _ => Err(expression(format!("{what} must be an object, not {}", value::type_name(found)))),
    }
}
