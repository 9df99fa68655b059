//! Which tasks of a list the flow can come to. For a warning only: what runs never asks.
//!
//! Where it is not known, a way is taken to be open: conditions may hold or not, whatever they say, and any task may fault.

use super::{Block, BlockIndex, BlockKind, Task, TaskIndex, Then};
use crate::diagnostic::{Diagnostic, Span};

/// How the flow can leave a task, errors aside.
#[derive(Debug)]
pub(crate) struct Ways {
    /// By the task's own `then`.
    pub(crate) by_then: bool,
    /// By these instead.
    pub(crate) directives: Vec<Then>,
}

/// The lists whose inner lists were looked at already.
pub(crate) struct Reach<'p> {
    tasks: &'p [Task],
    blocks: &'p [Block],
    /// Whether the flow can come out of a list so that the task around it goes on.
    left: Vec<bool>,
}

impl Ways {
    pub(crate) const BY_THEN: Self = Self { by_then: true, directives: Vec::new() };
    pub(crate) const NONE: Self = Self { by_then: false, directives: Vec::new() };

    pub(crate) fn by_then_if(by_then: bool) -> Self {
        Self { by_then, ..Self::NONE }
    }
}

/// Warns of the tasks that the flow never comes to; neighbours together.
pub(super) fn unreached(tasks: &[Task], blocks: &[Block], places: &[Option<Span>]) -> Vec<Diagnostic> {
    let mut reach = Reach { tasks, blocks, left: vec![true; blocks.len()] };
    let mut found = Vec::new();
    // A list stands behind those around it.
    for (index, block) in blocks.iter().enumerate().rev() {
        if !matches!(block.kind, BlockKind::List | BlockKind::Extension) {
            continue;
        }
        let (reached, is_left) = reach.list(block);
        reach.left[index] = is_left;
        let mut position = 0;
        while position < reached.len() {
            let count = reached[position..].iter().take_while(|is_reached| !**is_reached).count();
            if count > 0 {
                found.extend(reach.warning(&block.tasks[position..position + count], places));
            }
            position += count + 1;
        }
    }
    found
}

impl Reach<'_> {
    /// Whether the flow can come out of a list so that the task around it goes on.
    pub(crate) fn is_left(&self, list: BlockIndex) -> bool {
        self.left[list.0 as usize]
    }

    /// Whether each of the branches can come to its end.
    pub(crate) fn branches(&self, branches: BlockIndex) -> Vec<bool> {
        let goes_on = |then: Then| then != Then::End;
        let tasks = &self.blocks[branches.0 as usize].tasks;
        tasks.iter().map(|task| self.ways(*task).into_iter().any(goes_on)).collect()
    }

    /// Which tasks of a list are reached, and whether the list is left.
    fn list(&self, block: &Block) -> (Vec<bool>, bool) {
        let count = block.tasks.len();
        let mut reached = vec![false; count];
        let mut is_left = count == 0;
        let mut open = vec![0];
        while let Some(position) = open.pop() {
            match reached.get_mut(position) {
                None => is_left = true,
                Some(true) => {}
                Some(is_reached) => {
                    *is_reached = true;
                    for way in self.ways(block.tasks[position]) {
                        match way {
                            Then::Continue => open.push(position + 1),
                            Then::Sibling(next) => open.push(next as usize),
                            Then::Exit => is_left = true,
                            Then::End => {}
                        }
                    }
                }
            }
        }
        (reached, is_left)
    }

    /// The directives that may follow a task.
    fn ways(&self, task: TaskIndex) -> Vec<Then> {
        let Task { common, kind, extensions, .. } = &self.tasks[task.0 as usize];
        let Ways { by_then, mut directives } = kind.ways(self);
        // What runs before a task may stand in for it.
        if by_then || !extensions.is_empty() {
            directives.push(common.then);
        }
        if common.condition.is_some() {
            directives.push(Then::Continue);
        }
        directives
    }

    fn warning(&self, tasks: &[TaskIndex], places: &[Option<Span>]) -> Option<Diagnostic> {
        let first = tasks.first()?.0 as usize;
        let name = &self.tasks[first].name;
        let message = match tasks.len() {
            1 => format!("`{name}` is never reached"),
            2 => format!("`{name}` and the task after it are never reached"),
            count => format!("`{name}` and the {} tasks after it are never reached", count - 1),
        };
        let hint = "what stands before goes elsewhere, or never ends well: lead a `then` here, or remove it";
        Some(Diagnostic::warning("FS-LINT-UNREACHABLE", places[first]?, message).with_hint(hint))
    }
}
