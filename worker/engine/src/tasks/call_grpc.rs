//! `call: grpc`: a method of a gRPC service, described by its proto file. Checked, not run.

use super::unrunnable::Unrunnable;
use super::{Outcome, TaskType};
use crate::machine::cx::Cx;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::shape::{Object, Shape};
use crate::problem::Problem;

/// The call.
#[derive(Debug)]
pub(crate) struct CallGrpc(Unrunnable);

const WITH: Object = Object {
    keys: Keys { of: "`with` of a gRPC call", known: &["proto", "service", "method", "arguments"], not_yet: &[] },
    shapes: &[Shape::Resource, Shape::Object(&SERVICE), Shape::Text, Shape::Mapping],
    required: &["proto", "service", "method"],
    exactly_one: &[],
};
const SERVICE: Object = Object {
    keys: Keys { of: "`service`", known: &["name", "host", "port", "authentication"], not_yet: &[] },
    shapes: &[Shape::Text, Shape::Host, Shape::Number(0, 65_535), Shape::Authentication],
    required: &["name", "host"],
    exactly_one: &[],
};

impl TaskType for CallGrpc {
    const KEY: &'static str = "call";
    const KIND: Option<&'static str> = Some("grpc");
    const MORE_KEYS: &'static [&'static str] = &["with"];
    const TAG: u8 = 17;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let with = compiler.required(task.node, "with", "a gRPC call")?;
        compiler.check_object(with, &WITH);
        Some(Self(Unrunnable::new("call gRPC services", task.own(Self::KEY).span, compiler)))
    }

    fn enter(&self, _cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        Err(self.0.fault())
    }
}
