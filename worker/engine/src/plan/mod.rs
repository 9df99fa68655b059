//! The plan: a definition compiled once, shared by all its instances.
//!
//! Whatever can be wrong in a definition is found while compiling, all at once, with its place. Afterwards nothing is
//! looked up by name: tasks lie in an arena in the order of the text, so that an index means the same task for ever, as
//! long as the text is the same (snapshots hold indices).

mod attributes;
pub(crate) mod authentication;
pub(crate) mod checkpoint;
pub(crate) mod compiler;
mod document;
pub(crate) mod endpoint;
mod expressions;
mod extensions;
pub(crate) mod functions;
pub(crate) mod keys;
pub(crate) mod named;
pub(crate) mod reach;
mod resources;
mod schedule;
pub(crate) mod shape;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::traffic::{EventUse, Traffic};
use authentication::Policy;
use checkpoint::Checkpoint;
use flagstop_schemas::Hash16;

use crate::api::{HttpRequest, Reference, Value};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::event::Event;
use crate::expr::{Expression, Template};
use crate::filter::Filter;
use crate::limits::Limits;
use crate::problem::Problem;
use crate::resource::{Bundle, Resource};
use crate::schedule::Schedule;
use crate::schema::Schema;
use crate::tasks::Kind;
use crate::value;

/// A compiled definition.
#[derive(Debug)]
pub struct Plan {
    reference: Arc<Reference>,
    fingerprint: Hash16,
    /// The definition as data, for `$workflow.definition`.
    definition: Value,
    tasks: Vec<Task>,
    blocks: Vec<Block>,
    extensions: Vec<Extension>,
    workflow: Workflow,
    schedule: Schedule,
    waits: Vec<Filter>,
    missing: Vec<Resource>,
    /// How the servers of documents are shown who asks, by location.
    policies: BTreeMap<String, Arc<Policy>>,
    warnings: Vec<Diagnostic>,
    /// Some task's checkpoint policy lets instances run ahead.
    runs_ahead: bool,
}

/// What belongs to the workflow as a whole.
#[derive(Debug)]
pub(crate) struct Workflow {
    pub(crate) input_schema: Option<Schema>,
    pub(crate) input_from: Option<Template>,
    pub(crate) output_as: Option<Template>,
    pub(crate) output_schema: Option<Schema>,
    /// `use.secrets`.
    pub(crate) secrets: Vec<String>,
    pub(crate) business_key: Option<Template>,
    /// Of how many instances only one may live.
    pub(crate) activation: Option<Activation>,
    /// After how long it is cut.
    pub(crate) timeout: Option<Template>,
    pub(crate) list: BlockIndex,
}

/// `document.metadata.flagstop.activation`: one live instance per key.
#[derive(Debug)]
pub(crate) struct Activation {
    pub(crate) key: Template,
    pub(crate) on_duplicate: OnDuplicate,
}

/// What becomes of a trigger whose activation key a live instance has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDuplicate {
    /// It starts nothing, and that is all.
    Drop,
    /// It starts nothing, and is a dead letter.
    DeadLetter,
}

/// A task's place in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TaskIndex(pub(crate) u32);

/// A list's place in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct BlockIndex(pub(crate) u32);

/// A list of tasks.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) kind: BlockKind,
    pub(crate) tasks: Vec<TaskIndex>,
}

/// What a list of tasks is for: decides what follows when one of them is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// One after the other.
    List,
    /// One task that is a body of its own, such as a function's: its directive is ignored.
    Body,
    /// All at once.
    Branches,
    /// Before or after another task.
    Extension,
}

/// What runs around other tasks.
#[derive(Debug)]
pub(crate) struct Extension {
    pub(crate) when: Option<Expression>,
    pub(crate) before: Option<BlockIndex>,
    pub(crate) after: Option<BlockIndex>,
}

/// A task.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) name: String,
    /// The definition's JSON Pointer to it.
    pub(crate) pointer: String,
    /// The list in which it stands, and where in it.
    pub(crate) block: BlockIndex,
    pub(crate) position: u32,
    pub(crate) common: Common,
    pub(crate) kind: Kind,
    /// The extensions of its type, by number.
    pub(crate) extensions: Vec<u32>,
    /// Its definition as data, for `$task.definition`.
    pub(crate) definition: Value,
}

/// What every task can have.
#[derive(Debug, Default)]
pub(crate) struct Common {
    pub(crate) condition: Option<Expression>,
    pub(crate) input_schema: Option<Schema>,
    pub(crate) input_from: Option<Template>,
    pub(crate) output_as: Option<Template>,
    pub(crate) output_schema: Option<Schema>,
    pub(crate) export_as: Option<Template>,
    pub(crate) export_schema: Option<Schema>,
    /// After how long it is cut.
    pub(crate) timeout: Option<Template>,
    pub(crate) then: Then,
    /// Whether the state is written before or after it.
    pub(crate) checkpoint: Checkpoint,
}

