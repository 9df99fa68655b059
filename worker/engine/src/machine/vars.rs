//! The variables of an expression: made only when it uses them.

use std::collections::BTreeMap;

use super::frame::{Frame, State};
use crate::api::{Authorization, Env, Value};
use crate::expr::{self, ExprError, Expression, LimitHit, Template};
use crate::instance::Instance;
use crate::limits::Limits;
use crate::plan::{BlockKind, Plan};
use crate::problem::{Problem, ProblemKind};
use crate::time;
use crate::value;

/// What one evaluation can see. Which of it an expression may use was checked when the definition was loaded.
#[derive(Clone, Copy)]
pub(crate) struct Vars<'a> {
    plan: &'a Plan,
    instance: &'a Instance,
    secrets: &'a BTreeMap<String, Value>,
    limits: &'a Limits,
    /// The task; none for the workflow's own expressions.
    frame: Option<&'a Frame>,
    raw_output: Option<&'a Value>,
    output: Option<&'a Value>,
    /// `$authorization`, where it is known.
    authorization: Option<&'a Authorization>,
    /// Variables that the task's own type gives here; before those of the tasks around it.
    locals: &'a [(&'a str, &'a Value)],
}

impl<'a> Vars<'a> {
    pub(crate) fn of_workflow(plan: &'a Plan, instance: &'a Instance, env: &Env<'a>) -> Self {
        let (secrets, limits) = (env.secrets, env.limits);
        Self {
            plan,
            instance,
            secrets,
            limits,
            frame: None,
            raw_output: None,
            output: None,
            authorization: None,
            locals: &[],
        }
    }

    pub(crate) fn of_task(plan: &'a Plan, instance: &'a Instance, env: &Env<'a>, frame: &'a Frame) -> Self {
        Self { frame: Some(frame), ..Self::of_workflow(plan, instance, env) }
    }

    /// `$task.output`, from `output.as` on.
    pub(crate) fn after(self, raw_output: &'a Value) -> Self {
        Self { raw_output: Some(raw_output), ..self }
    }

    /// `$output`, in `export.as`.
    pub(crate) fn with_output(self, output: &'a Value) -> Self {
        Self { output: Some(output), ..self }
    }

    /// `$authorization`.
    pub(crate) fn authorized(self, authorization: Option<&'a Authorization>) -> Self {
        Self { authorization, ..self }
    }

    pub(crate) fn with_locals(self, locals: &'a [(&'a str, &'a Value)]) -> Self {
        Self { locals, ..self }
    }

    /// A template's value with `input` as `.`.
    pub(crate) fn eval(&self, template: &Template, input: &Value) -> Result<Value, Problem> {
        if !self.plan.workflow().secrets.is_empty() {
            let mut readable = Ok(());
            template.each_expression(&mut |expression| {
                if readable.is_ok() {
                    readable = self.check_secrets(expression);
                }
            });
            readable?;
        }
        let made = template.eval(input, self, self.limits).map_err(|error| error.into_problem(""))?;
        match template {
            // An expression checks its own result.
            Template::Constant(_) | Template::Expression(_) => Ok(made),
            _ => self.check_size(made),
        }
    }

    /// Results put together can be larger and deeper than each: values must not grow from task to task without end.
    fn check_size(&self, made: Value) -> Result<Value, Problem> {
        let size = self.instance.sizes.measure(&made);
        let hit = if size.depth > self.limits.json_depth_max {
            LimitHit::Depth
        } else if size.json_bytes > self.limits.expression_output_bytes_max {
            LimitHit::Output
        } else {
            return Ok(made);
        };
        Err(ExprError::Limit(hit).into_problem(""))
    }

    /// An expression's value with `input` as `.`.
    pub(crate) fn eval_expr(&self, expression: &Expression, input: &Value) -> Result<Value, Problem> {
        self.check_secrets(expression)?;
        expression.eval(input, self, self.limits).map_err(|error| error.into_problem(""))
    }

    /// Whether a condition holds with `input` as `.`.
    pub(crate) fn condition(&self, expression: &Expression, input: &Value) -> Result<bool, Problem> {
        self.eval_expr(expression, input).map(|result| value::truthy(&result))
    }

    /// A listed secret that the store lacks is refused when it is first read.
    fn check_secrets(&self, expression: &Expression) -> Result<(), Problem> {
        let used = expression.secrets();
        let all = used.whole.then_some(&self.plan.workflow().secrets);
        match used.names.iter().chain(all.into_iter().flatten()).find(|name| !self.secrets.contains_key(*name)) {
            Some(name) => Err(no_secret(name)),
            None => Ok(()),
        }
    }

