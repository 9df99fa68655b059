//! `retry`: whether and when something is tried again.

use super::catch::ERROR;
use crate::api::Value;
use crate::diagnostic::Diagnostic;
use crate::duration;
use crate::expr::{Expression, Template};
use crate::machine::cx::Cx;
use crate::machine::frame::Deadline;
use crate::plan::compiler::{At, Compiler};
use crate::plan::keys::Keys;
use crate::plan::named::NamedOf;
use crate::problem::{Problem, ProblemKind};
use crate::source::Node;

/// A retry policy.
#[derive(Debug)]
pub(super) struct Policy {
    when: Option<Expression>,
    except_when: Option<Expression>,
    delay: Option<Template>,
    backoff: Backoff,
    jitter: Option<(Template, Template)>,
    /// `limit.attempt.count`: retries, not attempts.
    count: Option<u32>,
    /// `limit.attempt.duration`.
    attempt: Option<Template>,
    /// `limit.duration`.
    total: Option<Template>,
}

/// How the delay grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backoff {
    Constant,
    Linear,
    Exponential,
}

const RETRY: Keys =
    Keys { of: "`retry`", known: &["when", "exceptWhen", "delay", "backoff", "limit", "jitter"], not_yet: &[] };
const BACKOFF: Keys = Keys { of: "`backoff`", known: &["constant", "linear", "exponential"], not_yet: &[] };
const LIMIT: Keys = Keys { of: "`limit` of `retry`", known: &["attempt", "duration"], not_yet: &[] };
const ATTEMPT: Keys = Keys { of: "`limit.attempt`", known: &["count", "duration"], not_yet: &[] };
const JITTER: Keys = Keys { of: "`jitter`", known: &["from", "to"], not_yet: &[] };
const DURATION: Keys = Keys { of: "a duration", known: &duration::PART_NAMES, not_yet: &[] };

/// Delays grow no longer than this.
const DELAY_US_MAX: i64 = 24 * 60 * 60 * 1_000_000;

/// Reports what is wrong in a policy of `use.retries` that no task uses.
pub(crate) fn check_unused_policy(node: &Node, compiler: &mut Compiler<'_>) {
    Policy::compile(node, ERROR, compiler);
}

impl Policy {
    /// `catch.retry`: a policy or the name of one; `as_` is the variable that holds the error.
    pub(super) fn compile_use(node: &Node, as_: &str, compiler: &mut Compiler<'_>) -> Option<Self> {
        match node.as_str() {
            Some(_) => {
                let named = compiler.named(NamedOf::Retries, node)?;
                Self::compile(named, as_, compiler)
            }
            None => Self::compile(node, as_, compiler),
        }
    }

    fn compile(node: &Node, as_: &str, compiler: &mut Compiler<'_>) -> Option<Self> {
        let before = compiler.diagnostics.len();
        compiler.mapping(node, RETRY)?;
        // What is wrong in a part is reported, and keeps the whole definition from being used.
        let (when, except_when, delay, jitter) = compiler.with_locals(&[ERROR, as_], |compiler| {
            let mut condition = |key| {
                node.get(key).and_then(|when| compiler.condition(when, &format!("`{key}` of `retry`"), At::Definition))
            };
            let (when, except_when) = (condition("when"), condition("exceptWhen"));
            let delay = node.get("delay").and_then(|delay| compiler.duration(delay, DURATION));
            let jitter = node.get("jitter").and_then(|jitter| {
                compiler.mapping(jitter, JITTER)?;
                let mut bound = |key| {
                    let bound = compiler.required(jitter, key, JITTER.of)?;
                    compiler.duration(bound, DURATION)
                };
                let (from, to) = (bound("from"), bound("to"));
                from.zip(to)
            });
            (when, except_when, delay, jitter)
        });
        let backoff =
            node.get("backoff").map_or(Some(Backoff::Constant), |backoff| Backoff::compile(backoff, compiler));
        let limit = node.get("limit").filter(|limit| compiler.mapping(limit, LIMIT).is_some());
        let total = limit.and_then(|limit| limit.get("duration"));
        let total = total.and_then(|total| compiler.duration(total, DURATION));
        let of_attempt = limit.and_then(|limit| limit.get("attempt"));
        let of_attempt = of_attempt.filter(|attempt| compiler.mapping(attempt, ATTEMPT).is_some());
        let attempt = of_attempt.and_then(|attempt| attempt.get("duration"));
        let attempt = attempt.and_then(|attempt| compiler.duration(attempt, DURATION));
        let count = of_attempt.and_then(|attempt| attempt.get("count"));
        let count = count.and_then(|count| whole_number(count, compiler));
        let policy = Self { when, except_when, delay, backoff: backoff?, jitter, count, attempt, total };
        if !compiler.diagnostics.has_errors_since(before) {
            policy.lint_delay(node, compiler);
        }
        Some(policy)
    }

