//! External documents in a definition: where they lie, and whether they are there already.

use super::compiler::Compiler;
use super::keys::Keys;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::expr;
use crate::resource::{self, Found, Missing, Purpose, Resource};
use crate::source::{Node, NodeValue, Span};

const RESOURCE: Keys = Keys { of: "an external resource", known: &["name", "endpoint"], not_yet: &[] };
const ENDPOINT: Keys = Keys { of: "an endpoint", known: &["uri"], not_yet: &["authentication"] };

impl Compiler<'_> {
    /// A document that an external resource, `{name, endpoint}`, names. `None`: what is wrong was reported.
    pub(crate) fn external_resource(&mut self, node: &Node, purpose: Purpose) -> Option<Found> {
        self.mapping(node, RESOURCE)?;
        if let Some(name) = node.get("name") {
            self.text(name, "`name` of an external resource");
        }
        let endpoint = self.required(node, "endpoint", RESOURCE.of)?;
        self.resource_at(endpoint, purpose)
    }

    /// A document that an endpoint names: a URI, or `{uri, authentication}`.
    pub(crate) fn resource_at(&mut self, endpoint: &Node, purpose: Purpose) -> Option<Found> {
        let location = self.location(endpoint)?;
        Some(self.fetched(resource::raw(&location), purpose))
    }

    /// The location that an endpoint names. It must be known when the definition is deployed.
    fn location(&mut self, endpoint: &Node) -> Option<String> {
        let uri = match &endpoint.value {
            NodeValue::Map(_) => {
                self.mapping(endpoint, ENDPOINT)?;
                self.required(endpoint, "uri", ENDPOINT.of)?
            }
            _ => endpoint,
        };
        let text = self.text(uri, "the URI of an external resource")?;
        if expr::holds_expression(text) || text.contains(['{', '}']) {
            self.error(
                "FS-RESOURCE",
                uri,
                "where an external document lies must be known when the definition is deployed",
                "write the URI itself, without expressions and `{…}`",
            );
            return None;
        }
        match resource::resolve(&self.base, text) {
            Ok(location) => Some(location),
            Err(why) => {
                let message = format!("`{}` is no place of a document: {why}", text.trim());
                let hint = "write `https://…`, or a path relative to this file";
                self.error("FS-RESOURCE", uri, message, hint);
                None
            }
        }
    }

    /// The document at a location.
    pub(crate) fn fetched(&mut self, url: String, purpose: Purpose) -> Found {
        if let Some(document) = self.bundle.get(&url) {
            return Found::Here(url, document.clone());
        }
        let resource = Resource { url, purpose };
        if !self.missing.iter().any(|missing| missing.url == resource.url) {
            self.missing.push(resource.clone());
        }
        Found::Missing(Missing { resource })
    }

    /// Compiles a part that stands in another document: its mistakes are shown where the definition names it.
    pub(crate) fn within<T>(&mut self, url: &str, named_at: Span, compile: impl FnOnce(&mut Self) -> T) -> T {
        let base = std::mem::replace(&mut self.base, url.to_owned());
        let outside = std::mem::take(&mut self.diagnostics);
        let compiled = compile(self);
        let inside = std::mem::replace(&mut self.diagnostics, outside);
        self.base = base;
        self.push_from(inside, url, named_at);
        compiled
    }

    /// Mistakes of another document. What is only odd in it is not the author's to mend.
    pub(crate) fn push_from(&mut self, found: Diagnostics, url: &str, named_at: Span) {
        for error in found.sorted().into_iter().filter(|found| found.severity == Severity::Error) {
            let message = format!("in `{url}`, line {}: {}", error.span.line, error.message);
            let here = Diagnostic::error(error.code, named_at, message);
            self.push(match error.hint {
                Some(hint) => here.with_hint(hint),
                None => here,
            });
        }
    }
}
