//! `call: openapi`: asks a service for an operation that its OpenAPI document (2.0, 3.x) describes.
//!
//! The document is part of the definition's bundle, so everything that it decides is decided in the plan: server, method,
//! path, how each parameter is written. `parameters` names the operation's parameters; `body` among them is the whole
//! body, and without it those that name no parameter are the body's properties.

use std::sync::Arc;

use super::http::{self, HttpCall, Reply};
use super::{Outcome, Signal, TaskType};
use crate::api::{Env, HttpRequest, Projection, Request, Value, WaitReason};
use crate::diagnostic::{Diagnostic, suggestion};
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::machine::vars::Vars;
use crate::plan::authentication::Policy;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::Problem;
use crate::resource::{Found, Missing, Purpose};
use crate::source::Node;

mod document;
mod multipart;
mod request;
mod style;

pub(crate) use document::{DocumentError, read};

use document::{Operation, operation};
use request::{Argument, Rendering};

/// The call's arguments.
#[derive(Debug)]
pub(crate) struct CallOpenApi {
    target: Target,
    authentication: Option<Arc<Policy>>,
    reply: Reply,
    summary: String,
}

#[derive(Debug)]
enum Target {
    Known(Box<Rendering>),
    /// The document is not there: the definition can be checked, but not run.
    Missing(Missing),
}

const WITH: Keys = Keys {
    of: "`with` of an OpenAPI call",
    known: &["document", "operationId", "parameters", "authentication", "output", "redirect"],
    not_yet: &[],
};

impl TaskType for CallOpenApi {
    const KEY: &'static str = "call";
    const KIND: Option<&'static str> = Some("openapi");
    const MORE_KEYS: &'static [&'static str] = &["with"];
    const TAG: u8 = 12;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let with = compiler.required(task.node, "with", "an OpenAPI call")?;
        compiler.mapping(with, WITH)?;
        let document = compiler.required(with, "document", WITH.of);
        let found = document.and_then(|document| compiler.external_resource(document, Purpose::OpenApi));
        let id_node = compiler.required(with, "operationId", WITH.of);
        let id = id_node.and_then(|id| compiler.text(id, "`operationId`"));
        let authentication = match with.get("authentication") {
            Some(policy) => Some(compiler.authentication(policy)?),
            None => None,
        };
        let arguments = arguments(with, authentication.as_deref(), compiler);
        let reply = Reply::compile(with, compiler);
        let (document, id_node, id) = (document?, id_node?, id?);
        let (target, summary) = match found? {
            Found::Missing(missing) => {
                let summary = format!("`{id}` of {}", missing.resource.url);
                (Target::Missing(missing), summary)
            }
            Found::Here(location, found) => {
                let root = match compiler.openapi_document(&location, &found.bytes) {
                    Ok(root) => root,
                    Err(why) => {
                        report(&why, document, compiler);
                        return None;
                    }
                };
                let operation = match operation(&root, &location, id) {
                    Ok(operation) => operation,
                    Err(why) => {
                        let is_unknown = matches!(why, DocumentError::NoOperation { .. } | DocumentError::Twice(_));
                        report(&why, if is_unknown { id_node } else { document }, compiler);
                        return None;
                    }
                };
                let rendering = fit(operation, arguments?, with, compiler)?;
                let summary = rendering.summary();
                (Target::Known(Box::new(rendering)), summary)
            }
        };
        Some(Self { target, authentication, reply: reply?, summary })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        http::enter(self, cx)
    }

    fn wake(&self, (): &mut (), cx: &mut Cx<'_, '_>, signal: Signal<'_>) -> Option<Result<Outcome, Problem>> {
        http::wake(self, cx, signal)
    }

    fn project(&self, (): &(), look: &Look<'_>, to: &mut Projection) {
        http::project(look, to);
    }

    fn wait_reason(&self, (): &(), look: &Look<'_>) -> Option<WaitReason> {
        Some(http::wait_reason(self, look))
    }

    fn render(&self, (): &(), look: &Look<'_>, env: &Env<'_>) -> Option<Result<Request, Problem>> {
        Some(http::render(self, look, env))
    }
}

impl HttpCall for CallOpenApi {
    fn request(&self, vars: &Vars<'_>, input: &Value, idempotency_key: &str) -> Result<HttpRequest, Problem> {
        match &self.target {
            Target::Known(rendering) => {
                let authentication =
                    self.authentication.as_ref().map(|policy| policy.render(vars, input)).transpose()?;
                rendering.request(vars, input, idempotency_key, authentication)
            }
            Target::Missing(missing) => Err(missing.problem()),
        }
    }

