//! What all calls over HTTP share: one request, one answer, and what of the answer is the task's output.
//!
//! The request is never kept: it may hold secrets. It is rendered again from the same inputs whenever it must be sent
//! again, and `Idempotency-Key` tells the service that it is the same.

mod draft;

use super::{Outcome, Signal};
use crate::api::{
    Authentication, Authorization, EffectOutcome, Env, HttpRequest, Projection, Request, Value, WaitReason,
};
use crate::content;
use crate::expr::Template;
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::machine::vars::Vars;
use crate::plan::authentication::Policy;
use crate::plan::compiler::Compiler;
use crate::problem::{Problem, ProblemKind};
use crate::source::Node;
use crate::value;

pub(super) use draft::{Draft, absolute, essence, expression, form, form_rows, header, is_token, scalar, shown};

pub(super) const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
pub(super) const CONTENT_TYPE: &str = "Content-Type";

/// A task that makes one request.
pub(super) trait HttpCall {
    fn request(&self, vars: &Vars<'_>, input: &Value, idempotency_key: &str) -> Result<HttpRequest, Problem>;

    /// Method and endpoint as they were written: what errors and lists show, as it holds no secrets.
    fn summary(&self) -> &str;

    /// The request as an output shows it: without what may hold secrets, and without what the engine added.
    fn shown(&self, request: &HttpRequest) -> Value;

    fn authentication(&self) -> Option<&Policy>;

    fn reply(&self) -> &Reply;
}

/// What becomes of the answer.
#[derive(Debug)]
pub(super) struct Reply {
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

struct Answer<'a> {
    status: u16,
    headers: &'a [(String, String)],
    body: &'a [u8],
}

pub(super) fn enter(call: &impl HttpCall, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
    let request = call.request(&cx.vars(), cx.input(), &cx.idempotency_key())?;
    cx.request(0, Request::Http(request));
    Ok(((), Outcome::Pause))
}

pub(super) fn wake(call: &impl HttpCall, cx: &mut Cx<'_, '_>, signal: Signal<'_>) -> Option<Result<Outcome, Problem>> {
    let Signal::Effect { part: 0, outcome } = signal else { return None };
    Some(match outcome {
        EffectOutcome::Http { status, headers, body, authorization } => {
            let answer = Answer { status, headers: &headers, body: &body };
            let output = answer.output(call, cx);
            cx.count_answer();
            let authorization = authorization.or_else(|| known_at_once(call, &cx.vars(), cx.input()));
            cx.authorize(authorization);
            output.map(Outcome::Done)
        }
        EffectOutcome::NoAnswer { reason } => {
            Err(Problem::new(ProblemKind::Communication, format!("no answer came: {reason}"), ""))
        }
        EffectOutcome::NotAuthenticated { reason } => Err(Problem::new(ProblemKind::Authentication, reason, "")),
        EffectOutcome::Process { .. } => return None,
    })
}

pub(super) fn project(look: &Look<'_>, to: &mut Projection) {
    to.effects.push((look.slot(0), look.task().pointer.clone()));
}

pub(super) fn wait_reason(call: &impl HttpCall, look: &Look<'_>) -> WaitReason {
    WaitReason {
        task: look.task().pointer.clone(),
        kind: "effect",
        what: call.summary().to_owned(),
        correlate: Vec::new(),
        since_us: look.frame.started_us,
        until_us: None,
    }
}

pub(super) fn render(call: &impl HttpCall, look: &Look<'_>, env: &Env<'_>) -> Result<Request, Problem> {
    let key = look.idempotency_key();
    call.request(&look.vars(env), &look.frame.input, &key).map(Request::Http)
}

/// `$authorization` of the policies whose header is known before anybody is asked.
fn known_at_once(call: &impl HttpCall, vars: &Vars<'_>, input: &Value) -> Option<Authorization> {
    let policy = call.authentication().filter(|policy| policy.is_known_at_once())?;
    policy.render(vars, input).ok().as_ref().and_then(Authentication::authorization)
}

impl Reply {
    pub(super) fn compile(with: &Node, compiler: &mut Compiler<'_>) -> Option<Self> {
        let output = match with.get("output").map(|output| (output, output.as_str())) {
            None | Some((_, Some("content"))) => Some(Output::Content),
            Some((_, Some("response"))) => Some(Output::Response),
            Some((_, Some("raw"))) => Some(Output::Raw),
            Some((node, _)) => {
                let hint = "leave it out for `content`";
                compiler.error("FS-VALUE", node, "`output` must be `content`, `response` or `raw`", hint);
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
        Some(Self { output: output?, redirect: redirect? })
    }
}

impl Answer<'_> {
    fn output(&self, call: &impl HttpCall, cx: &Cx<'_, '_>) -> Result<Value, Problem> {
        let reply = call.reply();
        let fine = match self.status {
            200..300 => true,
            300..400 => reply.redirect == Redirect::Success,
            _ => false,
        };
        if !fine {
            let detail = format!("{} answered with status {}", call.summary(), self.status);
            return Err(Problem::new(ProblemKind::Communication, detail, "").with_status(self.status.into()));
        }
        match reply.output {
            Output::Raw if self.body.is_empty() => Ok(Value::Null),
            Output::Raw => Ok(content::base64(self.body)),
            Output::Content => self.content(cx.limits()),
            Output::Response => {
                let request = call.request(&cx.vars(), cx.input(), &cx.idempotency_key())?;
                Ok(value::object([
                    ("request", call.shown(&request)),
                    ("statusCode", value::int(self.status.into())),
                    ("headers", headers_value(self.headers)),
                    ("content", self.content(cx.limits())?),
                ]))
            }
        }
    }

    fn content(&self, limits: &crate::Limits) -> Result<Value, Problem> {
        let media_type = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        // An answer may be larger than a message.
        let limits = &crate::Limits { payload_bytes_max: limits.http_response_bytes_max, ..limits.clone() };
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

/// Whether a part of the request may say what it says of `$authorization`: what an identity provider or a service will
/// say is not known when the request is made.
pub(super) fn check_authorization(
    policy: Option<&Policy>,
    template: &Template,
    node: &Node,
    compiler: &mut Compiler<'_>,
) -> bool {
    let fine = policy.is_none_or(Policy::is_known_at_once) || !template.uses("authorization");
    if !fine {
        let message = "`$authorization` is known only after the answer with this authentication";
        compiler.error("FS-AUTHORIZATION", node, message, "use it in `output.as` or `export.as`");
    }
    fine
}
