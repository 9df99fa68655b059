//! `run: workflow`: another workflow as a child of this one.

use flagstop_schemas::{Hash16, InstanceId};

use super::{Await, Options, Return};
use crate::api::{ChildOutcome, Projection, Value, WaitReason};
use crate::diagnostic::Diagnostic;
use crate::expr::Template;
use crate::machine::cx::{Cx, NewChild};
use crate::machine::look::Look;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::{Problem, ProblemKind};
use crate::reference;
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::source::Node;
use crate::tasks::{Outcome, Signal, TaskType};

/// Which workflow, and its input.
#[derive(Debug)]
pub(crate) struct RunWorkflow {
    options: Options,
    namespace: String,
    name: String,
    /// `None`: `latest`.
    version: Option<semver::Version>,
    /// `None`: the task's own.
    input: Option<Template>,
}

/// The child that is awaited.
#[derive(Debug, Clone)]
pub(crate) struct Child(InstanceId);

const KIND: &str = "workflow";
const WORKFLOW: Keys = Keys { of: "`run.workflow`", known: &["namespace", "name", "version", "input"], not_yet: &[] };
const LATEST: &str = "latest";

impl TaskType for RunWorkflow {
    const KEY: &'static str = super::KEY;
    const KIND: Option<&'static str> = Some(KIND);
    const TAG: u8 = 14;
    type Memory = Child;

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let (options, node) = Options::compile(task, KIND, compiler)?;
        if !matches!(options.returns, Return::Stdout | Return::None) {
            let span = task.own(super::KEY).get("return").map_or(node.span, |returns| returns.span);
            let found = Diagnostic::warning("FS-NO-EFFECT", span, "a workflow gives its output, and nothing else");
            compiler.push(found.with_hint("leave `return` out, or write `return: none`"));
        }
        compiler.mapping(node, WORKFLOW)?;
        let namespace = label(node, "namespace", compiler);
        let name = label(node, "name", compiler);
        let version = version(node, compiler);
        let input = node.get("input").map(|input| compiler.template(input, At::Definition));
        let input = input.map_or(Some(None), |input| input.map(Some));
        Some(Self { options, namespace: namespace?, name: name?, version: version?, input: input? })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Child, Outcome), Problem> {
        let input = match &self.input {
            Some(input) => cx.vars().eval(input, cx.input())?,
            None => cx.input().clone(),
        };
        let child = NewChild {
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            input,
        };
        match self.options.awaits {
            Await::End => Ok((Child(cx.start_child(Some(0), child)?), Outcome::Pause)),
            Await::Nothing => Ok((Child(cx.start_child(None, child)?), Outcome::Done(cx.input().clone()))),
        }
    }

    fn wake(&self, child: &mut Child, cx: &mut Cx<'_, '_>, signal: Signal<'_>) -> Option<Result<Outcome, Problem>> {
        let Signal::Child { part: 0, outcome } = signal else { return None };
        Some(match outcome {
            ChildOutcome::Completed(_) if self.options.returns == Return::None => Ok(Outcome::Done(Value::Null)),
            ChildOutcome::Completed(output) => Ok(Outcome::Done(output)),
            // The same error, but it comes from here now.
            ChildOutcome::Faulted(problem) => Err(problem.at(&*cx.task().pointer)),
            ChildOutcome::Cancelled => {
                let detail = format!("{} was cancelled (instance {})", self.summary(), child.0);
                Err(Problem::new(ProblemKind::Runtime, detail, ""))
            }
            ChildOutcome::NotStarted { reason } => {
                let detail = format!("{} can't be started: {reason}", self.summary());
                Err(Problem::new(ProblemKind::Configuration, detail, ""))
            }
        })
    }

    fn project(&self, child: &Child, look: &Look<'_>, to: &mut Projection) {
        to.children.push((look.slot(0), child.0));
    }

    fn wait_reason(&self, child: &Child, look: &Look<'_>) -> Option<WaitReason> {
        Some(WaitReason {
            task: look.task().pointer.clone(),
            kind: "child",
            what: format!("{} (instance {})", self.summary(), child.0),
            correlate: Vec::new(),
            since_us: look.frame.started_us,
            until_us: None,
        })
    }
}

impl RunWorkflow {
    fn summary(&self) -> String {
        let version = self.version.as_ref().map_or(LATEST.to_owned(), ToString::to_string);
        format!("the workflow {}/{}/{version}", self.namespace, self.name)
    }
}

fn label(node: &Node, key: &str, compiler: &mut Compiler<'_>) -> Option<String> {
    let label = compiler.required(node, key, WORKFLOW.of)?;
    let text = compiler.text(label, &format!("`{key}` of {}", WORKFLOW.of))?;
    match reference::label(text) {
        Ok(()) => Some(text.to_owned()),
        Err(error) => {
            compiler.error("FS-NAME", label, error.to_string(), "write it as it stands in the workflow's `document`");
            None
        }
    }
}

/// `None`: what is wrong was reported; `Some(None)`: the latest.
fn version(node: &Node, compiler: &mut Compiler<'_>) -> Option<Option<semver::Version>> {
    let version = compiler.required(node, "version", WORKFLOW.of)?;
    let text = compiler.text(version, "`version` of `run.workflow`")?;
    if text == LATEST {
        return Some(None);
    }
    match reference::version(text) {
        Ok(version) => Some(Some(version)),
        Err(error) => {
            compiler.error("FS-NAME", version, error.to_string(), "write `version: '1.0.0'`, or `version: latest`");
            None
        }
    }
}

impl Stored for Child {
    fn write(&self, to: &mut Writer) {
        Hash16(self.0.0).write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Hash16::read(from).map(|id| Self(InstanceId(id.0)))
    }
}
