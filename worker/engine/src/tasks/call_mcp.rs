//! `call: mcp`: a method of a server of the Model Context Protocol. Checked, not run.

use super::unrunnable::Unrunnable;
use super::{Outcome, TaskType};
use crate::machine::cx::Cx;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::shape::{Object, Shape};
use crate::problem::Problem;

/// The call.
#[derive(Debug)]
pub(crate) struct CallMcp(Unrunnable);

const WITH: Object = Object {
    keys: Keys {
        of: "`with` of an MCP call",
        known: &["protocolVersion", "method", "parameters", "timeout", "transport", "client"],
        not_yet: &[],
    },
    shapes: &[
        Shape::Text,
        Shape::Choice(&METHODS),
        Shape::Mapping,
        Shape::Duration,
        Shape::Object(&TRANSPORT),
        Shape::Object(&CLIENT),
    ],
    required: &["method", "transport"],
    exactly_one: &[],
};
const METHODS: [&str; 7] = [
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
];
const TRANSPORT: Object = Object {
    keys: Keys { of: "`transport`", known: &["http", "stdio", "options"], not_yet: &[] },
    shapes: &[Shape::Object(&HTTP), Shape::Object(&STDIO), Shape::TextMapping],
    required: &[],
    exactly_one: &[&["http", "stdio"]],
};
const HTTP: Object = Object {
    keys: Keys { of: "the transport `http`", known: &["endpoint", "headers"], not_yet: &[] },
    shapes: &[Shape::Endpoint, Shape::TextMapping],
    required: &["endpoint"],
    exactly_one: &[],
};
const STDIO: Object = Object {
    keys: Keys { of: "the transport `stdio`", known: &["command", "arguments", "environment"], not_yet: &[] },
    shapes: &[Shape::Text, Shape::Texts, Shape::TextMapping],
    required: &["command"],
    exactly_one: &[],
};
const CLIENT: Object = Object {
    // The 1.0.3 schema calls the version `description` where it tells its type.
    keys: Keys { of: "`client`", known: &["name", "version", "description"], not_yet: &[] },
    shapes: &[Shape::Text, Shape::Text, Shape::Text],
    required: &["name", "version"],
    exactly_one: &[],
};

impl TaskType for CallMcp {
    const KEY: &'static str = "call";
    const KIND: Option<&'static str> = Some("mcp");
    const MORE_KEYS: &'static [&'static str] = &["with"];
    const TAG: u8 = 19;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let with = compiler.required(task.node, "with", "an MCP call")?;
        compiler.check_object(with, &WITH);
        Some(Self(Unrunnable::new("call MCP servers", task.own(Self::KEY).span, compiler)))
    }

    fn enter(&self, _cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        Err(self.0.fault())
    }
}
