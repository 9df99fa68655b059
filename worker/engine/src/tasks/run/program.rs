//! What `run: shell` and `run: script` share: one program, one end, and what of the end is the task's output.
//!
//! The request is never kept: it may hold secrets. It is rendered again from the same values whenever the program must
//! be started again, with the same idempotency key.

use super::arguments::Given;
use super::{Await, Options, Return};
use crate::api::{EffectOutcome, Env, ProcessKind, ProcessRequest, Projection, Request, Value, WaitReason};
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::machine::vars::Vars;
use crate::problem::{Problem, ProblemKind};
use crate::tasks::{Memory, Outcome, Signal};
use crate::value;

/// A task that runs one program.
pub(super) trait Program {
    fn options(&self) -> Options;

    /// What runs it, and its text.
    fn code(&self, vars: &Vars<'_>, input: &Value) -> Result<(ProcessKind, String), Problem>;

    fn given(&self) -> &Given;

    /// The variables around the task that its expressions use.
    fn locals(&self) -> &[String];

    /// What a run remembers.
    fn memory(&self) -> Memory;

    /// For errors and lists: holds no secret.
    fn summary(&self) -> &str;
}

/// Characters of a program's complaint that are shown in an error.
const COMPLAINT_CHARS_MAX: usize = 500;

fn request(program: &impl Program, vars: &Vars<'_>, input: &Value, idempotency_key: &str) -> Result<Request, Problem> {
    let (kind, code) = program.code(vars, input)?;
    let texts = program.given().texts(vars, input, idempotency_key)?;
    Ok(Request::Process(ProcessRequest {
        kind,
        code,
        arguments: texts.arguments,
        stdin: texts.stdin,
        environment: texts.environment,
    }))
}

pub(super) fn enter(program: &impl Program, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
    let request = request(program, &cx.vars(), cx.input(), &cx.idempotency_key())?;
    match program.options().awaits {
        Await::End => {
            cx.request(0, request);
            Ok(((), Outcome::Pause))
        }
        Await::Nothing => {
            cx.request_apart(request, program.memory(), program.locals())?;
            Ok(((), Outcome::Done(cx.input().clone())))
        }
    }
}

pub(super) fn wake(
    program: &impl Program,
    cx: &mut Cx<'_, '_>,
    signal: Signal<'_>,
) -> Option<Result<Outcome, Problem>> {
    let Signal::Effect { part: 0, outcome } = signal else { return None };
    let failed =
        |why: String| Some(Err(Problem::new(ProblemKind::Runtime, format!("{} {why}", program.summary()), "")));
    match outcome {
        EffectOutcome::Process { code, stdout, stderr } => {
            cx.count_answer();
            let code_or = |output: fn(String, String) -> Value| match code {
                0 => Some(Ok(Outcome::Done(output(stdout.clone(), stderr.clone())))),
                _ => failed(format!("ended with code {code}{}", complaint(&stderr))),
            };
            match program.options().returns {
                Return::Code => Some(Ok(Outcome::Done(value::int(code.into())))),
                Return::All => Some(Ok(Outcome::Done(value::object([
                    ("code", value::int(code.into())),
                    ("stdout", value::string(stdout)),
                    ("stderr", value::string(stderr)),
                ])))),
                Return::Stdout => code_or(|stdout, _| value::string(stdout)),
                Return::Stderr => code_or(|_, stderr| value::string(stderr)),
                Return::None => code_or(|_, _| Value::default()),
            }
        }
        EffectOutcome::NoAnswer { reason } => failed(format!("did not end by itself: {reason}")),
        EffectOutcome::Http { .. } | EffectOutcome::NotAuthenticated { .. } => None,
    }
}

pub(super) fn project(look: &Look<'_>, to: &mut Projection) {
    to.effects.push((look.slot(0), look.task().pointer.clone()));
}

pub(super) fn wait_reason(program: &impl Program, look: &Look<'_>) -> WaitReason {
    WaitReason {
        task: look.task().pointer.clone(),
        kind: "effect",
        what: program.summary().to_owned(),
        correlate: Vec::new(),
        since_us: look.frame.started_us,
        until_us: None,
    }
}

pub(super) fn render(program: &impl Program, look: &Look<'_>, env: &Env<'_>) -> Result<Request, Problem> {
    request(program, &look.vars(env), &look.frame.input, &look.idempotency_key())
}

fn complaint(stderr: &str) -> String {
    let text = stderr.trim();
    let skipped = text.chars().count().saturating_sub(COMPLAINT_CHARS_MAX);
    match text.is_empty() {
        true => String::new(),
        false => format!(": {}", text.chars().skip(skipped).collect::<String>()),
    }
}