    /// A whole secret, by its name.
    pub(crate) fn secret(&self, name: &str) -> Result<Value, Problem> {
        self.secrets.get(name).cloned().ok_or_else(|| no_secret(name))
    }

    fn secrets(&self) -> Value {
        let listed = self.plan.workflow().secrets.iter();
        value::object(listed.filter_map(|name| Some((name.as_str(), self.secrets.get(name)?.clone()))))
    }

    fn workflow(&self) -> Value {
        value::object([
            ("id", value::string(self.instance.id.to_string())),
            ("definition", self.plan.definition().clone()),
            ("input", self.instance.input.clone()),
            ("startedAt", time::descriptor(self.instance.started_us)),
        ])
    }

    /// The task descriptor; the definition's own keys are there too, where the descriptor has none of that name.
    fn task(&self, frame: &Frame) -> Value {
        let task = self.plan.task(frame.task);
        let mut fields = vec![
            ("name", value::string(task.name.as_str())),
            ("reference", value::string(task.pointer.as_str())),
            ("definition", task.definition.clone()),
            ("input", frame.raw_input.clone()),
        ];
        let raw_output = match &frame.state {
            State::After(leaving) => Some(&leaving.raw_output),
            _ => self.raw_output,
        };
        fields.extend(raw_output.map(|output| ("output", output.clone())));
        fields.push(("startedAt", time::descriptor(frame.started_us)));
        let own: Vec<&str> = ["output"].into_iter().chain(fields.iter().map(|(name, _)| *name)).collect();
        let more = value::entries(&task.definition).filter(|(name, _)| !own.contains(name));
        value::object(fields.into_iter().chain(more.map(|(name, item)| (name, item.clone()))))
    }

    /// `$task` of a task of an extension is the extended task.
    fn subject(&self, frame: &'a Frame) -> &'a Frame {
        if !self.plan.has_extensions() {
            return frame;
        }
        let frames = &self.instance.frames;
        let in_extension = |frame: &&Frame| self.plan.block_of(frame.task).kind == BlockKind::Extension;
        let extending = frames.path(frame.run).find(in_extension);
        extending.and_then(|frame| frames.get(frame.parent?)).unwrap_or(frame)
    }

    /// `$context`, within a branch the branch's own.
    pub(crate) fn context(&self) -> &'a Value {
        self.frame.map_or(&self.instance.context, |frame| self.instance.context_of(frame))
    }

    fn local(&self, name: &str) -> Option<Value> {
        if let Some((_, local)) = self.locals.iter().find(|(local, _)| *local == name) {
            return Some((*local).clone());
        }
        let this = self.frame?;
        if let Some(apart) = self.instance.apart.get(&this.run)
            && self.instance.frames.get(this.run).is_none()
        {
            return apart.locals.iter().find(|(local, _)| local == name).map(|(_, local)| local.clone());
        }
        for frame in self.instance.frames.path(this.run) {
            let kind = &self.plan.task(frame.task).kind;
            if let Some(local) = frame.memory().and_then(|memory| kind.local(memory, name)) {
                return Some(local.clone());
            }
            if frame.run != this.run && kind.hides_locals() {
                return None;
            }
        }
        None
    }
}

impl expr::Vars for Vars<'_> {
    fn get(&self, name: &str) -> Result<Value, Problem> {
        Ok(match (name, self.frame) {
            ("context", _) => self.context().clone(),
            ("input", Some(frame)) => frame.input.clone(),
            ("output", _) => self.output.cloned().unwrap_or_default(),
            ("secrets", _) => self.secrets(),
            ("workflow", _) => self.workflow(),
            ("task", Some(frame)) => self.task(self.subject(frame)),
            ("runtime", _) => runtime(),
            ("authorization", _) => self.authorization.map(descriptor).unwrap_or_default(),
            (name, _) => self.local(name).unwrap_or_default(),
        })
    }
}

pub(crate) fn no_secret(name: &str) -> Problem {
    Problem::new(ProblemKind::Authorization, format!("the secret `{name}` is not there or denied"), "")
}

fn descriptor(authorization: &Authorization) -> Value {
    value::object([
        ("scheme", value::string(authorization.scheme.as_str())),
        ("parameter", value::string(authorization.parameter.as_str())),
    ])
}

fn runtime() -> Value {
    value::object([
        ("name", value::string("flagstop")),
        ("version", value::string(env!("CARGO_PKG_VERSION"))),
        ("metadata", value::empty_object()),
    ])
}