    /// Many attempts one right after the other meet the same error, and are a load on whoever it comes from.
    fn lint_delay(&self, node: &Node, compiler: &mut Compiler<'_>) {
        let is_none = |length: &Template| {
            let constant = length.as_constant();
            let length = constant.map(|length| duration::from_value(length, compiler.limits.duration_days_max));
            length.is_some_and(|length| length == Ok(0))
        };
        let mut waits = self.delay.iter().chain(self.jitter.iter().map(|(_, to)| to));
        if self.count.is_some_and(|count| count <= 1) || waits.any(|length| !is_none(length)) {
            return;
        }
        let times = match self.count {
            Some(count) => format!("{count} times"),
            None => format!("up to {} times, since it has no `limit.attempt.count`", compiler.limits.retries_max),
        };
        let message = format!("this retries without a delay, {times}");
        let hint = "give it a delay, and let it grow: `delay: PT1S`, `backoff: { exponential: {} }`";
        let span = node.get("delay").unwrap_or(node).span;
        compiler.push(Diagnostic::warning("FS-LINT-RETRY-DELAY", span, message).with_hint(hint));
    }

    /// When the first attempt and all of them together are cut.
    pub(super) fn deadlines(&self, cx: &Cx<'_, '_>) -> Result<(Option<Deadline>, Option<Deadline>), Problem> {
        let deadline = |limit: &Option<Template>| {
            let after_us =
                limit.as_ref().map(|limit| duration_us(&cx.vars().eval(limit, cx.input())?, cx)).transpose()?;
            Ok(after_us.map(|after_us| Deadline { after_us, due_us: cx.now_us().saturating_add(after_us) }))
        };
        Ok((deadline(&self.attempt)?, deadline(&self.total)?))
    }

    /// How long to wait before another attempt; `None`: there is none.
    pub(super) fn delay_us(
        &self,
        error: &Value,
        as_: &str,
        retries: u32,
        total: Option<Deadline>,
        cx: &Cx<'_, '_>,
    ) -> Result<Option<i64>, Problem> {
        let locals = [(ERROR, error), (as_, error)];
        let vars = cx.vars().with_locals(&locals);
        let holds =
            |condition: &Option<Expression>| condition.as_ref().map(|when| vars.condition(when, error)).transpose();
        let is_wanted = holds(&self.when)? != Some(false) && holds(&self.except_when)? != Some(true);
        if !is_wanted || retries >= self.count.unwrap_or(cx.limits().retries_max) {
            return Ok(None);
        }
        let length = |template: &Template| duration_us(&vars.eval(template, cx.input())?, cx);
        let delay_us = self.delay.as_ref().map(length).transpose()?.unwrap_or(0);
        let jitter_us = match &self.jitter {
            Some((from, to)) => jitter_us(length(from)?, length(to)?, cx.random(u64::from(retries)))?,
            None => 0,
        };
        let delay_us = self.backoff.grown_us(delay_us, retries).saturating_add(jitter_us);
        let is_too_late = total.is_some_and(|total| cx.now_us().saturating_add(delay_us) > total.due_us);
        Ok((!is_too_late).then_some(delay_us))
    }
}

impl Backoff {
    fn compile(node: &Node, compiler: &mut Compiler<'_>) -> Option<Self> {
        let entries = compiler.mapping(node, BACKOFF)?;
        let [(key, settings)] = entries else {
            compiler.error(
                "FS-VALUE",
                node,
                "`backoff` must be one of `constant`, `linear` and `exponential`",
                "write `backoff: { exponential: {} }`",
            );
            return None;
        };
        if settings.as_map().is_none() {
            compiler.wrong_type(settings, &format!("`backoff.{}`", key.text), "a mapping, such as `{}`");
            return None;
        }
        match &*key.text {
            "linear" => Some(Self::Linear),
            "exponential" => Some(Self::Exponential),
            _ => Some(Self::Constant),
        }
    }

    /// The delay after so many retries were made.
    fn grown_us(self, delay_us: i64, retries: u32) -> i64 {
        let factor = match self {
            Self::Constant => 1,
            Self::Linear => i64::from(retries) + 1,
            Self::Exponential => 1_i64.checked_shl(retries).filter(|factor| *factor > 0).unwrap_or(i64::MAX),
        };
        delay_us.saturating_mul(factor).min(DELAY_US_MAX)
    }
}

fn duration_us(length: &Value, cx: &Cx<'_, '_>) -> Result<i64, Problem> {
    duration::from_value(length, cx.limits().duration_days_max)
        .map_err(|why| Problem::new(ProblemKind::Expression, why.to_string(), ""))
}

/// Evenly from `from_us` to `to_us`, both included.
fn jitter_us(from_us: i64, to_us: i64, random: u64) -> Result<i64, Problem> {
    let width = to_us.checked_sub(from_us).and_then(|width| u64::try_from(width).ok());
    let width = width.ok_or_else(|| {
        Problem::new(ProblemKind::Expression, "`jitter.from` is longer than `jitter.to`".to_owned(), "")
    })?;
    let above = (u128::from(random) * (u128::from(width) + 1)) >> 64;
    Ok(from_us + above as i64)
}

fn whole_number(node: &Node, compiler: &mut Compiler<'_>) -> Option<u32> {
    let count = node.as_int().and_then(|count| u32::try_from(count).ok());
    if count.is_none() {
        compiler.error("FS-VALUE", node, "`count` must be a number of retries: 0, 1, 2 …", "write `count: 3`");
    }
    count
}
