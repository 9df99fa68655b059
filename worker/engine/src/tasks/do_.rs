//! `do`: runs a list of tasks.

use super::{Outcome, TaskType};
use crate::machine::cx::Cx;
use crate::plan::BlockIndex;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::reach::{Reach, Ways};
use crate::problem::Problem;

/// A list inside a list.
#[derive(Debug)]
pub(crate) struct Do {
    list: BlockIndex,
}

impl TaskType for Do {
    const KEY: &'static str = "do";
    const TAG: u8 = 1;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let list = compiler.list(task.own(Self::KEY), &task.pointer.child(Self::KEY))?;
        Some(Self { list })
    }

    fn ways(&self, reach: &Reach<'_>) -> Ways {
        Ways::by_then_if(reach.is_left(self.list))
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        Ok(((), Outcome::List(self.list, cx.input().clone())))
    }
}
