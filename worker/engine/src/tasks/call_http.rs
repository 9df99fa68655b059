//! `call: http`: asks a service and takes its answer.
//!
//! The request is never kept: it may hold secrets. It is rendered again from the same inputs whenever it must be sent
//! again, and `Idempotency-Key` tells the service that it is the same.

use super::{Outcome, Signal, TaskType};
use crate::api::{EffectOutcome, Env, Projection, Request, Value, WaitReason};
use crate::content;
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::machine::vars::Vars;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::{Problem, ProblemKind};
use crate::value;

mod request;

use request::Rendering;

/// The call's arguments.
#[derive(Debug)]
pub(crate) struct CallHttp {
    rendering: Rendering,
    output: Output,
    redirect: Redirect,
}

/// What of the answer is the task's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// The content by its media type.
    Content,
    /// Status, headers, content and the request.
    Response,
    /// The bytes as base64.
    Raw,
}

/// What a status of 3xx means. It is never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Redirect {
    Error,
    Success,
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
        let output = match with.get("output").map(|output| (output, output.as_str())) {
            None | Some((_, Some("content"))) => Some(Output::Content),
            Some((_, Some("response"))) => Some(Output::Response),
            Some((_, Some("raw"))) => Some(Output::Raw),
            Some((node, _)) => {
                compiler.error(
                    "FS-VALUE",
                    node,
                    "`output` must be `content`, `response` or `raw`",
                    "leave it out for `content`",
                );
                None
            }
        };
        let redirect = match with.get("redirect").map(|redirect| (redirect, redirect.as_bool())) {
            None | Some((_, Some(false))) => Some(Redirect::Error),
            Some((_, Some(true))) => Some(Redirect::Success),
            Some((node, None)) => {
                compiler.wrong_type(node, "`redirect`", "true or false");
                None
            }
        };
        Some(Self { rendering: rendering?, output: output?, redirect: redirect? })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        let request = self.rendering.request(&cx.vars(), cx.input(), &cx.idempotency_key())?;
        cx.request(0, Request::Http(request));
        Ok(((), Outcome::Pause))
    }

    fn wake(&self, (): &mut (), cx: &mut Cx<'_, '_>, signal: Signal<'_>) -> Option<Result<Outcome, Problem>> {
        let Signal::Effect { part: 0, outcome } = signal else { return None };
        Some(match outcome {
            EffectOutcome::Http { status, headers, body, .. } => {
                cx.count_answer();
                self.answer(&Answer { status, headers: &headers, body: &body }, cx).map(Outcome::Done)
            }
            EffectOutcome::NoAnswer { reason } => {
                Err(Problem::new(ProblemKind::Communication, format!("no answer came: {reason}"), ""))
            }
            EffectOutcome::NotAuthenticated { reason } => Err(Problem::new(ProblemKind::Authentication, reason, "")),
            EffectOutcome::Process { .. } => return None,
        })
    }

    fn project(&self, (): &(), look: &Look<'_>, to: &mut Projection) {
        to.effects.push((look.slot(0), look.task().pointer.clone()));
    }

    fn wait_reason(&self, (): &(), look: &Look<'_>) -> Option<WaitReason> {
        Some(WaitReason {
            task: look.task().pointer.clone(),
            kind: "effect",
            what: self.rendering.summary().to_owned(),
            correlate: Vec::new(),
            since_us: look.frame.started_us,
            until_us: None,
        })
    }

    fn render(&self, (): &(), look: &Look<'_>, env: &Env<'_>) -> Option<Result<Request, Problem>> {
        let key = look.instance.idempotency_key(look.plan, look.frame.task, &[]);
        Some(self.rendering.request(&look.vars(env), &look.frame.input, &key).map(Request::Http))
    }
}

struct Answer<'a> {
    status: u16,
    headers: &'a [(String, String)],
    body: &'a [u8],
}

impl CallHttp {
    fn answer(&self, answer: &Answer<'_>, cx: &Cx<'_, '_>) -> Result<Value, Problem> {
        let fine = match answer.status {
            200..300 => true,
            300..400 => self.redirect == Redirect::Success,
            _ => false,
        };
        if !fine {
            let detail = format!("{} answered with status {}", self.rendering.summary(), answer.status);
            return Err(Problem::new(ProblemKind::Communication, detail, "").with_status(answer.status.into()));
        }
        match self.output {
            Output::Raw if answer.body.is_empty() => Ok(Value::Null),
            Output::Raw => Ok(content::base64(answer.body)),
            Output::Content => answer.content(cx.limits()),
            Output::Response => self.response(answer, &cx.vars(), cx),
        }
    }

    fn response(&self, answer: &Answer<'_>, vars: &Vars<'_>, cx: &Cx<'_, '_>) -> Result<Value, Problem> {
        let request = self.rendering.request(vars, cx.input(), &cx.idempotency_key())?;
        Ok(value::object([
            ("request", self.rendering.shown(&request)),
            ("statusCode", value::int(answer.status.into())),
            ("headers", headers_value(answer.headers)),
            ("content", answer.content(cx.limits())?),
        ]))
    }
}

impl Answer<'_> {
    fn content(&self, limits: &crate::Limits) -> Result<Value, Problem> {
        let media_type = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        content::decode(media_type.map(|(_, value)| value.as_str()), self.body, limits)
            .map_err(|why| Problem::new(ProblemKind::Communication, format!("the answer can't be read: {why}"), ""))
    }
}

/// Repeated headers are joined as HTTP allows.
fn headers_value(headers: &[(String, String)]) -> Value {
    let mut joined: Vec<(String, String)> = Vec::new();
    for (name, text) in headers {
        match joined.iter_mut().find(|(known, _)| known == name) {
            Some((_, all)) => {
                all.push_str(", ");
                all.push_str(text);
            }
            None => joined.push((name.clone(), text.clone())),
        }
    }
    value::object(joined.into_iter().map(|(name, text)| (name, value::string(text))))
}
