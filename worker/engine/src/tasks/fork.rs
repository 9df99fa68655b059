//! `fork`: runs branches side by side, all of them to their end or until the first has won.
//!
//! Each branch has a `$context` of its own. When all are done, what each changed is merged in the declared order; of
//! a race only the winner's counts.

use super::{Branch, Outcome, TaskType};
use crate::api::Value;
use crate::machine::cx::Cx;
use crate::plan::BlockIndex;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::reach::{Reach, Ways};
use crate::problem::Problem;
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::value;

/// The branches.
#[derive(Debug)]
pub(crate) struct Fork {
    branches: BlockIndex,
    count: u32,
    goal: Goal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// All branches are done.
    All,
    /// The first is done.
    First,
}

/// What the branches that are over have left.
#[derive(Debug, Clone)]
pub(crate) struct Over {
    open: u32,
    /// Outputs in declared order, null where a branch is still open.
    outputs: Vec<Value>,
    /// What branches exported, by their position.
    contexts: Vec<(u32, Value)>,
}

const FORK: Keys = Keys { of: "`fork`", known: &["branches", "compete"], not_yet: &[] };

impl TaskType for Fork {
    const KEY: &'static str = "fork";
    const TAG: u8 = 11;
    type Memory = Over;

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let node = task.own(Self::KEY);
        compiler.mapping(node, FORK)?;
        let goal = match node.get("compete").map(|compete| (compete, compete.as_bool())) {
            None | Some((_, Some(false))) => Some(Goal::All),
            Some((_, Some(true))) => Some(Goal::First),
            Some((compete, None)) => {
                compiler.wrong_type(compete, "`fork.compete`", "true or false");
                None
            }
        };
        let branches = compiler.required(node, "branches", FORK.of)?;
        let count = branches.as_seq().map_or(0, <[_]>::len) as u32;
        let branches = compiler.branches(branches, &task.pointer.child(Self::KEY).child("branches"))?;
        Some(Self { branches, count, goal: goal? })
    }

    fn ways(&self, reach: &Reach<'_>) -> Ways {
        let mut branches = reach.branches(self.branches).into_iter();
        Ways::by_then_if(match self.goal {
            Goal::All => branches.all(|is_left| is_left),
            Goal::First => self.count == 0 || branches.any(|is_left| is_left),
        })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Over, Outcome), Problem> {
        let input = cx.input().clone();
        let outputs = match self.goal {
            Goal::All => vec![Value::Null; self.count as usize],
            Goal::First => Vec::new(),
        };
        let outcome = if self.count == 0 { Outcome::Done(input) } else { Outcome::Fork(self.branches, input) };
        Ok((Over { open: self.count, outputs, contexts: Vec::new() }, outcome))
    }

    fn branch_done(&self, over: &mut Over, cx: &mut Cx<'_, '_>, branch: Branch) -> Result<Outcome, Problem> {
        over.open -= 1;
        let Branch { position, output, context } = branch;
        over.contexts.extend(context.map(|context| (position, context)));
        match self.goal {
            Goal::All => {
                if let Some(place) = over.outputs.get_mut(position as usize) {
                    *place = output;
                }
                if over.open > 0 {
                    return Ok(Outcome::Pause);
                }
                merge(std::mem::take(&mut over.contexts), cx);
                Ok(Outcome::Done(value::array(std::mem::take(&mut over.outputs))))
            }
            Goal::First => {
                cx.cancel_inside();
                merge(std::mem::take(&mut over.contexts), cx);
                Ok(Outcome::Done(output))
            }
        }
    }

    fn branch_faulted(
        &self,
        over: &mut Over,
        _: &mut Cx<'_, '_>,
        _: Branch,
        problem: Problem,
    ) -> Result<Outcome, Problem> {
        over.open -= 1;
        match self.goal {
            Goal::First if over.open > 0 => Ok(Outcome::Pause),
            Goal::First | Goal::All => Err(problem),
        }
    }
}

/// Applies to `$context` what each branch changed of it, in declared order.
fn merge(mut contexts: Vec<(u32, Value)>, cx: &mut Cx<'_, '_>) {
    if contexts.is_empty() {
        return;
    }
    contexts.sort_unstable_by_key(|(position, _)| *position);
    let before = cx.context().clone();
    let mut merged = before.clone();
    for (_, context) in contexts {
        merged = match (&context, merged) {
            (Value::Obj(_), Value::Obj(map)) => change(&before, &context, Value::Obj(map)),
            _ => context,
        };
    }
    cx.set_context(merged);
}

/// The top-level keys that differ between `before` and `after`, set or removed in `merged`.
fn change(before: &Value, after: &Value, merged: Value) -> Value {
    let removed: Vec<&str> =
        value::entries(before).map(|(key, _)| key).filter(|key| value::get(after, key).is_none()).collect();
    let is_new = |(key, item): &(&str, &Value)| value::get(before, key).is_none_or(|old| !value::equal(old, item));
    let Value::Obj(map) = merged else { return merged };
    let mut map = std::sync::Arc::unwrap_or_clone(map);
    for key in removed {
        map.shift_remove(&value::string(key));
    }
    for (key, item) in value::entries(after).filter(is_new) {
        map.insert(value::string(key), item.clone());
    }
    Value::obj(map)
}

impl Stored for Over {
    fn write(&self, to: &mut Writer) {
        self.open.write(to);
        self.outputs.write(to);
        self.contexts.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self { open: Stored::read(from)?, outputs: Stored::read(from)?, contexts: Stored::read(from)? })
    }
}
