//! `for`: runs a list once for each item of an array.
//!
//! The array is shared, never copied: what a round remembers is its index.

use super::{Outcome, TaskType};
use crate::api::Value;
use crate::expr::{Expression, Template};
use crate::machine::cx::Cx;
use crate::plan::BlockIndex;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::{Problem, ProblemKind};
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::source::Node;
use crate::value;

/// What to go through, and what to do with each item.
#[derive(Debug)]
pub(crate) struct For {
    items: Items,
    each: String,
    at: String,
    condition: Option<Expression>,
    list: BlockIndex,
}

#[derive(Debug)]
enum Items {
    Expression(Expression),
    /// An array in the definition, with expressions in it.
    Inline(Template),
}

/// The round that runs.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// An array with an item at `index`, which is below 2^32.
    items: Value,
    index: Value,
}

const FOR: Keys = Keys { of: "`for`", known: &["each", "in", "at"], not_yet: &[] };

impl TaskType for For {
    const KEY: &'static str = "for";
    const MORE_KEYS: &'static [&'static str] = &["while", "do"];
    const TAG: u8 = 10;
    type Memory = Round;

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let node = task.own(Self::KEY);
        let is_mapping = compiler.mapping(node, FOR).is_some();
        let items = compiler
            .required(node, "in", FOR.of)
            .filter(|_| is_mapping)
            .and_then(|items| Items::compile(items, compiler));
        let mut name = |key: &str, default: &str| match node.get(key) {
            // With a wrong name, the rest is looked at under the default one.
            Some(name) => compiler.variable_name(name, &format!("`for.{key}`")).unwrap_or_else(|| default.to_owned()),
            None => default.to_owned(),
        };
        let (each, at) = (name("each", "item"), name("at", "index"));
        if each == at
            && let Some(name) = node.get("at").or(node.get("each"))
        {
            compiler.error(
                "FS-VALUE",
                name,
                "`for.each` and `for.at` have the same name",
                "name one of them differently",
            );
        }
        let (condition, list) = compiler.with_locals(&[&each, &at], |compiler| {
            let condition =
                task.node.get("while").map(|condition| compiler.condition(condition, "`while`", At::Definition));
            let list = compiler.required(task.node, "do", "a `for` task");
            (condition, list.and_then(|list| compiler.list(list, &task.pointer.child("do"))))
        });
        let condition = match condition {
            Some(condition) => Some(condition?),
            None => None,
        };
        Some(Self { items: items?, each, at, condition, list: list? })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Round, Outcome), Problem> {
        let items = match &self.items {
            Items::Expression(expression) => cx.vars().eval_expr(expression, cx.input())?,
            Items::Inline(template) => cx.vars().eval(template, cx.input())?,
        };
        let items = match items {
            Value::Null => value::array([]),
            Value::Arr(_) => items,
            other => {
                let detail = format!("`for.in` must give an array, not {}", value::type_name(&other));
                return Err(Problem::new(ProblemKind::Expression, detail, ""));
            }
        };
        let round = Round { items, index: value::int(0) };
        let outcome = self.go_round(&round, cx, cx.input().clone())?;
        Ok((round, outcome))
    }

    fn list_done(
        &self,
        round: &mut Round,
        cx: &mut Cx<'_, '_>,
        _: BlockIndex,
        output: Value,
    ) -> Result<Outcome, Problem> {
        let next = Round { items: round.items.clone(), index: value::int(i64::from(round.index()) + 1) };
        let outcome = self.go_round(&next, cx, output)?;
        *round = next;
        Ok(outcome)
    }

    fn local<'m>(&self, round: &'m Round, name: &str) -> Option<&'m Value> {
        // The same name twice is a mistake; the item would be hidden by the index.
        if name == self.at {
            Some(&round.index)
        } else if name == self.each {
            round.item()
        } else {
            None
        }
    }

    fn iteration(&self, round: &Round) -> Option<u32> {
        Some(round.index())
    }
}

impl For {
    /// The next round, on the output of the one before; without another one that is the task's own.
    fn go_round(&self, round: &Round, cx: &Cx<'_, '_>, input: Value) -> Result<Outcome, Problem> {
        let Some(item) = round.item() else { return Ok(Outcome::Done(input)) };
        if let Some(condition) = &self.condition {
            let locals = [(self.each.as_str(), item), (self.at.as_str(), &round.index)];
            if !cx.vars().with_locals(&locals).condition(condition, &input)? {
                return Ok(Outcome::Done(input));
            }
        }
        Ok(Outcome::List(self.list, input))
    }
}

impl Round {
    fn index(&self) -> u32 {
        // More items than fit into memory can't be.
        value::as_i64(&self.index).and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX)
    }

    fn item(&self) -> Option<&Value> {
        value::as_array(&self.items)?.get(self.index() as usize)
    }
}

impl Items {
    fn compile(node: &Node, compiler: &mut Compiler<'_>) -> Option<Self> {
        if node.as_str().is_some() {
            compiler.jq(node, "`for.in`", At::Definition).map(Self::Expression)
        } else if node.as_seq().is_some() {
            compiler.template(node, At::Definition).map(Self::Inline)
        } else {
            compiler.wrong_type(node, "`for.in`", "an expression or a list of items");
            None
        }
    }
}

impl Stored for Round {
    fn write(&self, to: &mut Writer) {
        self.items.write(to);
        self.index().write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self { items: Stored::read(from)?, index: value::int(i64::from(u32::read(from)?)) })
    }
}
