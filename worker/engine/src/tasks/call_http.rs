//! `call: http`: asks a service and takes its answer.

use super::http::{self, HttpCall, Reply};
use super::{Outcome, Signal, TaskType};
use crate::api::{Env, HttpRequest, Projection, Request, Value, WaitReason};
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::machine::vars::Vars;
use crate::plan::authentication::Policy;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::Problem;

mod request;

use request::Rendering;

/// The call's arguments.
#[derive(Debug)]
pub(crate) struct CallHttp {
    rendering: Rendering,
    reply: Reply,
}

const WITH: Keys = Keys {
    of: "`with` of an HTTP call",
    known: &["method", "endpoint", "headers", "body", "query", "output", "redirect"],
    not_yet: &[],
};

impl TaskType for CallHttp {
    const KEY: &'static str = "call";
    const KIND: Option<&'static str> = Some("http");
    const MORE_KEYS: &'static [&'static str] = &["with"];
    const TAG: u8 = 9;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let with = compiler.required(task.node, "with", "an HTTP call")?;
        compiler.mapping(with, WITH)?;
        let rendering = Rendering::compile(with, WITH.of, compiler);
        let reply = Reply::compile(with, compiler);
        Some(Self { rendering: rendering?, reply: reply? })
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

impl HttpCall for CallHttp {
    fn request(&self, vars: &Vars<'_>, input: &Value, idempotency_key: &str) -> Result<HttpRequest, Problem> {
        self.rendering.request(vars, input, idempotency_key)
    }

    fn summary(&self) -> &str {
        self.rendering.summary()
    }

    fn shown(&self, request: &HttpRequest) -> Value {
        self.rendering.shown(request)
    }

    fn authentication(&self) -> Option<&Policy> {
        self.rendering.authentication()
    }

    fn reply(&self) -> &Reply {
        &self.reply
    }
}