    fn summary(&self) -> &str {
        &self.summary
    }

    fn shown(&self, request: &HttpRequest) -> Value {
        match &self.target {
            Target::Known(rendering) => rendering.shown(request),
            Target::Missing(_) => Value::Null,
        }
    }

    fn authentication(&self) -> Option<&Policy> {
        self.authentication.as_deref()
    }

    fn reply(&self) -> &Reply {
        &self.reply
    }
}

/// The values of `parameters`, by name.
fn arguments<'n>(
    with: &'n Node,
    policy: Option<&Policy>,
    compiler: &mut Compiler<'_>,
) -> Option<Vec<(&'n Node, Argument)>> {
    let Some(parameters) = with.get("parameters") else { return Some(Vec::new()) };
    let Some(entries) = parameters.as_map() else {
        compiler.wrong_type(parameters, "`parameters`", "a mapping");
        return None;
    };
    let mut all = Some(Vec::new());
    for (key, node) in entries {
        match compiler.template(node, At::Definition) {
            Some(template) if http::check_authorization(policy, &template, node, compiler) => {
                if let Some(all) = &mut all {
                    all.push((node, Argument { name: key.text.to_string(), template }));
                }
            }
            _ => all = None,
        }
    }
    all
}

/// Gives each argument its place in the operation, and says which are missing or unknown.
fn fit(
    operation: Operation,
    arguments: Vec<(&Node, Argument)>,
    with: &Node,
    compiler: &mut Compiler<'_>,
) -> Option<Rendering> {
    let place = with.get("parameters").unwrap_or(with);
    let given: Vec<&str> = arguments.iter().map(|(_, argument)| &*argument.name).collect();
    let declares = |name: &str| operation.parameters.iter().any(|parameter| parameter.name == name);
    let mut fine = true;
    let mut missing = |name: &str, compiler: &mut Compiler<'_>| {
        let message = format!("the operation needs the parameter `{name}`");
        compiler.error("FS-OPENAPI-PARAMETER", place, message, &format!("add `{name}:` to `parameters`"));
        fine = false;
    };
    for parameter in operation.parameters.iter().filter(|parameter| parameter.required) {
        if !given.contains(&&*parameter.name) {
            missing(&parameter.name, compiler);
        }
    }
    let whole = operation.body.as_ref().filter(|body| !declares(&body.name) && given.contains(&&*body.name));
    let rest: Vec<&str> = given.iter().copied().filter(|name| !declares(name)).collect();
    if let (Some(body), None) = (&operation.body, whole) {
        if body.required && rest.is_empty() {
            missing(&body.name, compiler);
        }
        for field in body.fields.iter().flatten().filter(|field| field.required && !rest.is_empty()) {
            if !rest.contains(&&*field.name) {
                missing(&field.name, compiler);
            }
        }
    }
    for (node, argument) in &arguments {
        let name = &*argument.name;
        let is_known = declares(name)
            || match (&operation.body, whole) {
                (None, _) => false,
                (Some(body), Some(_)) => body.name == name,
                (Some(body), None) => {
                    body.fields.as_ref().is_none_or(|fields| fields.iter().any(|field| field.name == name))
                }
            };
        if !is_known {
            let parameters = operation.parameters.iter().map(|parameter| &*parameter.name);
            let body = operation.body.iter().flat_map(|body| {
                std::iter::once(&*body.name).chain(body.fields.iter().flatten().map(|field| &*field.name))
            });
            let hint = suggestion(name, parameters.chain(body));
            let message = format!("the operation has no parameter `{name}`");
            compiler.push(Diagnostic::error("FS-OPENAPI-PARAMETER", node.span, message).with_hint(hint));
            fine = false;
        }
    }
    let is_whole = whole.is_some();
    fine.then(|| Rendering::new(operation, arguments.into_iter().map(|(_, argument)| argument).collect(), is_whole))
}

fn report(why: &DocumentError, node: &Node, compiler: &mut Compiler<'_>) {
    let hint = match why {
        DocumentError::NoOperation { hint, .. } => hint.clone(),
        _ => "the document must be mended, or another one named".to_owned(),
    };
    compiler.error("FS-OPENAPI", node, format!("the OpenAPI document can't be used: {why}"), &hint);
}
