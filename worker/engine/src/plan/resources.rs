//! External documents in a definition: where they lie, and whether they are there already.

use std::sync::Arc;

use super::authentication::Policy;
use super::compiler::Compiler;
use super::endpoint::ENDPOINT;
use super::keys::Keys;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::expr;
use crate::resource::{self, Found, Missing, Purpose, Resource};
use crate::source::{Node, NodeValue, Span};
use crate::tasks::call_openapi::{self, DocumentError};
use crate::value::Value;

const RESOURCE: Keys = Keys { of: "an external resource", known: &["name", "endpoint"], not_yet: &[] };

/// Where a document, or a catalog of them, lies.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) url: String,
    pub(crate) policy: Option<Arc<Policy>>,
}

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
        let Location { url, policy } = self.location(endpoint)?;
        Some(self.fetched(Location { url: resource::raw(&url), policy }, purpose))
    }

    /// The location that an endpoint names. It must be known when the definition is deployed.
    pub(super) fn location(&mut self, endpoint: &Node) -> Option<Location> {
        let mut policy = None;
        let uri = match &endpoint.value {
            NodeValue::Map(_) => {
                self.mapping(endpoint, ENDPOINT)?;
                policy = endpoint.get("authentication").map(|policy| self.authentication(policy));
                self.required(endpoint, "uri", ENDPOINT.of)?
            }
            _ => endpoint,
        };
        let text = self.text(uri, "the URI of an external resource")?;
        let url = self.place(text, uri.span)?;
        match policy {
            Some(policy) => policy.map(|policy| Location { url, policy: Some(policy) }),
            None => Some(self.beside(text, url)),
        }
    }

    /// A document that a text names, relative to the one in which it stands.
    pub(super) fn place(&mut self, text: &str, span: Span) -> Option<String> {
        let (message, hint) = if expr::holds_expression(text) || text.contains(['{', '}']) {
            let message = "where an external document lies must be known when the definition is deployed".to_owned();
            (message, "write the URI itself, without expressions and `{…}`")
        } else {
            match resource::resolve(&self.base, text) {
                Ok(url) => return Some(url),
                Err(why) => {
                    let message = format!("`{}` is no place of a document: {why}", text.trim());
                    (message, "write `https://…`, or a path relative to this file")
                }
            }
        };
        self.push(Diagnostic::error("FS-RESOURCE", span, message).with_hint(hint));
        None
    }

    /// What is named relative to a document is asked for as that document was.
    pub(super) fn beside(&self, text: &str, url: String) -> Location {
        let is_relative = resource::resolve("", text).is_ok_and(|absolute| absolute != url);
        Location { url, policy: self.base_policy.clone().filter(|_| is_relative) }
    }

    /// The document at a location.
    pub(super) fn fetched(&mut self, location: Location, purpose: Purpose) -> Found {
        let Location { url, policy } = location;
        if let Some(policy) = policy {
            self.policies.insert(url.clone(), policy);
        }
        if let Some(document) = self.bundle.get(&url) {
            return Found::Here(url, document.clone());
        }
        let resource = Resource { url, purpose };
        if !self.missing.iter().any(|missing| missing.url == resource.url) {
            self.missing.push(resource.clone());
        }
        Found::Missing(Missing { resource })
    }

    /// An OpenAPI document's tree: many calls may name the same document.
    pub(crate) fn openapi_document(&mut self, url: &str, bytes: &[u8]) -> Result<Value, DocumentError> {
        let read = || call_openapi::read(bytes, self.limits);
        self.openapi.entry(url.to_owned()).or_insert_with(read).clone()
    }

    /// Compiles a part that stands in another document: its mistakes are shown where the definition names it.
    pub(crate) fn within<T>(&mut self, url: &str, named_at: Span, compile: impl FnOnce(&mut Self) -> T) -> T {
        let policy = self.policies.get(url).cloned();
        let base = std::mem::replace(&mut self.base, url.to_owned());
        let base_policy = std::mem::replace(&mut self.base_policy, policy);
        let outside = std::mem::take(&mut self.diagnostics);
        let compiled = compile(self);
        let inside = std::mem::replace(&mut self.diagnostics, outside);
        (self.base, self.base_policy) = (base, base_policy);
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
