//! `run: container`: a program in an image. Checked, not run.

use super::Options;
use crate::machine::cx::Cx;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::shape::{Object, Shape};
use crate::problem::Problem;
use crate::tasks::unrunnable::Unrunnable;
use crate::tasks::{Outcome, TaskType};

/// The container.
#[derive(Debug)]
pub(crate) struct RunContainer(Unrunnable);

const KIND: &str = "container";
const CONTAINER: Object = Object {
    keys: Keys {
        of: "`run.container`",
        known: &[
            "image",
            "name",
            "command",
            "ports",
            "volumes",
            "environment",
            "stdin",
            "arguments",
            "lifetime",
            "pullPolicy",
        ],
        not_yet: &[],
    },
    shapes: &[
        Shape::Text,
        Shape::Text,
        // As a shell's: `${HOME}` in it is none of ours.
        Shape::Elsewhere,
        Shape::Mapping,
        Shape::Mapping,
        Shape::Mapping,
        Shape::Text,
        Shape::Texts,
        Shape::Object(&LIFETIME),
        Shape::Choice(&["ifNotPresent", "always", "never"]),
    ],
    required: &["image"],
    exactly_one: &[],
};
const LIFETIME: Object = Object {
    keys: Keys { of: "`lifetime`", known: &["cleanup", "after"], not_yet: &[] },
    shapes: &[Shape::Choice(&["always", "never", "eventually"]), Shape::Duration],
    required: &["cleanup"],
    exactly_one: &[],
};

impl TaskType for RunContainer {
    const KEY: &'static str = super::KEY;
    const KIND: Option<&'static str> = Some(KIND);
    const TAG: u8 = 21;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let options = Options::compile(task, KIND, compiler);
        let node = task.own(super::KEY).get(KIND)?;
        compiler.check_object(node, &CONTAINER);
        if let Some(command) = node.get("command")
            && compiler.text(command, "`command`").is_some()
        {
            compiler.shell_command(command, At::Definition);
        }
        if let Some(lifetime) = node.get("lifetime") {
            let eventually = lifetime.get("cleanup").and_then(|cleanup| cleanup.as_str()) == Some("eventually");
            match lifetime.get("after") {
                None if eventually => {
                    compiler.required(lifetime, "after", "`lifetime` with `cleanup: eventually`");
                }
                Some(after) if !eventually => {
                    let hint = "write `cleanup: eventually`, or leave `after` out";
                    compiler.error("FS-VALUE", after, "`after` belongs to `cleanup: eventually`", hint);
                }
                _ => {}
            }
        }
        options?;
        Some(Self(Unrunnable::new("run containers", node.span, compiler)))
    }

    fn enter(&self, _cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        Err(self.0.fault())
    }
}
