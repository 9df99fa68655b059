//! Runtime expressions: jq, compiled once with the definition, evaluated within limits.
//!
//! The interpreter is jaq. Around it stand: a value type that follows jq 1.7.1 where jaq does not ([`val`]), a prelude,
//! a meter that stops whatever runs too long, too deep or too big ([`meter`]), and checks when the definition is loaded
//! ([`check`]). No clock, environment, file or further input can be reached from an expression.
//!
//! What still differs from jq 1.7.1 stands in `docs/jq.md`, with its reasons.

mod check;
mod compile;
mod library;
mod literal;
mod meter;
mod natives;
mod ops;
mod order;
mod regex;
mod rewrite;
mod scope;
mod shell;
mod simple;
mod template;
mod text;
mod texts;
mod update;
mod val;
mod walk;

use crate::diagnostic::{Diagnostics, Span};
use crate::limits::Limits;
use crate::problem::{Problem, ProblemKind};
use crate::value::{self, Value};
use compile::Code;
pub use scope::{Scope, check_name};
pub use shell::{Place, ShellPart};
use std::sync::Arc;
pub use template::{Mode, Template, TextPart, Transform};
pub use text::{Whole, whole};
pub(crate) use text::{holds_expression, is_expression};

/// A compiled expression. Cheap to clone; shared by all instances of its definition.
#[derive(Clone)]
pub struct Expression(Arc<Inner>);

struct Inner {
    text: Box<str>,
    /// Names without `$`, in the order in which the code expects them. Only those that the text uses.
    variables: Vec<Box<str>>,
    secrets: SecretUse,
    code: Code,
}

/// What an expression reads of `$secrets`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretUse {
    /// Names that stand in the text, as in `$secrets.token`.
    pub names: Vec<String>,
    /// Whether `$secrets` is also used otherwise: whole, or by a computed name.
    pub whole: bool,
}

/// Where an expression finds its variables. Asked only for those that it uses, once per evaluation.
pub trait Vars {
    /// The value of a variable, named without `$`.
    fn get(&self, name: &str) -> Result<Value, Problem>;
}

impl<F: Fn(&str) -> Result<Value, Problem>> Vars for F {
    fn get(&self, name: &str) -> Result<Value, Problem> {
        self(name)
    }
}

/// No variables at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoVars;

impl Vars for NoVars {
    fn get(&self, _name: &str) -> Result<Value, Problem> {
        Ok(Value::Null)
    }
}

/// Why an evaluation gave no value.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ExprError {
    /// jq's own error.
    #[error("{0}")]
    Failed(String),
    /// More than one result.
    #[error("the expression has more than one result: put it in `[ ]`, or take one with `first( )`")]
    Many,
    /// NaN or infinity in the result.
    #[error("the result holds a number that JSON does not have (NaN or infinity)")]
    NotFinite,
    /// A limit.
    #[error("{0}")]
    Limit(LimitHit),
    /// A variable could not be given.
    #[error("{0}")]
    Variable(Problem),
}

/// Which limit stopped an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitHit {
    /// Too many steps.
    #[error("FS-EXPR-STEPS: the expression takes too many steps: does it end? (limit `expression_steps_max`)")]
    Steps,
    /// Too much built.
    #[error("FS-EXPR-BYTES: the expression builds too much data (limit `expression_bytes_built_max`)")]
    Bytes,
    /// Recursion too deep.
    #[error("FS-EXPR-STACK: the expression recurses too deeply (limit `expression_stack_bytes_max`)")]
    Stack,
    /// A value nested too deeply.
    #[error("FS-EXPR-DEPTH: the expression nests data too deeply (limits `expression_depth_max`, `json_depth_max`)")]
    Depth,
    /// The result is too big.
    #[error("FS-EXPR-OUTPUT: the expression's result is too big (limit `expression_output_bytes_max`)")]
    Output,
    /// A defect of the interpreter; the text of the panic is on standard error.
    #[error("FS-EXPR-BROKEN: the expression broke the interpreter")]
    Broken,
}

impl ExprError {
    /// The error that the task at `instance` raises.
    pub fn into_problem(self, instance: &str) -> Problem {
        match self {
            Self::Variable(problem) => problem.at(instance),
            other => Problem::new(ProblemKind::Expression, other.to_string(), instance),
        }
    }
}

impl Expression {
    /// Compiles the text, with or without `${ }` around it. `span` is where it stands, for diagnostics.
    pub fn compile(text: &str, scope: &Scope, span: Span, limits: &Limits) -> Result<Self, Diagnostics> {
        let text = match whole(text) {
            Whole::Expression(inner) => inner,
            Whole::Mixed if text.trim_start().starts_with("${") && text::unclosed(text).is_some() => {
                return Err(template::not_closed(span).into());
            }
            Whole::Plain | Whole::Mixed => text,
        };
        let parts = compile::compile(text, scope, span, limits)?;
        let inner =
            Inner { text: text.trim().into(), variables: parts.variables, secrets: parts.secrets, code: parts.code };
        Ok(Self(Arc::new(inner)))
    }

    /// Its one result: null if there is none.
    pub fn eval(&self, input: &Value, vars: &dyn Vars, limits: &Limits) -> Result<Value, ExprError> {
        let mut values = Vec::with_capacity(self.0.variables.len());
        for name in &self.0.variables {
            values.push(vars.get(name).map_err(ExprError::Variable)?);
        }
        self.0.code.run(input, values, limits)
    }

    /// Its result as a condition: only null, false and no result are false.
    pub fn test(&self, input: &Value, vars: &dyn Vars, limits: &Limits) -> Result<bool, ExprError> {
        self.eval(input, vars, limits).map(|result| value::truthy(&result))
    }

    /// The text, without `${ }`.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The variables that it uses, without `$`.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.0.variables.iter().map(|name| &**name)
    }

    /// Whether it uses the variable, named without `$`.
    pub fn uses(&self, name: &str) -> bool {
        self.variables().any(|used| used == name)
    }

    /// What it reads of `$secrets`.
    pub fn secrets(&self) -> &SecretUse {
        &self.0.secrets
    }
}

impl std::fmt::Debug for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Expression").field(&self.text()).finish()
    }
}

#[cfg(test)]
mod tests;
