//! `set`: makes data.

use super::{Outcome, TaskType};
use crate::expr::{self, Template};
use crate::machine::cx::Cx;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::problem::Problem;

/// An object with expressions in it, or one expression.
#[derive(Debug)]
pub(crate) struct Set {
    data: Template,
}

impl TaskType for Set {
    const KEY: &'static str = "set";
    const TAG: u8 = 2;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let node = task.own(Self::KEY);
        match (node.as_map(), node.as_str()) {
            (Some([]), _) => {
                compiler.error("FS-VALUE", node, "`set` sets nothing", "give it at least one property");
                None
            }
            (None, Some(text)) if !expr::holds_expression(text) => {
                compiler.error(
                    "FS-VALUE",
                    node,
                    "`set` must be a mapping or an expression",
                    "write an expression as `${ … }`",
                );
                None
            }
            (None, None) => {
                compiler.wrong_type(node, "`set`", "a mapping or an expression `${ … }`");
                None
            }
            _ => Some(Self { data: compiler.template(node, At::Definition)? }),
        }
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        Ok(((), Outcome::Done(cx.vars().eval(&self.data, cx.input())?)))
    }
}