/// A flow directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Then {
    /// The next task of the list.
    #[default]
    Continue,
    /// Leaves the list.
    Exit,
    /// Ends the instance.
    End,
    /// The task at this position of the same list.
    Sibling(u32),
}

impl Plan {
    /// Compiles a definition (YAML or JSON) by itself: what it names elsewhere is [`Plan::missing`].
    ///
    /// # Errors
    /// All that is wrong in it, at once.
    pub fn compile(source: &[u8], limits: &Limits) -> Result<Self, Diagnostics> {
        Self::compile_with(source, &Bundle::default(), limits)
    }

    /// Compiles a definition (YAML or JSON) with the documents that it names.
    ///
    /// # Errors
    /// All that is wrong in it and in its documents, at once.
    pub fn compile_with(source: &[u8], bundle: &Bundle, limits: &Limits) -> Result<Self, Diagnostics> {
        document::compile(source, bundle, limits)
    }

    /// The documents that it names and its bundle lacks. Fetch them and compile again, until there are none: a fetched
    /// function may name further ones. A plan that lacks some can be run, too; a task that needs one then faults.
    #[must_use]
    pub fn missing(&self) -> &[Resource] {
        &self.missing
    }

    /// The request that gives one of the missing documents, which lies behind HTTP at `url`.
    ///
    /// # Errors
    /// What its authentication needs is not there.
    pub fn request_for(
        &self,
        resource: &Resource,
        url: &str,
        secrets: &BTreeMap<String, Value>,
        limits: &Limits,
    ) -> Result<HttpRequest, Problem> {
        let policy = self.policies.get(&resource.url);
        Ok(HttpRequest {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: vec![("Accept".to_owned(), "*/*".to_owned())],
            body: None,
            authentication: policy.map(|policy| policy.render_at_deploy(secrets, limits)).transpose()?,
        })
    }

    /// What is allowed but probably not meant.
    #[must_use]
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The definition's identity.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// What starts instances by itself.
    #[must_use]
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Filters of which each event starts an instance: `schedule.on` with `one`, or with `any` without `until`.
    #[must_use]
    pub fn triggers(&self) -> &[Filter] {
        self.schedule.triggers()
    }

    /// What becomes of a trigger whose activation key a live instance has; `None`: it has no such keys.
    #[must_use]
    pub fn on_duplicate(&self) -> Option<OnDuplicate> {
        self.workflow.activation.as_ref().map(|activation| activation.on_duplicate)
    }

    /// The filters of all listens.
    #[must_use]
    pub fn waits(&self) -> &[Filter] {
        &self.waits
    }

    /// The input of an instance that this event starts: an array of the one event, as `schedule.read` says.
    #[must_use]
    pub fn trigger_input(&self, event: &Event) -> Value {
        value::array([event.read(self.schedule.read)])
    }

    pub(crate) fn shared_reference(&self) -> Arc<Reference> {
        self.reference.clone()
    }

    pub(crate) fn fingerprint(&self) -> Hash16 {
        self.fingerprint
    }

    pub(crate) fn definition(&self) -> &Value {
        &self.definition
    }

    pub(crate) fn workflow(&self) -> &Workflow {
        &self.workflow
    }

    /// The task at an index that came from this plan.
    pub(crate) fn task(&self, index: TaskIndex) -> &Task {
        &self.tasks[index.0 as usize]
    }

    /// The task at an index that came from outside, if it exists.
    pub(crate) fn get_task(&self, index: TaskIndex) -> Option<&Task> {
        self.tasks.get(index.0 as usize)
    }

    pub(crate) fn block(&self, index: BlockIndex) -> &Block {
        &self.blocks[index.0 as usize]
    }

    /// The list in which a task stands.
    pub(crate) fn block_of(&self, index: TaskIndex) -> &Block {
        self.block(self.task(index).block)
    }

    pub(crate) fn is_branch(&self, task: &Task) -> bool {
        self.block(task.block).kind == BlockKind::Branches
    }

    pub(crate) fn extension(&self, number: u32) -> &Extension {
        &self.extensions[number as usize]
    }

    /// Whether any task's checkpoint policy lets an instance run ahead of what is written.
    pub(crate) fn lets_run_ahead(&self) -> bool {
        self.runs_ahead
    }

    pub(crate) fn has_extensions(&self) -> bool {
        !self.extensions.is_empty()
    }
}
