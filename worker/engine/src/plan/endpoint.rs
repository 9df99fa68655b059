//! Endpoints: where something is, and how to prove who asks. Services, servers of documents and authorities alike.

use std::sync::Arc;

use super::authentication::Policy;
use super::compiler::{At, Compiler};
use super::keys::Keys;
use crate::api::Value;
use crate::diagnostic::Diagnostic;
use crate::expr::{self, Template};
use crate::machine::vars::Vars;
use crate::problem::{Problem, ProblemKind};
use crate::source::Node;
use crate::uri_template::{UriTemplate, is_uri_reference};
use crate::value;

/// A URI, with its authentication if it is written beside it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) uri: Uri,
    pub(crate) authentication: Option<Arc<Policy>>,
    /// As the author wrote it, without credentials: what errors and lists show.
    pub(crate) summary: String,
}

/// A text that becomes a URI.
#[derive(Debug)]
pub(crate) enum Uri {
    Template(UriTemplate),
    Expression(Template),
}

pub(crate) const ENDPOINT: Keys = Keys { of: "`endpoint`", known: &["uri", "authentication"], not_yet: &[] };

impl Endpoint {
    /// A text, or a mapping of `uri` and `authentication`.
    pub(crate) fn compile(node: &Node, compiler: &mut Compiler<'_>) -> Option<Self> {
        let Some(uri) = node.get("uri").or_else(|| node.as_map().is_none().then_some(node)) else {
            compiler.mapping(node, ENDPOINT)?;
            compiler.required(node, "uri", ENDPOINT.of)?;
            return None;
        };
        let summary = match uri.as_str().unwrap_or_default().trim() {
            text if expr::holds_expression(text) => text.to_owned(),
            text => without_userinfo(text),
        };
        if node.as_map().is_some() {
            compiler.mapping(node, ENDPOINT)?;
        }
        let authentication = node.get("authentication").map(|policy| compiler.authentication(policy));
        let uri = Uri::compile(uri, "an endpoint", compiler);
        Some(Self { uri: uri?, authentication: authentication.map_or(Some(None), |policy| policy.map(Some))?, summary })
    }
}

impl Uri {
    pub(crate) fn compile(node: &Node, what: &str, compiler: &mut Compiler<'_>) -> Option<Self> {
        let text = compiler.text(node, what)?;
        if expr::holds_expression(text) {
            return compiler.template(node, At::Definition).map(Self::Expression);
        }
        match UriTemplate::parse(text.trim()) {
            Ok(_) if !is_uri_reference(text.trim()) => {
                let message = format!("{what} must be a URI: not empty, and without white space");
                compiler.error("FS-URI-TEMPLATE", node, message, "write `%20`, or `${ }` around an expression");
                None
            }
            Ok(template) => {
                compiler.lint_literal(text, "uri", node.span);
                Some(Self::Template(template))
            }
            Err(why) => {
                let hint = "simple names only, such as https://example.com/pets/{petId}";
                compiler.push(Diagnostic::error("FS-URI-TEMPLATE", node.span, why.to_string()).with_hint(hint));
                None
            }
        }
    }

    pub(crate) fn render(&self, vars: &Vars<'_>, input: &Value) -> Result<String, Problem> {
        self.render_by(&|template| vars.eval(template, input), input)
    }

    /// The same where no instance is, perhaps.
    pub(crate) fn render_by(
        &self,
        eval: &dyn Fn(&Template) -> Result<Value, Problem>,
        input: &Value,
    ) -> Result<String, Problem> {
        let wrong = |why: String| Problem::new(ProblemKind::Expression, why, "");
        match self {
            Self::Template(template) => template.expand(input).map_err(|why| wrong(why.to_string())),
            Self::Expression(template) => {
                let uri = eval(template)?;
                let text = value::as_str(&uri).map(|text| text.trim().to_owned());
                text.ok_or_else(|| wrong(format!("the endpoint must be a string, not {}", value::type_name(&uri))))
            }
        }
    }

    pub(crate) fn expression(&self) -> Option<&Template> {
        match self {
            Self::Template(_) => None,
            Self::Expression(template) => Some(template),
        }
    }

    /// Whether what it becomes must not be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.expression().is_some_and(is_secret)
    }
}

/// Whether what a template becomes must not be shown.
pub(crate) fn is_secret(template: &Template) -> bool {
    template.uses_secrets() || template.uses("authorization")
}

/// `https://user:password@host/x` → `https://host/x`.
pub(crate) fn without_userinfo(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let authority = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..authority].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => uri.to_owned(),
    }
}
