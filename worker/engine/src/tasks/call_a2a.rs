//! `call: a2a`: a method of an agent of the A2A protocol. Checked, not run.

use super::unrunnable::Unrunnable;
use super::{Outcome, TaskType};
use crate::machine::cx::Cx;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::shape::{Object, Shape};
use crate::problem::Problem;

/// The call.
#[derive(Debug)]
pub(crate) struct CallA2a(Unrunnable);

const WITH: Object = Object {
    keys: Keys { of: "`with` of an A2A call", known: &["agentCard", "server", "method", "parameters"], not_yet: &[] },
    shapes: &[Shape::Resource, Shape::Endpoint, Shape::Choice(&METHODS), Shape::Mapping],
    required: &["method"],
    exactly_one: &[],
};
const METHODS: [&str; 11] = [
    "message/send",
    "message/stream",
    "tasks/get",
    "tasks/list",
    "tasks/cancel",
    "tasks/resubscribe",
    "tasks/pushNotificationConfig/set",
    "tasks/pushNotificationConfig/get",
    "tasks/pushNotificationConfig/list",
    "tasks/pushNotificationConfig/delete",
    "agent/getAuthenticatedExtendedCard",
];

impl TaskType for CallA2a {
    const KEY: &'static str = "call";
    const KIND: Option<&'static str> = Some("a2a");
    const MORE_KEYS: &'static [&'static str] = &["with"];
    const TAG: u8 = 20;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let with = compiler.required(task.node, "with", "an A2A call")?;
        compiler.check_object(with, &WITH);
        if with.as_map().is_some() && with.get("agentCard").is_none() && with.get("server").is_none() {
            let message = "an A2A call needs `agentCard` or `server`: nobody is named that could be called";
            compiler.error("FS-MISSING-KEY", with, message, "add `server:`");
        }
        Some(Self(Unrunnable::new("call agents", task.own(Self::KEY).span, compiler)))
    }

    fn enter(&self, _cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        Err(self.0.fault())
    }
}
