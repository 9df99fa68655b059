//! `call: asyncapi`: an operation of a service that an AsyncAPI document describes. Checked, not run.

use super::unrunnable::Unrunnable;
use super::{Outcome, TaskType, listen};
use crate::machine::cx::Cx;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::shape::{Object, Shape};
use crate::problem::Problem;

/// The call.
#[derive(Debug)]
pub(crate) struct CallAsyncApi(Unrunnable);

const WITH: Object = Object {
    keys: Keys {
        of: "`with` of an AsyncAPI call",
        known: &["document", "channel", "operation", "server", "protocol", "message", "subscription", "authentication"],
        not_yet: &[],
    },
    shapes: &[
        Shape::Resource,
        Shape::Text,
        Shape::Text,
        Shape::Object(&SERVER),
        Shape::Choice(&PROTOCOLS),
        Shape::Object(&MESSAGE),
        Shape::Object(&SUBSCRIPTION),
        Shape::Authentication,
    ],
    required: &["document"],
    exactly_one: &[&["operation", "channel"], &["message", "subscription"]],
};
const PROTOCOLS: [&str; 19] = [
    "amqp",
    "amqp1",
    "anypointmq",
    "googlepubsub",
    "http",
    "ibmmq",
    "jms",
    "kafka",
    "mercure",
    "mqtt",
    "mqtt5",
    "nats",
    "pulsar",
    "redis",
    "sns",
    "solace",
    "sqs",
    "stomp",
    "ws",
];
const SERVER: Object = Object {
    keys: Keys { of: "`server`", known: &["name", "variables"], not_yet: &[] },
    shapes: &[Shape::Text, Shape::Mapping],
    required: &["name"],
    exactly_one: &[],
};
const MESSAGE: Object = Object {
    keys: Keys { of: "`message`", known: &["payload", "headers"], not_yet: &[] },
    shapes: &[Shape::Mapping, Shape::Mapping],
    required: &[],
    exactly_one: &[],
};
const SUBSCRIPTION: Object = Object {
    keys: Keys { of: "`subscription`", known: &["filter", "consume", "foreach"], not_yet: &[] },
    shapes: &[Shape::Condition, Shape::Object(&CONSUME), Shape::Elsewhere],
    required: &["consume"],
    exactly_one: &[],
};
const CONSUME: Object = Object {
    keys: Keys { of: "`consume`", known: &["amount", "for", "while", "until"], not_yet: &[] },
    shapes: &[Shape::Number(1, i64::MAX), Shape::Duration, Shape::Condition, Shape::Condition],
    required: &[],
    exactly_one: &[&["amount", "while", "until"]],
};

impl TaskType for CallAsyncApi {
    const KEY: &'static str = "call";
    const KIND: Option<&'static str> = Some("asyncapi");
    const MORE_KEYS: &'static [&'static str] = &["with"];
    const TAG: u8 = 18;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let with = compiler.required(task.node, "with", "an AsyncAPI call")?;
        compiler.check_object(with, &WITH);
        if let Some(foreach) = with.get("subscription").and_then(|subscription| subscription.get("foreach")) {
            let pointer = &task.pointer.child("with").child("subscription");
            listen::check_foreach(foreach, &TaskNode { pointer, ..*task }, compiler);
        }
        Some(Self(Unrunnable::new("call AsyncAPI operations", task.own(Self::KEY).span, compiler)))
    }

    fn enter(&self, _cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        Err(self.0.fault())
    }
}
