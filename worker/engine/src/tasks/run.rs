//! `run`: starts something of its own and, unless told otherwise, waits for its end. One file per kind of process.

mod arguments;
pub(super) mod container;
mod program;
pub(super) mod script;
pub(super) mod shell;
pub(super) mod workflow;

pub use arguments::program_options;

use crate::diagnostic::{Diagnostic, suggestion};
use crate::plan::compiler::{Compiler, TaskNode};
use crate::source::Node;

const KEY: &str = "run";
const KINDS: [&str; 4] = ["container", "script", "shell", "workflow"];
const RETURNS: [(&str, Return); 5] = [
    ("stdout", Return::Stdout),
    ("stderr", Return::Stderr),
    ("code", Return::Code),
    ("all", Return::All),
    ("none", Return::None),
];

/// What all kinds of processes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Options {
    awaits: Await,
    returns: Return,
}

/// Whether the task waits for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Await {
    End,
    Nothing,
}

/// What the task's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Return {
    Stdout,
    Stderr,
    Code,
    All,
    None,
}

impl Options {
    /// The options, and what `kind` says.
    fn compile<'n>(task: &TaskNode<'n>, kind: &'static str, compiler: &mut Compiler<'_>) -> Option<(Self, &'n Node)> {
        let node = task.own(KEY);
        if let Some((other, _)) = KINDS.iter().filter(|other| **other != kind).find_map(|other| node.entry(other)) {
            let message = format!("`run` has both `{kind}` and `{}`", other.text);
            compiler.push(Diagnostic::error("FS-TASK-TYPE", other.span, message).with_hint("split it into two tasks"));
            return None;
        }
        compiler.check_keys(node.as_map()?, "`run`", &[&[kind, "await", "return"]], &[]);
        let awaits = match node.get("await").map(|awaits| (awaits, awaits.as_bool())) {
            None | Some((_, Some(true))) => Some(Await::End),
            Some((_, Some(false))) => Some(Await::Nothing),
            Some((awaits, None)) => {
                compiler.wrong_type(awaits, "`await`", "true or false");
                None
            }
        };
        let returns = match node.get("return") {
            None => Some(Return::Stdout),
            Some(returns) => {
                let text = compiler.text(returns, "`return`")?;
                let known = RETURNS.iter().find(|(name, _)| *name == text).map(|(_, returns)| *returns);
                if known.is_none() {
                    let hint = suggestion(text, RETURNS.iter().map(|(name, _)| *name));
                    compiler.error("FS-VALUE", returns, format!("`return` can't be `{text}`"), &hint);
                }
                known
            }
        };
        Some((Self { awaits: awaits?, returns: returns? }, node.get(kind)?))
    }
}
