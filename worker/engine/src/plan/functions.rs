//! Functions: which task a `call` names. Those of `use.functions`, of catalogs, and of files anywhere.
//!
//! A body is compiled once, however often it is called, and only after all that calls it is known: functions may call each
//! other, and themselves.

use std::collections::BTreeMap;

use super::BlockIndex;
use super::compiler::Compiler;
use super::keys::Keys;
use super::named::NamedOf;
use super::resources::Location;
use crate::diagnostic::suggestion;
use crate::pointer::Pointer;
use crate::resource::{self, Document, Found, Missing, Purpose};
use crate::source::{self, Key, Node};
use crate::tasks;

/// The functions of a definition while it is compiled.
#[derive(Debug, Default)]
pub(crate) struct Functions<'a> {
    /// `use.catalogs`; `None`: what is wrong was reported.
    catalogs: BTreeMap<&'a str, Option<Location>>,
    /// The bodies that are called, by what stands for them in pointers.
    bodies: BTreeMap<String, BlockIndex>,
    /// Those of them that are still to be compiled.
    waiting: Vec<(BlockIndex, Key, Body<'a>)>,
}

/// What is to be compiled as a body.
#[derive(Debug)]
enum Body<'a> {
    Inline(&'a Node),
    Fetched(String, Document),
}

/// What a call names.
#[derive(Debug)]
pub(crate) enum Function {
    Body(BlockIndex),
    /// It lies elsewhere and was not fetched.
    Missing(Missing),
}

const CATALOG: Keys = Keys { of: "a catalog", known: &["endpoint"], not_yet: &[] };
/// The runtime's own catalog, unless a definition has one of this name.
const DEFAULT: &str = "default";
/// How files of functions end.
const FILES: [&str; 3] = [".yaml", ".yml", ".json"];

impl<'a> Compiler<'a> {
    /// Takes in where the catalogs are.
    pub(super) fn name_catalogs(&mut self, used: &'a Node) {
        for (key, catalog) in used.get("catalogs").and_then(Node::as_map).unwrap_or_default() {
            let location = self.mapping(catalog, CATALOG).and_then(|_| self.required(catalog, "endpoint", CATALOG.of));
            let location = location.and_then(|endpoint| self.location(endpoint));
            self.functions.catalogs.insert(&key.text, location);
        }
    }

    /// The function that `call` names. `None`: what is wrong was reported.
    pub(crate) fn function(&mut self, call: &Node) -> Option<Function> {
        let name = self.text(call, "`call`")?.trim();
        if let Some((key, body)) = self.named_function(name) {
            return Some(Function::Body(self.body(key, Body::Inline(body))));
        }
        let (name, location) = if is_file(name) {
            let url = self.place(name, call.span)?;
            let location = self.beside(name, url);
            (location.url.clone(), Location { url: resource::raw(&location.url), ..location })
        } else {
            match catalogued(name) {
                Some((function, version, catalog)) => {
                    (name.to_owned(), self.catalogued(function, version, catalog, call)?)
                }
                None => {
                    self.no_function(name, call);
                    return None;
                }
            }
        };
        match self.fetched(location, Purpose::Function) {
            Found::Missing(missing) => Some(Function::Missing(missing)),
            Found::Here(url, document) => {
                let key = Key { text: name.into(), span: call.span };
                Some(Function::Body(self.body(key, Body::Fetched(url, document))))
            }
        }
    }

    /// Compiles the bodies that were called, and those that they call, and what nobody calls.
    pub(super) fn compile_functions(&mut self) {
        for (key, body) in self.unused_functions() {
            self.body(key, Body::Inline(body));
        }
        while let Some((index, key, body)) = self.functions.waiting.pop() {
            let pointer = Pointer::root().child("use").child("functions").child(&key.text);
            match body {
                Body::Inline(node) => self.fill_body(index, &key, node, &pointer),
                Body::Fetched(url, document) => {
                    self.within(&url, key.span, |compiler| match source::read(&document.bytes, compiler.limits) {
                        Ok(node) => compiler.fill_body(index, &key, &node, &pointer),
                        Err(found) => compiler.diagnostics.extend(found),
                    })
                }
            }
        }
    }

    fn body(&mut self, key: Key, body: Body<'a>) -> BlockIndex {
        if let Some(index) = self.functions.bodies.get(&*key.text) {
            return *index;
        }
        let index = self.reserve_body();
        self.functions.bodies.insert(key.text.to_string(), index);
        self.functions.waiting.push((index, key, body));
        index
    }

    fn catalogued(&mut self, function: &str, version: &str, catalog: &str, call: &Node) -> Option<Location> {
        let location = match self.functions.catalogs.get(catalog) {
            Some(location) => {
                let location = location.clone();
                self.named.note(NamedOf::Catalogs, catalog);
                Some(location?)
            }
            None if catalog == DEFAULT => None,
            None => {
                let known = self.functions.catalogs.keys().copied().chain([DEFAULT]);
                let hint = match self.functions.catalogs.is_empty() {
                    true => format!("define it: `use: {{ catalogs: {{ {catalog}: {{ endpoint: … }} }} }}`"),
                    false => suggestion(catalog, known),
                };
                self.error("FS-UNKNOWN-NAME", call, format!("no catalog is named `{catalog}`"), &hint);
                return None;
            }
        };
        let (endpoint, policy) = location.map_or((None, None), |Location { url, policy }| (Some(url), policy));
        let url = resource::raw(&resource::catalog_function(endpoint.as_deref(), function, version));
        Some(Location { url, policy })
    }

    fn no_function(&mut self, name: &str, call: &Node) {
        let known: Vec<&str> = self
            .function_names()
            .chain(tasks::TYPES.iter().filter(|of| of.key == "call").filter_map(|of| of.kind))
            .collect();
        let hint = match crate::diagnostic::nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if name.contains([':', '@']) => "functions of catalogs are called `name:version@catalog`".to_owned(),
            None => format!("define it: `use: {{ functions: {{ {name}: … }} }}`; known here: {}", known.join(", ")),
        };
        self.error("FS-UNKNOWN-NAME", call, format!("no function is named `{name}`"), &hint);
    }
}

/// Whether a call names a file instead of a function.
fn is_file(name: &str) -> bool {
    name.contains("://") || name.starts_with(['.', '/']) || FILES.iter().any(|end| name.ends_with(end))
}

/// `name:version@catalog`, or `name:version` of the default catalog.
fn catalogued(name: &str) -> Option<(&str, &str, &str)> {
    let (function, catalog) = name.split_once('@').unwrap_or((name, DEFAULT));
    let (function, version) = function.split_once(':')?;
    let is_part = |part: &str| {
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte);
        !part.is_empty() && part.bytes().all(is_fine) && part.bytes().any(|byte| byte != b'.')
    };
    [function, version, catalog].into_iter().all(is_part).then_some((function, version, catalog))
}
